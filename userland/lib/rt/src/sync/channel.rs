//! Queues of values from any number of threads to one.

use super::{Condvar, Mutex};
use alloc::collections::VecDeque;
use alloc::sync::Arc;

/// The receiver is gone; the value that was to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SendError<T>(pub T);

/// All senders are gone, and the queue is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecvError;

/// Why there is no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryRecvError {
    /// Not yet.
    Empty,
    /// All senders are gone.
    Disconnected,
}

struct Queue<T> {
    values: VecDeque<T>,
    senders: usize,
    receives: bool,
}

struct Channel<T> {
    queue: Mutex<Queue<T>>,
    /// Values that may wait, at least one.
    room: usize,
    filled: Condvar,
    emptied: Condvar,
}

/// The end that sends; a clone sends to the same receiver.
pub struct Sender<T>(Arc<Channel<T>>);

/// The end that receives.
pub struct Receiver<T>(Arc<Channel<T>>);

/// A channel in which any number of values may wait.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    sync_channel(usize::MAX)
}

/// A channel in which at most `room` values wait, at least one; further senders wait.
pub fn sync_channel<T>(room: usize) -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel {
        queue: Mutex::new(Queue {
            values: VecDeque::new(),
            senders: 1,
            receives: true,
        }),
        room: room.max(1),
        filled: Condvar::new(),
        emptied: Condvar::new(),
    });
    (Sender(channel.clone()), Receiver(channel))
}

impl<T> Sender<T> {
    /// Puts a value into the channel, waiting while it is full.
    ///
    /// # Errors
    /// The receiver is gone.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let channel = &*self.0;
        let full = |queue: &mut Queue<T>| queue.receives && queue.values.len() >= channel.room;
        let mut queue = channel.emptied.wait_while(channel.queue.lock(), full);
        if !queue.receives {
            return Err(SendError(value));
        }
        queue.values.push_back(value);
        drop(queue);
        channel.filled.notify_one();
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.queue.lock().senders += 1;
        Sender(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let left = {
            let mut queue = self.0.queue.lock();
            queue.senders -= 1;
            queue.senders
        };
        if left == 0 {
            self.0.filled.notify_all();
        }
    }
}

impl<T> Receiver<T> {
    /// The next value; waits for it.
    ///
    /// # Errors
    /// All senders are gone.
    pub fn recv(&self) -> Result<T, RecvError> {
        let channel = &*self.0;
        let empty = |queue: &mut Queue<T>| queue.values.is_empty() && queue.senders > 0;
        let mut queue = channel.filled.wait_while(channel.queue.lock(), empty);
        let value = queue.values.pop_front().ok_or(RecvError)?;
        drop(queue);
        channel.emptied.notify_one();
        Ok(value)
    }

    /// The next value if it is there.
    ///
    /// # Errors
    /// It is not, or will never be.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let (value, senders) = {
            let mut queue = self.0.queue.lock();
            (queue.values.pop_front(), queue.senders)
        };
        let value = value.ok_or(match senders {
            0 => TryRecvError::Disconnected,
            _ => TryRecvError::Empty,
        })?;
        self.0.emptied.notify_one();
        Ok(value)
    }

    /// The values as they come, until all senders are gone.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let left = {
            let mut queue = self.0.queue.lock();
            queue.receives = false;
            core::mem::take(&mut queue.values)
        };
        // Their drops may use the channel.
        drop(left);
        self.0.emptied.notify_all();
    }
}

/// The values of a channel; [`Receiver::iter`].
pub struct Iter<'a, T>(&'a Receiver<T>);

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
