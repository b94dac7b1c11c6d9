//! Blocks saved before they were overwritten, per file.
//!
//! An entry `(piece, epoch) -> place` says for every block of the piece: from
//! the entry before it up to and including `epoch`, the block's content was
//! what is at `place`. So a snapshot's block is the first entry at or after its
//! epoch, else the live file. An entry is added at most once per block and
//! epoch, and lives while a snapshot can reach it.
//!
//! Blocks saved side by side are one entry, and that a terabyte was zeros is
//! one: neighbours join when it is so. Whoever refers to a part of an entry's
//! piece at an epoch that reaches it refers to all of it: an entry is made no
//! larger than that, and is cut when somebody comes to refer to less.

use crate::cover::Cover;
use crate::pieces::{Piece, Pieces, pieces};
use abi::Errno;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::Range;

/// A place in the temporary store. The generation tells two uses of one place
/// apart, so that a read can find out that its place was given away meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    /// Offset in the store, in blocks.
    pub index: u32,
    /// Differs between uses.
    pub generation: u32,
}

/// Where a block's content is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the file itself.
    Live,
    /// Nowhere: it was all zeros.
    Zero,
    /// In the temporary store.
    Saved(Slot),
    /// Gone: it could not be saved, and nobody minded.
    Lost,
}

impl Place {
    /// Where a block is that lies `blocks` after one that is here, if both were
    /// saved side by side.
    pub fn after(self, blocks: u64) -> Place {
        match self {
            Place::Saved(slot) => Place::Saved(Slot {
                // Slots of one entry exist, so this does not overflow.
                index: slot.index.saturating_add(blocks as u32),
                ..slot
            }),
            same => same,
        }
    }

    /// Is it `before`, `blocks` further on?
    fn continues(self, before: Place, blocks: u64) -> bool {
        match (before.after(blocks), self) {
            (Place::Saved(expected), Place::Saved(slot)) => expected.index == slot.index,
            (expected, place) => expected == place,
        }
    }
}

/// Up to so many entries are looked through one by one for the nearest.
const FEW: usize = 64;

/// Looking for a block's next entry costs as much as going through so many.
const EPOCHS_PER_BLOCK: usize = 8;

/// The journal of one file.
#[cfg_attr(feature = "memory", derive(Clone))]
#[derive(Default)]
pub struct Journal {
    /// By piece and epoch: where the first block of the piece is.
    entries: Pieces<Place>,
    /// The same keys the other way round.
    by_epoch: BTreeSet<(u64, Piece)>,
    /// Epochs after which the file changed behind our back: what was live at
    /// or before one of them is lost.
    breaks: BTreeSet<u64>,
    /// What was noted since somebody asked, for those who write it down.
    news: Vec<Noted>,
}

/// Something that a journal knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Noted {
    /// An entry.
    Saved(Piece, u64, Place),
    /// Somebody changed the file behind our back after this epoch.
    Broken(u64),
}

impl Journal {
    /// Where `block` as of `epoch` is: [`Place::Lost`] is an error.
    ///
    /// # Errors
    /// `ESTALE`: nobody has it any more.
    pub fn find(&self, block: u64, epoch: u64) -> Result<Place, Errno> {
        let entry = self
            .entries
            .first_over(Piece::block(block), epoch..=u64::MAX);
        let until = entry.map_or(u64::MAX, |((_, last), _)| *last);
        let broken = !self.breaks.is_empty() && self.breaks.range(epoch..until).next().is_some();
        match entry {
            Some((_, Place::Lost)) => Err(Errno::ESTALE),
            _ if broken => Err(Errno::ESTALE),
            Some(((piece, _), place)) => Ok(place.after(block - piece.start())),
            None => Ok(Place::Live),
        }
    }

    /// The blocks at the front of `blocks` that are all live at `epoch`, as a
    /// count; zero if the first one is not.
    ///
    /// # Errors
    /// `ESTALE` if the first is lost.
    pub fn live_run(&self, blocks: Range<u64>, epoch: u64) -> Result<u64, Errno> {
        if self.breaks.range(epoch..).next().is_some() {
            // Nothing live is valid; entries may be.
            return match self.find(blocks.start, epoch)? {
                Place::Live => Err(Errno::ESTALE),
                _ => Ok(0),
            };
        }
        if self.entries.is_empty() {
            return Ok(blocks.end - blocks.start);
        }
        let next = self.next_saved(&blocks, epoch);
        Ok(next.unwrap_or(blocks.end) - blocks.start)
    }

    /// Where the first of `blocks` is as of `epoch`, and how many blocks from
    /// there on are at such a place, too: all live, or zeros, or saved side by
    /// side.
    ///
    /// # Errors
    /// `ESTALE`: nobody has it any more.
    pub fn run(&self, blocks: Range<u64>, epoch: u64) -> Result<(Place, u64), Errno> {
        match self.live_run(blocks.clone(), epoch)? {
            0 => {
                let even = self.undivided(Piece::largest(blocks.start, blocks.end));
                let place = self.find(blocks.start, epoch)?;
                Ok((place, even.end() - blocks.start))
            }
            live => Ok((Place::Live, live)),
        }
    }

    /// The first of `blocks` that has an entry at or after `epoch`.
    fn next_saved(&self, blocks: &Range<u64>, epoch: u64) -> Option<u64> {
        let inside = |piece: Piece| piece.start() < blocks.end && piece.end() > blocks.start;
        let since = self.by_epoch.range((epoch, Piece::block(0))..);
        let mut few = since.take(FEW + 1);
        let (mut count, mut least) = (0, None);
        for (_, piece) in few.by_ref() {
            count += 1;
            if inside(*piece) {
                let start = piece.start().max(blocks.start);
                least = Some(least.map_or(start, |least: u64| least.min(start)));
            }
        }
        self.entries.counts(count);
        if count <= FEW {
            return least;
        }
        self.entries.next_since(blocks, epoch)
    }

    /// Does `block` have an entry at or after `epoch`, or is it lost?
    pub fn is_settled(&self, block: u64, epoch: u64) -> bool {
        let saved = self
            .entries
            .first_over(Piece::block(block), epoch..=u64::MAX);
        saved.is_some() || self.breaks.range(epoch..).next().is_some()
    }

    /// Notes that all of `piece` was `place` up to and including `epoch`, the
    /// newest so far. No entry may divide it ([`Journal::undivided`]).
    pub fn save(&mut self, piece: Piece, epoch: u64, place: Place) {
        debug_assert!(place != Place::Live);
        self.insert(piece, epoch, place);
        self.news.push(Noted::Saved(piece, epoch, place));
    }

    fn insert(&mut self, piece: Piece, epoch: u64, place: Place) {
        self.entries.insert(piece, epoch, place);
        self.by_epoch.insert((epoch, piece));
    }

    /// What was noted and not forgotten as news, the oldest first.
    pub fn news(&self) -> &[Noted] {
        &self.news
    }

    /// The first `count` of [`Journal::news`] are none any more. When nothing is
    /// news, what they say may join: it will not be told again.
    pub fn forget_news(&mut self, count: usize, cover: &Cover) {
        let count = count.min(self.news.len());
        if count < self.news.len() {
            self.news.drain(..count);
            return;
        }
        for noted in core::mem::take(&mut self.news) {
            if let Noted::Saved(piece, epoch, _) = noted {
                self.join(piece, epoch, cover);
            }
        }
    }

    /// Makes one entry of that of `piece` and its neighbour's, and so on, while
    /// they say the same and everybody refers to both or to none.
    fn join(&mut self, mut piece: Piece, epoch: u64, cover: &Cover) {
        while let Some(place) = self.joined(piece, epoch, cover) {
            for half in [piece, piece.neighbour()] {
                self.entries.remove(half, epoch);
                self.by_epoch.remove(&(epoch, half));
            }
            piece = piece.double();
            self.insert(piece, epoch, place);
        }
    }

    /// What the entry of the double of `piece` would say.
    fn joined(&self, piece: Piece, epoch: u64, cover: &Cover) -> Option<Place> {
        let place = *self.entries.get(piece, epoch)?;
        let other = *self.entries.get(piece.neighbour(), epoch)?;
        let double = piece.double();
        let (first, second) = match piece.start() == double.start() {
            true => (place, other),
            false => (other, place),
        };
        let one = second.continues(first, piece.len())
            && cover.undivided(double) == double
            && self.entries.is_halved(double, epoch);
        one.then_some(first)
    }

    /// Everything that is known.
    pub fn all(&self) -> impl Iterator<Item = Noted> {
        let entry = |key: &(u64, Piece)| {
            let (epoch, piece) = *key;
            let place = self.entries.get(piece, epoch)?;
            Some(Noted::Saved(piece, epoch, *place))
        };
        let breaks = self.breaks.iter().map(|epoch| Noted::Broken(*epoch));
        breaks.chain(self.by_epoch.iter().filter_map(entry))
    }

    /// Forgets every entry that nobody reaches.
    pub fn sweep_all(&mut self, cover: &Cover, mut freed: impl FnMut(Slot, u64)) {
        let entries: Vec<_> = self.by_epoch.iter().copied().collect();
        for (last, piece) in entries {
            self.forget_unreached((piece, last), cover, &mut freed);
        }
    }

    /// The largest piece at the beginning of `piece` for all blocks of which
    /// the journal says the same.
    pub fn undivided(&self, piece: Piece) -> Piece {
        self.entries.undivided(piece)
    }

    /// Cuts the entry that `epoch` reaches at block `at` in two there, so that
    /// the two can be forgotten apart.
    pub fn cut(&mut self, at: u64, epoch: u64) {
        let entry = self.entries.first_over(Piece::block(at), epoch..=u64::MAX);
        let Some((&(note, last), &place)) = entry else {
            return;
        };
        if note.start() == at {
            return;
        }
        self.entries.remove(note, last);
        self.by_epoch.remove(&(last, note));
        for side in [note.start()..at, at..note.end()] {
            pieces(side, |piece| {
                self.insert(piece, last, place.after(piece.start() - note.start()));
            });
        }
    }

    /// Somebody changed the file behind our back after `epoch`.
    pub fn note_break(&mut self, epoch: u64) {
        if self.breaks.insert(epoch) {
            self.news.push(Noted::Broken(epoch));
        }
    }

    /// A reference to `blocks` at `epoch` is gone from `cover`: forgets the
    /// entries that only it could reach and passes their slots, the first one and
    /// how many, to `freed`.
    pub fn sweep(
        &mut self,
        blocks: Range<u64>,
        epoch: u64,
        cover: &Cover,
        mut freed: impl FnMut(Slot, u64),
    ) {
        let reached = cover.referred_by(blocks.clone(), epoch);
        for entry in self.candidates(&blocks, epoch, reached) {
            self.forget_unreached(entry, cover, &mut freed);
        }
    }

    /// Nobody refers to anything.
    pub fn end(&mut self) {
        debug_assert!(self.entries.is_empty(), "an entry nobody reaches");
        self.breaks.clear();
    }

    /// The entries that a reference to `blocks` at `epoch` may have been alone
    /// to reach. If others refer to all of `blocks` by the epoch `reached`, only
    /// older entries come into question, wherever they are. Else, or if there
    /// are more of those, it may be the next one of each piece. Both are looked
    /// through at once, and whichever ends first is the answer.
    fn candidates(
        &self,
        blocks: &Range<u64>,
        epoch: u64,
        reached: Option<u64>,
    ) -> Vec<(Piece, u64)> {
        let first = Piece::block(0);
        let mut since =
            reached.map(|reached| self.by_epoch.range((epoch, first)..(reached, first)));
        let (mut older, mut next, mut after) = (Vec::new(), Vec::new(), None);
        loop {
            for _ in 0..EPOCHS_PER_BLOCK {
                let Some(since) = &mut since else { break };
                let Some(&(last, piece)) = since.next() else {
                    return older;
                };
                self.entries.counts(1);
                if blocks.start <= piece.start() && piece.end() <= blocks.end {
                    older.push((piece, last));
                }
            }
            match self.entries.next_inside(blocks, after) {
                Some(piece) => {
                    let last = self.entries.next_of(piece, epoch);
                    next.extend(last.map(|last| (piece, last)));
                    after = Some(piece);
                }
                None => return next,
            }
        }
    }

    /// Forgets an entry if nobody reaches it. Then the next one is looked at,
    /// too: it may have been kept for those who reached this one.
    fn forget_unreached(
        &mut self,
        (mut piece, mut last): (Piece, u64),
        cover: &Cover,
        freed: &mut impl FnMut(Slot, u64),
    ) {
        while self.entries.has(piece, last) && self.is_unreached(piece, last, cover) {
            self.by_epoch.remove(&(last, piece));
            if let Some(Place::Saved(slot)) = self.entries.remove(piece, last) {
                let gone = Noted::Saved(piece, last, Place::Saved(slot));
                self.news.retain(|noted| *noted != gone);
                freed(slot, piece.len());
            }
            match self.entries.first_over(piece, last + 1..=u64::MAX) {
                Some((next, _)) => (piece, last) = *next,
                None => return,
            }
        }
    }

    /// Who reaches an entry refers to all of its piece: entries are made, joined
    /// and cut so that it is so.
    fn is_unreached(&self, piece: Piece, last: u64, cover: &Cover) -> bool {
        let before = self.entries.last_before(piece, last).unwrap_or(0);
        !cover.any(piece, before, last)
    }

    /// Entries, for tests and counters.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Look-ups so far.
    pub fn lookups(&self) -> u64 {
        self.entries.lookups()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Place = Place::Saved(Slot {
        index: 1,
        generation: 1,
    });

    #[test]
    fn a_snapshot_sees_the_first_entry_at_or_after_its_epoch() {
        let mut journal = Journal::default();
        journal.save(Piece::block(5), 3, A);
        journal.save(Piece::block(5), 7, Place::Zero);
        assert_eq!(journal.find(5, 2), Ok(A));
        assert_eq!(journal.find(5, 3), Ok(A));
        assert_eq!(journal.find(5, 4), Ok(Place::Zero));
        assert_eq!(journal.find(5, 8), Ok(Place::Live));
        assert_eq!(journal.find(4, 2), Ok(Place::Live));
        assert_eq!(journal.live_run(0..9, 4), Ok(5));
        assert_eq!(journal.live_run(0..9, 8), Ok(9));
    }

    #[test]
    fn a_break_loses_what_was_live_and_nothing_else() {
        let mut journal = Journal::default();
        journal.save(Piece::block(5), 3, A);
        journal.note_break(4);
        journal.save(Piece::block(5), 9, Place::Zero);
        assert_eq!(journal.find(5, 2), Ok(A));
        assert_eq!(journal.find(5, 4), Err(Errno::ESTALE));
        assert_eq!(journal.find(5, 5), Ok(Place::Zero));
        assert_eq!(journal.find(6, 4), Err(Errno::ESTALE));
        assert_eq!(journal.find(6, 5), Ok(Place::Live));
    }

    #[test]
    fn a_sweep_frees_only_what_nobody_else_reaches() {
        let (mut journal, mut cover) = (Journal::default(), Cover::default());
        cover.add(0..8, 2);
        cover.add(0..8, 3);
        journal.save(Piece::block(1), 3, A);
        let mut freed = 0;
        cover.remove(0..8, 3);
        journal.sweep(0..8, 3, &cover, |_, _| freed += 1);
        assert_eq!((freed, journal.len()), (0, 1), "epoch 2 still reaches it");
        cover.remove(0..8, 2);
        journal.sweep(0..8, 2, &cover, |_, _| freed += 1);
        assert_eq!((freed, journal.len()), (1, 0));
    }
}
