//! The pool at start: its tables, from the loader's memory map.

use core::ops::Range;
use core::sync::atomic::AtomicU64;

use bootloader_api::info::{MemoryRegion, MemoryRegionKind};
use vm::Frame;

use super::super::page::{Physical, SIZE};
use super::super::physical;
use super::super::words::{self, limit};
use super::{END, Held, TABLE, Table};

/// The first MiB has too many owners.
pub(super) const LOWEST: u64 = 1 << 20;

impl Table {
    /// Marks memory that is never handed out.
    fn keep(frames: Range<u64>) {
        let end = frames.end.min(u64::from(limit())) as u32;
        (frames.start as u32..end).for_each(|frame| words::set(Frame(frame), words::KEPT));
    }

    /// Lists a region.
    fn list_all(&mut self, frames: Range<u32>) {
        for frame in frames.rev() {
            self.list(Frame(frame), Held::Any);
        }
    }
}

/// Whole frames of a region that the kernel may use.
fn usable(region: &MemoryRegion) -> Range<u32> {
    if region.kind != MemoryRegionKind::Usable {
        return 0..0;
    }
    let start = region.start.max(LOWEST).div_ceil(abi::PAGE);
    let end = (region.end / abi::PAGE).min(u64::from(END));
    start as u32..(end as u32).max(start as u32)
}

/// Builds the tables from the loader's memory map, in the largest region.
pub(in super::super) fn init(regions: &[MemoryRegion]) {
    let largest = regions
        .iter()
        .map(usable)
        .max_by_key(ExactSizeIterator::len)
        .unwrap_or(0..0);
    // The loader's page tables are read too, though never handed out.
    let ours = |region: &&MemoryRegion| {
        matches!(
            region.kind,
            MemoryRegionKind::Usable | MemoryRegionKind::Bootloader
        )
    };
    let limit = regions
        .iter()
        .filter(ours)
        .map(|region| region.end / abi::PAGE)
        .max();
    let limit = limit.unwrap_or(0).min(u64::from(END)) as u32;
    let words_bytes = limit as usize * words::WORDS_PER_FRAME * size_of::<AtomicU64>();
    let words_frames = words_bytes.div_ceil(SIZE) as u32;
    let owners_frames = (limit as usize * size_of::<u16>()).div_ceil(SIZE) as u32;
    let fresh = largest.start + words_frames + owners_frames;
    assert!(
        largest.len() > (fresh - largest.start) as usize + 64,
        "too little memory"
    );
    // SAFETY: usable memory that was not handed out yet, mapped permanently,
    // aligned to a page.
    unsafe {
        let words = physical(Frame(largest.start).pa()).cast();
        words::init(words, limit, fresh..largest.end);
    }
    // SAFETY: the frames after those, under the same conditions; every entry is
    // written before it is read.
    let owners = unsafe {
        let first = physical(Frame(largest.start + words_frames).pa()).cast::<u16>();
        core::ptr::write_bytes(first, 0, limit as usize);
        core::slice::from_raw_parts_mut(first, limit as usize)
    };
    let mut table = TABLE.lock();
    table.owners = owners;
    (table.fresh, table.fresh_end) = (fresh, largest.end);
    table.free = largest.end - fresh;
    Table::keep(u64::from(largest.start)..u64::from(fresh));
    for region in regions {
        if region.kind == MemoryRegionKind::Bootloader {
            Table::keep(region.start / abi::PAGE..region.end.div_ceil(abi::PAGE));
        } else if usable(region).start != largest.start {
            table.list_all(usable(region));
        }
    }
    table.total = table.free;
}
