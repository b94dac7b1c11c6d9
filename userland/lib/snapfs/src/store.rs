//! The temporary store: one file of the lower server that holds saved blocks.
//!
//! It is made at the first rescue in the hidden directory. Without leases it is
//! unlinked at once, so that no crash leaves it behind; the fid keeps it alive.
//! With leases it keeps its name, for the next instance. It is closed when no
//! snapshot is left.
//!
//! Where the directory cannot be made, because others may not write to its home,
//! or a mount asks for it, the blocks are kept in memory, as far as that goes.

use crate::durable::check_of;
use crate::hidden::{InHidden, is_no_place, no_room};
use crate::lower::LowerFid;
use crate::slots::Slots;
use crate::sync::Lock;
use crate::versions::{Place, Slot};
use crate::{BLOCK, Backing, Snapfs};
use abi::Errno;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use ninep::ByteStr;
use ninep::consts::open;

/// Name of the store's file, while it has one.
pub const NAME: ByteStr<'static> = ByteStr(b"store");

/// The place of a number of blocks: zeros, or adjacent in the store.
pub type Run = (Place, u64);

/// The store of one server.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Default)]
pub struct Store {
    pub(crate) slots: RefCell<Slots>,
    fid: Cell<Option<LowerFid>>,
    /// The directory that its name is in, if it has one.
    named: RefCell<Option<InHidden>>,
    /// A mount asks for it to be in memory.
    pub(crate) wants_memory: Cell<bool>,
    /// There is no file: blocks are kept in memory.
    in_memory: Cell<bool>,
    opening: Lock,
}

impl Store {
    /// Returns true if the store exists.
    pub fn is_open(&self) -> bool {
        self.fid.get().is_some()
    }
}

impl<B: Backing> Snapfs<B> {
    /// The store's fid, made if need be; `None`: it is in memory.
    async fn store_fid(&self) -> Result<Option<LowerFid>, Errno> {
        if !self.store.in_memory.get() && !self.store.is_open() {
            Box::pin(self.open_store()).await?;
        }
        Ok(self.store.fid.get())
    }

    async fn open_store(&self) -> Result<(), Errno> {
        let store = &self.store;
        let _held = store.opening.exclusive().await;
        if store.in_memory.get() || store.is_open() {
            return Ok(());
        }
        let hidden = match store.wants_memory.get() {
            true => Err(Errno::EPERM),
            false => self.hidden_dir().await,
        };
        match hidden {
            Ok(hidden) => {
                let made = self.make_store(hidden.dir).await;
                self.keep_store(made, hidden).await
            }
            Err(errno) if is_no_place(errno) => {
                store.in_memory.set(true);
                Ok(())
            }
            Err(errno) => Err(errno),
        }
    }

    /// The store was opened in the directory, which it needs while it has a name.
    async fn keep_store(
        &self,
        made: Result<LowerFid, Errno>,
        hidden: InHidden,
    ) -> Result<(), Errno> {
        match made.is_ok() && self.durable.has_leases() {
            true => drop(self.store.named.replace(Some(hidden))),
            false => self.leave_hidden_dir(hidden).await,
        }
        self.store.fid.set(Some(made?));
        Ok(())
    }

    /// Opens the store that an earlier instance left.
    pub(crate) async fn open_old_store(&self) -> Result<(), Errno> {
        let hidden = self.hidden_dir().await?;
        let opened = self.open_lower_at(hidden.dir, NAME, open::RDWR).await;
        self.keep_store(opened, hidden).await
    }

    async fn make_store(&self, dir: LowerFid) -> Result<LowerFid, Errno> {
        let mut created = self.create_lower(dir, NAME).await;
        if created == Err(Errno::EEXIST) {
            // An earlier one, which could not be removed when it was closed.
            let _ = self.unlink_lower(dir, NAME, 0).await;
            created = self.create_lower(dir, NAME).await;
        }
        let fid = created?;
        let ready = match self.durable.has_leases() {
            true => Ok(()),
            false => self.unlink_lower(dir, NAME, 0).await,
        };
        self.keep_if(ready, fid).await
    }

    /// Saves whole blocks, of which the first is `block` of its file, at `beside`
    /// if it is free there: where they now are, in order, as runs of zeros and of
    /// blocks side by side, each with its length. Nothing is kept if any fails.
    /// All-zero blocks take no place.
    pub(crate) async fn save_blocks(
        &self,
        block: u64,
        beside: Option<u32>,
        data: &[u8],
    ) -> Result<Vec<Run>, Errno> {
        let mut runs = Vec::new();
        let saved = self.save_each((block, beside), data, &mut runs).await;
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

    async fn save_each(
        &self,
        (mut block, mut beside): (u64, Option<u32>),
        data: &[u8],
        runs: &mut Vec<Run>,
    ) -> Result<(), Errno> {
        let blocks = data
            .chunks(BLOCK as usize)
            .map(|block| (is_zero(block), block));
        let blocks: Vec<_> = blocks.collect();
        let mut rest = data;
        for same in blocks.chunk_by(|a, b| a.0 == b.0) {
            let (now, later) = rest.split_at(rest.len().min(same.len() * BLOCK as usize));
            if same.first().is_some_and(|(zero, _)| *zero) {
                runs.push((Place::Zero, same.len() as u64));
            } else {
                beside = self.save_run((block, beside), now, runs).await?;
            }
            block += same.len() as u64;
            beside = beside.and_then(|place| place.checked_add(same.len() as u32));
            rest = later;
        }
        Ok(())
    }

    /// Saves blocks none of which is zeros, in as few runs as there is room for.
    /// Where the first would be, beside the last.
    async fn save_run(
        &self,
        (mut block, mut beside): (u64, Option<u32>),
        mut data: &[u8],
        runs: &mut Vec<Run>,
    ) -> Result<Option<u32>, Errno> {
        let (first, mut full) = (block, false);
        while !data.is_empty() {
            let most = data.len().div_ceil(BLOCK as usize) as u32;
            let (slot, count) = {
                let mut slots = self.store.slots.borrow_mut();
                match full {
                    true => slots.take_lowest(most)?,
                    false => slots.take(beside, block, most)?,
                }
            };
            let (now, later) = data.split_at(data.len().min(count as usize * BLOCK as usize));
            match self.write_saved(slot, now).await {
                Ok(()) => {
                    runs.push((Place::Saved(slot), u64::from(count)));
                    block += u64::from(count);
                    beside = slot.index.checked_add(count);
                    data = later;
                }
                Err(errno) => {
                    let mut slots = self.store.slots.borrow_mut();
                    slots.put_back(slot, count);
                    if full || !no_room(errno) || !slots.has_spare() {
                        return Err(errno);
                    }
                    full = true;
                }
            }
        }
        Ok(beside.and_then(|place| place.checked_sub((block - first) as u32)))
    }

    async fn write_saved(&self, slot: Slot, data: &[u8]) -> Result<(), Errno> {
        if self.durable.has_leases() {
            let mut slots = self.store.slots.borrow_mut();
            let checks = data.chunks(BLOCK as usize).map(check_of);
            slots.set_checks(slot.index, checks, &self.tables)?;
        }
        let Some(fid) = self.store_fid().await? else {
            let mut slots = self.store.slots.borrow_mut();
            return slots.keep(slot.index, data, &self.tables);
        };
        let at = u64::from(slot.index) * BLOCK;
        let written = self.write_lower(fid, at, data).await;
        written.map_err(|(_, errno)| errno)
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
            let slots = self.store.slots.borrow();
            return slots.load_kept(slot.index, at as usize, len, out);
        }
        let fid = self.store.fid.get().ok_or(Errno::ESTALE)?;
        let blocks = (at + len as u64).div_ceil(BLOCK);
        for index in slot.index..slot.index.saturating_add(blocks as u32) {
            if self.store.slots.borrow().is_unchecked() {
                break;
            }
            self.verify_saved(fid, index).await?;
        }
        let before = out.len();
        let at = u64::from(slot.index) * BLOCK + at;
        self.read_lower(fid, at, len, out).await?;
        match out.len() - before == len {
            true => Ok(()),
            false => Err(Errno::EIO),
        }
    }

    /// Checks that the content saved by an earlier instance is complete.
    async fn verify_saved(&self, fid: LowerFid, index: u32) -> Result<(), Errno> {
        let known = self.store.slots.borrow().check(index);
        let Some(known) = known.filter(|known| known.doubtful) else {
            return Ok(());
        };
        let (at, mut block) = (u64::from(index) * BLOCK, Vec::new());
        self.read_lower(fid, at, BLOCK as usize, &mut block).await?;
        if check_of(&block) != known.check {
            return Err(Errno::ESTALE);
        }
        self.store.slots.borrow_mut().believe(index);
        Ok(())
    }

    /// Returns true if no version needs the store.
    fn store_is_idle(&self) -> bool {
        self.snapshots.get() == 0
            && self.store.slots.borrow().used() == 0
            && !self.durable.in_grace()
    }

    /// Closes the store if nothing needs it. A new one is not made before the
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
            let named = self.store.named.take();
            if let Some(hidden) = named {
                let _ = self.unlink_lower(hidden.dir, NAME, 0).await;
                self.leave_hidden_dir(hidden).await;
            }
            self.clunk_lower(fid).await;
        }
    }
}

/// Returns true if every byte of a block is zero.
pub fn is_zero(block: &[u8]) -> bool {
    let (words, rest) = block.as_chunks::<8>();
    words.iter().all(|word| u64::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}
