//! Waiting among the tasks of one thread: a first-come-first-served lock and a
//! bell. Neither knows anything about files.
//!
//! Everything here is `Rc` and `Cell`: tasks of one [`crate::Executor`] share
//! a thread, so a borrow that spans no `await` cannot be contended.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

struct Ticket {
    granted: Cell<bool>,
    exclusive: bool,
    waker: RefCell<Option<Waker>>,
}

/// A lock that is held across messages. Holders come in order of asking, so
/// none starves; shared holders run together, an exclusive one alone.
#[derive(Default)]
pub struct Lock {
    shared: Cell<usize>,
    exclusive: Cell<bool>,
    queue: RefCell<VecDeque<Rc<Ticket>>>,
}

/// For copies of a whole server.
#[cfg(feature = "duplicate")]
impl Clone for Lock {
    fn clone(&self) -> Lock {
        let idle = !self.exclusive.get() && self.shared.get() == 0;
        assert!(idle && self.queue.borrow().is_empty(), "held or waited for");
        Lock::default()
    }
}

impl Lock {
    /// Waits until the lock is free.
    pub fn exclusive(&self) -> Acquire<'_> {
        self.acquire(true)
    }

    /// Waits until the lock is not held exclusively.
    pub fn shared(&self) -> Acquire<'_> {
        self.acquire(false)
    }

    fn acquire(&self, exclusive: bool) -> Acquire<'_> {
        Acquire {
            lock: self,
            exclusive,
            ticket: None,
        }
    }

    fn free_for(&self, exclusive: bool) -> bool {
        !self.exclusive.get() && (!exclusive || self.shared.get() == 0)
    }

    fn take(&self, exclusive: bool) {
        if exclusive {
            self.exclusive.set(true);
        } else {
            self.shared.set(self.shared.get() + 1);
        }
    }

    fn give_back(&self, exclusive: bool) {
        if exclusive {
            self.exclusive.set(false);
        } else {
            self.shared.set(self.shared.get() - 1);
        }
        self.grant();
    }

    /// Hands the lock to those at the head of the queue.
    fn grant(&self) {
        let mut queue = self.queue.borrow_mut();
        while let Some(first) = queue.front() {
            if !self.free_for(first.exclusive) {
                break;
            }
            self.take(first.exclusive);
            first.granted.set(true);
            if let Some(waker) = first.waker.take() {
                waker.wake();
            }
            queue.pop_front();
        }
    }
}

/// The wait for a [`Lock`].
pub struct Acquire<'a> {
    lock: &'a Lock,
    exclusive: bool,
    ticket: Option<Rc<Ticket>>,
}

impl<'a> Future for Acquire<'a> {
    type Output = Held<'a>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Held<'a>> {
        let (lock, exclusive) = (self.lock, self.exclusive);
        if let Some(ticket) = &self.ticket {
            if !ticket.granted.get() {
                ticket.waker.replace(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            self.ticket = None;
            return Poll::Ready(Held { lock, exclusive });
        }
        if lock.queue.borrow().is_empty() && lock.free_for(exclusive) {
            lock.take(exclusive);
            return Poll::Ready(Held { lock, exclusive });
        }
        let waker = RefCell::new(Some(cx.waker().clone()));
        let ticket = Rc::new(Ticket {
            granted: Cell::new(false),
            exclusive,
            waker,
        });
        lock.queue.borrow_mut().push_back(ticket.clone());
        self.ticket = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        if ticket.granted.get() {
            self.lock.give_back(self.exclusive);
        } else {
            self.lock
                .queue
                .borrow_mut()
                .retain(|other| !Rc::ptr_eq(other, &ticket));
            self.lock.grant();
        }
    }
}

/// Proof of holding a [`Lock`]; dropping it passes the lock on.
pub struct Held<'a> {
    lock: &'a Lock,
    exclusive: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.lock.give_back(self.exclusive);
    }
}

/// Wakes tasks that wait for something to have changed.
#[derive(Default)]
pub struct Condition {
    signals: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Condition {
    /// Wakes all that wait. Cheap when none does.
    pub fn signal(&self) {
        self.signals.set(self.signals.get().wrapping_add(1));
        let waiting = core::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits for the next signal after this call.
    pub fn wait(&self) -> Signal<'_> {
        Signal {
            condition: self,
            since: self.signals.get(),
        }
    }
}

/// The wait for a [`Condition`].
pub struct Signal<'a> {
    condition: &'a Condition,
    since: u64,
}

impl Future for Signal<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.condition.signals.get() != self.since {
            return Poll::Ready(());
        }
        self.condition.waiting.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn the_lock_is_handed_on_in_order_of_asking() {
        let lock = Lock::default();
        let first = poll(&mut lock.exclusive()).expect("nobody holds it");
        let (mut second, mut third) = (lock.shared(), lock.exclusive());
        assert!(poll(&mut second).is_none() && poll(&mut third).is_none());
        drop(first);
        let mut late = lock.shared();
        assert!(poll(&mut late).is_none(), "must not overtake the third");
        assert!(poll(&mut third).is_none());
        drop(poll(&mut second).expect("second's turn"));
        drop(poll(&mut third).expect("third's turn"));
        assert!(poll(&mut late).is_some());
    }

    #[test]
    fn a_waiter_that_gives_up_is_passed_over() {
        let lock = Lock::default();
        let first = poll(&mut lock.exclusive()).expect("nobody holds it");
        let (mut second, mut third) = (lock.exclusive(), lock.exclusive());
        assert!(poll(&mut second).is_none() && poll(&mut third).is_none());
        drop(first);
        drop(second);
        assert!(poll(&mut third).is_some(), "granted to one who left");
    }

    #[test]
    fn a_condition_wakes_only_those_who_waited() {
        let condition = Condition::default();
        condition.signal();
        let mut signal = condition.wait();
        assert!(poll(&mut signal).is_none());
        condition.signal();
        assert!(poll(&mut signal).is_some());
    }
}
