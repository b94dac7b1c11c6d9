//! Entries and tables, and the walk from a root to a page.

use core::arch::asm;

use abi::PAGE;
use vm::{Frame, NoMemory};

use super::page::{self, Physical};
use super::{ahead, physical, pool, words};
use crate::cpu::cpu;
use core::sync::atomic::Ordering::Relaxed;

// Bits of an entry (SDM vol. 3, table 4-20).
pub(super) const PRESENT: u64 = 1;
pub(super) const WRITE: u64 = 1 << 1;
pub(super) const USER: u64 = 1 << 2;
pub(super) const WRITE_THROUGH: u64 = 1 << 3;
pub(super) const CACHE_OFF: u64 = 1 << 4;
/// The processor has used the translation since this bit was cleared.
pub(super) const ACCESSED: u64 = 1 << 5;
pub(super) const HUGE: u64 = 1 << 7;
/// The kernel's own bit: the translation is counted in its frame's word.
pub(super) const COUNTED: u64 = 1 << 9;
/// Another: the translation was made for read-ahead, see [`ahead`].
pub(super) const AHEAD: u64 = 1 << 10;
pub(super) const NO_EXEC: u64 = 1 << 63;
pub(super) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Our count of used entries in the table pointed to, 0 to 512.
pub(super) const COUNT: u64 = 0x3ff << 52;
pub(super) const COUNT_ONE: u64 = 1 << 52;

/// Level of the table that `cr3` points to; leaf tables have level 0.
pub(super) const TOP: u32 = 3;
pub(super) const ENTRIES: u64 = 512;
/// Makes the processor use that root.
pub(super) fn load(root: Frame) {
    cpu().root.store(root.0, Relaxed);
    // SAFETY: the kernel's half, stack included, is the same in every root.
    unsafe { asm!("mov cr3, {}", in(reg) root.pa(), options(nostack, preserves_flags)) };
}

#[inline]
pub(super) fn flush_page(va: u64) {
    // SAFETY: forgets a translation.
    unsafe { asm!("invlpg [{}]", in(reg) va, options(nostack, preserves_flags)) };
}

#[inline]
pub(super) fn index(va: u64, level: u32) -> usize {
    (va >> (12 + 9 * level) & (ENTRIES - 1)) as usize
}

#[inline]
pub(super) fn frame_of(entry: u64) -> Frame {
    Frame(((entry & ADDRESS) >> 12) as u32)
}

/// The first of entries `at..end` of a program's table that is in use, or `end`:
/// absent ones are 0.
#[inline]
pub(super) fn next_entry(table: Frame, at: usize, end: usize) -> usize {
    page::next_word(table, at, end)
}

/// The last of entries `at..end` that is in use, or `end`.
#[inline]
pub(super) fn last_entry(table: Frame, at: usize, end: usize) -> usize {
    page::last_word(table, at, end)
}

/// A place in a table: one entry.
#[derive(Clone, Copy)]
pub(super) struct Place(*mut u64);

impl Place {
    /// Entry `index`, taken modulo 512, of a table reached from a root.
    #[inline]
    pub(super) fn of(table: Frame, index: usize) -> Place {
        let index = index & (ENTRIES as usize - 1);
        Place(physical(table.pa()).cast::<u64>().wrapping_add(index))
    }

    #[inline]
    pub(super) fn read(self) -> u64 {
        // SAFETY: 1. roots come from this module, and entries are written by
        // it (or by the loader, for the kernel's half), so `table` is a page
        // table and lives as long as its root; 2. the index is inside.
        // Volatile, for the processor sets bits in entries.
        unsafe { self.0.read_volatile() }
    }

    #[inline]
    pub(super) fn write(self, entry: u64) {
        // SAFETY: as in `read`.
        unsafe { self.0.write_volatile(entry) };
    }

    /// The table that the place is in.
    #[inline]
    pub(super) fn table(self) -> Frame {
        let address = self.0 as u64 - physical(0) as u64;
        Frame((address / PAGE) as u32)
    }

    /// The place `by` entries further on in the same table.
    #[inline]
    pub(super) fn after(self, by: usize) -> Place {
        debug_assert!(self.0 as usize % PAGE as usize / 8 + by < ENTRIES as usize);
        Place(self.0.wrapping_add(by))
    }

    /// One entry more in the table this place points to.
    #[inline]
    pub(super) fn count_one(self) {
        self.count(1);
    }

    /// So many entries more.
    #[inline]
    pub(super) fn count(self, more: u64) {
        self.write(self.read() + more * COUNT_ONE);
    }

    /// One entry less.
    #[inline]
    pub(super) fn uncount_one(self) {
        self.write(self.read() - COUNT_ONE);
    }
}

/// The leaf entry of `va` and the entry of its table, creating tables on the
/// way. `node` is the permissions of their entries.
#[inline]
pub(super) fn leaf(root: Frame, va: u64, node: u64) -> Result<(Place, Place), NoMemory> {
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

/// Returns true if no table on the way to `va` takes write permission from all below.
pub(super) fn is_open(root: Frame, va: u64) -> bool {
    let mut table = root;
    for level in (1..=TOP).rev() {
        let entry = Place::of(table, index(va, level)).read();
        if entry & PRESENT == 0 {
            return true;
        }
        if entry & WRITE == 0 {
            return false;
        }
        table = frame_of(entry);
    }
    true
}

/// Gives the tables on the way to `va` their write permission back; the other entries of
/// each lose their own instead. No translation changes by that.
#[cold]
pub(super) fn open(root: Frame, va: u64) {
    let mut table = root;
    for level in (1..=TOP).rev() {
        let place = Place::of(table, index(va, level));
        let entry = place.read();
        if entry & PRESENT == 0 {
            return;
        }
        table = frame_of(entry);
        if entry & WRITE == 0 {
            close_entries(table, (entry & COUNT) / COUNT_ONE);
            place.write(entry | WRITE);
        }
    }
}

/// Takes write permission from the `used` entries of a table.
fn close_entries(table: Frame, used: u64) {
    let mut at = 0;
    for _ in 0..used {
        at = next_entry(table, at, ENTRIES as usize);
        if at == ENTRIES as usize {
            return;
        }
        let place = Place::of(table, at);
        place.write(place.read() & !WRITE);
        at += 1;
    }
}

/// The place of the leaf entry of `va`, if there is a table for it.
pub(super) fn leaf_place(root: Frame, va: u64) -> Option<Place> {
    let mut place = Place::of(root, index(va, TOP));
    for level in (0..TOP).rev() {
        let entry = place.read();
        if entry & PRESENT == 0 || entry & HUGE != 0 {
            return None;
        }
        place = Place::of(frame_of(entry), index(va, level));
    }
    Some(place)
}

#[cold]
pub(super) fn new_table(place: Place, above: Option<Place>, node: u64) -> Result<u64, NoMemory> {
    // Tables of the kernel's half stay for later use.
    let table = match node {
        0 => pool::alloc_for_ever(),
        _ => pool::alloc_table(),
    };
    let table = table.ok_or(NoMemory)?;
    let entry = table.pa() | PRESENT | WRITE | node;
    place.write(entry);
    if let Some(above) = above {
        above.count_one();
    }
    Ok(entry)
}

/// Sets the leaf entry of `va`; the one that was there before.
#[inline]
pub(super) fn set(root: Frame, va: u64, entry: u64, node: u64) -> Result<u64, NoMemory> {
    let (place, above) = leaf(root, va, node)?;
    let old = place.read();
    place.write(entry);
    if old & PRESENT == 0 {
        above.count_one();
    }
    Ok(old)
}

/// Uncounts a removed translation of a program in its frame's word.
#[inline]
pub(super) fn forgotten(entry: u64) {
    if entry & COUNTED != 0 {
        words::forget_translation(frame_of(entry));
    }
    if entry & AHEAD != 0 {
        ahead::settled(u64::from(entry & ACCESSED != 0));
    }
}

/// A number kept at the leaf of `va`, where nothing is translated; 0: none.
pub(super) fn kept(root: Frame, va: u64) -> u64 {
    let found = leaf(root, va, 0).map(|(place, _)| place.read());
    found.map_or(0, |entry| entry >> 1)
}

/// Keeps a number there. The table of `va` must be there: it has been mapped.
pub(super) fn keep(root: Frame, va: u64, number: u64) {
    if let Ok((place, _)) = leaf(root, va, 0) {
        place.write(number << 1);
    }
}

/// The place of the leaf entry of `va`, if there is a translation.
pub(super) fn present(root: Frame, va: u64) -> Option<Place> {
    leaf_place(root, va).filter(|place| place.read() & PRESENT != 0)
}

/// The physical address and the entry for `va` in `root`, without write permission if a
/// table on the way has none.
pub(super) fn look_up(root: Frame, va: u64) -> Option<(u64, u64)> {
    let (mut table, mut closed) = (root, 0);
    for level in (0..=TOP).rev() {
        let entry = Place::of(table, index(va, level)).read();
        if entry & PRESENT == 0 {
            return None;
        }
        closed |= !entry & WRITE;
        if level == 0 || entry & HUGE != 0 {
            let within = (PAGE << (9 * level)) - 1;
            return Some((entry & ADDRESS & !within | va & within, entry & !closed));
        }
        table = frame_of(entry);
    }
    None
}
