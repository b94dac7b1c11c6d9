//! Values that each thread has one of.
//!
//! They form a list to which one step adds: a note handler that interrupts the thread
//! between any two instructions finds it whole, and may add values of its own.

use super::control::mine;
use alloc::boxed::Box;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

/// The values of one thread, the newest first. Only that thread uses them.
pub(super) struct Values(AtomicPtr<Head>);

/// What is known of a value whatever its type; its entry begins with it.
struct Head {
    /// The number of its key.
    key: usize,
    drop: unsafe fn(NonNull<Head>),
    /// The one that was made before; null: none.
    next: *mut Head,
}

/// A value in the list.
#[repr(C)]
struct Entry<T> {
    head: Head,
    value: T,
}

impl Values {
    pub const fn new() -> Values {
        Values(AtomicPtr::new(null_mut()))
    }

    /// For a new thread, where one was that ended without dropping its own.
    pub fn forget(&self) {
        self.0.store(null_mut(), Relaxed);
    }

    fn find(&self, key: usize) -> Option<NonNull<Head>> {
        let mut at = NonNull::new(self.0.load(Relaxed));
        while let Some(entry) = at {
            // SAFETY: entries stay until `drop_all` has taken them out of the list.
            let head = unsafe { entry.as_ref() };
            if head.key == key {
                return at;
            }
            at = NonNull::new(head.next);
        }
        None
    }

    /// Adds an entry, unless a note handler has added one of that key meanwhile; the one
    /// that counts.
    fn keep<T>(&self, mut entry: Box<Entry<T>>) -> NonNull<Head> {
        let mut first = self.0.load(Relaxed);
        loop {
            if let Some(found) = self.find(entry.head.key) {
                return found;
            }
            entry.head.next = first;
            let new = NonNull::from(Box::leak(entry)).cast();
            match self
                .0
                .compare_exchange(first, new.as_ptr(), Relaxed, Relaxed)
            {
                Ok(_) => return new,
                Err(newer) => first = newer,
            }
            // SAFETY: it came from a box of that type just now, and is not in the list.
            entry = unsafe { Box::from_raw(new.cast::<Entry<T>>().as_ptr()) };
        }
    }
}

/// A key of [`thread_local!`](crate::thread_local): each thread has a value of its own, made
/// at its first use there and dropped at the thread's end.
pub struct LocalKey<T: 'static> {
    /// Its number, from 1; 0: none yet.
    number: AtomicUsize,
    init: fn() -> T,
}

static KEYS: AtomicUsize = AtomicUsize::new(1);

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn new(init: fn() -> T) -> LocalKey<T> {
        LocalKey {
            number: AtomicUsize::new(0),
            init,
        }
    }

    fn number(&self) -> usize {
        let number = self.number.load(Relaxed);
        if number != 0 {
            return number;
        }
        let new = KEYS.fetch_add(1, Relaxed);
        let set = self.number.compare_exchange(0, new, Relaxed, Relaxed);
        set.err().unwrap_or(new)
    }

    /// Calls `f` with this thread's value.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        let (key, values) = (self.number(), &mine().values);
        let at = values.find(key).unwrap_or_else(|| {
            // Not earlier: it may use other keys.
            let value = (self.init)();
            let head = Head {
                key,
                drop: free::<T>,
                next: null_mut(),
            };
            values.keep(Box::new(Entry { head, value }))
        });
        // SAFETY: the key's number leads to entries of its type, which stay until the end of
        // the thread; that is not over while `f` runs.
        f(unsafe { &at.cast::<Entry<T>>().as_ref().value })
    }
}

/// Drops an entry.
///
/// # Safety
/// It came from a box of that type, and is in no list any more.
unsafe fn free<T>(at: NonNull<Head>) {
    // SAFETY: the caller's condition.
    drop(unsafe { Box::from_raw(at.cast::<Entry<T>>().as_ptr()) });
}

/// Drops the values of a thread that ends. A drop may make others, which are dropped too.
pub(super) fn drop_all() {
    let values = &mine().values;
    while let Some(mut at) = NonNull::new(values.0.swap(null_mut(), Relaxed)) {
        loop {
            // SAFETY: nothing else leads to it any more.
            let Head { drop, next, .. } = unsafe { at.read() };
            // SAFETY: it was made by `keep`, with the function for its type.
            unsafe { drop(at) };
            match NonNull::new(next) {
                Some(next) => at = next,
                None => break,
            }
        }
    }
}

/// Declares values that each thread has one of, as std's macro does:
/// `rt::thread_local! { static DEPTH: Cell<u32> = Cell::new(0); }`, used by `DEPTH.with(..)`.
#[macro_export]
macro_rules! thread_local {
    ($($(#[$attribute:meta])* $visible:vis static $name:ident: $type:ty = $init:expr;)+) => {
        $($(#[$attribute])* $visible static $name: $crate::thread::LocalKey<$type> =
            $crate::thread::LocalKey::new(|| $init);)+
    };
}
