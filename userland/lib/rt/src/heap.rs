//! The allocator: size classes for small objects, a segment of their own for large
//! ones (`large`), and `linked_list_allocator` for those between, in one huge
//! segment of which only touched pages cost anything. Nothing is attached before
//! the first allocation, and small objects touch no page before they are handed out.
//!
//! It is a "memory" segment. With `HEAP=snapshot` in the environment it is a
//! "snapshot" segment: each read into any of the program's buffers is deferred
//! then, and the program cannot tell. With `HEAP=memory` large objects are in it
//! too, so that no read into the heap is deferred.

use crate::single::Single;
use crate::{env, large, sys};
use abi::{Call, PAGE};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{NonNull, null_mut};
use linked_list_allocator::Heap;

/// Addresses the heap may grow into; they are free until touched.
const HEAP_LEN: u64 = 64 << 30;
/// The smallest class holds objects of `1 << SMALLEST` bytes.
const SMALLEST: u32 = 4;
/// Classes: 16, 32, ... 2048 bytes.
const CLASSES: usize = 8;
/// Bytes cut into objects of one class at a time.
const CHUNK: usize = 16 * 1024;
/// Bytes at the beginning of the heap whose chunks are the first to be taken. The lists of
/// larger objects begin behind them, and not before there is such an object, for that takes
/// a page.
const FIRST: usize = 1 << 20;
const _: () = assert!(FIRST.is_multiple_of(CHUNK));

struct Free {
    next: *mut Free,
}

/// Objects of one class that were never handed out.
#[derive(Clone, Copy)]
struct Fresh {
    at: *mut u8,
    count: usize,
}

pub(crate) struct State {
    classes: [*mut Free; CLASSES],
    fresh: [Fresh; CLASSES],
    /// The segment; null: there is none yet.
    base: *mut u8,
    /// Bytes of [`FIRST`] that were taken.
    taken: usize,
    /// For objects that no class is for; initialised with the first.
    large: Heap,
    has_large: bool,
    kind: &'static str,
}

pub(crate) struct ProcessHeap(pub(crate) Single<State>);

#[cfg_attr(target_os = "none", global_allocator)]
pub(crate) static HEAP: ProcessHeap = ProcessHeap(Single::new(State {
    classes: [null_mut(); CLASSES],
    fresh: [Fresh {
        at: null_mut(),
        count: 0,
    }; CLASSES],
    base: null_mut(),
    taken: 0,
    large: Heap::empty(),
    has_large: false,
    kind: "memory",
}));

/// Reads from the environment which kind of segment to use; called before the
/// first allocation.
pub(crate) fn choose_kind() {
    if env::begins_with("HEAP", "snapshot") {
        HEAP.0.with(|state| state.kind = "snapshot");
    }
    if env::begins_with("HEAP", "memory") {
        large::turn_off();
    }
}

/// A large object, if there is room for it among the large ones. It is zeros.
#[inline]
fn take_large(layout: &Layout) -> Option<*mut u8> {
    if layout.size() < large::LEAST || layout.align() > PAGE as usize {
        return None;
    }
    large::take(layout.size() as u64).map(|address| address as *mut u8)
}

/// The place of an object among the large ones, if it is there.
#[inline]
fn among_large(pointer: *mut u8, layout: &Layout) -> Option<u64> {
    match layout.size() < large::LEAST {
        true => None,
        false => large::offset(pointer as u64),
    }
}

/// Moves `len` bytes to a new object. The pages of a large one are given back on the
/// way, so that memory for both is not needed at once.
///
/// # Safety
/// Both objects have that many bytes and do not overlap; the old one's are not used
/// again.
unsafe fn move_bytes(from: *mut u8, to: *mut u8, len: usize, from_large: bool) {
    let mut at = 0;
    while at < len {
        let n = (len - at).min(large::PIECE);
        // SAFETY: the caller's promise; `at + n <= len`.
        unsafe {
            to.add(at).copy_from_nonoverlapping(from.add(at), n);
            if from_large {
                large::forget(from as u64 + at as u64, n);
            }
        }
        at += n;
    }
}

/// The class for a layout, if it is a small one. Objects of a class are
/// aligned to its size.
#[inline]
fn class_of(layout: &Layout) -> Option<usize> {
    let need = layout.size().max(layout.align()).max(1 << SMALLEST);
    let class = (need.next_power_of_two().trailing_zeros() - SMALLEST) as usize;
    (class < CLASSES).then_some(class)
}

impl State {
    /// Attaches the segment, if it is not.
    fn attach(&mut self) -> bool {
        if !self.base.is_null() {
            return true;
        }
        let (at, len) = sys::of(self.kind.as_bytes());
        // SAFETY: the kernel attaches the new segment where no other memory is.
        match unsafe { sys::call5(Call::SegAttach, at, len, 0, HEAP_LEN, 0) } {
            Ok(va) => {
                self.base = va as *mut u8;
                true
            }
            Err(_) => false,
        }
    }

    fn large(&mut self, layout: Layout) -> *mut u8 {
        if !self.has_large {
            if !self.attach() {
                return null_mut();
            }
            // SAFETY: the segment is ours alone and stays for ever, and this part of it
            // has had no other use.
            unsafe {
                let base = self.base.add(FIRST);
                self.large.init(base, HEAP_LEN as usize - FIRST);
            }
            self.has_large = true;
        }
        let found = self.large.allocate_first_fit(layout);
        found.map_or(null_mut(), NonNull::as_ptr)
    }

    /// Memory for objects of one class, which stays theirs for ever.
    fn chunk(&mut self) -> *mut u8 {
        if self.taken == FIRST {
            let layout = Layout::from_size_align(CHUNK, PAGE as usize);
            return layout.map_or(null_mut(), |layout| self.large(layout));
        }
        if !self.attach() {
            return null_mut();
        }
        let chunk = self.base.wrapping_add(self.taken);
        self.taken += CHUNK;
        chunk
    }

    /// An object of `class` that was never handed out.
    #[inline(never)]
    fn fresh(&mut self, class: usize) -> *mut u8 {
        let size = 1usize << (class as u32 + SMALLEST);
        if self.fresh[class].count == 0 {
            let at = self.chunk();
            if at.is_null() {
                return null_mut();
            }
            let count = CHUNK / size;
            self.fresh[class] = Fresh { at, count };
        }
        let fresh = &mut self.fresh[class];
        let object = fresh.at;
        fresh.at = object.wrapping_add(size);
        fresh.count -= 1;
        object
    }

    #[inline]
    fn small(&mut self, class: usize) -> *mut u8 {
        let object = self.classes[class];
        if object.is_null() {
            return self.fresh(class);
        }
        // SAFETY: a list holds only free objects of its class.
        self.classes[class] = unsafe { (*object).next };
        object.cast()
    }
}

// SAFETY: (1) small objects come from lists of free objects at least as large
// and as aligned as the layout asks, large ones from `linked_list_allocator`;
// (2) `dealloc` finds the same class from the same layout.
unsafe impl GlobalAlloc for ProcessHeap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(pointer) = take_large(&layout) {
            return pointer;
        }
        let found = self.0.with(|state| match class_of(&layout) {
            Some(class) => state.small(class),
            None => state.large(layout),
        });
        found.unwrap_or(null_mut())
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if let Some(pointer) = take_large(&layout) {
            return pointer;
        }
        // SAFETY: the caller's layout; the object has as many bytes as it says.
        unsafe {
            let pointer = self.alloc(layout);
            if !pointer.is_null() {
                pointer.write_bytes(0, layout.size());
            }
            pointer
        }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if let Some(offset) = among_large(pointer, &layout) {
            return large::give(offset);
        }
        self.0.with(|state| match class_of(&layout) {
            Some(class) => {
                let object = pointer.cast::<Free>();
                // SAFETY: the caller gives back an object of this class.
                unsafe {
                    object.write(Free {
                        next: state.classes[class],
                    });
                }
                state.classes[class] = object;
            }
            None => {
                if let Some(pointer) = NonNull::new(pointer) {
                    // SAFETY: it came from `large` with the same layout.
                    unsafe { state.large.deallocate(pointer, layout) }
                }
            }
        });
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(new_size, layout.align()) else {
            return null_mut();
        };
        let class = class_of(&layout);
        if class.is_some() && class == class_of(&new) {
            return pointer;
        }
        let old_large = among_large(pointer, &layout);
        if let Some(offset) = old_large
            && new_size >= large::LEAST
            && large::resize(offset, layout.size() as u64, new_size as u64)
        {
            return pointer;
        }
        // SAFETY: `new` is a valid layout; the old object is given back after
        // the smaller of both sizes has been moved.
        unsafe {
            let fresh = self.alloc(new);
            if !fresh.is_null() {
                let kept = layout.size().min(new_size);
                move_bytes(pointer, fresh, kept, old_large.is_some());
                self.dealloc(pointer, layout);
            }
            fresh
        }
    }
}
