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
const SOURCES: usize = 32;

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
    /// Where the next look begins, so that no source starves another.
    next: usize,
    waiters: WaitQueue,
}

/// A receive port.
pub struct Port {
    state: Lock<State>,
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
            next: 0,
            waiters: WaitQueue::new(),
        };
        let state = Lock::new(Rank::Port, state);
        Ok(new_arc(Port { state })?)
    }

    fn add(&self, key: u64, kind: EventSource) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.sources.len() == SOURCES {
            return Err(Errno::ENFILE);
        }
        state.sources.push(Source { key, kind });
        Ok(())
    }

    /// Messages for `end` are received here from now on.
    pub fn add_channel(self: &Arc<Port>, end: &End, key: u64) -> Result<(), Errno> {
        let tap = &end.0;
        tap.attach(Arc::downgrade(self))?;
        let added = self.add(key, EventSource::Channel(tap.clone()));
        added.inspect_err(|_| tap.detach())?;
        self.wake();
        Ok(())
    }

    /// Interrupts with that vector are received here from now on.
    pub fn add_interrupt(self: &Arc<Port>, vector: u8, key: u64) -> Result<(), Errno> {
        interrupt::claim(vector, Arc::downgrade(self))?;
        let pending = 0;
        let added = self.add(key, EventSource::Interrupt { vector, pending });
        if added.is_err() {
            interrupt::disown(vector);
        }
        added
    }

    /// Something may have come.
    pub fn wake(&self) {
        self.state.lock().waiters.wake_one();
    }

    /// Counts an interrupt.
    fn raise(&self, raised: u8) {
        let mut state = self.state.lock();
        for source in &mut state.sources {
            if let EventSource::Interrupt { vector, pending } = &mut source.kind
                && *vector == raised
            {
                *pending = pending.saturating_add(1);
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
            None => self.wake(),
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
        let count = self.sources.len();
        for step in 0..count {
            let index = (self.next + step) % count;
            let source = self.sources.get_mut(index)?;
            if let Some(what) = source.poll() {
                let key = source.key;
                self.next = (index + 1) % count;
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
    fn poll(&mut self) -> Option<What> {
        match &mut self.kind {
            EventSource::Channel(tap) => match tap.take()? {
                Some(message) => Some(What::Message(message)),
                None => {
                    let tap = tap.clone();
                    self.kind = EventSource::Closed;
                    Some(What::Hangup(tap))
                }
            },
            EventSource::Interrupt { pending, .. } if *pending > 0 => {
                Some(What::Interrupt(core::mem::take(pending)))
            }
            EventSource::Interrupt { .. } | EventSource::Closed => None,
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
