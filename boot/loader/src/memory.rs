//! Physical memory: allocations for the kernel and its tables, taken in
//! ascending order from the memory behind the loader, and the memory map for
//! the kernel.

use crate::pvh::{MapEntry, RAM};
use crate::start::Extent;
use bootloader_api::info::{MemoryRegion, MemoryRegionKind};
use core::ops::Range;
use core::slice;
use x86_64::PhysAddr;
use x86_64::structures::paging::{FrameAllocator, PhysFrame, Size4KiB};

/// Bytes in a page.
pub const PAGE: u64 = 4096;
/// Firmware, start information and option ROMs live below; never handed out.
const LOW: u64 = 1 << 20;
/// The loader's early tables map this much.
const REACH: u64 = 1 << 32;

/// Not enough memory behind the loader.
#[derive(Debug)]
pub struct OutOfMemory;

/// Hands out zeroed, page-aligned memory; nothing is ever given back.
pub struct Pool {
    next: u64,
    end: u64,
}

impl Pool {
    /// The memory from the end of the loader to the end of its RAM range or to
    /// the bundle, whichever comes first.
    ///
    /// # Safety
    /// Only one pool is made, `map` describes the machine, memory below 4 GiB
    /// is mapped to itself, and all that is in use lies in `loader`, in
    /// `bundle` or below 1 MiB.
    pub unsafe fn new(
        map: &[MapEntry],
        loader: &Extent,
        bundle: Range<u64>,
    ) -> Result<Pool, OutOfMemory> {
        let ram = map
            .iter()
            .find(|e| e.kind == RAM && e.address <= loader.start && loader.end <= end(e))
            .ok_or(OutOfMemory)?;
        let mut limit = end(ram).min(REACH);
        if bundle.start >= loader.end {
            limit = limit.min(bundle.start);
        }
        Ok(Pool {
            next: loader.end,
            end: limit & !(PAGE - 1),
        })
    }

    /// `bytes` of zeroed memory, rounded up to whole pages. Its address is its
    /// physical address.
    pub fn take(&mut self, bytes: u64) -> Result<&'static mut [u8], OutOfMemory> {
        let size = bytes.checked_next_multiple_of(PAGE).ok_or(OutOfMemory)?;
        let start = self.next;
        let end = start
            .checked_add(size)
            .filter(|&end| end <= self.end)
            .ok_or(OutOfMemory)?;
        self.next = end;
        // SAFETY: (1) the range is unused RAM, by `new`'s contract; (2) it is
        // identity-mapped; (3) `next` has moved past it, so it is handed out
        // once; (4) any bytes are valid u8.
        let memory = unsafe { slice::from_raw_parts_mut(start as *mut u8, size as usize) };
        memory.fill(0);
        Ok(memory)
    }

    /// One past the last byte handed out.
    pub fn used_up_to(&self) -> u64 {
        self.next
    }
}

// SAFETY: `take` hands out every frame once.
unsafe impl FrameAllocator<Size4KiB> for Pool {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        let frame = self.take(PAGE).ok()?;
        PhysFrame::from_start_address(PhysAddr::new(frame.as_ptr() as u64)).ok()
    }
}

fn end(entry: &MapEntry) -> u64 {
    entry.address.saturating_add(entry.size)
}

/// One past the highest byte of RAM.
pub fn end_of_ram(map: &[MapEntry]) -> u64 {
    map.iter()
        .filter(|e| e.kind == RAM)
        .map(end)
        .max()
        .unwrap_or(0)
}

/// Fills `out` with the kernel's memory map: RAM is usable, in whole pages,
/// except below 1 MiB and in the ranges `taken`. Returns the number of
/// regions; `None` if they are too many.
pub fn regions(map: &[MapEntry], taken: &[Range<u64>], out: &mut [MemoryRegion]) -> Option<usize> {
    let mut count = 0;
    let mut push = |start: u64, end: u64, kind| {
        if start < end {
            *out.get_mut(count)? = MemoryRegion { start, end, kind };
            count += 1;
        }
        Some(())
    };
    for entry in map {
        if entry.kind != RAM {
            push(
                entry.address,
                end(entry),
                MemoryRegionKind::UnknownBios(entry.kind),
            )?;
            continue;
        }
        // Cut the reserved ranges out of this entry, lowest first.
        let (mut at, stop) = (entry.address, end(entry));
        while let Some(next) = first_taken(taken, at, stop) {
            let from = (next.start & !(PAGE - 1)).max(at);
            let to = next.end.next_multiple_of(PAGE).min(stop);
            push(
                at.next_multiple_of(PAGE),
                from & !(PAGE - 1),
                MemoryRegionKind::Usable,
            )?;
            push(from, to, MemoryRegionKind::Bootloader)?;
            at = to;
        }
        push(
            at.next_multiple_of(PAGE),
            stop & !(PAGE - 1),
            MemoryRegionKind::Usable,
        )?;
    }
    let found = out.get_mut(..count)?;
    found.sort_unstable_by_key(|region| region.start);
    Some(count)
}

/// The lowest reserved range that overlaps `[at, stop)`; the first megabyte is
/// always reserved.
fn first_taken(taken: &[Range<u64>], at: u64, stop: u64) -> Option<Range<u64>> {
    let low = 0..LOW;
    let all = taken.iter().chain(core::iter::once(&low));
    all.filter(|range| at < stop && range.start < stop && range.end > at)
        .min_by_key(|range| range.start)
        .cloned()
}
