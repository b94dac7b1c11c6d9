//! Four-level page tables.
//!
//! An [`AddressSpace`] owns the tables of a program's half of the addresses,
//! not the frames mapped there. The kernel's half is the same in all: its
//! top-level entries are made at start and never change.
//!
//! The entry that points to a table also counts that table's entries, in bits
//! the processor ignores, so that empty tables are noticed and ranges are
//! walked only as far as there is something in them.

use core::arch::asm;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::{PAGE, USER_END};
use vm::{Frame, NoMemory};
use x86_64::registers::control::Cr3;

use super::edit::{Change, edit, free_tables};
use super::frames::{self, Physical};
use super::table::{
    CACHE_OFF, ENTRIES, NO_EXEC, PRESENT, Place, TOP, USER, WRITE, WRITE_THROUGH, flush_page,
    index, keep, kept, leaf, look_up, set,
};
use super::{LARGE, PHYSICAL_MAP, STACKS};
use crate::cpu::cpu;

/// The kernel's own root, without a program.
static KERNEL: AtomicU32 = AtomicU32::new(0);

/// What may be done with a page. Reading is always allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Prot {
    /// Stores.
    pub write: bool,
    /// Instruction fetches.
    pub exec: bool,
    /// By programs; otherwise by the kernel alone.
    pub user: bool,
    /// Device registers: no caching.
    pub uncached: bool,
}

impl Prot {
    #[inline]
    fn bits(self) -> u64 {
        let bit = |yes: bool, bit: u64| if yes { bit } else { 0 };
        PRESENT
            | bit(self.write, WRITE)
            | bit(self.user, USER)
            | bit(!self.exec, NO_EXEC)
            | bit(self.uncached, CACHE_OFF | WRITE_THROUGH)
    }

    fn of(entry: u64) -> Prot {
        Prot {
            write: entry & WRITE != 0,
            exec: entry & NO_EXEC == 0,
            user: entry & USER != 0,
            uncached: entry & CACHE_OFF != 0,
        }
    }
}

/// Names an address space for the processor. Valid while the space lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Root(Frame);

impl Root {
    /// Makes the processor use it, unless it does already.
    #[inline]
    pub fn activate(self) {
        if cpu().root.load(Relaxed) != self.0.0 {
            load(self.0);
        }
    }

    #[inline]
    fn is_active(self) -> bool {
        cpu().root.load(Relaxed) == self.0.0
    }
}

/// The kernel's half alone, for when no program is current.
pub fn kernel_root() -> Root {
    Root(Frame(KERNEL.load(Relaxed)))
}

fn load(root: Frame) {
    cpu().root.store(root.0, Relaxed);
    // SAFETY: the kernel's half, stack included, is the same in every root.
    unsafe { asm!("mov cr3, {}", in(reg) root.pa(), options(nostack, preserves_flags)) };
}

/// The translations of one program.
#[derive(Debug)]
pub struct AddressSpace {
    root: Frame,
    /// Pages translated.
    mapped: u64,
}

impl AddressSpace {
    /// An empty one, or `None` when memory is out.
    pub fn new() -> Option<AddressSpace> {
        let root = frames::alloc_zeroed()?;
        let half = frames::SIZE / 2;
        frames::copy_between(kernel_root().0, half, root, half, half);
        Some(AddressSpace { root, mapped: 0 })
    }

    /// Its name for the processor.
    #[inline]
    pub fn root(&self) -> Root {
        Root(self.root)
    }

    /// Translates the page at `va` to `frame`, whatever was there before. On
    /// an error nothing has changed. `va` is a page below `USER_END`;
    /// anything else is a kernel bug.
    #[inline]
    pub fn map(&mut self, va: u64, frame: Frame, prot: Prot) -> Result<(), NoMemory> {
        assert!(va < USER_END && va.is_multiple_of(PAGE), "map at {va:#x}");
        let replaced = set(self.root, va, frame.pa() | prot.bits(), USER)?;
        if !replaced {
            self.mapped += 1;
        } else if self.root().is_active() {
            flush_page(va);
        }
        Ok(())
    }

    /// Forgets the translations of the addresses `range`, rounded outward to
    /// pages, and gives empty tables back. Flushed on return. The cost
    /// follows what is mapped.
    pub fn unmap(&mut self, range: Range<u64>) {
        self.change(range, Change::Remove);
    }

    /// Takes write permission from `range`, rounded outward to pages.
    /// Flushed on return.
    pub fn protect(&mut self, range: Range<u64>) {
        self.change(range, Change::ReadOnly);
    }

    /// What the page of `va` is translated to.
    pub fn translate(&self, va: u64) -> Option<(Frame, Prot)> {
        if va >= USER_END {
            return None;
        }
        let (pa, entry) = look_up(self.root, va)?;
        Some((Frame((pa >> 12) as u32), Prot::of(entry)))
    }

    /// How many pages are translated.
    pub fn mapped(&self) -> u64 {
        self.mapped
    }

    fn change(&mut self, range: Range<u64>, change: Change) {
        let pages = range.start.min(USER_END) / PAGE..range.end.min(USER_END).div_ceil(PAGE);
        if pages.is_empty() {
            return;
        }
        let edited = edit(self.root, &pages, change, self.root().is_active());
        self.mapped -= edited.removed;
        if edited.flush {
            load(self.root);
        }
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        if self.root().is_active() {
            kernel_root().activate();
        }
        for top in 0..(ENTRIES / 2) as usize {
            free_tables(Place::of(self.root, top).read(), TOP - 1);
        }
        frames::release(self.root);
    }
}

/// Maps a page of the kernel's stack area.
pub(super) fn kernel_map(va: u64, frame: Frame) -> Result<(), NoMemory> {
    let prot = Prot {
        write: true,
        ..Prot::default()
    };
    set(kernel_root().0, va, frame.pa() | prot.bits(), 0).map(|_| ())
}

/// Unmaps a page of the kernel's stack area; returns its frame. Tables stay.
pub(super) fn kernel_unmap(va: u64) -> Option<Frame> {
    let (pa, _) = look_up(kernel_root().0, va)?;
    let (place, _) = leaf(kernel_root().0, va, 0).ok()?;
    place.write(0);
    flush_page(va);
    Some(Frame((pa >> 12) as u32))
}

/// The number kept at an address of the kernel's where nothing is mapped.
pub(super) fn kernel_kept(va: u64) -> u64 {
    kept(kernel_root().0, va)
}

/// Keeps a number there. A page has been mapped there before.
pub(super) fn kernel_keep(va: u64, number: u64) {
    keep(kernel_root().0, va, number);
}

/// The two words of a stack frame record, the caller's frame pointer and the
/// return address; `None` where there is no readable kernel memory.
pub fn read_frame_record(address: u64) -> Option<(u64, u64)> {
    if address < PHYSICAL_MAP || !address.is_multiple_of(8) {
        return None;
    }
    let word = |va: u64| {
        look_up(current(), va)?;
        // SAFETY: aligned, in the kernel's half, and mapped.
        Some(unsafe { (va as *const u64).read_volatile() })
    };
    Some((word(address)?, word(address.checked_add(8)?)?))
}

/// Physical address of `len` bytes at `address` if they lie in one piece.
pub(super) fn contiguous(address: u64, len: u64) -> Option<u64> {
    let root = current();
    let (start, _) = look_up(root, address)?;
    let page = address & !(PAGE - 1);
    let pages = (page..address.checked_add(len)?)
        .step_by(PAGE as usize)
        .skip(1);
    let together = |va: u64| look_up(root, va).is_some_and(|(pa, _)| pa == start + (va - address));
    pages.into_iter().all(together).then_some(start)
}

fn current() -> Frame {
    let (frame, _) = Cr3::read();
    Frame((frame.start_address().as_u64() >> 12) as u32)
}

/// Makes the kernel's root from the loader's: its upper half, and places for
/// stacks and large objects, which the loader's root gets too so that a stack can
/// be prepared there. The loader's low mappings are left behind when ours is
/// activated.
pub(super) fn init() {
    let loader = current();
    for area in [STACKS, LARGE] {
        let Some(table) = frames::alloc_zeroed() else {
            panic!("no memory for page tables");
        };
        let place = Place::of(loader, index(area, TOP));
        let free = place.read() & PRESENT == 0;
        assert!(free, "the loader uses the kernel's addresses at {area:#x}");
        place.write(table.pa() | PRESENT | WRITE);
    }
    let Some(root) = frames::alloc_zeroed() else {
        panic!("no memory for page tables");
    };
    let half = frames::SIZE / 2;
    frames::copy_between(loader, half, root, half, half);
    KERNEL.store(root.0, Relaxed);
    cpu().root.store(loader.0, Relaxed);
}
