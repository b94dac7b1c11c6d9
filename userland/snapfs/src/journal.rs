//! Blocks saved before they were overwritten, per file.
//!
//! An entry `(block, epoch) -> place` says: from the entry before it up to and
//! including `epoch`, the block's content was what is at `place`. So a
//! snapshot's block is the first entry at or after its epoch, else the live
//! file. An entry is added at most once per block and epoch, and lives while a
//! snapshot can reach it.

use crate::cover::Cover;
use abi::Errno;
use alloc::collections::{BTreeMap, BTreeSet};
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
}

/// The journal of one file.
#[cfg_attr(feature = "memory", derive(Clone))]
#[derive(Default)]
pub struct Journal {
    entries: BTreeMap<(u64, u64), Place>,
    /// The same keys the other way round: epoch, block.
    by_epoch: BTreeSet<(u64, u64)>,
    /// Epochs after which the file changed behind our back: what was live at
    /// or before one of them is lost.
    breaks: BTreeSet<u64>,
}

impl Journal {
    /// Where `block` as of `epoch` is.
    ///
    /// # Errors
    /// `ESTALE`: nobody has it any more.
    pub fn find(&self, block: u64, epoch: u64) -> Result<Place, Errno> {
        let entry = self
            .entries
            .range((block, epoch)..=(block, u64::MAX))
            .next();
        let until = entry.map_or(u64::MAX, |(key, _)| key.1);
        if !self.breaks.is_empty() && self.breaks.range(epoch..until).next().is_some() {
            return Err(Errno::ESTALE);
        }
        Ok(entry.map_or(Place::Live, |(_, place)| *place))
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
        let mut at = blocks.start;
        while at < blocks.end {
            let next = self.entries.range((at, 0)..(blocks.end, 0)).next();
            let Some((&(block, _), _)) = next else { break };
            if self
                .entries
                .range((block, epoch)..=(block, u64::MAX))
                .next()
                .is_some()
            {
                return Ok(block - blocks.start);
            }
            at = block + 1;
        }
        Ok(blocks.end - blocks.start)
    }

    /// Must `block` be saved before it is overwritten?
    pub fn must_save(&self, block: u64, cover: &Cover) -> bool {
        let Some(newest) = cover.newest(block) else {
            return false;
        };
        let saved = self
            .entries
            .range((block, newest)..=(block, u64::MAX))
            .next();
        let lost = self.breaks.range(newest..).next();
        saved.is_none() && lost.is_none()
    }

    /// Notes that `block` was `place` up to and including `epoch`. Whatever is
    /// already known for that epoch stays.
    pub fn save(&mut self, block: u64, epoch: u64, place: Place) {
        debug_assert!(place != Place::Live);
        self.entries.entry((block, epoch)).or_insert(place);
        self.by_epoch.insert((epoch, block));
    }

    /// Somebody changed the file behind our back after `epoch`.
    pub fn note_break(&mut self, epoch: u64) {
        self.breaks.insert(epoch);
    }

    /// A reference to `blocks` at `epoch` is gone from `cover`: forgets the
    /// entries that only it could reach and passes their slots to `freed`.
    ///
    /// What others reach is not scanned where one reference covers all of
    /// `blocks`: then only entries older than that one come into question.
    pub fn sweep(
        &mut self,
        blocks: Range<u64>,
        epoch: u64,
        cover: &Cover,
        mut freed: impl FnMut(Slot),
    ) {
        let dead = match cover.referred_by(blocks.clone(), epoch) {
            Some(reached) => self.unreached_until(reached, &blocks, epoch, cover),
            None => self.unreached(&blocks, epoch, cover),
        };
        for (block, last) in dead {
            self.by_epoch.remove(&(last, block));
            if let Some(Place::Saved(slot)) = self.entries.remove(&(block, last)) {
                freed(slot);
            }
        }
        if cover.is_empty() {
            self.breaks.clear();
        }
    }

    /// The entry that `epoch` reaches at `block`, if nobody else does.
    fn unreached_at(&self, block: u64, epoch: u64, cover: &Cover) -> Option<(u64, u64)> {
        let (&key, _) = self
            .entries
            .range((block, epoch)..=(block, u64::MAX))
            .next()?;
        let before = self.entries.range((block, 0)..key).next_back();
        let first = before.map_or(0, |(key, _)| key.1);
        (!cover.any(block, first, key.1)).then_some(key)
    }

    /// By block: a look-up for each saved block of the range.
    fn unreached(&self, blocks: &Range<u64>, epoch: u64, cover: &Cover) -> Vec<(u64, u64)> {
        let mut dead = Vec::new();
        let mut at = blocks.start;
        while let Some((&(block, _), _)) = self.entries.range((at, 0)..(blocks.end, 0)).next() {
            dead.extend(self.unreached_at(block, epoch, cover));
            at = block + 1;
        }
        dead
    }

    /// By epoch: a look-up for each entry in `epoch..reached`.
    fn unreached_until(
        &self,
        reached: u64,
        blocks: &Range<u64>,
        epoch: u64,
        cover: &Cover,
    ) -> Vec<(u64, u64)> {
        let entries = self.by_epoch.range((epoch, 0)..(reached, 0));
        let inside = entries.filter(|(_, block)| blocks.contains(block));
        let mut dead: Vec<_> = inside
            .filter_map(|(_, block)| self.unreached_at(*block, epoch, cover))
            .collect();
        dead.dedup();
        dead
    }

    /// Entries, for tests and counters.
    pub fn len(&self) -> usize {
        self.entries.len()
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
        journal.save(5, 3, A);
        journal.save(5, 7, Place::Zero);
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
        journal.save(5, 3, A);
        journal.note_break(4);
        journal.save(5, 9, Place::Zero);
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
        journal.save(1, 3, A);
        let mut freed = 0;
        cover.remove(0..8, 3);
        journal.sweep(0..8, 3, &cover, |_| freed += 1);
        assert_eq!((freed, journal.len()), (0, 1), "epoch 2 still reaches it");
        cover.remove(0..8, 2);
        journal.sweep(0..8, 2, &cover, |_| freed += 1);
        assert_eq!((freed, journal.len()), (1, 0));
    }

    #[test]
    fn a_block_is_saved_once_per_epoch_in_use() {
        let (mut journal, mut cover) = (Journal::default(), Cover::default());
        assert!(!journal.must_save(0, &cover), "nobody refers to it");
        cover.add(0..1, 4);
        assert!(journal.must_save(0, &cover));
        journal.save(0, 6, A);
        assert!(!journal.must_save(0, &cover), "saved already");
        cover.add(0..1, 7);
        assert!(journal.must_save(0, &cover), "a newer epoch");
    }
}
