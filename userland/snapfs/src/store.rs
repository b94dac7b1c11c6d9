//! The temporary store: one file beneath that holds rescued blocks.
//!
//! It is made at the first rescue in the hidden directory and unlinked at
//! once, so that no crash leaves it behind; the fid keeps it alive. It is
//! closed when no snapshot is left.

use crate::below::Below;
use crate::journal::{Place, Slot};
use crate::sync::Lock;
use crate::{BLOCK, Backing, Snapfs};
use abi::Errno;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

/// Name of the store's file for the moment that it has one.
const NAME: &str = "store";

/// Which places are in use.
#[cfg_attr(feature = "memory", derive(Clone))]
#[derive(Default)]
pub struct Slots {
    free: Vec<u32>,
    /// Places at and after this one were never used.
    end: u32,
    used: u32,
    generation: u32,
}

impl Slots {
    /// A free place.
    ///
    /// # Errors
    /// `ENOSPC` when 2^32 blocks are in use.
    pub fn take(&mut self) -> Result<Slot, Errno> {
        let index = match self.free.pop() {
            Some(index) => index,
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
        if self.used == 0 {
            self.free.clear();
            self.end = 0;
        } else {
            self.free.push(slot.index);
        }
    }

    /// Places in use.
    pub fn used(&self) -> u32 {
        self.used
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
        self.leave_hidden_dir().await;
        self.store.fid.set(Some(made?));
        made
    }

    async fn make_store(&self, dir: Below) -> Result<Below, Errno> {
        let (fid, _) = self.walk_below(dir, &[]).await?;
        if let Err(errno) = self.create_below(fid, NAME).await {
            self.clunk_below(fid).await;
            return Err(errno);
        }
        if let Err(errno) = self.unlink_below(dir, NAME, 0).await {
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
        let before = out.len();
        self.read_below(fid, u64::from(slot.index) * BLOCK + at, len, out)
            .await?;
        if out.len() - before == len {
            Ok(())
        } else {
            Err(Errno::EIO)
        }
    }

    /// Nobody refers to what was saved there any more.
    pub(crate) fn free_place(&self, place: Place) {
        if let Place::Saved(slot) = place {
            self.store.slots.borrow_mut().give_back(slot);
        }
    }

    /// Closes the store if nobody needs it.
    pub(crate) async fn close_idle_store(&self) {
        if self.snapshots.get() == 0
            && self.store.slots.borrow().used() == 0
            && let Some(fid) = self.store.fid.take()
        {
            self.clunk_below(fid).await;
        }
    }
}

/// Is every byte of a block zero?
pub fn is_zero(block: &[u8]) -> bool {
    let (words, rest) = block.as_chunks::<8>();
    words.iter().all(|word| u64::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}
