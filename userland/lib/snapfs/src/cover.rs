//! Which epochs of which blocks live snapshots refer to: the question "must
//! this block be rescued?" for any number of snapshots.
//!
//! A range of blocks is kept as the aligned power-of-two pieces it is made of
//! (at most two per level), each with its epoch and a count. A block is in one
//! piece per level, so a query costs a look-up per level in use, however many
//! snapshots there are. What is removed must have been added in the same cut.

use crate::pieces::{Piece, Pieces, pieces};
use core::ops::Range;

/// Counts of `(piece, epoch)`. Epochs begin at 1.
#[derive(Default)]
#[cfg_attr(feature = "memory", derive(Clone))]
pub struct Cover {
    counts: Pieces<u32>,
}

impl Cover {
    /// One more reference to `blocks` as of `epoch`.
    pub fn add(&mut self, blocks: Range<u64>, epoch: u64) {
        pieces(blocks, |piece| match self.counts.get_mut(piece, epoch) {
            Some(count) => *count += 1,
            None => self.counts.insert(piece, epoch, 1),
        });
    }

    /// Undoes one [`Cover::add`] of exactly this.
    pub fn remove(&mut self, blocks: Range<u64>, epoch: u64) {
        pieces(blocks, |piece| match self.counts.get_mut(piece, epoch) {
            None => debug_assert!(false, "uncovering what was not covered"),
            Some(1) => {
                self.counts.remove(piece, epoch);
            }
            Some(count) => *count -= 1,
        });
    }

    /// The newest epoch at which somebody refers to `block`.
    pub fn newest(&self, block: u64) -> Option<u64> {
        self.counts.last_before(Piece::block(block), u64::MAX)
    }

    /// Does anybody refer to all of `piece` at an epoch in `(after, upto]`?
    /// Who refers to a part of it is not seen.
    pub fn any(&self, piece: Piece, after: u64, upto: u64) -> bool {
        after < upto && self.counts.first_over(piece, after + 1..=upto).is_some()
    }

    /// The smallest epoch, at or after `epoch`, by which every one of `blocks`
    /// is referred to at least once since `epoch`; `None` if one is not.
    pub fn referred_by(&self, blocks: Range<u64>, epoch: u64) -> Option<u64> {
        let mut latest = Some(epoch);
        pieces(blocks, |piece| {
            let next = self.counts.first_over(piece, epoch..=u64::MAX);
            latest = latest.zip(next).map(|(a, ((_, b), _))| a.max(*b));
        });
        latest
    }

    /// The first block at or after `from` that anybody refers to.
    pub fn next_covered(&self, from: u64) -> Option<u64> {
        let starts = self.counts.next_at(from).map(|piece| piece.start());
        starts.min().map(|start| start.max(from))
    }

    /// The largest piece at the beginning of `piece` of which the same is true
    /// for every block.
    pub fn undivided(&self, piece: Piece) -> Piece {
        self.counts.undivided(piece)
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Nothing is referred to.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Look-ups so far.
    pub fn lookups(&self) -> u64 {
        self.counts.lookups()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

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
        for _ in 0..2000 {
            if next(3) == 0 && !list.is_empty() {
                let (range, epoch) = list.swap_remove(next(list.len() as u64) as usize);
                cover.remove(range, epoch);
            } else {
                let start = next(60);
                let (range, epoch) = (start..start + next(40), 1 + next(9));
                cover.add(range.clone(), epoch);
                list.push((range, epoch));
            }
            let block = next(100);
            let epochs = || {
                list.iter()
                    .filter(|(r, _)| r.contains(&block))
                    .map(|(_, e)| *e)
            };
            assert_eq!(cover.newest(block), epochs().max());
            let (after, upto) = (next(10), next(10));
            assert_eq!(
                cover.any(Piece::block(block), after, upto),
                epochs().any(|e| after < e && e <= upto)
            );
            let range = block..block + next(9);
            let by = |b: u64| {
                let over = list.iter().filter(|(r, e)| r.contains(&b) && *e >= after);
                over.map(|(_, e)| *e).min()
            };
            if let Some(epoch) = cover.referred_by(range.clone(), after) {
                assert!(range.clone().all(|b| by(b).is_some_and(|e| e <= epoch)));
            }
            let starts = list.iter().filter(|(r, _)| r.end > block.max(r.start));
            let first = starts.map(|(r, _)| r.start.max(block)).min();
            assert_eq!(cover.next_covered(block), first);
        }
        list.drain(..)
            .for_each(|(range, epoch)| cover.remove(range, epoch));
        assert!(cover.is_empty());
    }
}
