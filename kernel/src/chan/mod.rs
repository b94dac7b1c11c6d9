//! Channels: two-way, message-preserving, bounded; and receive ports that wait
//! for several of them and for interrupts.
//!
//! A channel has two sides. A message sent on one side is queued at the other,
//! where a process reads it, a port receives it, or the kernel's own 9P client
//! takes it at once. Closing a side ends all waits on the other.
mod incoming;
mod message;
mod port;

pub use incoming::{Client, Incoming, Stop};
pub use message::{HEAD_MAX, Message, Piece, Source, room};
pub use port::{Event, Port, What, interrupt};

use crate::counters;
use crate::sched::{Reason, Wait, WaitQueue};
use abi::{Errno, Stat64};
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use hw::heap::new_arc;
use hw::lock::{Lock, Rank};

/// Messages that may wait at one side.
pub const DEPTH: usize = 64;

struct Side {
    open: bool,
    queue: VecDeque<Message>,
    readers: WaitQueue,
    writers: WaitQueue,
    port: Option<Weak<Port>>,
    client: Option<Weak<dyn Client>>,
}

impl Side {
    fn new() -> Result<Side, Errno> {
        let mut queue = VecDeque::new();
        queue.try_reserve_exact(DEPTH).map_err(|_| Errno::ENOMEM)?;
        Ok(Side {
            open: true,
            queue,
            readers: WaitQueue::new(),
            writers: WaitQueue::new(),
            port: None,
            client: None,
        })
    }
}

/// Both sides.
pub struct Channel {
    sides: Lock<[Side; 2]>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        counters::subtract_one(Stat64::Channels);
    }
}

/// One side of a channel; dropping it closes the side.
pub struct End {
    channel: Arc<Channel>,
    side: usize,
}

/// A new channel's two ends.
pub fn pair() -> Result<(Arc<End>, Arc<End>), Errno> {
    let sides = Lock::new(Rank::Channel, [Side::new()?, Side::new()?]);
    // Counted before it can be dropped.
    counters::add(Stat64::Channels, 1);
    let channel = new_arc(Channel { sides })?;
    let end = |side| {
        let channel = channel.clone();
        new_arc(End { channel, side })
    };
    Ok((end(0)?, end(1)?))
}

impl End {
    fn peer(&self) -> usize {
        1 - self.side
    }

    /// The client at the other side, which takes messages at once.
    pub fn client(&self) -> Option<Arc<dyn Client>> {
        let sides = self.channel.sides.lock();
        sides[self.peer()].client.as_ref().and_then(Weak::upgrade)
    }

    /// From now on `client` takes what arrives at this side, and nothing else sends
    /// from it.
    ///
    /// # Errors
    /// `EBUSY`: there are messages, or something else receives.
    pub fn set_client(&self, client: Weak<dyn Client>) -> Result<(), Errno> {
        let mut sides = self.channel.sides.lock();
        let queued = sides.iter().any(|side| !side.queue.is_empty());
        let side = &mut sides[self.side];
        if side.client.is_some() || side.port.is_some() || queued {
            return Err(Errno::EBUSY);
        }
        side.client = Some(client);
        Ok(())
    }

    /// Queues a program's message at the other side, waiting while that is full.
    ///
    /// # Errors
    /// `EPIPE` if it is closed; `EBUSY` if this side is a client's: the message would
    /// be taken for the client's own.
    pub fn send(&self, message: Message) -> Result<(), Errno> {
        let (mut message, peer) = (Some(message), self.peer());
        let port = self.channel.sides.wait(
            |sides| &mut sides[peer].writers,
            Reason::Room,
            |sides| {
                if sides[self.side].client.is_some() {
                    return Some(Err(Errno::EBUSY));
                }
                match push(&mut sides[peer], &mut message) {
                    Err(Errno::EAGAIN) => None,
                    pushed => Some(pushed),
                }
            },
        )??;
        notify(port);
        Ok(())
    }

    /// Queues a message at the other side if there is room: `EAGAIN` if not,
    /// `EPIPE` if it is closed. Never waits.
    pub fn try_send(&self, message: Message) -> Result<(), Errno> {
        let pushed = push(
            &mut self.channel.sides.lock()[self.peer()],
            &mut Some(message),
        );
        notify(pushed?);
        Ok(())
    }

    /// Returns true if a message that satisfies `is_it` was not received
    /// completely by the other side.
    pub fn has_queued(&self, is_it: impl Fn(&Message) -> bool) -> bool {
        let sides = self.channel.sides.lock();
        sides[self.peer()].queue.iter().any(is_it)
    }

    /// Takes a message that `is_it` back, if the other side has received nothing
    /// of it.
    pub fn withdraw(&self, is_it: impl Fn(&Message) -> bool) -> Option<Message> {
        let mut sides = self.channel.sides.lock();
        let peer = &mut sides[self.peer()];
        let at = peer.queue.iter().position(|m| m.taken == 0 && is_it(m))?;
        let message = peer.queue.remove(at);
        peer.writers.wake_one();
        message
    }

    /// Takes the next message, waiting for it. `None`: the other side is
    /// closed and nothing is left.
    pub fn receive(&self) -> Result<Option<Message>, Errno> {
        self.channel.sides.wait(
            |sides| &mut sides[self.side].readers,
            Reason::Message,
            |sides| match try_take(sides, self.side) {
                Taken::Message(message) => Some(Some(message)),
                Taken::Hangup => Some(None),
                Taken::Nothing => None,
            },
        )
    }

    /// Puts back the rest of a message after a short read, or a message that
    /// could not be copied: it is read next. Must be called before anything
    /// else runs, while its space is free.
    pub fn put_back(&self, message: Message) {
        self.tap().put_back(message);
    }

    /// The reference that a port needs to receive for this side.
    fn tap(&self) -> Tap {
        Tap {
            channel: self.channel.clone(),
            side: self.side,
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let (port, client, rest) = {
            let mut sides = self.channel.sides.lock();
            let mine = &mut sides[self.side];
            mine.open = false;
            let rest = core::mem::take(&mut mine.queue);
            mine.readers.wake_all();
            mine.writers.wake_all();
            let peer = &mut sides[1 - self.side];
            peer.readers.wake_all();
            (peer.port.clone(), peer.client.clone(), rest)
        };
        drop(rest);
        notify(port);
        if let Some(client) = client.and_then(|c| c.upgrade()) {
            client.hang_up();
        }
    }
}

fn notify(port: Option<Weak<Port>>) {
    if let Some(port) = port.and_then(|p| p.upgrade()) {
        port.wake();
    }
}

/// Queues a message at a side if there is room; the port that is to know.
fn push(side: &mut Side, message: &mut Option<Message>) -> Result<Option<Weak<Port>>, Errno> {
    if !side.open {
        return Err(Errno::EPIPE);
    }
    if side.queue.len() >= DEPTH {
        return Err(Errno::EAGAIN);
    }
    side.queue.extend(message.take());
    side.readers.wake_one();
    Ok(side.port.clone())
}

enum Taken {
    Message(Message),
    Hangup,
    Nothing,
}

fn try_take(sides: &mut [Side; 2], side: usize) -> Taken {
    let mine = &mut sides[side];
    if let Some(message) = mine.queue.pop_front() {
        mine.writers.wake_one();
        return Taken::Message(message);
    }
    if sides[1 - side].open {
        Taken::Nothing
    } else {
        Taken::Hangup
    }
}

/// A port's hold on a side: it can receive there, and keeps nothing open.
#[derive(Clone)]
pub struct Tap {
    channel: Arc<Channel>,
    side: usize,
}

impl Tap {
    fn try_take(&self) -> Taken {
        try_take(&mut self.channel.sides.lock(), self.side)
    }

    /// As [`End::put_back`].
    pub fn put_back(&self, message: Message) {
        let port = {
            let mut sides = self.channel.sides.lock();
            let side = &mut sides[self.side];
            side.queue.push_front(message);
            side.readers.wake_one();
            side.port.clone()
        };
        notify(port);
    }

    fn detach(&self) {
        self.channel.sides.lock()[self.side].port = None;
    }

    fn attach(&self, port: Weak<Port>) -> Result<(), Errno> {
        let mut sides = self.channel.sides.lock();
        let side = &mut sides[self.side];
        if side.client.is_some() || side.port.as_ref().is_some_and(|p| p.strong_count() > 0) {
            return Err(Errno::EBUSY);
        }
        side.port = Some(port);
        Ok(())
    }
}
