//! Values that each thread has one of.

use super::control::mine;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The values of one thread, by the number of their key.
pub(super) struct Values(Vec<Option<Value>>);

/// A value in a box of its own, and how it is dropped.
struct Value {
    at: NonNull<()>,
    drop: unsafe fn(NonNull<()>),
}

impl Values {
    pub const fn new() -> Values {
        Values(Vec::new())
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
        let number = self.number();
        let found = find(number);
        let at = found.unwrap_or_else(|| {
            // Not earlier: it may use other keys.
            let value = Box::new((self.init)());
            keep(number, value)
        });
        // SAFETY: the key's number leads to values of its type; the box stays until the end
        // of the thread, which is not over while `f` runs.
        f(unsafe { at.cast::<T>().as_ref() })
    }
}

fn find(number: usize) -> Option<NonNull<()>> {
    // SAFETY: only this thread uses its values, and no reference outlives a function of this
    // module.
    let values = unsafe { &(*mine().values.get()).0 };
    Some(values.get(number)?.as_ref()?.at)
}

fn keep<T>(number: usize, value: Box<T>) -> NonNull<()> {
    unsafe fn free<T>(at: NonNull<()>) {
        // SAFETY: it came from a box of that type, below.
        drop(unsafe { Box::from_raw(at.cast::<T>().as_ptr()) });
    }
    let at = NonNull::from(Box::leak(value)).cast();
    // SAFETY: as in `find`.
    let values = unsafe { &mut (*mine().values.get()).0 };
    if values.len() <= number {
        values.resize_with(number + 1, || None);
    }
    if let Some(place) = values.get_mut(number) {
        *place = Some(Value {
            at,
            drop: free::<T>,
        });
    }
    at
}

/// Drops the values of a thread that ends. A drop may make others, which are dropped too.
pub(super) fn drop_all() {
    loop {
        // SAFETY: as in `find`.
        let values = unsafe { core::mem::take(&mut (*mine().values.get()).0) };
        if values.is_empty() {
            return;
        }
        for value in values.into_iter().flatten() {
            // SAFETY: it is in no list any more.
            unsafe { (value.drop)(value.at) };
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
