//! Channels: two-way, message-preserving, bounded; and receive ports that wait
//! for several of them and for interrupts.
//!
//! A channel has two sides. A message sent on one side is queued at the other,
//! where a process reads it, a port receives it, or the kernel's own 9P client
//! takes it at once. Closing a side ends all waits on the other.
mod incoming;
pub mod kept;
mod message;
mod port;

pub use incoming::{Client, Incoming, Stop};
pub use message::{HEAD_MAX, HEAD_SMALL, Message, Piece, Source, room};
use port::Receiver;
pub use port::{Event, Port, What, interrupt};

use crate::counters;
use crate::sched::{self, Reason, Wait, WaitQueue};
use abi::{Errno, Stat64};
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use hw::heap::new_arc;
use hw::lock::{Lock, Rank};
use hw::pending::{self, Work};
use spin::Once;

/// Messages that may wait at one side.
pub const DEPTH: usize = 64;

struct Side {
    open: bool,
    queue: VecDeque<Message>,
    readers: WaitQueue,
    writers: WaitQueue,
    port: Option<Receiver>,
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
        })
    }

    /// `EPIPE` if it is closed, `EAGAIN` if there is no room.
    #[inline]
    fn has_room(&self) -> Result<(), Errno> {
        match (self.open, self.queue.len() < DEPTH) {
            (true, true) => Ok(()),
            (true, false) => Err(Errno::EAGAIN),
            (false, _) => Err(Errno::EPIPE),
        }
    }

    /// Queues a message, for which there is room; the port that is to know.
    #[inline]
    fn push(&mut self, message: Message) -> Option<Receiver> {
        self.queue.push_back(message);
        self.readers.wake_one();
        self.port.clone()
    }
}

/// Both sides.
struct Channel {
    sides: Lock<[Side; 2]>,
    /// The clients that take the messages for a side.
    clients: [Once<Weak<dyn Client>>; 2],
}

impl Channel {
    /// Waits until there is room at a side.
    #[inline(never)]
    fn wait_for_room(&self, side: usize) -> Result<(), Errno> {
        self.sides.wait(
            |sides| &mut sides[side].writers,
            Reason::Room,
            |sides| match sides[side].has_room() {
                Err(Errno::EAGAIN) => None,
                result => Some(result),
            },
        )?
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        counters::subtract_one(Stat64::Channels);
    }
}

/// A new channel's two ends.
pub fn pair() -> Result<(Arc<End>, Arc<End>), Errno> {
    let sides = Lock::new(Rank::Channel, [Side::new()?, Side::new()?]);
    let clients = [const { Once::new() }; 2];
    // Counted before it can be dropped.
    counters::add(Stat64::Channels, 1);
    let channel = new_arc(Channel { sides, clients })?;
    let end = |side| {
        let channel = channel.clone();
        new_arc(End(Tap { channel, side }))
    };
    Ok((end(0)?, end(1)?))
}

/// One side of a channel; dropping it closes the side.
pub struct End(Tap);

impl End {
    /// The client at the other side, which takes messages at once.
    #[inline]
    pub fn client(&self) -> Option<Arc<dyn Client>> {
        self.0.client()
    }

    /// Returns true if the other side is a client's.
    #[inline]
    pub fn has_client(&self) -> bool {
        let Tap { channel, side } = &self.0;
        channel.clients[1 - side].is_completed()
    }

    /// From now on `client` takes what arrives at this side, and nothing else sends
    /// from it.
    ///
    /// # Errors
    /// `EBUSY`: there are messages, or something else receives.
    pub fn set_client(&self, client: Weak<dyn Client>) -> Result<(), Errno> {
        let Tap { channel, side } = &self.0;
        let sides = channel.sides.lock();
        let queued = sides.iter().any(|side| !side.queue.is_empty());
        let own = &channel.clients[*side];
        if own.is_completed() || sides[*side].port.is_some() || queued {
            return Err(Errno::EBUSY);
        }
        own.call_once(|| client);
        Ok(())
    }

    /// Queues a program's message at the other side, waiting while that is full.
    ///
    /// # Errors
    /// `EPIPE` if it is closed; `EBUSY` if this side is a client's: the message would
    /// be taken for the client's own.
    pub fn send(&self, message: Message) -> Result<(), Errno> {
        let Tap { channel, side } = &self.0;
        let is_clients = || channel.clients[*side].is_completed();
        if is_clients() {
            return Err(Errno::EBUSY);
        }
        let mut sides = channel.sides.lock();
        if sides[1 - side].has_room().is_err() {
            drop(sides);
            // Nothing runs before the lock is taken again.
            channel.wait_for_room(1 - side)?;
            if is_clients() {
                // It has become one during the wait.
                return Err(Errno::EBUSY);
            }
            sides = channel.sides.lock();
        }
        let port = sides[1 - side].push(message);
        drop(sides);
        notify(port);
        Ok(())
    }

    /// Queues a program's message at the other side if there is room, and takes the next
    /// message, waiting for it. The process that receives there runs first. `None`: the
    /// other side is closed and nothing is left.
    ///
    /// # Errors
    /// As for [`End::send`]; `EAGAIN`: there is no room.
    #[inline]
    pub fn exchange(&self, message: Message) -> Result<Option<Message>, Errno> {
        let Tap { channel, side } = &self.0;
        if channel.clients[*side].is_completed() {
            return Err(Errno::EBUSY);
        }
        let mut sides = channel.sides.lock();
        let peer = &mut sides[1 - side];
        peer.has_room()?;
        peer.queue.push_back(message);
        peer.readers.hand_over();
        if let Some(port) = peer.port.clone() {
            drop(sides);
            port.wake();
            // Nothing has run since.
            sides = channel.sides.lock();
        }
        channel.sides.wait_with(
            sides,
            None,
            |sides| &mut sides[*side].readers,
            Reason::Message,
            |sides| take(sides, *side),
        )
    }

    /// Queues a message at the other side if there is room: `EAGAIN` if not,
    /// `EPIPE` if it is closed. Never waits.
    pub fn try_send(&self, message: Message) -> Result<(), Errno> {
        let Tap { channel, side } = &self.0;
        let mut sides = channel.sides.lock();
        let peer = &mut sides[1 - side];
        peer.has_room()?;
        let port = peer.push(message);
        drop(sides);
        notify(port);
        Ok(())
    }

    /// Returns true if a message that satisfies `is_it` was not received
    /// completely by the other side.
    pub fn has_queued(&self, is_it: impl Fn(&Message) -> bool) -> bool {
        let Tap { channel, side } = &self.0;
        channel.sides.lock()[1 - side].queue.iter().any(is_it)
    }

    /// Takes a message that `is_it` back, if the other side has received nothing
    /// of it.
    pub fn withdraw(&self, is_it: impl Fn(&Message) -> bool) -> Option<Message> {
        let Tap { channel, side } = &self.0;
        let peer = &mut channel.sides.lock()[1 - side];
        let at = peer.queue.iter().position(|m| m.is_whole() && is_it(m))?;
        let message = peer.queue.remove(at);
        peer.writers.wake_one();
        message
    }

    /// Takes the next message, waiting for it. `None`: the other side is
    /// closed and nothing is left.
    pub fn receive(&self) -> Result<Option<Message>, Errno> {
        let Tap { channel, side } = &self.0;
        channel.sides.wait(
            |sides| &mut sides[*side].readers,
            Reason::Message,
            |sides| take(sides, *side),
        )
    }

    /// Puts back the rest of a message after a short read, or a message that
    /// could not be copied: it is read next. Must be called before anything
    /// else runs, while its space is free.
    pub fn put_back(&self, message: Message) {
        self.0.put_back(message);
    }
}

impl End {
    /// Closes the side. The messages that nobody will receive are given back at once, in
    /// steps.
    pub fn close(self) {
        self.shut();
        self.0.empty();
    }

    /// Nobody sends to the side, or receives there, any more. Returns the other side's
    /// port.
    fn shut(&self) -> Option<Receiver> {
        let Tap { channel, side } = &self.0;
        let mut sides = channel.sides.lock();
        let mine = &mut sides[*side];
        mine.open = false;
        mine.readers.wake_all();
        mine.writers.wake_all();
        let peer = &mut sides[1 - side];
        peer.readers.wake_all();
        peer.port.clone()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let port = self.shut();
        self.0.leave();
        notify(port);
        if let Some(client) = self.client() {
            client.hang_up();
        }
    }
}

/// Closed sides with messages that nobody will receive: they may hold 64 MiB, and who closed
/// the side could not let others run.
static UNREAD: Lock<[Option<Tap>; UNREAD_MAX]> =
    Lock::new(Rank::Interrupts, [const { None }; UNREAD_MAX]);
/// Most such sides. Of others the messages are given back at once.
const UNREAD_MAX: usize = 8;

/// Gives them back, in steps: before the program goes on.
#[inline]
pub fn remove_unread() {
    if pending::is(Work::Unread) {
        remove_all_unread();
    }
}

#[cold]
fn remove_all_unread() {
    pending::set(Work::Unread, false);
    loop {
        let next = UNREAD.lock().iter_mut().find_map(Option::take);
        match next {
            Some(side) => side.empty(),
            None => return,
        }
    }
}

#[inline]
fn notify(port: Option<Receiver>) {
    if let Some(port) = port {
        port.wake();
    }
}

/// The next message for a side, or `None` inside if there will be no more.
#[inline]
fn take(sides: &mut [Side; 2], side: usize) -> Option<Option<Message>> {
    let mine = &mut sides[side];
    if let Some(message) = mine.queue.pop_front() {
        mine.writers.wake_one();
        return Some(Some(message));
    }
    (!sides[1 - side].open).then_some(None)
}

/// A hold on a side, for a port: it can receive there, and keeps nothing open.
#[derive(Clone)]
pub struct Tap {
    channel: Arc<Channel>,
    side: usize,
}

impl Tap {
    #[inline]
    fn client(&self) -> Option<Arc<dyn Client>> {
        self.channel.clients[1 - self.side].get()?.upgrade()
    }

    /// Drops all messages for the side, with nothing locked: others may run meanwhile.
    fn empty(&self) {
        let next = || self.channel.sides.lock()[self.side].queue.pop_front();
        while let Some(message) = next() {
            drop(message);
            sched::breathe();
        }
    }

    /// Nobody receives at the side any more: its messages are dropped soon.
    fn leave(&self) {
        if self.channel.sides.lock()[self.side].queue.is_empty() {
            return;
        }
        if let Some(place) = UNREAD.lock().iter_mut().find(|place| place.is_none()) {
            *place = Some(self.clone());
            pending::set(Work::Unread, true);
            return;
        }
        let rest = core::mem::take(&mut self.channel.sides.lock()[self.side].queue);
        drop(rest);
    }

    /// As [`take`]; and whether it would return something again.
    fn take(&self) -> Option<(Option<Message>, bool)> {
        let sides = &mut *self.channel.sides.lock();
        let taken = take(sides, self.side)?;
        let more = !sides[self.side].queue.is_empty() || !sides[1 - self.side].open;
        Some((taken, more))
    }

    /// As [`End::put_back`].
    fn put_back(&self, message: Message) {
        let port = {
            let side = &mut self.channel.sides.lock()[self.side];
            side.queue.push_front(message);
            side.readers.wake_one();
            side.port.clone()
        };
        notify(port);
    }

    /// `EBUSY` if the side has a port or a client.
    fn check_free(&self) -> Result<(), Errno> {
        let side = &self.channel.sides.lock()[self.side];
        let has_port = side.port.as_ref().is_some_and(Receiver::is_there);
        match self.channel.clients[self.side].is_completed() || has_port {
            true => Err(Errno::EBUSY),
            false => Ok(()),
        }
    }

    /// From now on the port receives for the side, which is free.
    fn attach(&self, port: Receiver) {
        self.channel.sides.lock()[self.side].port = Some(port);
    }
}
