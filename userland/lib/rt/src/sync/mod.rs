//! What threads share: a mutex, a condition, channels.
//!
//! All wait at semaphores of the kernel, where the waits are in order of arrival, and a
//! note to a waiting thread is handled without ending the wait.

mod channel;
mod condvar;
mod mutex;

pub use channel::{
    Iter, Receiver, RecvError, SendError, Sender, TryRecvError, channel, sync_channel,
};
pub use condvar::Condvar;
pub use mutex::{Mutex, MutexGuard};

use crate::sys;
use abi::{Call, Errno};
use core::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

/// A semaphore in ordinary memory.
pub(crate) struct Permits(AtomicU32);

impl Permits {
    pub const fn new(permits: u32) -> Permits {
        Permits(AtomicU32::new(permits))
    }

    fn va(&self) -> u64 {
        core::ptr::from_ref(&self.0) as u64
    }

    /// Takes one, waiting until there is one.
    pub fn take(&self) {
        while !self.take_within(u64::MAX) {}
    }

    /// Takes one if there is one within that time, or a note came: `false` then.
    pub fn take_within(&self, timeout_ns: u64) -> bool {
        // SAFETY: the kernel changes the number, which is atomic.
        let taken = unsafe { sys::call2(Call::SemAcquire, self.va(), timeout_ns) };
        match taken {
            Ok(taken) => taken == 1,
            // Without memory for its page: when others have given some back.
            Err(Errno::ENOMEM) => {
                let _ = sys::sleep(0);
                false
            }
            Err(_) => false,
        }
    }

    /// Takes one if there is one now.
    pub fn try_take(&self) -> bool {
        let less = |n: u32| n.checked_sub(1);
        self.0.fetch_update(Acquire, Relaxed, less).is_ok()
    }

    /// Returns true if there is one.
    pub fn is_there(&self) -> bool {
        self.0.load(Relaxed) != 0
    }

    /// Adds one.
    pub fn give(&self) {
        loop {
            // SAFETY: as above.
            match unsafe { sys::call2(Call::SemRelease, self.va(), 1) } {
                Err(Errno::ENOMEM) => drop(sys::sleep(0)),
                // A note came before the page of the number did: nothing was added.
                Err(Errno::EINTR) => {}
                _ => return,
            }
        }
    }

    pub fn address(&self) -> u64 {
        self.va()
    }

    pub fn set(&self, permits: u32) {
        self.0.store(permits, Relaxed);
    }
}

/// A lock without a value: a count of those that have it or want it, and a semaphore for
/// those that wait, who get it in order of arrival. Free, it costs no call.
pub(crate) struct RawLock {
    wanted: AtomicU32,
    handed: Permits,
}

impl RawLock {
    pub const fn new() -> RawLock {
        RawLock {
            wanted: AtomicU32::new(0),
            handed: Permits::new(0),
        }
    }

    #[inline]
    pub fn lock(&self) {
        if self.wanted.fetch_add(1, Acquire) != 0 {
            self.handed.take();
        }
    }

    #[inline]
    pub fn try_lock(&self) -> bool {
        let taken = self.wanted.compare_exchange(0, 1, Acquire, Relaxed);
        taken.is_ok()
    }

    #[inline]
    pub fn unlock(&self) {
        if self.wanted.fetch_sub(1, Release) != 1 {
            self.handed.give();
        }
    }
}
