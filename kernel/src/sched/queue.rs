//! The one way to sleep: [`Wait::wait`] on the value of a lock.
use super::{NONE, Reason, Slot, Wake, current_slot, park, unpark};
use abi::Errno;
use core::sync::atomic::{AtomicU16, Ordering::Relaxed};
use hw::lock::Lock;
use hw::task::NPROC;

/// The process that waits behind another one, by the other's slot.
static NEXT_WAITER: [AtomicU16; NPROC] = [const { AtomicU16::new(NONE) }; NPROC];

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
}

impl<T> Wait<T> for Lock<T> {
    #[inline]
    fn wait_until<R>(
        &self,
        deadline_ns: Option<u64>,
        queue: impl Fn(&mut T) -> &mut WaitQueue,
        reason: Reason,
        mut try_it: impl FnMut(&mut T) -> Option<R>,
    ) -> Result<R, Errno> {
        let mut state = self.lock();
        loop {
            if let Some(result) = try_it(&mut state) {
                return Ok(result);
            }
            queue(&mut state).join();
            drop(state);
            let wake = park(reason, deadline_ns);
            state = self.lock();
            let queue = queue(&mut state);
            match wake {
                Wake::Woken => {
                    queue.leave();
                }
                Wake::Timeout => {
                    queue.give_up();
                    return Err(Errno::ETIMEDOUT);
                }
                Wake::Ending | Wake::Noted => {
                    queue.give_up();
                    return Err(Errno::EINTR);
                }
            }
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
        NEXT_WAITER[me as usize].store(NONE, Relaxed);
        match self.tail {
            NONE => self.head = me,
            tail => NEXT_WAITER[tail as usize].store(me, Relaxed),
        }
        self.tail = me;
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
            let next = NEXT_WAITER[at as usize].load(Relaxed);
            if at == me {
                match previous {
                    NONE => self.head = next,
                    p => NEXT_WAITER[p as usize].store(next, Relaxed),
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

    /// Wakes the one that waits longest.
    pub fn wake_one(&mut self) {
        let first = self.head;
        if first != NONE {
            self.head = NEXT_WAITER[first as usize].load(Relaxed);
            if self.head == NONE {
                self.tail = NONE;
            }
            unpark(first);
        }
    }

    /// Wakes all processes in the queue.
    pub fn wake_all(&mut self) {
        while self.head != NONE {
            self.wake_one();
        }
    }
}
