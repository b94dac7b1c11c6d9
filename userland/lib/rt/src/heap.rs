//! The allocator: size classes for small objects, a segment of their own for large
//! ones (`large`), and `linked_list_allocator` for those between, in one huge
//! segment of which only touched pages cost anything. Nothing is attached before
//! the first allocation.
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

struct Free {
    next: *mut Free,
}

pub(crate) struct State {
    classes: [*mut Free; CLASSES],
    large: Heap,
    attached: bool,
    kind: &'static str,
}

pub(crate) struct ProcessHeap(pub(crate) Single<State>);

#[cfg_attr(target_os = "none", global_allocator)]
pub(crate) static HEAP: ProcessHeap = ProcessHeap(Single::new(State {
    classes: [null_mut(); CLASSES],
    large: Heap::empty(),
    attached: false,
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
    fn attach(&mut self) -> bool {
        let (at, len) = sys::of(self.kind.as_bytes());
        // SAFETY: the kernel attaches the new segment where no other memory is.
        match unsafe { sys::call5(Call::SegAttach, at, len, 0, HEAP_LEN, 0) } {
            Ok(va) => {
                // SAFETY: the segment is ours alone and stays for ever.
                unsafe { self.large.init(va as *mut u8, HEAP_LEN as usize) };
                self.attached = true;
                true
            }
            Err(_) => false,
        }
    }

    fn large(&mut self, layout: Layout) -> *mut u8 {
        if !self.attached && !self.attach() {
            return null_mut();
        }
        let found = self.large.allocate_first_fit(layout);
        found.map_or(null_mut(), NonNull::as_ptr)
    }

    /// Cuts a chunk into objects of `class`, linked in address order.
    fn refill(&mut self, class: usize) -> bool {
        let Ok(layout) = Layout::from_size_align(CHUNK, 4096) else {
            return false;
        };
        let chunk = self.large(layout);
        if chunk.is_null() {
            return false;
        }
        let size = 1usize << (class as u32 + SMALLEST);
        let mut next = null_mut();
        for index in (0..CHUNK / size).rev() {
            // SAFETY: index * size + size <= CHUNK, so the object is within
            // the chunk just allocated, aligned to its size, used by no one.
            unsafe {
                let object = chunk.add(index * size).cast::<Free>();
                object.write(Free { next });
                next = object;
            }
        }
        self.classes[class] = next;
        true
    }

    #[inline]
    fn small(&mut self, class: usize) -> *mut u8 {
        if self.classes[class].is_null() && !self.refill(class) {
            return null_mut();
        }
        let object = self.classes[class];
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
