//! The kernel's heap.
//!
//! | size | from |
//! |---|---|
//! | up to 2 KiB | *slabs*: pages cut into blocks of one power of two |
//! | up to 4 KiB | a frame |
//! | above | frames mapped in a row (`large`) |
//! | before the first process | first fit over a small region |
//!
//! A slab belongs to one account and has blocks of that account alone, so that
//! what a process makes the kernel keep is charged frame by frame and comes back
//! as soon as it is given up. Each account keeps one empty slab of a size while
//! a process pays from it, or a block that comes and goes would take and give
//! back a frame each time.
//!
//! Out of memory is a null pointer. Nothing that a program can bring about may
//! abort: use `try_reserve` and its like, and [`new_arc`] and [`new_arc_str`].

use crate::lock::Mutex;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::alloc::{GlobalAlloc, Layout};
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use linked_list_allocator::Heap as FirstFit;
use vm::{ACCOUNTS_MAX, AccountId, Frame, NoMemory};

use super::chance::{self, What};
use super::page::{Physical, SIZE};
use super::words::{self, Use};
use super::{PHYSICAL_MAP, large, payer, physical, pool};

/// Smallest block, 16 bytes.
const SMALLEST_LOG2: u32 = 4;
const LARGEST_LOG2: u32 = 11;
const CLASSES: usize = (LARGEST_LOG2 - SMALLEST_LOG2 + 1) as usize;
/// Size of the region for allocations before the first process, in bytes.
const SET_UP: usize = 64 << 10;
/// No page, no block.
const NONE: u32 = u32::MAX;
const FULL: u16 = u16::MAX;

/// The record of a frame that is a slab.
#[derive(Clone, Copy)]
struct Slab {
    /// Where its first free block is, in units of the smallest; the others are
    /// linked in the blocks. `FULL`: there is none, and it is in no list.
    free: u16,
    /// Blocks in use.
    used: u16,
    /// Others of the account and size that have free blocks.
    next: u32,
    previous: u32,
}

struct Slabs {
    /// By frame.
    pages: &'static mut [Slab],
    /// First slab with a free block, by account and size.
    first: [[u32; CLASSES]; ACCOUNTS_MAX],
}

struct Heap {
    slabs: Mutex<Slabs>,
    set_up: Mutex<FirstFit>,
    /// Address of the region of `set_up`.
    set_up_at: AtomicUsize,
    /// There has been no process yet.
    setting_up: AtomicBool,
}

#[cfg_attr(target_os = "none", global_allocator)]
static HEAP: Heap = Heap {
    slabs: Mutex::new(Slabs {
        pages: &mut [],
        first: [[NONE; CLASSES]; ACCOUNTS_MAX],
    }),
    set_up: Mutex::new(FirstFit::empty()),
    set_up_at: AtomicUsize::new(0),
    setting_up: AtomicBool::new(true),
};

/// Log2 of the block size for a layout, or `None` for a larger one.
#[inline]
fn class(layout: Layout) -> Option<u32> {
    let size = layout.size().max(layout.align()).max(1 << SMALLEST_LOG2);
    let log2 = (size - 1).ilog2() + 1;
    (log2 <= LARGEST_LOG2).then_some(log2)
}

/// The frame that a block is in.
#[inline]
fn frame_of(block: *mut u8) -> Frame {
    Frame(((block as u64 - PHYSICAL_MAP) >> 12) as u32)
}

/// Block `at` of a slab, in units of the smallest.
#[inline]
fn block_at(page: u32, at: u16) -> *mut u8 {
    physical(Frame(page).pa()).wrapping_add(usize::from(at) << SMALLEST_LOG2)
}

impl Slabs {
    #[inline]
    fn slab(&mut self, page: u32) -> Option<&mut Slab> {
        self.pages.get_mut(page as usize)
    }

    #[inline]
    fn first(&mut self, account: AccountId, log2: u32) -> &mut u32 {
        let class = (log2 - SMALLEST_LOG2) as usize;
        &mut self.first[usize::from(account.0) % ACCOUNTS_MAX][class % CLASSES]
    }

    #[inline]
    fn alloc(&mut self, log2: u32) -> *mut u8 {
        let account = payer::account();
        let mut page = *self.first(account, log2);
        if page == NONE {
            page = self.refill(account, log2);
        }
        let Some(slab) = self.slab(page) else {
            return null_mut();
        };
        let block = block_at(page, slab.free);
        // SAFETY: a free block of a slab, which begins with where the next is.
        slab.free = unsafe { block.cast::<u16>().read() };
        slab.used += 1;
        if slab.free == FULL {
            let next = slab.next;
            *self.first(account, log2) = next;
            if let Some(next) = self.slab(next) {
                next.previous = NONE;
            }
        }
        block
    }

    #[inline]
    fn free(&mut self, block: *mut u8, log2: u32) {
        let page = frame_of(block).0;
        let at = (block as usize % SIZE) >> SMALLEST_LOG2;
        let Some(slab) = self.slab(page) else { return };
        let was = slab.free;
        // SAFETY: the block belongs to its slab again, and no other reference
        // exists.
        unsafe { block.cast::<u16>().write(was) };
        slab.free = at as u16;
        slab.used -= 1;
        let used = slab.used;
        if was == FULL {
            let account = pool::owner(Frame(page));
            self.link(page, account, log2);
        }
        if used == 0 {
            self.empty(page, log2);
        }
    }

    /// A slab of that size for an account, or `NONE`.
    #[cold]
    fn refill(&mut self, account: AccountId, log2: u32) -> u32 {
        let Some(frame) = pool::alloc_object() else {
            return NONE;
        };
        let step = 1 << (log2 - SMALLEST_LOG2);
        let last = (SIZE >> SMALLEST_LOG2) as u16 - step;
        for at in (0..=last).step_by(usize::from(step)) {
            let next = if at == last { FULL } else { at + step };
            // SAFETY: inside the frame, which is not used otherwise, and
            // aligned.
            unsafe { block_at(frame.0, at).cast::<u16>().write(next) };
        }
        if let Some(slab) = self.slab(frame.0) {
            (slab.free, slab.used) = (0, 0);
        }
        self.link(frame.0, account, log2);
        frame.0
    }

    /// The slab has a free block from now on.
    fn link(&mut self, page: u32, account: AccountId, log2: u32) {
        let next = core::mem::replace(self.first(account, log2), page);
        if let Some(slab) = self.slab(page) {
            (slab.next, slab.previous) = (next, NONE);
        }
        if let Some(next) = self.slab(next) {
            next.previous = page;
        }
    }

    /// The slab has no block in use any more: its frame is given back, unless
    /// the account has no other of the size and may need it soon.
    #[cold]
    fn empty(&mut self, page: u32, log2: u32) {
        let account = pool::owner(Frame(page));
        let Some(&mut slab) = self.slab(page) else {
            return;
        };
        let only = slab.next == NONE && slab.previous == NONE;
        if only && pool::accounts(|accounts| accounts.members(account)) > 0 {
            return;
        }
        match self.slab(slab.previous) {
            Some(previous) => previous.next = slab.next,
            None => *self.first(account, log2) = slab.next,
        }
        if let Some(next) = self.slab(slab.next) {
            next.previous = slab.previous;
        }
        pool::free_object(Frame(page));
    }
}

/// Frees the empty slabs of an account without members.
pub fn close_account(account: AccountId) {
    let mut slabs = HEAP.slabs.lock();
    for log2 in SMALLEST_LOG2..=LARGEST_LOG2 {
        let mut page = *slabs.first(account, log2);
        while let Some(&mut slab) = slabs.slab(page) {
            if slab.used == 0 {
                slabs.empty(page, log2);
            }
            page = slab.next;
        }
    }
}

impl Heap {
    /// Returns true if the block was allocated before the first process.
    #[inline]
    fn is_set_up(&self, block: *mut u8) -> bool {
        (block as usize).wrapping_sub(self.set_up_at.load(Relaxed)) < SET_UP
    }

    /// Before the first process; null if that is over or the region is full.
    #[cold]
    fn set_up(&self, layout: Layout) -> *mut u8 {
        let block = self.set_up.lock().allocate_first_fit(layout);
        block.map_or(null_mut(), NonNull::as_ptr)
    }
}

// SAFETY: 1. blocks are as large and as aligned as asked for (a block of 2^n
// bytes in a page is aligned to 2^n, larger ones to pages); 2. a block is free
// or with one caller, never both; 3. nothing panics.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if chance::fails(What::Block, payer::running) {
            return null_mut();
        }
        if self.setting_up.load(Relaxed) {
            let block = self.set_up(layout);
            if !block.is_null() {
                return block;
            }
        }
        match class(layout) {
            Some(log2) => self.slabs.lock().alloc(log2),
            None => large::alloc(layout),
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if self.is_set_up(block) {
            if let Some(block) = NonNull::new(block) {
                // SAFETY: it came from there with this layout.
                unsafe { self.set_up.lock().deallocate(block, layout) };
            }
            return;
        }
        match class(layout) {
            Some(log2) => self.slabs.lock().free(block, log2),
            None => large::free(block, layout),
        }
    }
}

/// From now on there are processes.
pub fn set_up_done() {
    HEAP.setting_up.store(false, Relaxed);
}

/// Returns an error unless there is memory for one object of that layout. The
/// next allocation of it succeeds, because nothing runs in between.
fn room_for(layout: Layout) -> Result<(), NoMemory> {
    // SAFETY: 1. callers ask for no empty layout; 2. the block is given back as
    // it came.
    unsafe {
        let block = HEAP.alloc(layout);
        if block.is_null() {
            return Err(NoMemory);
        }
        HEAP.dealloc(block, layout);
    }
    Ok(())
}

/// The layout of an [`Arc`]'s object: two counters before the value.
fn shared(value: Layout) -> Result<Layout, NoMemory> {
    let (layout, _) = Layout::new::<[usize; 2]>()
        .extend(value)
        .map_err(|_| NoMemory)?;
    Ok(layout.pad_to_align())
}

/// [`Arc::new`] that does not abort.
#[expect(clippy::disallowed_methods, reason = "there is room for it")]
pub fn new_arc<T>(value: T) -> Result<Arc<T>, NoMemory> {
    room_for(shared(Layout::new::<T>())?)?;
    Ok(chance::suspended(|| Arc::new(value)))
}

/// Room for a value that will be shared, taken before there is one.
pub struct ArcRoom<T>(Arc<MaybeUninit<T>>);

impl<T> ArcRoom<T> {
    /// For one value.
    pub fn new() -> Result<ArcRoom<T>, NoMemory> {
        new_arc(MaybeUninit::uninit()).map(ArcRoom)
    }

    /// The value in its place.
    pub fn fill(mut self, value: T) -> Arc<T> {
        match Arc::get_mut(&mut self.0) {
            Some(place) => place.write(value),
            None => unreachable!("room that is shared before it is filled"),
        };
        // SAFETY: it has just been written.
        unsafe { self.0.assume_init() }
    }
}

/// [`Box::new`] that does not abort.
pub fn new_box<T>(value: T) -> Result<Box<T>, NoMemory> {
    const { assert!(size_of::<T>() > 0, "nothing to allocate") };
    // SAFETY: the layout is not empty; what is allocated with the layout of a `T` and holds
    // one may be a box.
    unsafe {
        let block = alloc::alloc::alloc(Layout::new::<T>()).cast::<T>();
        if block.is_null() {
            return Err(NoMemory);
        }
        block.write(value);
        Ok(Box::from_raw(block))
    }
}

/// [`Arc::from`] that does not abort.
pub fn new_arc_str(text: &str) -> Result<Arc<str>, NoMemory> {
    room_for(shared(Layout::for_value(text))?)?;
    Ok(chance::suspended(|| Arc::from(text)))
}

/// The same for bytes.
pub fn new_arc_bytes(bytes: &[u8]) -> Result<Arc<[u8]>, NoMemory> {
    room_for(shared(Layout::for_value(bytes))?)?;
    Ok(chance::suspended(|| Arc::from(bytes)))
}

/// Sets aside the table of slabs and the region for set-up.
pub(super) fn init() {
    let frames = words::limit() as usize;
    let bytes = frames * size_of::<Slab>();
    let table = pool::alloc_run(bytes.div_ceil(SIZE) as u32, Use::Object);
    let region = pool::alloc_run((SET_UP / SIZE) as u32, Use::Object);
    let (Some(table), Some(region)) = (table, region) else {
        panic!("no memory for the kernel's heap");
    };
    // SAFETY: held for ever, mapped, used for nothing else, and numbers whatever its bytes
    // are. `refill` and `link` write the record of a frame when it becomes a slab; before
    // that it means nothing, and thousands of them need not be written at each boot.
    let pages =
        unsafe { core::slice::from_raw_parts_mut(physical(table.pa()).cast::<Slab>(), frames) };
    HEAP.slabs.lock().pages = pages;
    HEAP.set_up_at
        .store(physical(region.pa()) as usize, Relaxed);
    // SAFETY: held for ever, mapped, used for nothing else; called once.
    unsafe { HEAP.set_up.lock().init(physical(region.pa()), SET_UP) };
}
