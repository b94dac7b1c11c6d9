//! The kernel's own half of the addresses: its root, the stacks and large objects that are
//! mapped there, and look-ups in it.

use super::page::{self, Physical};
use super::table::{
    self, NO_EXEC, PRESENT, Place, TOP, WRITE, flush_page, frame_of, index, load, look_up,
};
use super::{LARGE, PHYSICAL_MAP, STACKS, pool};
use crate::cpu::cpu;
use abi::PAGE;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use vm::{Frame, NoMemory};
use x86_64::registers::control::Cr3;

/// The root without a program.
static ROOT: AtomicU32 = AtomicU32::new(0);

/// The kernel's half alone, for when no program is current.
pub(super) fn root() -> Frame {
    Frame(ROOT.load(Relaxed))
}

/// Makes the processor use the kernel's half alone.
pub(crate) fn activate() {
    load(root());
}

/// Maps a page in the kernel's area of stacks or of large objects.
pub(super) fn map(va: u64, frame: Frame) -> Result<(), NoMemory> {
    let entry = frame.pa() | PRESENT | WRITE | NO_EXEC;
    table::set(root(), va, entry, 0).map(drop)
}

/// Unmaps a page that [`map`] has mapped; returns its frame. Tables stay.
pub(super) fn unmap(va: u64) -> Option<Frame> {
    let (place, above) = table::leaf(root(), va, 0).ok()?;
    let entry = place.read();
    if entry & PRESENT == 0 {
        return None;
    }
    place.write(0);
    above.uncount_one();
    flush_page(va);
    Some(frame_of(entry))
}

/// The number kept at an address of the kernel's where nothing is mapped.
pub(super) fn kept(va: u64) -> u64 {
    table::kept(root(), va)
}

/// Keeps a number there. A page has been mapped there before.
pub(super) fn keep(va: u64, number: u64) {
    table::keep(root(), va, number);
}

/// The two words of a stack frame record, the caller's frame pointer and the
/// return address; `None` where there is no readable kernel memory.
pub(crate) fn read_frame_record(address: u64) -> Option<(u64, u64)> {
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

/// Makes the kernel's root from the loader's: its upper half, and the regions
/// of stacks and large objects, which the loader's root gets too so that a
/// stack can be prepared there. The loader's low mappings are dropped when the
/// new root is activated.
pub(super) fn init() {
    let loader = current();
    for area in [STACKS, LARGE] {
        let Some(table) = pool::alloc_table() else {
            panic!("no memory for page tables");
        };
        let place = Place::of(loader, index(area, TOP));
        let free = place.read() & PRESENT == 0;
        assert!(free, "the loader uses the kernel's addresses at {area:#x}");
        place.write(table.pa() | PRESENT | WRITE);
    }
    let Some(root) = pool::alloc_table() else {
        panic!("no memory for page tables");
    };
    let half = page::SIZE / 2;
    page::copy_between((loader, half), (root, half), half);
    ROOT.store(root.0, Relaxed);
    cpu().root.store(loader.0, Relaxed);
}
