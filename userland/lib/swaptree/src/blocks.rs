//! The blocks of a device: which of them are free, and of which free ones the device
//! still stores what was in them.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::ops::Range;

/// Blocks in a word of the bitmap.
const WORD: u32 = u64::BITS;

/// The blocks `0..total` of a device, two bits each.
pub(crate) struct Blocks {
    /// A set bit is a free block.
    words: Vec<u64>,
    /// A set bit is a free block that was in use and has not been discarded since.
    stale: Vec<u64>,
    total: u32,
    free: u32,
    stale_count: u32,
    /// No word before this one has a free block.
    first: usize,
}

impl Blocks {
    /// `total` blocks, all of them free.
    ///
    /// # Errors
    /// No memory.
    pub fn new(total: u32) -> Result<Blocks, TryReserveError> {
        let mut blocks = Blocks {
            words: bits(total)?,
            stale: bits(total)?,
            total,
            free: 0,
            stale_count: 0,
            first: 0,
        };
        blocks.give_discarded(0..total);
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
        self.remove(start..end);
        (start < end).then_some(start..end)
    }

    /// Takes blocks that are free out of both maps.
    fn remove(&mut self, blocks: Range<u32>) {
        self.free -= blocks.end - blocks.start;
        change(&mut self.words, blocks.clone(), |word, mask| word & !mask);
        self.stale_count -= change(&mut self.stale, blocks, |word, mask| word & !mask);
    }

    /// Gives back blocks that were taken, and perhaps written.
    pub fn give(&mut self, blocks: Range<u32>) {
        self.stale_count += change(&mut self.stale, blocks.clone(), |word, mask| word | mask);
        self.give_discarded(blocks);
    }

    /// Gives back blocks of which the device stores nothing.
    pub fn give_discarded(&mut self, blocks: Range<u32>) {
        self.first = self.first.min((blocks.start / WORD) as usize);
        self.free += blocks.end - blocks.start;
        change(&mut self.words, blocks, |word, mask| word | mask);
    }

    /// Free blocks of which the device still stores what was in them.
    pub const fn stale(&self) -> u32 {
        self.stale_count
    }

    /// Takes a run of those, at most `most`, to discard them: the highest ones, which
    /// are used again last.
    pub fn take_stale(&mut self, most: u32) -> Option<Range<u32>> {
        let index = self.stale.iter().rposition(|word| *word != 0)?;
        let high = WORD - 1 - self.stale.get(index)?.leading_zeros();
        let end = index as u32 * WORD + high + 1;
        let mut start = end - 1;
        while end - start < most && start > 0 && is_set(&self.stale, start - 1) {
            start -= 1;
        }
        self.remove(start..end);
        Some(start..end)
    }

    pub fn is_free(&self, block: u32) -> bool {
        is_set(&self.words, block)
    }
}

/// A bit for each of so many blocks, none of them set.
fn bits(total: u32) -> Result<Vec<u64>, TryReserveError> {
    let len = total.div_ceil(WORD) as usize;
    let mut words = Vec::new();
    words.try_reserve_exact(len)?;
    words.resize(len, 0);
    Ok(words)
}

fn is_set(words: &[u64], block: u32) -> bool {
    let word = words.get((block / WORD) as usize);
    word.is_some_and(|word| word >> (block % WORD) & 1 == 1)
}

/// Changes the bits of a range, a word at a time; how many have changed.
fn change(words: &mut [u64], blocks: Range<u32>, to: impl Fn(u64, u64) -> u64) -> u32 {
    let (mut at, mut changed) = (blocks.start, 0);
    while at < blocks.end {
        let (index, low) = (at / WORD, at % WORD);
        let count = (WORD - low).min(blocks.end - at);
        let mask = (u64::MAX >> (WORD - count)) << low;
        if let Some(word) = words.get_mut(index as usize) {
            let new = to(*word, mask);
            changed += (*word ^ new).count_ones();
            *word = new;
        }
        at += count;
    }
    changed
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
    fn blocks_that_were_in_use_are_discarded_once() {
        let mut blocks = Blocks::new(300).unwrap();
        assert_eq!(blocks.take(300), Some(0..300));
        assert_eq!(blocks.take_stale(10), None);
        blocks.give(10..140);
        blocks.give(200..203);
        assert_eq!(blocks.stale(), 133);
        assert_eq!(blocks.take_stale(64), Some(200..203));
        assert_eq!(blocks.take_stale(100), Some(40..140));
        // Nobody gets them meanwhile.
        assert_eq!((blocks.free(), blocks.stale()), (30, 30));
        assert_eq!(blocks.take(100), Some(10..40));
        assert_eq!((blocks.take(1), blocks.stale()), (None, 0));
        blocks.give_discarded(40..140);
        assert_eq!((blocks.free(), blocks.stale()), (100, 0));
        assert_eq!(blocks.take_stale(1), None);
        assert_eq!(blocks.take(200), Some(40..140));
    }

    #[test]
    fn a_device_without_blocks_has_none() {
        let mut blocks = Blocks::new(0).unwrap();
        assert_eq!(blocks.take(1), None);
    }
}
