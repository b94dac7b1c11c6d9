//! Values for aligned power-of-two pieces of a file's blocks, each at an epoch.
//!
//! A range of blocks is at most two pieces per level, and a block is in one
//! piece per level; so keeping something for a range of any size, and finding
//! what is kept for a block, cost a look-up per level in use.

use alloc::collections::BTreeMap;
use core::cell::Cell;
use core::ops::{Range, RangeInclusive};

/// Block numbers are below 2^52, so pieces have levels 0 to 52.
const LEVELS: usize = 64;

/// An aligned run of `1 << level` blocks, the `index`th of its level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Piece {
    pub level: u8,
    pub index: u64,
}

impl Piece {
    /// The piece that is one block.
    pub fn block(index: u64) -> Piece {
        Piece { level: 0, index }
    }

    /// The piece of `level` that holds `block`.
    fn holding(block: u64, level: u8) -> Piece {
        let index = block >> level;
        Piece { level, index }
    }

    /// Its first block.
    pub fn start(self) -> u64 {
        self.index << self.level
    }

    /// The block after its last.
    pub fn end(self) -> u64 {
        (self.index + 1) << self.level
    }

    /// The largest piece that begins at `block` and ends by `end`, which is
    /// after it.
    pub fn largest(block: u64, end: u64) -> Piece {
        let fits = end.saturating_sub(block).max(1).ilog2();
        Piece::holding(block, block.trailing_zeros().min(fits) as u8)
    }

    /// The piece that is twice as large and holds it.
    pub fn double(self) -> Piece {
        let (level, index) = (self.level + 1, self.index >> 1);
        Piece { level, index }
    }

    /// The other half of [`Piece::double`].
    pub fn neighbour(self) -> Piece {
        let (level, index) = (self.level, self.index ^ 1);
        Piece { level, index }
    }

    /// Blocks in it.
    pub fn len(self) -> u64 {
        1 << self.level
    }

    /// The half of it that comes first; `None` for a block.
    pub fn first_half(self) -> Option<Piece> {
        let level = self.level.checked_sub(1)?;
        let index = self.index << 1;
        Some(Piece { level, index })
    }
}

/// Calls `visit` for each of the largest aligned pieces that make up `blocks`.
pub fn pieces(blocks: Range<u64>, mut visit: impl FnMut(Piece)) {
    let (mut start, mut end, mut level) = (blocks.start, blocks.end, 0);
    while start < end {
        if start & 1 == 1 {
            let index = start;
            visit(Piece { level, index });
            start += 1;
        }
        if end & 1 == 1 {
            end -= 1;
            let index = end;
            visit(Piece { level, index });
        }
        (start, end, level) = (start >> 1, end >> 1, level + 1);
    }
}

/// A value for each of some pairs of a piece and an epoch.
#[cfg_attr(feature = "memory", derive(Clone))]
pub struct Pieces<V> {
    map: BTreeMap<(Piece, u64), V>,
    /// Entries per level.
    entries: [u32; LEVELS],
    /// Bit set: that level has entries.
    levels: u64,
    /// Look-ups so far: the unit in which work is counted.
    lookups: Cell<u64>,
}

impl<V> Default for Pieces<V> {
    fn default() -> Self {
        Pieces {
            map: BTreeMap::new(),
            entries: [0; LEVELS],
            levels: 0,
            lookups: Cell::new(0),
        }
    }
}

impl<V> Pieces<V> {
    fn count(&self) {
        self.counts(1);
    }

    /// Work that a scan does counts as well.
    pub fn counts(&self, lookups: usize) {
        self.lookups.set(self.lookups.get() + lookups as u64);
    }

    /// The value of `(piece, epoch)`, to be changed.
    pub fn get_mut(&mut self, piece: Piece, epoch: u64) -> Option<&mut V> {
        self.count();
        self.map.get_mut(&(piece, epoch))
    }

    /// The value of `(piece, epoch)`.
    pub fn get(&self, piece: Piece, epoch: u64) -> Option<&V> {
        self.count();
        self.map.get(&(piece, epoch))
    }

    /// Gives `(piece, epoch)` a value.
    pub fn insert(&mut self, piece: Piece, epoch: u64, value: V) {
        self.count();
        if self.map.insert((piece, epoch), value).is_none() {
            self.entries[usize::from(piece.level)] += 1;
            self.levels |= 1 << piece.level;
        }
    }

    /// Takes the value of `(piece, epoch)` out.
    pub fn remove(&mut self, piece: Piece, epoch: u64) -> Option<V> {
        self.count();
        let value = self.map.remove(&(piece, epoch))?;
        let entries = &mut self.entries[usize::from(piece.level)];
        *entries -= 1;
        if *entries == 0 {
            self.levels &= !(1 << piece.level);
        }
        Some(value)
    }

    /// Levels in use, from the finest.
    fn used_levels(&self) -> impl Iterator<Item = u8> + use<V> {
        let mut left = self.levels;
        core::iter::from_fn(move || {
            let level = left.trailing_zeros();
            (left != 0).then(|| {
                left &= left - 1;
                level as u8
            })
        })
    }

    /// The pieces that hold all of `piece`, of the levels in use.
    fn around(&self, piece: Piece) -> impl Iterator<Item = Piece> + use<V> {
        let levels = self.used_levels().filter(move |at| *at >= piece.level);
        levels.map(move |level| Piece::holding(piece.start(), level))
    }

    /// The entry with the smallest epoch in `epochs` among those that hold all
    /// of `piece`.
    pub fn first_over(
        &self,
        piece: Piece,
        epochs: RangeInclusive<u64>,
    ) -> Option<(&(Piece, u64), &V)> {
        let first = |around: Piece| {
            self.count();
            let range = (around, *epochs.start())..=(around, *epochs.end());
            self.map.range(range).next()
        };
        let firsts = self.around(piece).filter_map(first);
        firsts.min_by_key(|((_, epoch), _)| *epoch)
    }

    /// The greatest epoch before `before` of those that hold all of `piece`.
    pub fn last_before(&self, piece: Piece, before: u64) -> Option<u64> {
        let last = |around: Piece| {
            self.count();
            let mut earlier = self.map.range((around, 0)..(around, before));
            earlier.next_back().map(|((_, epoch), _)| *epoch)
        };
        self.around(piece).filter_map(last).max()
    }

    /// Per level in use, the first piece at or after `block` with entries.
    pub fn next_at(&self, block: u64) -> impl Iterator<Item = Piece> {
        let next = move |level: u8| {
            self.count();
            let from = (Piece::holding(block, level), 0);
            let (&(piece, _), _) = self.map.range(from..).next()?;
            (piece.level == level).then_some(piece)
        };
        self.used_levels().filter_map(next)
    }

    /// The largest piece at the beginning of `piece` that no entry divides.
    pub fn undivided(&self, mut piece: Piece) -> Piece {
        for entry in self.next_at(piece.start()) {
            while piece.level > entry.level && entry.start() < piece.end() {
                piece = piece.first_half().unwrap_or(piece);
            }
        }
        piece
    }

    /// The pieces with entries that lie inside `blocks`, one per call, level
    /// by level: the first after `after`.
    pub fn next_inside(&self, blocks: &Range<u64>, after: Option<Piece>) -> Option<Piece> {
        let begin = after.map_or(0, |piece| piece.level);
        for level in self.used_levels().filter(|level| *level >= begin) {
            let same = after.filter(|piece| piece.level == level);
            // Rounded up: a piece that begins before `blocks` is not inside.
            let least = (blocks.start >> level) + u64::from(blocks.start & ((1 << level) - 1) != 0);
            let index = same.map_or(least, |piece| piece.index + 1);
            self.count();
            let from = (Piece { level, index }, 0);
            if let Some((&(piece, _), _)) = self.map.range(from..).next()
                && piece.level == level
                && piece.end() <= blocks.end
            {
                return Some(piece);
            }
        }
        None
    }

    /// Are the entries inside `piece`, smaller than it, exactly those of its two
    /// halves at `epoch`?
    pub fn is_halved(&self, piece: Piece, epoch: u64) -> bool {
        let mut halves = 0;
        for level in self.used_levels().take_while(|level| *level < piece.level) {
            self.count();
            let from = (Piece::holding(piece.start(), level), 0);
            let inside = self.map.range(from..).map(|(key, _)| *key);
            let inside = inside.take_while(|(at, _)| at.level == level && at.start() < piece.end());
            for (at, of) in inside {
                if at.double() != piece || of != epoch {
                    return false;
                }
                halves += 1;
            }
        }
        halves == 2
    }

    /// The first epoch at or after `epoch` of the entries of exactly `piece`.
    pub fn next_of(&self, piece: Piece, epoch: u64) -> Option<u64> {
        self.count();
        let range = (piece, epoch)..=(piece, u64::MAX);
        self.map.range(range).next().map(|((_, epoch), _)| *epoch)
    }

    /// Is there an entry `(piece, epoch)`?
    pub fn has(&self, piece: Piece, epoch: u64) -> bool {
        self.count();
        self.map.contains_key(&(piece, epoch))
    }

    /// The first of `blocks` that has an entry at or after `epoch`.
    pub fn next_since(&self, blocks: &Range<u64>, epoch: u64) -> Option<u64> {
        let mut least = blocks.end;
        for level in self.used_levels() {
            let mut at = Piece::holding(blocks.start, level);
            while at.start() < least {
                self.count();
                let Some((&(piece, _), _)) = self.map.range((at, 0)..).next() else {
                    break;
                };
                if piece.level != level || piece.start() >= least {
                    break;
                }
                if self.next_of(piece, epoch).is_some() {
                    least = piece.start().max(blocks.start);
                    break;
                }
                at.index = piece.index + 1;
            }
        }
        (least < blocks.end).then_some(least)
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// No entries.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Look-ups so far.
    pub fn lookups(&self) -> u64 {
        self.lookups.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_range_is_few_pieces() {
        let mut count = 0;
        pieces(3..(1 << 40) - 5, |_| count += 1);
        assert!(count < 80, "{count}");
    }

    #[test]
    fn the_largest_piece_fits_and_is_aligned() {
        assert_eq!(
            Piece::largest(0, 1 << 30),
            Piece {
                level: 30,
                index: 0
            }
        );
        assert_eq!(Piece::largest(0, 7), Piece { level: 2, index: 0 });
        assert_eq!(Piece::largest(4, 100), Piece { level: 2, index: 1 });
        assert_eq!(Piece::largest(5, 100), Piece::block(5));
    }

    #[test]
    fn an_entry_divides_what_is_larger_than_itself() {
        let mut some = Pieces::default();
        let all = Piece { level: 4, index: 0 };
        some.insert(all, 1, ());
        assert_eq!(some.undivided(all), all, "its own size does not");
        some.insert(Piece { level: 1, index: 3 }, 1, ());
        assert_eq!(some.undivided(all), Piece { level: 2, index: 0 });
        some.insert(Piece::block(1), 1, ());
        assert_eq!(some.undivided(all), Piece::block(0));
        assert_eq!(some.undivided(Piece { level: 3, index: 1 }).level, 3);
        let mut inside = alloc::vec::Vec::new();
        while let Some(piece) = some.next_inside(&(1..16), inside.last().copied()) {
            inside.push(piece);
        }
        assert_eq!(inside, [Piece::block(1), Piece { level: 1, index: 3 }]);
    }
}
