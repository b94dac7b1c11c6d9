//! Global state of a process with one thread.

use core::cell::{Cell, UnsafeCell};
use core::sync::atomic::{Ordering::SeqCst, compiler_fence};

/// A value that one closure at a time may change.
pub(crate) struct Single<T> {
    busy: Cell<bool>,
    value: UnsafeCell<T>,
}

// SAFETY: (1) a process has exactly one thread; (2) `busy` catches nested uses,
// those of a note handler included: the fences keep the value's changes between
// its two.
unsafe impl<T> Sync for Single<T> {}

impl<T> Single<T> {
    pub const fn new(value: T) -> Self {
        Single {
            busy: Cell::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Runs `f` on the value; `None` if it is in use further up the stack.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        if self.busy.replace(true) {
            return None;
        }
        compiler_fence(SeqCst);
        // SAFETY: `busy` was false, so no other reference exists; it stays
        // true until `f` has returned (a panic never unwinds, it ends us).
        let result = f(unsafe { &mut *self.value.get() });
        compiler_fence(SeqCst);
        self.busy.set(false);
        Some(result)
    }
}
