//! Kernel objects larger than a slab's blocks.
//!
//! Up to a page: a frame. Above: frames anywhere, mapped in a row in a part of
//! the kernel's addresses, which is cut into places of each power of two. So a
//! large object needs frames and no luck, and its frames are as good as any
//! other's afterwards. Places that were used before are linked through the page
//! tables.

use crate::lock::Mutex;
use core::alloc::Layout;
use core::ptr::null_mut;

use abi::PAGE;

use super::page::{Physical, SIZE};
use super::{LARGE, PHYSICAL_MAP, own, physical, pool};
use vm::Frame;

/// Log2 of pages in the smallest places.
const SMALLEST_LOG2: u32 = 1;
/// Sizes of places: 8 KiB to 256 MiB.
const SIZES: usize = 16;
/// Bytes of addresses for each size.
const AREA: u64 = 32 << 30;

/// The places of one size.
struct Places {
    /// Places that have been used.
    used: u64,
    /// The first of those that is free, counted from 1; 0: none.
    free: u64,
}

static PLACES: Mutex<[Places; SIZES]> = Mutex::new([const { Places { used: 0, free: 0 } }; SIZES]);

/// The size class for that many pages; `None`: none is large enough.
fn size_for(pages: usize) -> Option<usize> {
    let log2 = pages
        .next_power_of_two()
        .trailing_zeros()
        .max(SMALLEST_LOG2);
    let size = (log2 - SMALLEST_LOG2) as usize;
    (size < SIZES).then_some(size)
}

/// Bytes of a place.
fn bytes(size: usize) -> u64 {
    PAGE << (size as u32 + SMALLEST_LOG2)
}

fn address(size: usize, place: u64) -> u64 {
    LARGE + size as u64 * AREA + place * bytes(size)
}

/// An unused place of that size.
fn take_place(size: usize) -> Option<u64> {
    let mut places = PLACES.lock();
    let of_size = places.get_mut(size)?;
    match of_size.free {
        0 if (of_size.used + 1) * bytes(size) > AREA => None,
        0 => {
            of_size.used += 1;
            Some(of_size.used - 1)
        }
        free => {
            of_size.free = own::kept(address(size, free - 1));
            Some(free - 1)
        }
    }
}

fn give_place(size: usize, place: u64) {
    let mut places = PLACES.lock();
    let Some(of_size) = places.get_mut(size) else {
        return;
    };
    // The last one may never have been mapped: its table may be missing.
    if place + 1 == of_size.used {
        of_size.used = place;
    } else {
        own::keep(address(size, place), of_size.free);
        of_size.free = place + 1;
    }
}

/// Unmaps and frees the mapped ones of the first `pages` pages from `va`.
fn unmap(va: u64, pages: usize) {
    let addresses = (va..).step_by(PAGE as usize).take(pages);
    addresses.filter_map(own::unmap).for_each(pool::free_object);
}

/// Memory for a large object, or null.
#[cold]
pub(super) fn alloc(layout: Layout) -> *mut u8 {
    if layout.align() > SIZE {
        return null_mut();
    }
    if layout.size() <= SIZE {
        return pool::alloc_object().map_or(null_mut(), |frame| physical(frame.pa()));
    }
    let pages = layout.size().div_ceil(SIZE);
    let place = size_for(pages).and_then(|size| Some((size, take_place(size)?)));
    let Some((size, place)) = place else {
        return null_mut();
    };
    let va = address(size, place);
    for done in 0..pages {
        let mapped = pool::alloc_object().is_some_and(|frame| {
            let mapped = own::map(va + done as u64 * PAGE, frame).is_ok();
            if !mapped {
                pool::free_object(frame);
            }
            mapped
        });
        if !mapped {
            unmap(va, done);
            give_place(size, place);
            return null_mut();
        }
    }
    va as *mut u8
}

/// Gives the memory of a large object back.
#[cold]
pub(super) fn free(block: *mut u8, layout: Layout) {
    let va = block as u64;
    if layout.size() <= SIZE {
        return pool::free_object(Frame(((va - PHYSICAL_MAP) >> 12) as u32));
    }
    let pages = layout.size().div_ceil(SIZE);
    unmap(va, pages);
    if let Some(size) = size_for(pages) {
        give_place(size, (va - address(size, 0)) / bytes(size));
    }
}
