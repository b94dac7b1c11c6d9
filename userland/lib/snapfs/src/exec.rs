//! A bounded executor for one thread: a slab of tasks of one type, each polled
//! only when something it waits for has happened.
//!
//! A task's memory is kept when it ends, so starting the next one allocates
//! nothing. The order in which woken tasks run is their place in the slab;
//! where order matters, [`crate::sync::Lock`] keeps it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};

/// Tasks one executor can hold: bits of one word.
pub const TASKS_MAX: usize = 64;

/// Which tasks to poll, one bit each. Atomic because `Waker` must be `Sync`;
/// there is no other thread.
#[derive(Default)]
struct Ready(AtomicU64);

struct TaskWaker {
    ready: Arc<Ready>,
    bit: u64,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.0.fetch_or(self.bit, Ordering::Relaxed);
    }
}

struct Task<F> {
    future: Pin<Box<Option<F>>>,
    waker: Waker,
}

/// Runs up to [`TASKS_MAX`] futures of type `F` on the calling thread.
pub struct Executor<F: Future> {
    tasks: Vec<Task<F>>,
    /// Bit set: the place in `tasks` holds a running task.
    running: u64,
    ready: Arc<Ready>,
}

impl<F: Future> Default for Executor<F> {
    fn default() -> Self {
        Executor {
            tasks: Vec::new(),
            running: 0,
            ready: Arc::default(),
        }
    }
}

impl<F: Future> Executor<F> {
    /// Returns true if there is room for another task; only then may more work
    /// be taken.
    pub fn has_room(&self) -> bool {
        self.running != u64::MAX
    }

    /// Returns true if no task exists.
    pub fn is_idle(&self) -> bool {
        self.running == 0
    }

    /// Starts a task and runs it up to its first wait. Returns its result if
    /// it needed none, or the future itself if there was no room.
    pub fn spawn(&mut self, future: F) -> Result<Option<F::Output>, F> {
        let place = (!self.running).trailing_zeros() as usize;
        if place >= TASKS_MAX {
            return Err(future);
        }
        if let Some(task) = self.tasks.get_mut(place) {
            task.future.set(Some(future));
        } else {
            let waker = TaskWaker {
                ready: self.ready.clone(),
                bit: 1 << place,
            };
            let waker = Waker::from(Arc::new(waker));
            self.tasks.push(Task {
                future: Box::pin(Some(future)),
                waker,
            });
        }
        self.running |= 1 << place;
        Ok(self.poll(place))
    }

    /// Polls every task that was woken until none is, handing each result to
    /// `done`. Call it after completions have been delivered.
    pub fn run(&mut self, mut done: impl FnMut(F::Output)) {
        loop {
            let mut woken = self.ready.0.swap(0, Ordering::Relaxed) & self.running;
            if woken == 0 {
                return;
            }
            while woken != 0 {
                let place = woken.trailing_zeros() as usize;
                woken &= woken - 1;
                if let Some(output) = self.poll(place) {
                    done(output);
                }
            }
        }
    }

    fn poll(&mut self, place: usize) -> Option<F::Output> {
        let task = self.tasks.get_mut(place)?;
        let future = task.future.as_mut().as_pin_mut()?;
        match future.poll(&mut Context::from_waker(&task.waker)) {
            Poll::Pending => None,
            Poll::Ready(output) => {
                task.future.set(None);
                self.running &= !(1 << place);
                Some(output)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Condition;

    #[test]
    fn a_task_that_waits_for_nothing_ends_at_once() {
        let mut executor = Executor::default();
        let result = executor.spawn(core::future::ready(7));
        assert!(matches!(result, Ok(Some(7))) && executor.is_idle());
    }

    #[test]
    fn a_woken_task_goes_on_and_its_place_is_used_again() {
        let condition = Condition::default();
        let task = |n: u32| {
            let condition = &condition;
            async move {
                condition.wait().await;
                n
            }
        };
        let mut executor = Executor::default();
        for n in 0..TASKS_MAX as u32 {
            assert!(matches!(executor.spawn(task(n)), Ok(None)));
        }
        assert!(!executor.has_room() && executor.spawn(task(99)).is_err());
        let mut results = Vec::new();
        executor.run(|n| results.push(n));
        assert!(results.is_empty(), "nothing was woken");
        condition.signal();
        executor.run(|n| results.push(n));
        assert_eq!(results, (0..TASKS_MAX as u32).collect::<Vec<_>>());
        assert!(executor.is_idle() && executor.has_room());
    }
}
