//! The temporary store: one file beneath that holds rescued blocks.
//!
//! It is made at the first rescue in the hidden directory. Without leases it is
//! unlinked at once, so that no crash leaves it behind; the fid keeps it alive.
//! With leases it keeps its name, for the next instance. It is closed when no
//! snapshot is left.
//!
//! Where the directory cannot be made, because others may not write to its home,
//! or a mount asks for it, the blocks are kept in memory, as far as that goes.

use crate::below::Below;
use crate::budget::{Budget, Share, reserve};
use crate::hidden::is_no_place;
use crate::journal::{Place, Slot};
use crate::record::check_of;
use crate::sync::Lock;
use crate::{BLOCK, Backing, Snapfs};
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::ops::Range;
use ninep::ByteStr;
use ninep::consts::open;

/// Name of the store's file, while it has one.
pub const NAME: ByteStr<'static> = ByteStr(b"store");

/// Where so many blocks are: zeros, or saved side by side.
pub type Run = (Place, u64);

/// Which places are in use.
#[cfg_attr(feature = "memory", derive(Clone))]
#[derive(Default)]
pub struct Slots {
    /// Runs, start -> end, that do not touch. The lowest is taken first:
    /// neighbours go in one message, and when there is no room for new ones,
    /// those that were written before still have theirs.
    free: BTreeMap<u32, u32>,
    /// Places at and after this one were never used.
    end: u32,
    used: u32,
    generation: u32,
    /// Checks of what is in places, if they are remembered.
    checks: BTreeMap<u32, Check>,
    /// Remembered places that were given back since somebody asked.
    freed: Vec<u32>,
    /// What is in places, if it is in memory, and what that takes of it.
    blocks: BTreeMap<u32, Vec<u8>>,
    share: Option<Share>,
}

/// Bytes that a block in memory takes.
const IN_MEMORY: usize = BLOCK as usize + 64;

/// The check of a block in the store.
#[derive(Clone, Copy)]
struct Check {
    check: u64,
    /// An earlier instance wrote it: it may have been torn.
    doubtful: bool,
}

impl Slots {
    /// Free places side by side, at most `most` and at least one: the first, and
    /// how many.
    ///
    /// # Errors
    /// `ENOSPC` when 2^32 blocks are in use.
    pub fn take(&mut self, most: u32) -> Result<(Slot, u32), Errno> {
        let (index, count) = match self.free.pop_first() {
            Some((start, end)) => {
                let count = most.min(end - start);
                if start + count < end {
                    self.free.insert(start + count, end);
                }
                (start, count)
            }
            None => {
                let count = most.min(u32::MAX - self.end);
                self.end += count;
                (self.end - count, count)
            }
        };
        if count == 0 {
            return Err(Errno::ENOSPC);
        }
        self.used += count;
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        Ok((Slot { index, generation }, count))
    }

    /// Nobody refers to the `count` places from `slot` on any more.
    pub fn give_back(&mut self, slot: Slot, count: u64) {
        let (mut start, mut end) = (slot.index, slot.index + count as u32);
        self.used -= end - start;
        self.forget(start..end);
        if self.used == 0 {
            self.free.clear();
            self.end = 0;
            return;
        }
        if let Some((&before, &until)) = self.free.range(..start).next_back()
            && until == start
        {
            self.free.remove(&before);
            start = before;
        }
        if let Some(until) = self.free.remove(&end) {
            end = until;
        }
        self.free.insert(start, end);
    }

    /// What was in these places is not needed any more.
    fn forget(&mut self, places: Range<u32>) {
        if self.checks.is_empty() && self.blocks.is_empty() {
            return;
        }
        for index in places {
            if self.checks.remove(&index).is_some() {
                self.freed.push(index);
            }
            self.blocks.remove(&index);
        }
        let bytes = self.blocks.len() * IN_MEMORY;
        if let Some(share) = &mut self.share {
            share.set(bytes);
        }
    }

    /// Keeps whole blocks in memory, from `index` on.
    ///
    /// # Errors
    /// `ENOSPC`: they would take more than half of it.
    fn keep(&mut self, index: u32, data: &[u8], memory: &Rc<Budget>) -> Result<(), Errno> {
        let share = self.share.get_or_insert_with(|| Share::of(memory));
        let blocks = data.chunks(BLOCK as usize);
        let more = blocks.len() * IN_MEMORY;
        if self.blocks.len() * IN_MEMORY + more > memory.limit() / 2 {
            return Err(Errno::ENOSPC);
        }
        share.grow(more).map_err(|_| Errno::ENOSPC)?;
        for (index, block) in (index..).zip(blocks) {
            let mut copy = Vec::new();
            reserve(&mut copy, block.len()).map_err(|_| Errno::ENOSPC)?;
            copy.extend_from_slice(block);
            self.blocks.insert(index, copy);
        }
        Ok(())
    }

    /// Appends what is kept in memory at `at` of the block at `index`, up to
    /// `len` bytes and its end. How many.
    fn kept(&self, index: u32, at: usize, len: usize, out: &mut Vec<u8>) -> Result<usize, Errno> {
        let block = self.blocks.get(&index).ok_or(Errno::ESTALE)?;
        let rest = block.get(at..).ok_or(Errno::EIO)?;
        let part = rest.get(..len).unwrap_or(rest);
        out.extend_from_slice(part);
        Ok(part.len())
    }

    /// Places in use.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// The check of what is at a place; 0 if that is not remembered.
    pub fn check(&self, index: u32) -> u64 {
        self.checks.get(&index).map_or(0, |known| known.check)
    }

    /// Remembered places given back, the oldest first.
    pub fn freed(&self) -> &[u32] {
        &self.freed
    }

    /// The first `count` of [`Slots::freed`] are done with.
    pub fn forget_freed(&mut self, count: usize) {
        self.freed.drain(..count);
    }

    /// Takes places into use as an earlier instance left them.
    pub fn take_up(&mut self, places: impl Iterator<Item = (u32, u64)>) {
        for (index, check) in places {
            let doubtful = true;
            // They come in ascending order.
            if self.end < index {
                self.free.insert(self.end, index);
            }
            self.end = self.end.max(index.saturating_add(1));
            self.checks.insert(index, Check { check, doubtful });
            self.used += 1;
        }
    }
}

/// The store of one server.
#[cfg_attr(feature = "memory", derive(Clone))]
#[derive(Default)]
pub struct Store {
    pub(crate) slots: RefCell<Slots>,
    fid: Cell<Option<Below>>,
    /// A mount asks for it to be in memory.
    pub(crate) wants_memory: Cell<bool>,
    /// There is no file: blocks are kept in memory.
    in_memory: Cell<bool>,
    opening: Lock,
}

impl Store {
    /// Is there one?
    pub fn is_open(&self) -> bool {
        self.fid.get().is_some()
    }
}

impl<B: Backing> Snapfs<B> {
    /// The store's fid, made if need be; `None`: it is in memory.
    async fn store_fid(&self) -> Result<Option<Below>, Errno> {
        if self.store.in_memory.get() || self.store.is_open() {
            return Ok(self.store.fid.get());
        }
        let _held = self.store.opening.exclusive().await;
        if self.store.in_memory.get() || self.store.is_open() {
            return Ok(self.store.fid.get());
        }
        let dir = match self.store.wants_memory.get() {
            true => Err(Errno::EPERM),
            false => self.hidden_dir().await,
        };
        let dir = match dir {
            Ok(dir) => dir,
            Err(errno) if is_no_place(errno) => {
                self.store.in_memory.set(true);
                return Ok(None);
            }
            Err(errno) => return Err(errno),
        };
        let made = self.make_store(dir).await;
        if made.is_err() || !self.store_is_named() {
            self.leave_hidden_dir().await;
        }
        self.store.fid.set(Some(made?));
        Ok(self.store.fid.get())
    }

    /// Does the store keep its name?
    fn store_is_named(&self) -> bool {
        self.sessions.lease > 0
    }

    /// Opens the store that an earlier instance left.
    pub(crate) async fn open_old_store(&self) -> Result<(), Errno> {
        let dir = self.hidden_dir().await?;
        let opened = match self.walk_below(dir, &[NAME]).await {
            Ok((fid, _)) => match self.open_below(fid, open::RDWR).await {
                Ok(_) => Ok(fid),
                Err(errno) => {
                    self.clunk_below(fid).await;
                    Err(errno)
                }
            },
            Err(errno) => Err(errno),
        };
        if opened.is_err() {
            self.leave_hidden_dir().await;
        }
        self.store.fid.set(Some(opened?));
        Ok(())
    }

    async fn make_store(&self, dir: Below) -> Result<Below, Errno> {
        let (fid, _) = self.walk_below(dir, &[]).await?;
        let mut created = self.create_below(fid, NAME).await;
        if created == Err(Errno::EEXIST) {
            // An earlier one, which could not be removed when it was closed.
            let _ = self.unlink_below(dir, NAME, 0).await;
            created = self.create_below(fid, NAME).await;
        }
        if let Err(errno) = created {
            self.clunk_below(fid).await;
            return Err(errno);
        }
        if !self.store_is_named()
            && let Err(errno) = self.unlink_below(dir, NAME, 0).await
        {
            self.clunk_below(fid).await;
            return Err(errno);
        }
        Ok(fid)
    }

    /// Saves whole blocks; where they now are, in order, as runs of zeros and of
    /// blocks side by side, each with its length. Nothing is kept if any fails.
    /// All-zero blocks take no place.
    pub(crate) async fn save_blocks(&self, data: &[u8]) -> Result<Vec<Run>, Errno> {
        let mut runs = Vec::new();
        let saved = self.save_each(data, &mut runs).await;
        if saved.is_err() {
            let mut slots = self.store.slots.borrow_mut();
            for (place, count) in &runs {
                if let Place::Saved(slot) = place {
                    slots.give_back(*slot, *count);
                }
            }
        }
        saved.map(|()| runs)
    }

    async fn save_each(&self, data: &[u8], runs: &mut Vec<Run>) -> Result<(), Errno> {
        let blocks: Vec<&[u8]> = data.chunks(BLOCK as usize).collect();
        let mut first = 0;
        for same in blocks.chunk_by(|a, b| is_zero(a) == is_zero(b)) {
            if same.first().is_some_and(|block| is_zero(block)) {
                runs.push((Place::Zero, same.len() as u64));
            } else {
                let bytes = first * BLOCK as usize..(first + same.len()) * BLOCK as usize;
                let bytes = data.get(bytes).ok_or(Errno::EIO)?;
                self.save_run(bytes, runs).await?;
            }
            first += same.len();
        }
        Ok(())
    }

    /// Saves blocks none of which is zeros, in as few runs as there is room for.
    async fn save_run(&self, mut data: &[u8], runs: &mut Vec<Run>) -> Result<(), Errno> {
        while !data.is_empty() {
            let most = data.len().div_ceil(BLOCK as usize) as u32;
            let (slot, count) = self.store.slots.borrow_mut().take(most)?;
            runs.push((Place::Saved(slot), u64::from(count)));
            let (now, later) = data.split_at(data.len().min(count as usize * BLOCK as usize));
            self.remember_checks(slot, now);
            match self.store_fid().await? {
                Some(fid) => {
                    let at = u64::from(slot.index) * BLOCK;
                    let written = self.write_below(fid, at, now).await;
                    written.map_err(|(_, errno)| errno)?;
                }
                None => {
                    let mut slots = self.store.slots.borrow_mut();
                    slots.keep(slot.index, now, &self.tables)?;
                }
            }
            data = later;
        }
        Ok(())
    }

    /// With leases: what is about to be written from `slot` on.
    fn remember_checks(&self, slot: Slot, data: &[u8]) {
        if self.sessions.lease > 0 {
            let mut slots = self.store.slots.borrow_mut();
            for (index, block) in (slot.index..).zip(data.chunks(BLOCK as usize)) {
                let (check, doubtful) = (check_of(block), false);
                slots.checks.insert(index, Check { check, doubtful });
            }
        }
    }

    /// Reads `len` bytes from `at` in the blocks from `slot` on to the end of
    /// `out`.
    pub(crate) async fn load_saved(
        &self,
        slot: Slot,
        at: u64,
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        if self.store.in_memory.get() {
            return self.load_kept(slot, at as usize, len, out);
        }
        let fid = self.store.fid.get().ok_or(Errno::ESTALE)?;
        let blocks = (at + len as u64).div_ceil(BLOCK);
        for index in slot.index..slot.index.saturating_add(blocks as u32) {
            if self.store.slots.borrow().checks.is_empty() {
                break;
            }
            self.settle_check(fid, index).await?;
        }
        let before = out.len();
        self.read_below(fid, u64::from(slot.index) * BLOCK + at, len, out)
            .await?;
        if out.len() - before == len {
            Ok(())
        } else {
            Err(Errno::EIO)
        }
    }

    fn load_kept(
        &self,
        slot: Slot,
        mut at: usize,
        mut len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        let slots = self.store.slots.borrow();
        reserve(out, len)?;
        let mut index = slot.index;
        while len > 0 {
            len -= slots.kept(index, at, len, out)?;
            (index, at) = (index.saturating_add(1), 0);
        }
        Ok(())
    }

    /// What an earlier instance saved must be what it meant to save.
    async fn settle_check(&self, fid: Below, index: u32) -> Result<(), Errno> {
        let known = self.store.slots.borrow().checks.get(&index).copied();
        let Some(known) = known.filter(|known| known.doubtful) else {
            return Ok(());
        };
        let (at, mut block) = (u64::from(index) * BLOCK, Vec::new());
        self.read_below(fid, at, BLOCK as usize, &mut block).await?;
        if check_of(&block) != known.check {
            return Err(Errno::ESTALE);
        }
        let mut slots = self.store.slots.borrow_mut();
        if let Some(known) = slots.checks.get_mut(&index) {
            known.doubtful = false;
        }
        Ok(())
    }

    /// Does nobody need the store?
    fn store_is_idle(&self) -> bool {
        self.snapshots.get() == 0
            && self.store.slots.borrow().used() == 0
            && self.old_files.borrow().is_empty()
    }

    /// Closes the store if nobody needs it. A new one is not made before the
    /// name of the old one is gone: the two have the same.
    pub(crate) async fn close_idle_store(&self) {
        if !self.store_is_idle() {
            return;
        }
        self.store.in_memory.set(false);
        if !self.store.is_open() {
            return;
        }
        let _held = self.store.opening.exclusive().await;
        if self.store_is_idle()
            && let Some(fid) = self.store.fid.take()
        {
            if self.store_is_named() {
                if let Ok(dir) = self.hidden_dir().await {
                    let _ = self.unlink_below(dir, NAME, 0).await;
                    self.leave_hidden_dir().await;
                }
                self.leave_hidden_dir().await;
            }
            self.clunk_below(fid).await;
        }
    }
}

/// Is every byte of a block zero?
pub fn is_zero(block: &[u8]) -> bool {
    let (words, rest) = block.as_chunks::<8>();
    words.iter().all(|word| u64::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_place_that_is_free_is_taken_first() {
        let mut slots = Slots::default();
        let _kept = slots.take(1).unwrap();
        let more: Vec<_> = (0..9).map(|_| slots.take(1).unwrap()).collect();
        more.into_iter()
            .for_each(|(slot, _)| slots.give_back(slot, 1));
        // Written or not: if there is no room for the ninth, there is for these.
        let again = (0..9).map(|_| slots.take(1).unwrap().0.index);
        assert!(again.eq(1..10));
    }

    #[test]
    fn places_given_back_in_any_order_are_one_run_again() {
        let mut slots = Slots::default();
        let (first, count) = slots.take(10).unwrap();
        assert_eq!((first.index, count), (0, 10));
        let _kept = slots.take(1).unwrap();
        for index in [3, 5, 4, 0, 9, 1, 2, 8, 6, 7] {
            let generation = first.generation;
            slots.give_back(Slot { index, generation }, 1);
        }
        assert_eq!(slots.free, BTreeMap::from([(0, 10)]));
        let (again, count) = slots.take(32).unwrap();
        assert_eq!((again.index, count), (0, 10));
        assert_ne!(again.generation, first.generation);
    }
}
