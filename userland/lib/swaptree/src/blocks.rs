//! The blocks of a device: which of them are free.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::ops::Range;

/// Blocks in a word of the bitmap.
const WORD: u32 = u64::BITS;

/// The blocks `0..total` of a device, one bit each.
pub(crate) struct Blocks {
    /// A set bit is a free block.
    words: Vec<u64>,
    total: u32,
    free: u32,
    /// No word before this one has a free block.
    first: usize,
}

impl Blocks {
    /// `total` blocks, all of them free.
    ///
    /// # Errors
    /// No memory.
    pub fn new(total: u32) -> Result<Blocks, TryReserveError> {
        let len = total.div_ceil(WORD) as usize;
        let mut words = Vec::new();
        words.try_reserve_exact(len)?;
        words.resize(len, 0);
        let mut blocks = Blocks {
            words,
            total,
            free: 0,
            first: 0,
        };
        blocks.give(0..total);
        Ok(blocks)
    }

    pub const fn total(&self) -> u32 {
        self.total
    }

    pub const fn free(&self) -> u32 {
        self.free
    }

    /// Takes up to `most` free blocks in a row, the lowest there are: a sparse image
    /// behind the device stays as small as its use.
    pub fn take(&mut self, most: u32) -> Option<Range<u32>> {
        let rest = self.words.get(self.first..)?;
        let skipped = rest.iter().position(|word| *word != 0)?;
        self.first += skipped;
        let word = self.words.get(self.first)?;
        let start = self.first as u32 * WORD + word.trailing_zeros();
        let mut end = start;
        while end - start < most && self.is_free(end) {
            end += 1;
        }
        self.set(start..end, |word, mask| word & !mask);
        self.free -= end - start;
        (start < end).then_some(start..end)
    }

    /// Gives back blocks that were taken.
    pub fn give(&mut self, blocks: Range<u32>) {
        self.first = self.first.min((blocks.start / WORD) as usize);
        self.free += blocks.end - blocks.start;
        self.set(blocks, |word, mask| word | mask);
    }

    pub fn is_free(&self, block: u32) -> bool {
        let word = self.words.get((block / WORD) as usize);
        word.is_some_and(|word| word >> (block % WORD) & 1 == 1)
    }

    /// Changes the bits of a range, a word at a time.
    fn set(&mut self, blocks: Range<u32>, change: impl Fn(u64, u64) -> u64) {
        let mut at = blocks.start;
        while at < blocks.end {
            let (index, low) = (at / WORD, at % WORD);
            let count = (WORD - low).min(blocks.end - at);
            let mask = (u64::MAX >> (WORD - count)) << low;
            if let Some(word) = self.words.get_mut(index as usize) {
                *word = change(*word, mask);
            }
            at += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_blocks_are_taken_and_none_twice() {
        let mut blocks = Blocks::new(130).unwrap();
        assert_eq!(blocks.take(100), Some(0..100));
        assert_eq!(blocks.take(100), Some(100..130));
        assert_eq!(blocks.take(1), None);
        blocks.give(5..70);
        blocks.give(128..130);
        assert_eq!(blocks.free(), 67);
        assert_eq!(blocks.take(64), Some(5..69));
        assert_eq!(blocks.take(64), Some(69..70));
        assert_eq!(blocks.take(64), Some(128..130));
        assert_eq!((blocks.take(64), blocks.free()), (None, 0));
    }

    #[test]
    fn a_device_without_blocks_has_none() {
        let mut blocks = Blocks::new(0).unwrap();
        assert_eq!(blocks.take(1), None);
    }
}
