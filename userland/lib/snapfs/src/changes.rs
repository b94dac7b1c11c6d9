//! When each range of a file was last changed: what CHG lists are made of, and
//! the proof that bytes are still those of an earlier epoch.
//!
//! Bounded: where there would be too many ranges, neighbours become one, as of
//! the later change. So what is said here is never too early, at times too late.

use crate::references as ranges;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;
use ninep::Changes;

/// Most ranges one file keeps.
const RANGES_MAX: usize = 256;
/// Bytes that a range takes, with its share of the tree.
const RANGE: usize = 40;
/// Most ranges one reply lists.
const LISTED_MAX: usize = 16;
/// No file reaches further, in bytes.
const END: u64 = 1 << 63;

/// The changes of one file.
#[cfg_attr(feature = "duplicate", derive(Clone))]
pub struct History {
    /// What no range says changed at this epoch, or before it.
    base: u64,
    /// First block -> (end, epoch). No overlaps, all epochs above `base`.
    ranges: BTreeMap<u64, (u64, u64)>,
}

impl History {
    /// Nothing is known but that `epoch` is now.
    pub fn new(epoch: u64) -> History {
        History {
            base: epoch,
            ranges: BTreeMap::new(),
        }
    }

    /// Bytes of memory that it takes, about.
    pub fn weight(&self) -> usize {
        self.ranges.len() * RANGE
    }

    /// Anything may have changed at `epoch`.
    pub fn note_all(&mut self, epoch: u64) {
        *self = History::new(epoch);
    }

    /// `bytes` changed at `epoch`, the newest so far; rounded outward to blocks.
    pub fn note(&mut self, bytes: &Range<u64>, epoch: u64) {
        let blocks = ranges::blocks(&(bytes.start..bytes.end.min(END)));
        if blocks.is_empty() {
            return;
        }
        let first = self.ranges.range(..blocks.start).next_back();
        let from = first
            .filter(|(_, (end, _))| *end > blocks.start)
            .map_or(blocks.start, |(start, _)| *start);
        let touched: Vec<_> = self
            .ranges
            .range(from..blocks.end)
            .map(|(start, rest)| (*start, *rest))
            .collect();
        for (start, (end, before)) in touched {
            self.ranges.remove(&start);
            if start < blocks.start {
                self.ranges.insert(start, (blocks.start, before));
            }
            if end > blocks.end {
                self.ranges.insert(blocks.end, (end, before));
            }
        }
        self.join(blocks, epoch);
        if self.ranges.len() > RANGES_MAX {
            self.coarsen();
        }
    }

    /// Inserts, joined with neighbours of the same epoch.
    fn join(&mut self, mut blocks: Range<u64>, epoch: u64) {
        if let Some((&start, &(end, e))) = self.ranges.range(..blocks.start).next_back()
            && (end, e) == (blocks.start, epoch)
        {
            blocks.start = start;
        }
        if let Some(&(end, e)) = self.ranges.get(&blocks.end)
            && e == epoch
        {
            self.ranges.remove(&blocks.end);
            blocks.end = end;
        }
        self.ranges.insert(blocks.start, (blocks.end, epoch));
    }

    /// Joins neighbours until half of the ranges are left, those first that
    /// make the fewest blocks look changed later than they were.
    fn coarsen(&mut self) {
        let old: Vec<_> = core::mem::take(&mut self.ranges).into_iter().collect();
        let cost = |pair: &[(u64, (u64, u64))]| match *pair {
            [(start, (end, epoch)), (next, (until, later))] => {
                let older = if epoch < later {
                    end - start
                } else {
                    until - next
                };
                (next - end) + if epoch == later { 0 } else { older }
            }
            _ => 0,
        };
        let mut order: Vec<_> = old.windows(2).map(cost).enumerate().collect();
        order.sort_unstable_by_key(|(_, cost)| *cost);
        order.truncate(RANGES_MAX / 2);
        let mut joined: Vec<usize> = order.into_iter().map(|(n, _)| n).collect();
        joined.sort_unstable();
        let mut last = None;
        for (n, (start, (end, epoch))) in old.into_iter().enumerate() {
            let with_last = n > 0 && joined.binary_search(&(n - 1)).is_ok();
            match last.filter(|_| with_last) {
                Some((from, before)) => {
                    let until: u64 = end;
                    let later: u64 = epoch.max(before);
                    self.ranges.insert(from, (until, later));
                    last = Some((from, later));
                }
                None => {
                    self.ranges.insert(start, (end, epoch));
                    last = Some((start, epoch));
                }
            }
        }
    }

    /// Up to where none of `blocks` was changed after `epoch`, as far as that
    /// can be proved.
    pub fn unchanged(&self, blocks: &Range<u64>, epoch: u64) -> u64 {
        if epoch < self.base {
            return blocks.start;
        }
        let before = self.ranges.range(..blocks.start).next_back();
        let over = before.filter(|(_, (end, _))| *end > blocks.start);
        let inside = self.ranges.range(blocks.clone());
        let mut later = over.into_iter().chain(inside);
        let changed = later.find(|(_, (_, changed))| *changed > epoch);
        changed.map_or(blocks.end, |(start, _)| (*start).max(blocks.start))
    }

    /// An epoch at or after the last change of any of `blocks`.
    #[cfg(test)]
    pub fn last(&self, blocks: &Range<u64>) -> u64 {
        let before = self.ranges.range(..blocks.start).next_back();
        let over = before.filter(|(_, (end, _))| *end > blocks.start);
        let inside = self.ranges.range(blocks.clone());
        over.into_iter()
            .chain(inside)
            .map(|(_, (_, epoch))| *epoch)
            .max()
            .unwrap_or(self.base)
    }

    /// What changed after `known`, as a CHG; the list is put into `out`.
    pub fn since<'o>(&self, known: u64, out: &'o mut Vec<(u64, u64)>) -> Changes<'o> {
        if known == 0 {
            return Changes::NONE;
        }
        if known < self.base {
            return Changes::All;
        }
        out.clear();
        for (&start, &(end, epoch)) in &self.ranges {
            let (off, len) = (start * crate::BLOCK, (end - start) * crate::BLOCK);
            match out.last_mut() {
                _ if epoch <= known => {}
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
    use crate::BLOCK;

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
                history.note(&(start..end), epoch);
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
        history.note(&(BLOCK + 5..BLOCK + 6), 6);
        history.note(&(2 * BLOCK..3 * BLOCK), 7);
        history.note(&(9 * BLOCK - 1..9 * BLOCK + 1), 8);
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
        history.note(&(3..u64::MAX), 2);
        let listed: Vec<_> = history.since(1, &mut out).iter().collect();
        assert_eq!(listed, [(0, END)]);
    }
}
