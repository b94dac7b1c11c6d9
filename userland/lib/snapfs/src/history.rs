//! The epochs of the last changes of a file's ranges: the source of CHG lists,
//! and the proof that bytes are still those of an earlier epoch.
//!
//! Bounded: beyond the limit, neighbours are merged, with the epoch of the
//! later change. So an epoch here is never too early, but sometimes too late.

use crate::BLOCK;
use crate::references::blocks;
use crate::versions::Epoch;
use alloc::vec::Vec;
use core::ops::Range;
use ninep::Changes;
use ranges::RangeMap;

/// Most ranges one file keeps.
const RANGES_MAX: usize = 256;
/// Bytes that a range takes.
const RANGE: usize = 40;
/// Most ranges one reply lists.
const LISTED_MAX: usize = 16;
/// No file reaches further, in bytes.
const END: u64 = 1 << 63;

/// The changes of one file.
#[cfg_attr(feature = "duplicate", derive(Clone))]
pub struct History {
    /// All other bytes changed last at this epoch or before it.
    base: Epoch,
    /// The epochs of blocks, all above `base`.
    ranges: RangeMap<Epoch>,
}

impl History {
    /// Nothing is known but that `epoch` is now.
    pub fn new(epoch: Epoch) -> History {
        History {
            base: epoch,
            ranges: RangeMap::new(),
        }
    }

    /// Bytes of memory that it takes, about.
    pub fn weight(&self) -> usize {
        self.ranges.len() * RANGE
    }

    /// Anything may have changed at `epoch`.
    pub fn note_all(&mut self, epoch: Epoch) {
        *self = History::new(epoch);
    }

    /// Ranges of bytes changed at `epoch`, the newest so far; rounded outward to
    /// blocks. Ascending neighbours cost little.
    pub fn note(&mut self, ranges: impl IntoIterator<Item = Range<u64>>, epoch: Epoch) {
        let mut pending = 0..0;
        for bytes in ranges {
            let changed = blocks(&(bytes.start..bytes.end.min(END)));
            if (pending.start..=pending.end).contains(&changed.start) {
                pending.end = changed.end.max(pending.end);
            } else {
                self.note_blocks(pending, epoch);
                pending = changed;
            }
        }
        self.note_blocks(pending, epoch);
    }

    fn note_blocks(&mut self, blocks: Range<u64>, epoch: Epoch) {
        self.ranges.replace(blocks, Some(epoch));
        self.ranges.coarsen_changes(RANGES_MAX);
    }

    /// Up to where none of `blocks` was changed after `epoch`, as far as that
    /// can be proved.
    pub fn unchanged(&self, blocks: &Range<u64>, epoch: Epoch) -> u64 {
        if epoch < self.base {
            return blocks.start;
        }
        let mut changed = self.ranges.over(blocks.clone());
        let later = changed.find(|span| span.value > epoch);
        later.map_or(blocks.end, |span| span.start)
    }

    /// An epoch at or after the last change of any of `blocks`.
    #[cfg(test)]
    pub fn last(&self, blocks: &Range<u64>) -> Epoch {
        let changed = self.ranges.over(blocks.clone());
        changed.map(|span| span.value).max().unwrap_or(self.base)
    }

    /// The changes after `known`, as a CHG; the list is put into `out`.
    pub fn since<'o>(&self, known: u64, out: &'o mut Vec<(u64, u64)>) -> Changes<'o> {
        if known == 0 {
            return Changes::NONE;
        }
        if known < self.base {
            return Changes::All;
        }
        out.clear();
        for span in self.ranges.iter().filter(|span| span.value > known) {
            let (off, len) = (span.start * BLOCK, span.len() * BLOCK);
            match out.last_mut() {
                Some((last, before)) if *last + *before == off => *before += len,
                _ => out.push((off, len)),
            }
        }
        if out.len() > LISTED_MAX {
            Changes::All
        } else {
            Changes::new(out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::iter::once;

    #[test]
    fn never_too_early_and_exact_while_there_is_room() {
        let mut random = 99u64;
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (random >> 33) % below
        };
        for blocks in [40u64, 2000] {
            let mut history = History::new(1);
            let mut model = alloc::vec![1u64; blocks as usize];
            for epoch in 2..3000 {
                let start = next(blocks * BLOCK);
                let len = 1 + next(3 * BLOCK);
                let end = (start + len).min(blocks * BLOCK);
                history.note(once(start..end), epoch);
                model[(start / BLOCK) as usize..end.div_ceil(BLOCK) as usize].fill(epoch);
                assert!(history.ranges.len() <= RANGES_MAX);
                let block = next(blocks);
                let (last, right) = (history.last(&(block..block + 1)), model[block as usize]);
                assert!(last >= right, "block {block}: {last} < {right}");
                assert!(blocks > 100 || last == right, "block {block}");
                let (until, known) = (block + next(blocks - block) + 1, next(epoch));
                let same = history.unchanged(&(block..until), known);
                let unchanged = |b: &u64| model[*b as usize] <= known;
                let right = block + (block..until).take_while(unchanged).count() as u64;
                assert!(same <= right && (blocks > 100 || same == right));
            }
        }
    }

    #[test]
    fn a_list_names_what_changed_since_and_no_more() {
        let (mut history, mut out) = (History::new(5), Vec::new());
        history.note(once(BLOCK + 5..BLOCK + 6), 6);
        history.note(once(2 * BLOCK..3 * BLOCK), 7);
        history.note(once(9 * BLOCK - 1..9 * BLOCK + 1), 8);
        let mut since = |known| {
            let listed = history.since(known, &mut out);
            (!listed.all()).then(|| listed.iter().collect::<Vec<_>>())
        };
        assert_eq!(since(4), None, "older than what is known");
        let both = (BLOCK, 2 * BLOCK);
        assert_eq!(since(5), Some(alloc::vec![both, (8 * BLOCK, 2 * BLOCK)]));
        assert_eq!(since(7), Some(alloc::vec![(8 * BLOCK, 2 * BLOCK)]));
        assert_eq!(since(8), Some(Vec::new()));
        assert_eq!(since(0), Some(Vec::new()), "nobody asked");
    }

    #[test]
    fn the_end_of_the_file_is_far_away() {
        let (mut history, mut out) = (History::new(1), Vec::new());
        history.note(once(3..u64::MAX), 2);
        let listed: Vec<_> = history.since(1, &mut out).iter().collect();
        assert_eq!(listed, [(0, END)]);
    }
}
