//! Receive ports: one place to wait for several channels and interrupts.
use super::{Client, End, Message, Tap, room};
use crate::counters;
use crate::sched::{Reason, Wait, WaitQueue};
use abi::{Errno, Stat64};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use hw::heap::new_arc;
use hw::lock::{Lock, Rank};

/// Sources a port may have.
const SOURCES: usize = u32::BITS as usize;

enum EventSource {
    Channel(Tap),
    /// A channel whose end has been reported.
    Closed,
    /// Interrupts that came and were not yet received.
    Interrupt {
        vector: u8,
        pending: u32,
    },
}

struct Source {
    key: u64,
    kind: EventSource,
}

struct State {
    sources: Vec<Source>,
    /// A bit for each source that may have something: no other is looked at.
    ready: u32,
    /// Where the next look begins, so that no source starves another.
    next: usize,
    waiters: WaitQueue,
}

/// A receive port.
pub struct Port {
    state: Lock<State>,
}

/// The port that receives for a side of a channel, and the source that the side is of it.
#[derive(Clone)]
pub(super) struct Receiver {
    port: Weak<Port>,
    source: usize,
}

impl Receiver {
    /// Returns true if there is the port still.
    pub fn is_there(&self) -> bool {
        self.port.strong_count() > 0
    }

    /// Something may have come for the side.
    #[inline]
    pub fn wake(&self) {
        if let Some(port) = self.port.upgrade() {
            port.wake(self.source);
        }
    }
}

/// An event at a port, with its key.
pub struct Event {
    /// The source's key.
    pub key: u64,
    /// The source's place among the port's.
    source: usize,
    /// The event.
    pub what: What,
}

impl Event {
    /// Returns true for a message that is more than its head.
    #[inline]
    pub fn has_body(&self) -> bool {
        matches!(&self.what, What::Message(message) if message.whole_body().is_some())
    }

    /// It has been received.
    pub fn done(self) {
        if let What::Message(message) = self.what {
            message.done();
        }
    }
}

/// Kinds of events.
pub enum What {
    /// A message.
    Message(Message),
    /// That many interrupts.
    Interrupt(u32),
    /// A channel's other side is closed and drained; said once.
    Hangup(Tap),
}

impl Port {
    /// A port without sources.
    pub fn new() -> Result<Arc<Port>, Errno> {
        let state = State {
            sources: room(SOURCES)?,
            ready: 0,
            next: 0,
            waiters: WaitQueue::new(),
        };
        let state = Lock::new(Rank::Port, state);
        Ok(new_arc(Port { state })?)
    }

    /// Adds a source; its place.
    fn add(&self, key: u64, kind: EventSource) -> Result<usize, Errno> {
        let mut state = self.state.lock();
        let source = state.sources.len();
        if source == SOURCES {
            return Err(Errno::ENFILE);
        }
        state.sources.push(Source { key, kind });
        Ok(source)
    }

    /// Messages for `end` are received here from now on.
    pub fn add_channel(self: &Arc<Port>, end: &End, key: u64) -> Result<(), Errno> {
        let tap = &end.0;
        tap.check_free()?;
        let source = self.add(key, EventSource::Channel(tap.clone()))?;
        let port = Arc::downgrade(self);
        tap.attach(Receiver { port, source });
        self.wake(source);
        Ok(())
    }

    /// Interrupts with that vector are received here from now on.
    pub fn add_interrupt(self: &Arc<Port>, vector: u8, key: u64) -> Result<(), Errno> {
        interrupt::claim(vector, Arc::downgrade(self))?;
        let pending = 0;
        let added = self.add(key, EventSource::Interrupt { vector, pending });
        added.map(drop).inspect_err(|_| interrupt::disown(vector))
    }

    /// Something may have come from a source.
    pub(super) fn wake(&self, source: usize) {
        let mut state = self.state.lock();
        state.ready |= 1 << source;
        state.waiters.wake_one();
    }

    /// Counts an interrupt.
    fn raise(&self, raised: u8) {
        let state = &mut *self.state.lock();
        for (at, source) in state.sources.iter_mut().enumerate() {
            if let EventSource::Interrupt { vector, pending } = &mut source.kind
                && *vector == raised
            {
                *pending = pending.saturating_add(1);
                state.ready |= 1 << at;
            }
        }
        state.waiters.wake_one();
    }

    /// Puts back an event that could not be delivered: it is received again.
    /// Must be called before anything else runs.
    pub fn put_back(&self, event: Event) {
        let queue = {
            let state = &mut *self.state.lock();
            let Some(Source { kind, .. }) = state.sources.get_mut(event.source) else {
                return;
            };
            match (event.what, kind) {
                (What::Message(message), EventSource::Channel(tap)) => Some((tap.clone(), message)),
                (What::Interrupt(count), EventSource::Interrupt { pending, .. }) => {
                    *pending = pending.saturating_add(count);
                    None
                }
                (What::Hangup(tap), kind) => {
                    *kind = EventSource::Channel(tap);
                    None
                }
                _ => None,
            }
        };
        match queue {
            Some((tap, message)) => tap.put_back(message),
            None => self.wake(event.source),
        }
    }

    /// The client that sent the message of an event, and the message's tag.
    pub fn sender(&self, event: &Event) -> Option<(Arc<dyn Client>, u16)> {
        let What::Message(message) = &event.what else {
            return None;
        };
        let state = self.state.lock();
        match &state.sources.get(event.source)?.kind {
            EventSource::Channel(tap) => Some((tap.client()?, message.tag()?)),
            EventSource::Closed | EventSource::Interrupt { .. } => None,
        }
    }

    /// The next event, waiting until `deadline_ns` at most (`ETIMEDOUT`).
    pub fn receive(&self, deadline_ns: Option<u64>) -> Result<Event, Errno> {
        self.state.wait_until(
            deadline_ns,
            |state| &mut state.waiters,
            Reason::Port,
            State::try_receive,
        )
    }
}

impl State {
    fn try_receive(&mut self) -> Option<Event> {
        while self.ready != 0 {
            let behind = self.ready & u32::MAX << self.next;
            let first = if behind == 0 { self.ready } else { behind };
            let index = first.trailing_zeros() as usize;
            let source = self.sources.get_mut(index)?;
            let (what, more) = source.poll();
            if !more {
                self.ready &= !(1 << index);
            }
            if let Some(what) = what {
                let key = source.key;
                self.next = (index + 1) % SOURCES;
                return Some(Event {
                    key,
                    source: index,
                    what,
                });
            }
        }
        None
    }
}

impl Source {
    /// What has come from it, and whether there is more: it need not be looked at
    /// again until something comes.
    #[inline]
    fn poll(&mut self) -> (Option<What>, bool) {
        match &mut self.kind {
            EventSource::Channel(tap) => match tap.take() {
                Some((Some(message), more)) => (Some(What::Message(message)), more),
                Some((None, _)) => {
                    let tap = tap.clone();
                    self.kind = EventSource::Closed;
                    (Some(What::Hangup(tap)), false)
                }
                None => (None, false),
            },
            EventSource::Interrupt { pending, .. } if *pending > 0 => {
                let count = core::mem::take(pending);
                (Some(What::Interrupt(count)), false)
            }
            EventSource::Interrupt { .. } | EventSource::Closed => (None, false),
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        for source in &self.state.lock().sources {
            if let EventSource::Interrupt { vector, .. } = source.kind {
                interrupt::disown(vector);
            }
        }
    }
}

/// Which port each device interrupt goes to.
pub mod interrupt {
    use super::*;
    use hw::interrupts;

    /// Vectors for devices; the first [`LINES`] belong to the ISA lines.
    pub const FIRST: u8 = interrupts::DEVICE_FIRST;
    const COUNT: usize = (interrupts::DEVICE_LAST - FIRST) as usize + 1;
    /// ISA interrupt lines.
    pub const LINES: u8 = 16;

    static OWNERS: Lock<[Option<Weak<Port>>; COUNT]> =
        Lock::new(Rank::Interrupts, [const { None }; COUNT]);
    fn taken(owner: &Option<Weak<Port>>) -> bool {
        owner.as_ref().is_some_and(|p| p.strong_count() > 0)
    }

    /// A free interrupt vector.
    pub fn free_vector() -> Result<u8, Errno> {
        let owners = OWNERS.lock();
        let free = (usize::from(LINES)..COUNT).find(|&i| !owners.get(i).is_some_and(taken));
        free.map(|i| FIRST + i as u8).ok_or(Errno::EBUSY)
    }

    pub(super) fn claim(vector: u8, port: Weak<Port>) -> Result<(), Errno> {
        let index = vector.wrapping_sub(FIRST) as usize;
        let mut owners = OWNERS.lock();
        let owner = owners.get_mut(index).ok_or(Errno::EINVAL)?;
        if taken(owner) {
            return Err(Errno::EBUSY);
        }
        *owner = Some(port);
        Ok(())
    }

    pub(super) fn disown(vector: u8) {
        let index = vector.wrapping_sub(FIRST) as usize;
        if let Some(owner) = OWNERS.lock().get_mut(index) {
            *owner = None;
        }
        if index < usize::from(LINES) {
            interrupts::ioapic_mask(index as u8);
        }
    }

    /// A device interrupt came: tell its port.
    pub fn raise(vector: u8) {
        counters::add(Stat64::Interrupts, 1);
        let index = vector.wrapping_sub(FIRST) as usize;
        let port = OWNERS.lock().get(index).cloned().flatten();
        if let Some(port) = port.and_then(|p| p.upgrade()) {
            port.raise(vector);
        }
    }
}
