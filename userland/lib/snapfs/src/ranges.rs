//! What one snapshot covers: byte ranges of its file, each as of an epoch.
//!
//! Each range here is in the file's [`Past`] exactly once, in whole blocks;
//! every change keeps the two in step.

use crate::BLOCK;
use crate::past::Past;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

/// A byte range as of an epoch.
pub type Part = (Range<u64>, u64);

/// Sorted, without overlaps; neighbours of one epoch are joined.
#[cfg_attr(feature = "memory", derive(Clone))]
#[derive(Default)]
pub struct Ranges {
    /// Start -> (end, epoch).
    map: BTreeMap<u64, (u64, u64)>,
}

/// The blocks that `bytes` touch.
pub fn blocks(bytes: &Range<u64>) -> Range<u64> {
    bytes.start / BLOCK..bytes.end.div_ceil(BLOCK)
}

impl Ranges {
    /// The end and the epoch of the range that holds byte `at`.
    #[inline]
    pub fn find(&self, at: u64) -> Option<(u64, u64)> {
        let (_, &(end, epoch)) = self.map.range(..=at).next_back()?;
        (at < end).then_some((end, epoch))
    }

    /// Cuts a range that goes on over `at` into two.
    fn split(&mut self, at: u64, past: &mut Past) {
        let Some((&start, &(end, epoch))) = self.map.range(..at).next_back() else {
            return;
        };
        if at < end {
            past.add(blocks(&(start..at)), epoch);
            past.add(blocks(&(at..end)), epoch);
            past.remove(blocks(&(start..end)), epoch);
            self.map.insert(start, (at, epoch));
            self.map.insert(at, (end, epoch));
        }
    }

    /// The pieces inside `bytes`, after cutting at its ends.
    fn inside(&mut self, bytes: &Range<u64>, past: &mut Past) -> Vec<Part> {
        if bytes.is_empty() {
            return Vec::new();
        }
        self.split(bytes.start, past);
        self.split(bytes.end, past);
        let inside = self.map.range(bytes.clone());
        inside
            .map(|(&start, &(end, epoch))| (start..end, epoch))
            .collect()
    }

    /// Takes `bytes` out of the cover while the ranges themselves stay and can
    /// be read. [`Ranges::settle`] must follow with the same `bytes`.
    pub fn uncover(&mut self, bytes: &Range<u64>, past: &mut Past) {
        for (piece, epoch) in self.inside(bytes, past) {
            past.remove(blocks(&piece), epoch);
        }
    }

    /// Ends an [`Ranges::uncover`]: up to `until`, `bytes` are now as of
    /// `epoch`; from there on they are covered as before. Returns what was
    /// replaced, to be swept.
    pub fn settle(
        &mut self,
        bytes: &Range<u64>,
        until: u64,
        epoch: u64,
        past: &mut Past,
    ) -> Vec<Part> {
        let old: Vec<Part> = {
            let inside = self.map.range(bytes.clone());
            inside
                .map(|(&start, &(end, epoch))| (start..end, epoch))
                .collect()
        };
        for (piece, epoch) in &old {
            past.add(blocks(piece), *epoch);
        }
        self.set(&(bytes.start..until), epoch, past)
    }

    /// Forgets `bytes`; returns what was covered, to be swept.
    pub fn remove(&mut self, bytes: &Range<u64>, past: &mut Past) -> Vec<Part> {
        let old = self.inside(bytes, past);
        for (piece, epoch) in &old {
            past.remove(blocks(piece), *epoch);
            self.map.remove(&piece.start);
        }
        old
    }

    /// Makes `bytes` refer to `epoch`; returns what was replaced, to be swept.
    pub fn set(&mut self, bytes: &Range<u64>, epoch: u64, past: &mut Past) -> Vec<Part> {
        let old = self.remove(bytes, past);
        if bytes.is_empty() {
            return old;
        }
        let mut joined = bytes.clone();
        if let Some((&start, &(end, e))) = self.map.range(..bytes.start).next_back()
            && (end, e) == (bytes.start, epoch)
        {
            joined.start = start;
            past.remove(blocks(&(start..end)), e);
        }
        if let Some(&(end, e)) = self.map.get(&bytes.end)
            && e == epoch
        {
            joined.end = end;
            past.remove(blocks(&(bytes.end..end)), e);
            self.map.remove(&bytes.end);
        }
        past.add(blocks(&joined), epoch);
        self.map.insert(joined.start, (joined.end, epoch));
        old
    }

    /// How many ranges.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.map.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_epoch_join() {
        let (mut ranges, mut past) = (Ranges::default(), Past::default());
        for n in 0..10 {
            assert!(
                ranges
                    .set(&(n * 100..n * 100 + 100), 5, &mut past)
                    .is_empty()
            );
        }
        assert_eq!((ranges.len(), ranges.find(999)), (1, Some((1000, 5))));
        assert_eq!(ranges.find(1000), None);
        let old = ranges.set(&(300..400), 6, &mut past);
        assert_eq!(old, [(300..400, 5)]);
        assert_eq!((ranges.len(), ranges.find(350)), (3, Some((400, 6))));
        ranges.remove(&(0..u64::MAX), &mut past);
        assert!(past.cover.is_empty());
    }

    #[test]
    fn a_commit_in_part_leaves_the_rest_as_it_was() {
        let (mut ranges, mut past) = (Ranges::default(), Past::default());
        ranges.set(&(0..5 * BLOCK), 1, &mut past);
        let written = BLOCK..4 * BLOCK;
        ranges.uncover(&written, &mut past);
        assert_eq!(
            (
                past.cover.newest(0),
                past.cover.newest(1),
                past.cover.newest(3)
            ),
            (Some(1), None, None)
        );
        assert_eq!(
            ranges.find(2 * BLOCK),
            Some((4 * BLOCK, 1)),
            "still readable"
        );
        let old = ranges.settle(&written, 2 * BLOCK, 9, &mut past);
        assert_eq!(old, [(BLOCK..2 * BLOCK, 1)]);
        assert_eq!(
            (past.cover.newest(1), past.cover.newest(2)),
            (Some(9), Some(1))
        );
        ranges.remove(&(0..u64::MAX), &mut past);
        assert!(past.cover.is_empty());
    }
}
