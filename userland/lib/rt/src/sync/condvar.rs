//! Waiting until the value of a mutex has changed.

use super::{Mutex, MutexGuard, Permits};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::time::Duration;

/// A condition that threads wait for. Each waits at a semaphore of its own, so that a
/// notification goes to one that waited when it was given, in order of arrival, and to no
/// later one.
pub struct Condvar {
    waiting: Mutex<VecDeque<Arc<Permits>>>,
}

impl Condvar {
    /// Nobody waits.
    pub const fn new() -> Condvar {
        Condvar {
            waiting: Mutex::new(VecDeque::new()),
        }
    }

    /// Frees the mutex, waits for a notification and locks it again. As with std, test the
    /// condition again.
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let (mutex, mine) = (guard.mutex(), self.join());
        drop(guard);
        mine.take();
        mutex.lock()
    }

    /// Waits as long as `condition` holds.
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        while condition(&mut guard) {
            guard = self.wait(guard);
        }
        guard
    }

    /// As [`Condvar::wait`], for that time at most; `false` if there was no notification. It
    /// may return early where a note came.
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        let (mutex, mine) = (guard.mutex(), self.join());
        drop(guard);
        let ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX - 1);
        let notified = mine.take_within(ns.min(u64::MAX - 1)) || !self.leave(&mine);
        (mutex.lock(), notified)
    }

    fn join(&self) -> Arc<Permits> {
        let mine = Arc::new(Permits::new(0));
        self.waiting.lock().push_back(mine.clone());
        mine
    }

    /// Returns true if it had not been notified.
    fn leave(&self, mine: &Arc<Permits>) -> bool {
        let mut waiting = self.waiting.lock();
        let at = waiting.iter().position(|other| Arc::ptr_eq(other, mine));
        at.is_some_and(|at| waiting.remove(at).is_some())
    }

    /// Lets the thread go on that waits longest.
    pub fn notify_one(&self) {
        let first = self.waiting.lock().pop_front();
        if let Some(first) = first {
            first.give();
        }
    }

    /// Lets all threads go on that wait now.
    pub fn notify_all(&self) {
        let all = core::mem::take(&mut *self.waiting.lock());
        all.iter().for_each(|waiter| waiter.give());
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}
