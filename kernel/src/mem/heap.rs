//! The kernel's heap.
//!
//! Up to 2 KiB: lists of free blocks, one for each power of two, filled a
//! page at a time. Above, and for those pages: first fit over a region set
//! aside at start, so that ordinary allocation leaves the count of free
//! frames alone; when the region is full, pages come from frames. Blocks stay
//! with their list. Out of memory is a null pointer; callers use
//! `try_reserve` and its like, or ask [`reserve_ok`] first.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{NonNull, null_mut};

use linked_list_allocator::Heap as FirstFit;
use spin::Mutex;

use super::frames::{self, Physical};
use super::physical;

/// Smallest block, 16 bytes: room for the list's pointer, and aligned.
const SMALLEST_LOG2: u32 = 4;
const LARGEST_LOG2: u32 = 11;
const CLASSES: usize = (LARGEST_LOG2 - SMALLEST_LOG2 + 1) as usize;
/// Region for large objects, bytes; less on small machines.
const REGION: u64 = 8 << 20;
/// What [`reserve_ok`] wants to be free, bytes.
const RESERVE: usize = 64 << 10;

const PAGE_LAYOUT: Layout = match Layout::from_size_align(frames::SIZE, frames::SIZE) {
    Ok(layout) => layout,
    Err(_) => panic!("a page is a layout"),
};

/// A free block begins with the address of the next one.
struct Blocks {
    first: *mut u8,
}

// SAFETY: the blocks belong to the list alone.
unsafe impl Send for Blocks {}

struct Heap {
    classes: [Mutex<Blocks>; CLASSES],
    large: Mutex<FirstFit>,
}

#[cfg_attr(target_os = "none", global_allocator)]
static HEAP: Heap = Heap {
    classes: [const { Mutex::new(Blocks { first: null_mut() }) }; CLASSES],
    large: Mutex::new(FirstFit::empty()),
};

/// Log2 of the block size for a layout, or `None` for a large one.
#[inline]
fn class(layout: Layout) -> Option<u32> {
    let size = layout.size().max(layout.align()).max(1 << SMALLEST_LOG2);
    let log2 = (size - 1).ilog2() + 1;
    (log2 <= LARGEST_LOG2).then_some(log2)
}

impl Heap {
    fn large(&self, layout: Layout) -> *mut u8 {
        match self.large.lock().allocate_first_fit(layout) {
            Ok(block) => block.as_ptr(),
            Err(()) => null_mut(),
        }
    }

    /// A page for blocks.
    #[cold]
    fn page(&self) -> *mut u8 {
        let page = self.large(PAGE_LAYOUT);
        if !page.is_null() {
            return page;
        }
        match frames::alloc_reserved() {
            Some(frame) => physical(frame.pa()),
            None => null_mut(),
        }
    }

    /// Cuts a page into blocks and returns the first, the others being listed.
    #[cold]
    fn refill(&self, blocks: &mut Blocks, log2: u32) -> *mut u8 {
        let page = self.page();
        if page.is_null() {
            return page;
        }
        let size = 1 << log2;
        for at in (size..frames::SIZE).step_by(size).rev() {
            // SAFETY: inside the page, which is ours, and aligned.
            unsafe { blocks.push(page.add(at)) };
        }
        page
    }
}

impl Blocks {
    /// # Safety
    /// `block` is at least 16 bytes, aligned to that, and nobody else's.
    #[inline]
    unsafe fn push(&mut self, block: *mut u8) {
        // SAFETY: the caller's condition.
        unsafe { block.cast::<*mut u8>().write(self.first) };
        self.first = block;
    }
}

// SAFETY: 1. blocks and first-fit pieces are as large and as aligned as asked
// for (a block of 2^n bytes in a page is aligned to 2^n); 2. a block is on a
// list or with one caller, never both; 3. nothing panics.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(log2) = class(layout) else {
            return self.large(layout);
        };
        let Some(list) = self.classes.get((log2 - SMALLEST_LOG2) as usize) else {
            return null_mut();
        };
        let mut blocks = list.lock();
        let block = blocks.first;
        if block.is_null() {
            return self.refill(&mut blocks, log2);
        }
        // SAFETY: a listed block begins with a pointer to the next.
        blocks.first = unsafe { block.cast::<*mut u8>().read() };
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(log2) = class(layout) else {
            if let Some(block) = NonNull::new(block) {
                // SAFETY: it came from `large` with this layout.
                unsafe { self.large.lock().deallocate(block, layout) };
            }
            return;
        };
        if let Some(list) = self.classes.get((log2 - SMALLEST_LOG2) as usize) {
            // SAFETY: it came from this list, so it has the size.
            unsafe { list.lock().push(block) };
        }
    }
}

/// Is there room for the small allocations that cannot be refused? Asked at
/// kernel entry, before anything has been done.
pub fn reserve_ok() -> bool {
    frames::free_count() > (RESERVE / frames::SIZE) as u64 || HEAP.large.lock().free() > RESERVE
}

/// Sets the region for large objects aside.
pub(super) fn init() {
    let bytes = REGION.min(frames::total() * abi::PAGE / 16);
    let Some(first) = frames::alloc_contiguous((bytes / abi::PAGE) as u32) else {
        panic!("no memory for the kernel's heap");
    };
    // SAFETY: held for ever, mapped, used for nothing else; called once.
    unsafe { HEAP.large.lock().init(physical(first.pa()), bytes as usize) };
}
