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

use super::frames::{self, Physical};
use super::physical;
use super::stack::STACKS;

// Bits of an entry (SDM vol. 3, table 4-20).
const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const WRITE_THROUGH: u64 = 1 << 3;
const CACHE_OFF: u64 = 1 << 4;
const HUGE: u64 = 1 << 7;
const NO_EXEC: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Our count of used entries in the table pointed to, 0 to 512.
const COUNT: u64 = 0x3ff << 52;
const COUNT_ONE: u64 = 1 << 52;

/// Level of the table that `cr3` points to; leaf tables have level 0.
const TOP: u32 = 3;
const ENTRIES: u64 = 512;
/// More pages than this are flushed by reloading everything.
const FLUSH_SINGLY: u32 = 32;

/// The kernel's own root, without a program.
static KERNEL: AtomicU32 = AtomicU32::new(0);
/// The root in `cr3`.
static ACTIVE: AtomicU32 = AtomicU32::new(0);

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
        if ACTIVE.load(Relaxed) != self.0.0 {
            load(self.0);
        }
    }

    #[inline]
    fn is_active(self) -> bool {
        ACTIVE.load(Relaxed) == self.0.0
    }
}

/// The kernel's half alone, for when no program is current.
pub fn kernel_root() -> Root {
    Root(Frame(KERNEL.load(Relaxed)))
}

fn load(root: Frame) {
    ACTIVE.store(root.0, Relaxed);
    // SAFETY: the kernel's half, stack included, is the same in every root.
    unsafe { asm!("mov cr3, {}", in(reg) root.pa(), options(nostack, preserves_flags)) };
}

#[inline]
fn flush_page(va: u64) {
    // SAFETY: forgets a translation.
    unsafe { asm!("invlpg [{}]", in(reg) va, options(nostack, preserves_flags)) };
}

#[inline]
fn index(va: u64, level: u32) -> usize {
    (va >> (12 + 9 * level) & (ENTRIES - 1)) as usize
}

#[inline]
fn frame_of(entry: u64) -> Frame {
    Frame(((entry & ADDRESS) >> 12) as u32)
}

/// A place in a table: one entry.
#[derive(Clone, Copy)]
struct Place(*mut u64);

impl Place {
    /// Entry `index`, taken modulo 512, of a table reached from a root.
    #[inline]
    fn of(table: Frame, index: usize) -> Place {
        let index = index & (ENTRIES as usize - 1);
        Place(physical(table.pa()).cast::<u64>().wrapping_add(index))
    }

    #[inline]
    fn read(self) -> u64 {
        // SAFETY: 1. roots come from this module, and entries are written by
        // it (or by the loader, for the kernel's half), so `table` is a page
        // table and lives as long as its root; 2. the index is inside.
        // Volatile, for the processor sets bits in entries.
        unsafe { self.0.read_volatile() }
    }

    #[inline]
    fn write(self, entry: u64) {
        // SAFETY: as in `read`.
        unsafe { self.0.write_volatile(entry) };
    }

    /// One entry more in the table this place points to.
    #[inline]
    fn count_one(self) {
        self.write(self.read() + COUNT_ONE);
    }
}

/// The leaf entry of `va` and the entry of its table, making tables on the
/// way. `node` is what their entries allow.
#[inline]
fn leaf(root: Frame, va: u64, node: u64) -> Result<(Place, Place), NoMemory> {
    let mut place = Place::of(root, index(va, TOP));
    let mut above = None;
    for level in (0..TOP).rev() {
        let mut entry = place.read();
        if entry & PRESENT == 0 {
            entry = new_table(place, above, node)?;
        }
        above = Some(place);
        place = Place::of(frame_of(entry), index(va, level));
    }
    match above {
        Some(above) => Ok((place, above)),
        None => unreachable!("there is more than one level"),
    }
}

#[cold]
fn new_table(place: Place, above: Option<Place>, node: u64) -> Result<u64, NoMemory> {
    let table = frames::alloc_zeroed().ok_or(NoMemory)?;
    let entry = table.pa() | PRESENT | WRITE | node;
    place.write(entry);
    if let Some(above) = above {
        above.count_one();
    }
    Ok(entry)
}

/// Sets the leaf entry of `va`; tells whether another translation was there.
#[inline]
fn set(root: Frame, va: u64, entry: u64, node: u64) -> Result<bool, NoMemory> {
    let (place, above) = leaf(root, va, node)?;
    let old = place.read();
    place.write(entry);
    if old & PRESENT == 0 {
        above.count_one();
    }
    Ok(old & PRESENT != 0)
}

/// What is at `va` in `root`: physical address of its byte, and the entry.
fn look_up(root: Frame, va: u64) -> Option<(u64, u64)> {
    let mut table = root;
    for level in (0..=TOP).rev() {
        let entry = Place::of(table, index(va, level)).read();
        if entry & PRESENT == 0 {
            return None;
        }
        if level == 0 || entry & HUGE != 0 {
            let within = (PAGE << (9 * level)) - 1;
            return Some((entry & ADDRESS & !within | va & within, entry));
        }
        table = frame_of(entry);
    }
    None
}

/// The translations of one program.
#[derive(Debug)]
pub struct AddressSpace {
    root: Frame,
}

impl AddressSpace {
    /// An empty one, or `None` when memory is out.
    pub fn new() -> Option<AddressSpace> {
        let root = frames::alloc_zeroed()?;
        let half = frames::SIZE / 2;
        frames::copy_between(kernel_root().0, half, root, half, half);
        Some(AddressSpace { root })
    }

    /// Its name for the processor.
    #[inline]
    pub fn root(&self) -> Root {
        Root(self.root)
    }

    /// Makes the processor use it.
    #[inline]
    pub fn activate(&self) {
        self.root().activate();
    }

    /// Translates the page at `va` to `frame`, whatever was there before. On
    /// an error nothing has changed. `va` is a page below `USER_END`;
    /// anything else is a kernel bug.
    #[inline]
    pub fn map(&mut self, va: u64, frame: Frame, prot: Prot) -> Result<(), NoMemory> {
        assert!(va < USER_END && va.is_multiple_of(PAGE), "map at {va:#x}");
        let replaced = set(self.root, va, frame.pa() | prot.bits(), USER)?;
        if replaced && self.root().is_active() {
            flush_page(va);
        }
        Ok(())
    }

    /// Forgets the translations of the addresses `range`, rounded outward to
    /// pages, and gives empty tables back. Flushed on return. The cost
    /// follows what is mapped.
    pub fn unmap(&mut self, range: Range<u64>) {
        self.edit(range, Change::Remove);
    }

    /// Takes write permission from `range`, rounded outward to pages.
    /// Flushed on return.
    pub fn protect(&mut self, range: Range<u64>) {
        self.edit(range, Change::ReadOnly);
    }

    /// What the page of `va` is translated to.
    pub fn translate(&self, va: u64) -> Option<(Frame, Prot)> {
        if va >= USER_END {
            return None;
        }
        let (pa, entry) = look_up(self.root, va)?;
        Some((Frame((pa >> 12) as u32), Prot::of(entry)))
    }

    fn edit(&mut self, range: Range<u64>, change: Change) {
        let pages = range.start.min(USER_END) / PAGE..range.end.min(USER_END).div_ceil(PAGE);
        if pages.is_empty() {
            return;
        }
        let mut edit = Edit {
            change,
            active: self.root().is_active(),
            flushed: 0,
        };
        edit.table(self.root, TOP, 0, &pages, ENTRIES);
        edit.finish(self.root);
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

/// Gives back the table of level `level` that `entry` points to, and those
/// below. Nothing uses them any more.
fn free_tables(entry: u64, level: u32) {
    if entry & PRESENT == 0 {
        return;
    }
    let table = frame_of(entry);
    if level > 0 {
        let mut left = (entry & COUNT) / COUNT_ONE;
        for index in 0..ENTRIES as usize {
            if left == 0 {
                break;
            }
            let below = Place::of(table, index).read();
            left -= below & PRESENT;
            free_tables(below, level - 1);
        }
    }
    frames::release(table);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Remove,
    ReadOnly,
}

/// One walk over a range.
struct Edit {
    change: Change,
    active: bool,
    /// Pages changed so far.
    flushed: u32,
}

impl Edit {
    /// Changes what `pages` has in `table`, whose first page is `first` and
    /// which has `used` entries. Returns how many entries are gone.
    fn table(
        &mut self,
        table: Frame,
        level: u32,
        first: u64,
        pages: &Range<u64>,
        used: u64,
    ) -> u64 {
        let shift = 9 * level;
        let from = pages.start.saturating_sub(first) >> shift;
        let to = ((pages.end - 1 - first) >> shift).min(ENTRIES - 1) + 1;
        let (mut seen, mut gone) = (0, 0);
        for index in from..to {
            if seen == used {
                break;
            }
            let place = Place::of(table, index as usize);
            let entry = place.read();
            if entry & PRESENT == 0 {
                continue;
            }
            seen += 1;
            let at = first + (index << shift);
            gone += match level {
                0 => self.leaf(place, entry, at),
                _ => self.node(place, entry, level, at, pages),
            };
        }
        gone
    }

    /// One page; tells how many entries are gone, 0 or 1.
    #[inline]
    fn leaf(&mut self, place: Place, entry: u64, page: u64) -> u64 {
        let (after, gone) = match self.change {
            Change::Remove => (0, 1),
            Change::ReadOnly => (entry & !WRITE, 0),
        };
        if after != entry {
            place.write(after);
            self.flushed += 1;
            if self.active && self.flushed <= FLUSH_SINGLY {
                flush_page(page * PAGE);
            }
        }
        gone
    }

    /// One table below; it is given back when its last entry has gone.
    fn node(
        &mut self,
        place: Place,
        entry: u64,
        level: u32,
        first: u64,
        pages: &Range<u64>,
    ) -> u64 {
        let used = (entry & COUNT) / COUNT_ONE;
        let table = frame_of(entry);
        let gone = self.table(table, level - 1, first, pages, used);
        if gone < used || self.change == Change::ReadOnly {
            place.write(entry - gone * COUNT_ONE);
            return 0;
        }
        place.write(0);
        if self.active {
            // Flushes what the processor remembers about tables (SDM vol. 3,
            // 4.10.4.1), before the table is something else.
            flush_page(first * PAGE);
        }
        frames::release(table);
        1
    }

    fn finish(self, root: Frame) {
        if self.active && self.flushed > FLUSH_SINGLY {
            load(root);
        }
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

/// The two words of a stack frame record, the caller's frame pointer and the
/// return address; `None` where there is no readable kernel memory.
pub fn read_frame_record(address: u64) -> Option<(u64, u64)> {
    if address < super::PHYSICAL_MAP || !address.is_multiple_of(8) {
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

/// Makes the kernel's root from the loader's: its upper half, and a place for
/// stacks, which the loader's root gets too so that a stack can be prepared
/// there. The loader's low mappings are left behind when ours is activated.
pub(super) fn init() {
    let (Some(root), Some(stacks)) = (frames::alloc_zeroed(), frames::alloc_zeroed()) else {
        panic!("no memory for page tables");
    };
    let loader = current();
    let place = |table| Place::of(table, index(STACKS, TOP));
    let free = place(loader).read() & PRESENT == 0;
    assert!(free, "the loader uses the addresses of kernel stacks");
    place(loader).write(stacks.pa() | PRESENT | WRITE);
    let half = frames::SIZE / 2;
    frames::copy_between(loader, half, root, half, half);
    KERNEL.store(root.0, Relaxed);
    ACTIVE.store(loader.0, Relaxed);
}
