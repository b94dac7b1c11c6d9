//! The one way to wait for a condition: [`Wait::wait`] on the state behind a lock.
use super::{NONE, Reason, Slot, Wake, current_slot, entry, hand_over, park, unpark};
use abi::Errno;
use core::sync::atomic::Ordering::Relaxed;
use hw::lock::{Guard, Lock};

/// Waiting until the locked state allows something.
pub trait Wait<T> {
    /// Runs `try_it` on the locked state until it returns something, and parks in
    /// `queue` in between, with the lock released. The state's owner wakes the
    /// queue after a change that may help.
    ///
    /// # Errors
    /// `EINTR`: a note came or the process is to end. A wake-up that was spent on it
    /// is passed on.
    fn wait<R>(
        &self,
        queue: impl Fn(&mut T) -> &mut WaitQueue,
        reason: Reason,
        try_it: impl FnMut(&mut T) -> Option<R>,
    ) -> Result<R, Errno> {
        self.wait_until(None, queue, reason, try_it)
    }

    /// The same, until `deadline_ns` at most.
    ///
    /// # Errors
    /// `ETIMEDOUT` besides.
    fn wait_until<R>(
        &self,
        deadline_ns: Option<u64>,
        queue: impl Fn(&mut T) -> &mut WaitQueue,
        reason: Reason,
        try_it: impl FnMut(&mut T) -> Option<R>,
    ) -> Result<R, Errno>;

    /// The same with the lock taken already.
    ///
    /// # Errors
    /// As for [`Wait::wait_until`].
    fn wait_with<'a, R>(
        &'a self,
        state: Guard<'a, T>,
        deadline_ns: Option<u64>,
        queue: impl Fn(&mut T) -> &mut WaitQueue,
        reason: Reason,
        try_it: impl FnMut(&mut T) -> Option<R>,
    ) -> Result<R, Errno>;
}

impl<T> Wait<T> for Lock<T> {
    #[inline]
    fn wait_until<R>(
        &self,
        deadline_ns: Option<u64>,
        queue: impl Fn(&mut T) -> &mut WaitQueue,
        reason: Reason,
        try_it: impl FnMut(&mut T) -> Option<R>,
    ) -> Result<R, Errno> {
        self.wait_with(self.lock(), deadline_ns, queue, reason, try_it)
    }

    #[inline]
    fn wait_with<'a, R>(
        &'a self,
        mut state: Guard<'a, T>,
        deadline_ns: Option<u64>,
        queue: impl Fn(&mut T) -> &mut WaitQueue,
        reason: Reason,
        mut try_it: impl FnMut(&mut T) -> Option<R>,
    ) -> Result<R, Errno> {
        if let Some(result) = try_it(&mut state) {
            return Ok(result);
        }
        queue(&mut state).join();
        loop {
            drop(state);
            let wake = park(reason, deadline_ns);
            state = self.lock();
            let errno = match wake {
                Wake::Woken => {
                    if let Some(result) = try_it(&mut state) {
                        queue(&mut state).leave();
                        return Ok(result);
                    }
                    // A wake-up that was for something else costs no place.
                    queue(&mut state).stay();
                    continue;
                }
                Wake::Timeout => Errno::ETIMEDOUT,
                Wake::Ending | Wake::Noted => Errno::EINTR,
            };
            queue(&mut state).give_up();
            return Err(errno);
        }
    }
}

/// The processes that wait for one event, in order of arrival. It lives in the
/// locked state of the object waited for. A process is in at most one queue.
pub struct WaitQueue {
    head: Slot,
    tail: Slot,
}

impl WaitQueue {
    /// An empty queue.
    pub const fn new() -> Self {
        WaitQueue {
            head: NONE,
            tail: NONE,
        }
    }

    /// The running process joins; it parks after unlocking.
    fn join(&mut self) {
        let me = current_slot();
        entry(me).next_waiter.store(NONE, Relaxed);
        match self.tail {
            NONE => self.head = me,
            tail => entry(tail).next_waiter.store(me, Relaxed),
        }
        self.tail = me;
    }

    /// The running process waits here, or joins again if it was woken from here.
    fn stay(&mut self) {
        let me = current_slot();
        if self.first(|slot| slot == me).is_none() {
            self.join();
        }
    }

    /// The running process was interrupted. A wake-up that was already spent
    /// on it goes to the next.
    fn give_up(&mut self) {
        if !self.leave() {
            self.wake_one();
        }
    }

    /// The running process no longer waits here; tells whether it still did.
    fn leave(&mut self) -> bool {
        let me = current_slot();
        let (mut previous, mut at) = (NONE, self.head);
        while at != NONE {
            let next = entry(at).next_waiter.load(Relaxed);
            if at == me {
                match previous {
                    NONE => self.head = next,
                    p => entry(p).next_waiter.store(next, Relaxed),
                }
                if self.tail == me {
                    self.tail = previous;
                }
                return true;
            }
            (previous, at) = (at, next);
        }
        false
    }

    /// The process that waits longest of those that are `wanted`.
    pub fn first(&self, wanted: impl Fn(Slot) -> bool) -> Option<Slot> {
        let mut at = self.head;
        while at != NONE && !wanted(at) {
            at = entry(at).next_waiter.load(Relaxed);
        }
        (at != NONE).then_some(at)
    }

    /// Wakes the one that waits longest.
    pub fn wake_one(&mut self) {
        if let Some(first) = self.pop() {
            unpark(first);
        }
    }

    /// The same, and it runs next: the caller is about to wait for it.
    #[inline]
    pub fn hand_over(&mut self) {
        if let Some(first) = self.pop() {
            hand_over(first);
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<Slot> {
        let first = self.head;
        if first == NONE {
            return None;
        }
        self.head = entry(first).next_waiter.load(Relaxed);
        if self.head == NONE {
            self.tail = NONE;
        }
        Some(first)
    }

    /// Wakes all processes in the queue.
    pub fn wake_all(&mut self) {
        while self.head != NONE {
            self.wake_one();
        }
    }
}
