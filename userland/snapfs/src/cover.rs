//! Which epochs of which blocks live snapshots refer to: the question "must
//! this block be rescued?" for any number of snapshots.
//!
//! A range of blocks is kept as the aligned power-of-two pieces it is made of
//! (at most two per level), each with its epoch and a count. A block is in one
//! piece per level, so a query costs a look-up per level in use, however many
//! snapshots there are. What is removed must have been added in the same cut.

use alloc::collections::BTreeMap;
use core::ops::Range;

/// Block numbers are below 2^52, so pieces have levels 0 to 52.
const LEVELS: usize = 64;

/// Counts of `(piece, epoch)`. Epochs begin at 1.
#[cfg_attr(feature = "memory", derive(Clone))]
pub struct Cover {
    /// Key: level, index at that level, epoch.
    counts: BTreeMap<(u8, u64, u64), u32>,
    /// Entries per level.
    entries: [u32; LEVELS],
    /// Bit set: that level has entries.
    levels: u64,
}

impl Default for Cover {
    fn default() -> Self {
        Cover {
            counts: BTreeMap::new(),
            entries: [0; LEVELS],
            levels: 0,
        }
    }
}

/// Calls `visit(level, index)` for each aligned piece of `blocks`.
fn pieces(blocks: Range<u64>, mut visit: impl FnMut(u8, u64)) {
    let (mut start, mut end, mut level) = (blocks.start, blocks.end, 0);
    while start < end {
        if start & 1 == 1 {
            visit(level, start);
            start += 1;
        }
        if end & 1 == 1 {
            end -= 1;
            visit(level, end);
        }
        (start, end, level) = (start >> 1, end >> 1, level + 1);
    }
}

impl Cover {
    /// One more reference to `blocks` as of `epoch`.
    pub fn add(&mut self, blocks: Range<u64>, epoch: u64) {
        pieces(blocks, |level, index| {
            let count = self.counts.entry((level, index, epoch)).or_insert(0);
            *count += 1;
            if *count == 1 {
                self.entries[usize::from(level)] += 1;
                self.levels |= 1 << level;
            }
        });
    }

    /// Undoes one [`Cover::add`] of exactly this.
    pub fn remove(&mut self, blocks: Range<u64>, epoch: u64) {
        pieces(blocks, |level, index| {
            let key = (level, index, epoch);
            let Some(count) = self.counts.get_mut(&key) else {
                debug_assert!(false, "uncovering what was not covered");
                return;
            };
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&key);
                let entries = &mut self.entries[usize::from(level)];
                *entries -= 1;
                if *entries == 0 {
                    self.levels &= !(1 << level);
                }
            }
        });
    }

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

    /// The newest epoch at which somebody refers to `block`.
    pub fn newest(&self, block: u64) -> Option<u64> {
        let newest_at = |level: u8| {
            let index = block >> level;
            let range = (level, index, 0)..=(level, index, u64::MAX);
            self.counts.range(range).next_back().map(|(key, _)| key.2)
        };
        self.used_levels().filter_map(newest_at).max()
    }

    /// Does anybody refer to `block` at an epoch in `(after, upto]`?
    pub fn any(&self, block: u64, after: u64, upto: u64) -> bool {
        after < upto
            && self.used_levels().any(|level| {
                let index = block >> level;
                let range = (level, index, after + 1)..=(level, index, upto);
                self.counts.range(range).next().is_some()
            })
    }

    /// The smallest epoch, at or after `epoch`, by which every one of `blocks`
    /// is referred to at least once since `epoch`; `None` if one is not.
    pub fn referred_by(&self, blocks: Range<u64>, epoch: u64) -> Option<u64> {
        let mut latest = Some(epoch);
        pieces(blocks, |level, index| {
            let next_at = |at: u8| {
                let index = index >> (at - level);
                let range = (at, index, epoch)..=(at, index, u64::MAX);
                self.counts.range(range).next().map(|(key, _)| key.2)
            };
            let above = self.used_levels().filter(|at| *at >= level);
            let next = above.filter_map(next_at).min();
            latest = latest.zip(next).map(|(a, b)| a.max(b));
        });
        latest
    }

    /// The first block at or after `from` that anybody refers to.
    pub fn next_covered(&self, from: u64) -> Option<u64> {
        let next_at = |level: u8| {
            let range = (level, from >> level, 0)..(level + 1, 0, 0);
            let (&(_, index, _), _) = self.counts.range(range).next()?;
            Some(from.max(index << level))
        };
        self.used_levels().filter_map(next_at).min()
    }

    /// Nothing is referred to.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_large_range_is_few_pieces() {
        let mut count = 0;
        pieces(3..(1 << 40) - 5, |_, _| count += 1);
        assert!(count < 80, "{count}");
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
                cover.any(block, after, upto),
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
        assert!(cover.is_empty() && cover.levels == 0);
    }
}
