//! Global state of a program: one closure at a time changes it.

use crate::sync::Permits;
use crate::thread;
use core::cell::UnsafeCell;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::{AtomicU32, AtomicU64, compiler_fence};

/// A value that one closure at a time may change. Other threads wait; in the same thread
/// a nested use, that of a note handler included, gets nothing.
pub(crate) struct Single<T> {
    /// The number of the thread that uses the value; 0: none. Lock and owner are one word,
    /// so that a note between two instructions finds no lock without an owner.
    holder: AtomicU64,
    /// Threads that wait, and how they are told to look again.
    waiting: AtomicU32,
    free: Permits,
    value: UnsafeCell<T>,
}

// SAFETY: the thread whose number is in `holder` uses the value, and only once: nested uses,
// those of a note handler included, find their own number there. The fences keep the value's
// changes between its two.
unsafe impl<T> Sync for Single<T> {}

impl<T> Single<T> {
    pub const fn new(value: T) -> Self {
        Single {
            holder: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            free: Permits::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// Runs `f` on the value; `None` if it is in use further up the stack.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        if thread::several() {
            return self.with_threads(f);
        }
        if self.holder.load(Relaxed) != 0 {
            return None;
        }
        self.holder.store(thread::MAIN, Relaxed);
        let result = self.run(f);
        if thread::several() {
            // `f` has started the first, which may wait.
            self.let_go();
        } else {
            self.holder.store(0, Relaxed);
        }
        Some(result)
    }

    /// The same, and `None` at once if another thread uses it.
    pub fn try_with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        if !thread::several() {
            return self.with(f);
        }
        let me = thread::number();
        let taken = self.holder.compare_exchange(0, me, SeqCst, SeqCst);
        taken.ok()?;
        let result = self.run(f);
        self.let_go();
        Some(result)
    }

    #[inline(never)]
    fn with_threads<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        if !self.hold() {
            return None;
        }
        let result = self.run(f);
        self.let_go();
        Some(result)
    }

    /// Runs `f` on the value, which this thread holds.
    #[inline]
    fn run<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        compiler_fence(SeqCst);
        // SAFETY: `holder` was zero and is this thread's, so no other reference exists; it
        // stays so until `f` has returned (a panic never unwinds, it ends us).
        let result = f(unsafe { &mut *self.value.get() });
        compiler_fence(SeqCst);
        result
    }
}

/// State that must not be in use while memory is copied for a child: of the threads only
/// the one that forks is there.
pub(crate) trait Forked: Sync {
    /// Waits until no other thread uses it. `false`: this one does.
    fn hold(&self) -> bool;
    /// Others may use it again.
    fn let_go(&self);
    /// In the child nobody waits for it.
    fn forget_others(&self);
}

impl<T> Forked for Single<T> {
    #[inline]
    fn hold(&self) -> bool {
        let me = thread::number();
        let take = || self.holder.compare_exchange(0, me, SeqCst, SeqCst);
        while let Err(holder) = take() {
            if holder == me {
                return false;
            }
            self.waiting.fetch_add(1, SeqCst);
            // Whoever lets go from here on sees that somebody waits.
            let taken = take().is_ok();
            if !taken {
                self.free.take();
            }
            self.waiting.fetch_sub(1, SeqCst);
            if taken {
                return true;
            }
        }
        true
    }

    #[inline]
    fn let_go(&self) {
        self.holder.store(0, SeqCst);
        if self.waiting.load(SeqCst) != 0 {
            self.free.give();
        }
    }

    fn forget_others(&self) {
        self.waiting.store(0, Relaxed);
        self.free.set(0);
    }
}
