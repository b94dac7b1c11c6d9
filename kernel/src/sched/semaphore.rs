//! A counting semaphore in locked state.
use super::WaitQueue;

/// Permits, and the processes that wait for one. The state that it is part of
/// is locked around each call, and waited on by [`super::Wait::wait`] in
/// [`Semaphore::queue`].
pub struct Semaphore {
    free: usize,
    queue: WaitQueue,
}

impl Semaphore {
    /// A semaphore with that many permits.
    pub const fn new(permits: usize) -> Semaphore {
        Semaphore {
            free: permits,
            queue: WaitQueue::new(),
        }
    }

    /// Takes a permit if there is one.
    pub fn try_take(&mut self) -> Option<()> {
        self.free = self.free.checked_sub(1)?;
        Some(())
    }

    /// Gives a permit back.
    pub fn give(&mut self) {
        self.free += 1;
        self.queue.wake_one();
    }

    /// The processes that wait for a permit.
    pub fn queue(&mut self) -> &mut WaitQueue {
        &mut self.queue
    }
}
