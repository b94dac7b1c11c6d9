//! Waiting among the tasks of one thread: a first-come-first-served lock and a
//! condition. Neither knows anything about files.
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

/// How a [`Lock`] is held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// With others.
    Shared,
    /// Alone.
    Exclusive,
}

struct Ticket {
    granted: Cell<bool>,
    access: Access,
    waker: RefCell<Option<Waker>>,
}

/// A lock that is held across messages. Holders come in order of asking, so
/// none starves; shared holders run together, an exclusive one alone.
#[derive(Default)]
pub struct Lock {
    holders: Cell<usize>,
    exclusive: Cell<bool>,
    queue: RefCell<VecDeque<Rc<Ticket>>>,
}

/// For copies of a whole server.
#[cfg(feature = "duplicate")]
impl Clone for Lock {
    fn clone(&self) -> Lock {
        assert!(self.is_free(), "held or waited for");
        Lock::default()
    }
}

impl Lock {
    /// Returns true if the lock is neither held nor waited for.
    #[inline]
    pub fn is_free(&self) -> bool {
        self.holders.get() == 0
    }

    /// Waits until the lock is free.
    pub fn exclusive(&self) -> Acquire<'_> {
        self.acquire(Access::Exclusive)
    }

    /// Waits until the lock is not held exclusively.
    pub fn shared(&self) -> Acquire<'_> {
        self.acquire(Access::Shared)
    }

    fn acquire(&self, access: Access) -> Acquire<'_> {
        let (lock, ticket) = (self, None);
        Acquire {
            lock,
            access,
            ticket,
        }
    }

    /// Takes the lock if it is free for that.
    fn try_take(&self, access: Access) -> bool {
        let free = match access {
            Access::Shared => !self.exclusive.get(),
            Access::Exclusive => self.holders.get() == 0,
        };
        if free {
            self.holders.set(self.holders.get() + 1);
            self.exclusive.set(access == Access::Exclusive);
        }
        free
    }

    /// Hands the lock to those at the head of the queue.
    fn grant(&self) {
        let mut queue = self.queue.borrow_mut();
        while let Some(first) = queue.pop_front_if(|first| self.try_take(first.access)) {
            first.granted.set(true);
            if let Some(waker) = first.waker.take() {
                waker.wake();
            }
        }
    }
}

/// The wait for a [`Lock`].
pub struct Acquire<'a> {
    lock: &'a Lock,
    access: Access,
    ticket: Option<Rc<Ticket>>,
}

impl<'a> Future for Acquire<'a> {
    type Output = Held<'a>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Held<'a>> {
        let (lock, access) = (self.lock, self.access);
        let waker = || Some(cx.waker().clone());
        match &self.ticket {
            Some(ticket) if !ticket.granted.get() => {
                ticket.waker.replace(waker());
                return Poll::Pending;
            }
            Some(_) => self.ticket = None,
            None if lock.queue.borrow().is_empty() && lock.try_take(access) => {}
            None => {
                let ticket = Rc::new(Ticket {
                    granted: Cell::new(false),
                    access,
                    waker: RefCell::new(waker()),
                });
                lock.queue.borrow_mut().push_back(ticket.clone());
                self.ticket = Some(ticket);
                return Poll::Pending;
            }
        }
        Poll::Ready(Held { lock })
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        if ticket.granted.get() {
            drop(Held { lock: self.lock });
        } else {
            let mut queue = self.lock.queue.borrow_mut();
            queue.retain(|other| !Rc::ptr_eq(other, &ticket));
            drop(queue);
            self.lock.grant();
        }
    }
}

/// Proof of holding a [`Lock`]; dropping it passes the lock on.
#[must_use]
pub struct Held<'a> {
    lock: &'a Lock,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.lock.holders.set(self.lock.holders.get() - 1);
        self.lock.exclusive.set(false);
        self.lock.grant();
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
