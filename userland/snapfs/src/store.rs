//! The temporary store: one file beneath that holds rescued blocks.
//!
//! It is made at the first rescue in the hidden directory. Without leases it is
//! unlinked at once, so that no crash leaves it behind; the fid keeps it alive.
//! With leases it keeps its name, for the next instance. It is closed when no
//! snapshot is left.

use crate::below::Below;
use crate::journal::{Place, Slot};
use crate::record::check_of;
use crate::sync::Lock;
use crate::{BLOCK, Backing, Snapfs};
use abi::Errno;
use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::cmp::Reverse;
use ninep::consts::open;

/// Name of the store's file, while it has one.
pub const NAME: &str = "store";

/// Which places are in use.
#[cfg_attr(feature = "memory", derive(Clone))]
#[derive(Default)]
pub struct Slots {
    /// The lowest is taken first: neighbours go in one message, and when there
    /// is no room for new ones, those that were written before still have theirs.
    free: BinaryHeap<Reverse<u32>>,
    /// Places at and after this one were never used.
    end: u32,
    used: u32,
    generation: u32,
    /// Checks of what is in places, if they are remembered.
    checks: BTreeMap<u32, Check>,
    /// Remembered places that were given back since somebody asked.
    freed: Vec<u32>,
}

/// The check of a block in the store.
#[derive(Clone, Copy)]
struct Check {
    check: u64,
    /// An earlier instance wrote it: it may have been torn.
    doubtful: bool,
}

impl Slots {
    /// A free place.
    ///
    /// # Errors
    /// `ENOSPC` when 2^32 blocks are in use.
    pub fn take(&mut self) -> Result<Slot, Errno> {
        let index = match self.free.pop() {
            Some(Reverse(index)) => index,
            None => {
                let index = self.end;
                self.end = index.checked_add(1).ok_or(Errno::ENOSPC)?;
                index
            }
        };
        self.used += 1;
        self.generation = self.generation.wrapping_add(1);
        Ok(Slot {
            index,
            generation: self.generation,
        })
    }

    /// Nobody refers to the place any more.
    pub fn give_back(&mut self, slot: Slot) {
        self.used -= 1;
        if self.checks.remove(&slot.index).is_some() {
            self.freed.push(slot.index);
        }
        if self.used == 0 {
            self.free.clear();
            self.end = 0;
        } else {
            self.free.push(Reverse(slot.index));
        }
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
            self.free.extend((self.end..index).map(Reverse));
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
    opening: Lock,
}

impl Store {
    /// Is there one?
    pub fn is_open(&self) -> bool {
        self.fid.get().is_some()
    }
}

impl<B: Backing> Snapfs<B> {
    /// The store's fid, made if need be.
    async fn store_fid(&self) -> Result<Below, Errno> {
        if let Some(fid) = self.store.fid.get() {
            return Ok(fid);
        }
        let _held = self.store.opening.exclusive().await;
        if let Some(fid) = self.store.fid.get() {
            return Ok(fid);
        }
        let dir = self.hidden_dir().await?;
        let made = self.make_store(dir).await;
        if made.is_err() || !self.store_is_named() {
            self.leave_hidden_dir().await;
        }
        self.store.fid.set(Some(made?));
        made
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

    /// Saves whole blocks; where each now is, in order. Nothing is kept if
    /// any fails. All-zero blocks take no place.
    pub(crate) async fn save_blocks(&self, data: &[u8]) -> Result<Vec<Place>, Errno> {
        let mut places = Vec::new();
        let saved = self.save_each(data, &mut places).await;
        if saved.is_err() {
            places.iter().for_each(|place| self.free_place(*place));
        }
        saved.map(|()| places)
    }

    async fn save_each(&self, data: &[u8], places: &mut Vec<Place>) -> Result<(), Errno> {
        let mut taken = Vec::new();
        for (n, block) in data.chunks(BLOCK as usize).enumerate() {
            if is_zero(block) {
                places.push(Place::Zero);
                continue;
            }
            let slot = self.store.slots.borrow_mut().take()?;
            places.push(Place::Saved(slot));
            taken.push((n, slot.index));
        }
        if self.sessions.lease > 0 {
            let mut slots = self.store.slots.borrow_mut();
            for (n, index) in &taken {
                let block = data.chunks(BLOCK as usize).nth(*n).unwrap_or(&[]);
                let (check, doubtful) = (check_of(block), false);
                slots.checks.insert(*index, Check { check, doubtful });
            }
        }
        // Neighbours that got neighbouring places go in one message.
        let together = |a: &(usize, u32), b: &(usize, u32)| a.0 + 1 == b.0 && a.1 + 1 == b.1;
        for run in taken.chunk_by(together) {
            let (first, index) = run[0];
            let bytes = first * BLOCK as usize..(first + run.len()) * BLOCK as usize;
            let fid = self.store_fid().await?;
            let at = u64::from(index) * BLOCK;
            let run = data.get(bytes).ok_or(Errno::EIO)?;
            self.write_below(fid, at, run)
                .await
                .map_err(|(_, errno)| errno)?;
        }
        Ok(())
    }

    /// Reads `len` bytes from `at` in the block at `slot` to the end of `out`.
    pub(crate) async fn load_saved(
        &self,
        slot: Slot,
        at: u64,
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        let fid = self.store.fid.get().ok_or(Errno::ESTALE)?;
        self.settle_check(fid, slot.index).await?;
        let before = out.len();
        self.read_below(fid, u64::from(slot.index) * BLOCK + at, len, out)
            .await?;
        if out.len() - before == len {
            Ok(())
        } else {
            Err(Errno::EIO)
        }
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

    /// Nobody refers to what was saved there any more.
    pub(crate) fn free_place(&self, place: Place) {
        if let Place::Saved(slot) = place {
            self.store.slots.borrow_mut().give_back(slot);
        }
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
        if !self.store_is_idle() || !self.store.is_open() {
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
        let _kept = slots.take().unwrap();
        let more: Vec<_> = (0..9).map(|_| slots.take().unwrap()).collect();
        more.into_iter().for_each(|slot| slots.give_back(slot));
        // Written or not: if there is no room for the ninth, there is for these.
        let again = (0..9).map(|_| slots.take().unwrap().index);
        assert!(again.eq(1..10));
    }
}
