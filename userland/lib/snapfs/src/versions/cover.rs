//! Which blocks are covered at which epochs, each any number of times.
//!
//! A range of blocks is kept as the aligned power-of-two pieces it is made of,
//! at most two a level. A block lies in one piece a level, so a question about
//! it costs a look-up for each level in use, however many ranges there are.

use super::Epoch;
use alloc::collections::BTreeMap;
use core::cell::Cell;
use core::ops::Range;

/// Block numbers are below 2^52, so pieces have levels 0 to 52.
const LEVELS: usize = 64;

/// An aligned run of `1 << level` blocks, the `index`th of its level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Piece {
    level: u8,
    index: u64,
}

impl Piece {
    fn holding(block: u64, level: u8) -> Piece {
        let index = block >> level;
        Piece { level, index }
    }

    fn start(self) -> u64 {
        self.index << self.level
    }

    fn end(self) -> u64 {
        (self.index + 1) << self.level
    }

    /// Returns true if it is one of the pieces of `blocks`.
    fn is_of(self, blocks: &Range<u64>) -> bool {
        let inside = |piece: Piece| blocks.start <= piece.start() && piece.end() <= blocks.end;
        inside(self) && !inside(Piece::holding(self.start(), self.level + 1))
    }
}

/// Calls `visit` for each of the largest aligned pieces that make up `blocks`.
fn pieces(blocks: &Range<u64>, mut visit: impl FnMut(Piece)) {
    let (mut start, mut end, mut level) = (blocks.start, blocks.end, 0);
    while start < end {
        if start & 1 == 1 {
            visit(Piece {
                level,
                index: start,
            });
            start += 1;
        }
        if end & 1 == 1 {
            end -= 1;
            visit(Piece { level, index: end });
        }
        (start, end, level) = (start >> 1, end >> 1, level + 1);
    }
}

/// How often each piece is covered at each epoch. Epochs begin at 1.
#[cfg_attr(feature = "duplicate", derive(Clone))]
pub struct Cover {
    counts: BTreeMap<(Piece, Epoch), u32>,
    /// Entries of each level, and a bit for each that has some.
    entries: [u32; LEVELS],
    levels: u64,
    /// Look-ups so far: the unit in which work is counted.
    lookups: Cell<u64>,
}

impl Default for Cover {
    fn default() -> Self {
        Cover {
            counts: BTreeMap::new(),
            entries: [0; LEVELS],
            levels: 0,
            lookups: Cell::new(0),
        }
    }
}

impl Cover {
    fn count(&self) {
        self.lookups.set(self.lookups.get() + 1);
    }

    /// Covers `blocks` once more at `epoch`.
    pub fn add(&mut self, blocks: &Range<u64>, epoch: Epoch) {
        pieces(blocks, |piece| self.add_piece(piece, epoch));
    }

    fn add_piece(&mut self, piece: Piece, epoch: Epoch) {
        self.count();
        let count = self.counts.entry((piece, epoch)).or_default();
        *count += 1;
        if *count == 1 {
            self.entries[usize::from(piece.level)] += 1;
            self.levels |= 1 << piece.level;
        }
    }

    /// Undoes one [`Cover::add`] of exactly this.
    pub fn remove(&mut self, blocks: &Range<u64>, epoch: Epoch) {
        pieces(blocks, |piece| self.remove_piece(piece, epoch));
    }

    fn remove_piece(&mut self, piece: Piece, epoch: Epoch) {
        self.count();
        match self.counts.get_mut(&(piece, epoch)) {
            None => debug_assert!(false, "uncovering what was not covered"),
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => {
                self.counts.remove(&(piece, epoch));
                let entries = &mut self.entries[usize::from(piece.level)];
                *entries -= 1;
                if *entries == 0 {
                    self.levels &= !(1 << piece.level);
                }
            }
        }
    }

    /// Changes the coverage from `old` to `new`. Pieces that both have in
    /// common are not touched.
    pub fn change(&mut self, old: &Range<u64>, new: &Range<u64>, epoch: Epoch) {
        pieces(new, |piece| {
            if !piece.is_of(old) {
                self.add_piece(piece, epoch);
            }
        });
        pieces(old, |piece| {
            if !piece.is_of(new) {
                self.remove_piece(piece, epoch);
            }
        });
    }

    /// Levels in use, from the finest.
    fn used_levels(&self) -> impl Iterator<Item = u8> + use<> {
        let mut left = self.levels;
        core::iter::from_fn(move || {
            let level = left.trailing_zeros();
            (left != 0).then(|| {
                left &= left - 1;
                level as u8
            })
        })
    }

    /// The first epoch at or after `epoch` at which `block` is covered.
    pub fn next(&self, block: u64, epoch: Epoch) -> Option<Epoch> {
        let next = |level| {
            self.count();
            let piece = Piece::holding(block, level);
            let mut later = self.counts.range((piece, epoch)..=(piece, Epoch::MAX));
            later.next().map(|((_, epoch), _)| *epoch)
        };
        self.used_levels().filter_map(next).min()
    }

    /// The last epoch before `before` at which `block` is covered.
    pub fn last(&self, block: u64, before: Epoch) -> Option<Epoch> {
        let last = |level| {
            self.count();
            let piece = Piece::holding(block, level);
            let mut earlier = self.counts.range((piece, 0)..(piece, before));
            earlier.next_back().map(|((_, epoch), _)| *epoch)
        };
        self.used_levels().filter_map(last).max()
    }

    /// For each level in use, its first piece at or after `block`.
    fn next_pieces(&self, block: u64) -> impl Iterator<Item = Piece> {
        let next = move |level: u8| {
            self.count();
            let from = (Piece::holding(block, level), 0);
            let (&(piece, _), _) = self.counts.range(from..).next()?;
            (piece.level == level).then_some(piece)
        };
        self.used_levels().filter_map(next)
    }

    /// The first block at or after `block` that is covered at all.
    pub fn next_block(&self, block: u64) -> Option<u64> {
        let starts = self.next_pieces(block).map(Piece::start);
        starts.min().map(|start| start.max(block))
    }

    /// The end of a stretch from `block` on, as long as is easily seen and no
    /// longer than to `end`, all blocks of which have the same answers.
    pub fn even(&self, block: u64, end: u64) -> u64 {
        let fits = end.saturating_sub(block).max(1).ilog2();
        let mut level = block.trailing_zeros().min(fits) as u8;
        if level == 0 {
            return block + 1;
        }
        for entry in self.next_pieces(block) {
            while level > entry.level && entry.start() < block + (1 << level) {
                level -= 1;
            }
        }
        block + (1 << level)
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Look-ups so far.
    pub fn lookups(&self) -> u64 {
        self.lookups.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_large_range_is_few_pieces() {
        let mut count = 0;
        pieces(&(3..(1 << 40) - 5), |_| count += 1);
        assert!(count < 80, "{count}");
    }

    #[test]
    fn an_entry_divides_what_is_larger_than_itself() {
        let mut cover = Cover::default();
        cover.add(&(0..16), 1);
        assert_eq!(cover.even(0, 16), 16, "its own size does not");
        assert_eq!((cover.even(0, 7), cover.even(4, 100)), (4, 8));
        cover.add(&(6..8), 1);
        assert_eq!(cover.even(0, 16), 4);
        cover.add(&(1..2), 1);
        assert_eq!((cover.even(0, 16), cover.even(8, 16)), (1, 16));
    }

    #[test]
    fn answers_equal_those_of_a_list() {
        let mut random = 12345u64;
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (random >> 33) % below
        };
        let mut cover = Cover::default();
        let mut list: Vec<(Range<u64>, u64)> = Vec::new();
        for _ in 0..3000 {
            match next(4) {
                0 if !list.is_empty() => {
                    let (range, epoch) = list.swap_remove(next(list.len() as u64) as usize);
                    cover.remove(&range, epoch);
                }
                1 if !list.is_empty() => {
                    let n = next(list.len() as u64) as usize;
                    let (range, epoch) = &mut list[n];
                    let start = next(60);
                    let new = start..start + next(40);
                    cover.change(range, &new, *epoch);
                    *range = new;
                }
                _ => {
                    let start = next(60);
                    let (range, epoch) = (start..start + next(40), 1 + next(9));
                    cover.add(&range, epoch);
                    list.push((range, epoch));
                }
            }
            let (block, epoch) = (next(100), next(10));
            let epochs = |block: u64| {
                let over = list.iter().filter(move |(r, _)| r.contains(&block));
                over.map(|(_, e)| *e)
            };
            let before = epochs(block).filter(|e| *e < epoch);
            assert_eq!(cover.last(block, epoch), before.max());
            let after = epochs(block).filter(|e| *e >= epoch);
            assert_eq!(cover.next(block, epoch), after.min());
            let starts = list.iter().filter(|(r, _)| r.end > block.max(r.start));
            let first = starts.map(|(r, _)| r.start.max(block)).min();
            assert_eq!(cover.next_block(block), first);
            let sorted = |block: u64| {
                let mut all: Vec<u64> = epochs(block).collect();
                all.sort_unstable();
                all.dedup();
                all
            };
            let even = cover.even(block, block + 40);
            assert!((block + 1..=block + 40).contains(&even));
            assert!((block..even).all(|b| sorted(b) == sorted(block)));
        }
        list.drain(..)
            .for_each(|(range, epoch)| cover.remove(&range, epoch));
        assert!(cover.is_empty());
    }
}
