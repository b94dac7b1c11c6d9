//! The places of the temporary store that are in use, and the knowledge about
//! their content.

use crate::BLOCK;
use crate::budget::{Budget, Growth, Share, reserve};
use crate::versions::{self, Slot};
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::Range;
use ranges::RangeMap;

/// Places of one window of a file, see [`versions::WINDOW`].
const WINDOW: u32 = versions::WINDOW as u32;

/// Bytes that a block in memory takes.
const IN_MEMORY: usize = BLOCK as usize + 64;
/// Bytes that the checksum of a place takes, and the note that it was given back.
const CHECK: usize = 48;

/// The places of the store.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Default)]
pub struct Slots {
    /// Places that were used and given back: where there is no room for new ones,
    /// these still have theirs.
    free: RangeMap<()>,
    /// Places below `end` that were never used.
    gaps: RangeMap<()>,
    /// Places at and after this one were never used.
    end: u32,
    used: u32,
    /// How many are in `free`.
    spare: u32,
    generation: u32,
    /// The known checksums of places.
    checks: BTreeMap<u32, Check>,
    /// Remembered places that were given back and not yet told of.
    freed: Vec<u32>,
    /// The content of places, if it is in memory.
    blocks: BTreeMap<u32, Vec<u8>>,
    /// The memory charged for content and checksums.
    share: Option<Share>,
}

/// The check of a block in the store.
#[derive(Clone, Copy)]
pub struct Check {
    pub check: u64,
    /// An earlier instance wrote it: it may have been torn.
    pub doubtful: bool,
}

fn range(index: u32, count: u32) -> Range<u64> {
    u64::from(index)..u64::from(index) + u64::from(count)
}

impl Slots {
    /// Places side by side for `block` of a file and the ones after it, at most
    /// `most` and at least one: the first, and how many. They begin at `wanted`
    /// if that is free, else in a new window, unless less is in use than was used
    /// and given back.
    ///
    /// # Errors
    /// `ENOSPC` when 2^32 blocks are in use.
    pub fn take(
        &mut self,
        wanted: Option<u32>,
        block: u64,
        most: u32,
    ) -> Result<(Slot, u32), Errno> {
        if let Some(index) = wanted
            && let count @ 1.. = self.room_at(index, most)
        {
            return Ok(self.take_at(index, count));
        }
        let within = (block % u64::from(WINDOW)) as u32;
        let window = self.end.checked_next_multiple_of(WINDOW);
        let window = window.and_then(|start| start.checked_add(within));
        match window.map(|index| (index, self.room_at(index, most))) {
            Some((index, count)) if count > 0 && self.spare <= self.used => {
                Ok(self.take_at(index, count))
            }
            _ => self.take_lowest(most),
        }
    }

    /// The same for the lowest places that were used before, as long as there are
    /// some.
    ///
    /// # Errors
    /// As [`Slots::take`].
    pub fn take_lowest(&mut self, most: u32) -> Result<(Slot, u32), Errno> {
        let free = self.free.iter().chain(self.gaps.iter()).next();
        let index = free.map_or(self.end, |lowest| lowest.start as u32);
        match self.room_at(index, most) {
            0 => Err(Errno::ENOSPC),
            count => Ok(self.take_at(index, count)),
        }
    }

    /// Returns true if there are places to reuse.
    pub fn has_spare(&self) -> bool {
        self.spare > 0
    }

    /// How many places side by side are free from `index` on, as is easily seen.
    fn room_at(&self, index: u32, most: u32) -> u32 {
        if index >= self.end {
            return most.min(u32::MAX - index);
        }
        let at = u64::from(index);
        // A gap is reserved for other blocks of its window.
        let in_gap = || Some((self.gaps.at(at)?, most.min(WINDOW - index % WINDOW)));
        let free = self.free.at(at).map(|span| (span, most)).or_else(in_gap);
        free.map_or(0, |(span, most)| most.min((span.end - at) as u32))
    }

    fn take_at(&mut self, index: u32, count: u32) -> (Slot, u32) {
        let taken = range(index, count);
        if index > self.end {
            self.gaps
                .replace(range(self.end, index - self.end), Some(()));
        }
        if self.free.at(u64::from(index)).is_some() {
            self.free.replace(taken.clone(), None);
            self.spare -= count;
        }
        self.gaps.replace(taken, None);
        self.end = self.end.max(index + count);
        self.used += count;
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        (Slot { index, generation }, count)
    }

    /// Nothing refers to the `count` places from `slot` on any more.
    pub fn give_back(&mut self, slot: Slot, count: u64) {
        let count = count as u32;
        self.forget(slot.index, count);
        self.free.replace(range(slot.index, count), Some(()));
        self.spare += count;
        self.end_if_unused();
    }

    /// Returns places that could not be written: the disk may have no room for them.
    pub fn put_back(&mut self, slot: Slot, count: u32) {
        self.forget(slot.index, count);
        self.gaps.replace(range(slot.index, count), Some(()));
        self.end_if_unused();
    }

    fn end_if_unused(&mut self) {
        if self.used == 0 {
            (self.end, self.spare) = (0, 0);
            self.free.clear();
            self.gaps.clear();
        }
    }

    /// Frees these places.
    fn forget(&mut self, index: u32, count: u32) {
        self.used -= count;
        if self.checks.is_empty() && self.blocks.is_empty() {
            return;
        }
        for index in index..index + count {
            if self.checks.remove(&index).is_some() {
                self.freed.push(index);
            }
            self.blocks.remove(&index);
        }
        self.weigh();
    }

    /// Bytes of memory that content and checksums take, about.
    fn weight(&self) -> usize {
        self.blocks.len() * IN_MEMORY + self.checks.len() * CHECK
    }

    /// Updates the charge.
    fn weigh(&mut self) {
        let bytes = self.weight();
        if let Some(share) = &mut self.share {
            share.set(bytes);
        }
    }

    /// Keeps whole blocks in memory, from `index` on.
    ///
    /// # Errors
    /// `ENOSPC`: they would take more than is left for other things.
    pub fn keep(&mut self, index: u32, data: &[u8], memory: &Rc<Budget>) -> Result<(), Errno> {
        let share = self.share.get_or_insert_with(|| Share::of(memory));
        let blocks = data.chunks(BLOCK as usize);
        let more = blocks.len() * IN_MEMORY;
        let room = share.check(more, Growth::Save);
        room.map_err(|_| Errno::ENOSPC)?;
        let mut kept = Ok(());
        for (index, block) in (index..).zip(blocks) {
            let mut copy = Vec::new();
            kept = reserve(&mut copy, block.len()).map_err(|_| Errno::ENOSPC);
            if kept.is_err() {
                break;
            }
            copy.extend_from_slice(block);
            self.blocks.insert(index, copy);
        }
        // What was not copied is not charged.
        self.weigh();
        kept
    }

    /// Appends `len` bytes of content kept in memory, from `at` in the block at
    /// `index`.
    ///
    /// # Errors
    /// `ESTALE`: it is not there. `ENOMEM`.
    pub fn load_kept(
        &self,
        mut index: u32,
        mut at: usize,
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        reserve(out, len)?;
        let end = out.len() + len;
        while out.len() < end {
            let block = self.blocks.get(&index).ok_or(Errno::ESTALE)?;
            let rest = block.get(at..).ok_or(Errno::EIO)?;
            out.extend(rest.iter().take(end - out.len()));
            (index, at) = (index.saturating_add(1), 0);
        }
        Ok(())
    }

    /// The number of places in use.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// The checksum of a place, if known.
    pub fn check(&self, index: u32) -> Option<Check> {
        self.checks.get(&index).copied()
    }

    /// Sets the checksums of places side by side, from `index` on.
    ///
    /// # Errors
    /// `ENOMEM`: there is no room to remember them.
    pub fn set_checks(
        &mut self,
        index: u32,
        checks: impl ExactSizeIterator<Item = u64>,
        memory: &Rc<Budget>,
    ) -> Result<(), Errno> {
        let share = self.share.get_or_insert_with(|| Share::of(memory));
        share.check(checks.len() * CHECK, Growth::Save)?;
        let doubtful = false;
        for (index, check) in (index..).zip(checks) {
            self.checks.insert(index, Check { check, doubtful });
        }
        self.weigh();
        Ok(())
    }

    /// Records that the content of a place matches its checksum.
    pub fn believe(&mut self, index: u32) {
        if let Some(known) = self.checks.get_mut(&index) {
            known.doubtful = false;
        }
    }

    /// Returns true if no checksum is known.
    pub fn is_unchecked(&self) -> bool {
        self.checks.is_empty()
    }

    /// Remembered places given back, the oldest first.
    pub fn freed(&self) -> &[u32] {
        &self.freed
    }

    /// The first `count` of [`Slots::freed`] are done with.
    pub fn forget_freed(&mut self, count: usize) {
        self.freed.drain(..count.min(self.freed.len()));
    }

    /// Takes places into use as an earlier instance left them.
    pub fn take_up(&mut self, places: impl Iterator<Item = (u32, u64)>, memory: &Rc<Budget>) {
        self.share.get_or_insert_with(|| Share::of(memory));
        for (index, check) in places {
            // They come in ascending order.
            self.take_at(index, 1);
            let doubtful = true;
            self.checks.insert(index, Check { check, doubtful });
        }
        self.weigh();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(slots: &mut Slots, wanted: u32) -> u32 {
        let (slot, count) = slots.take(Some(wanted), 0, 1).unwrap();
        assert_eq!(count, 1);
        slot.index
    }

    #[test]
    fn the_lowest_place_that_is_free_is_taken_first() {
        let mut slots = Slots::default();
        let more: Vec<_> = (0..10)
            .map(|n| slots.take(Some(n), 0, 1).unwrap())
            .collect();
        for (slot, _) in more.into_iter().skip(1) {
            slots.give_back(slot, 1);
        }
        // Written or not: if there is no room for the ninth, there is for these.
        let again = (0..9).map(|_| slots.take_lowest(1).unwrap().0.index);
        assert!(again.eq(1..10));
    }

    #[test]
    fn places_given_back_in_any_order_are_one_run_again() {
        let mut slots = Slots::default();
        let (first, count) = slots.take(None, 0, 10).unwrap();
        assert_eq!((first.index, count), (0, 10));
        let _kept = take(&mut slots, 10);
        for index in [3, 5, 4, 0, 9, 1, 2, 8, 6, 7] {
            let generation = first.generation;
            slots.give_back(Slot { index, generation }, 1);
        }
        let free = slots.free.at(0).map(|span| span.range());
        assert_eq!((free, slots.free.len()), (Some(0..10), 1));
        let (again, count) = slots.take_lowest(32).unwrap();
        assert_eq!((again.index, count), (0, 10));
        assert_ne!(again.generation, first.generation);
    }

    #[test]
    fn blocks_near_one_another_find_their_places_free_in_any_order() {
        let mut slots = Slots::default();
        // Two files, in turn: each has a window of its own.
        let (a, _) = slots.take(None, 1000, 1).unwrap();
        let (b, _) = slots.take(None, 5, 1).unwrap();
        for n in 1..20 {
            assert_eq!(take(&mut slots, a.index + n), a.index + n);
            assert_eq!(take(&mut slots, b.index - n.min(5)), b.index - n.min(5));
            slots.give_back(
                Slot {
                    index: b.index - n.min(5),
                    generation: 0,
                },
                1,
            );
        }
        // One that is taken is not given twice.
        let other = take(&mut slots, a.index);
        assert!(other != a.index && other >= slots.end - 1);
    }

    #[test]
    fn checksums_are_charged_while_they_are_known() {
        let budget = Budget::new(20 * CHECK);
        let mut slots = Slots::default();
        let (slot, _) = slots.take(None, 0, 8).unwrap();
        assert_eq!(
            slots.set_checks(slot.index, [7; 8].into_iter(), &budget),
            Ok(())
        );
        assert_eq!(budget.used(), 8 * CHECK);
        let (more, _) = slots.take(Some(8), 8, 3).unwrap();
        let refused = slots.set_checks(more.index, [7; 3].into_iter(), &budget);
        assert_eq!(refused, Err(Errno::ENOMEM));
        assert!(slots.check(more.index).is_none() && slots.check(slot.index).is_some());
        slots.put_back(more, 3);
        slots.give_back(slot, 8);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_found_no_room_is_not_where_the_next_is_tried() {
        let mut slots = Slots::default();
        let kept = take(&mut slots, 7);
        let (written, _) = slots.take(Some(8), 0, 1).unwrap();
        slots.give_back(written, 1);
        let (full, count) = slots.take(Some(3), 0, 2).unwrap();
        slots.put_back(full, count);
        assert_eq!((kept, slots.used(), slots.has_spare()), (7, 1, true));
        assert_eq!(slots.take_lowest(1).unwrap().0.index, 8);
    }
}
