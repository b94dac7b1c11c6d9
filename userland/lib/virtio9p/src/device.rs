//! The device: a queue of slots.
use crate::memory::{self, Memory};
use crate::pci;
use crate::slot::{POOL_LEN, Pool, SLOTS, Slot};
use alloc::boxed::Box;
use core::sync::atomic::{Ordering, fence};
use ninep::consts::RVERSION;
use rt::{Errno, Failure, Named, Port};
use virtio_drivers::device::common::Feature;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;
use virtio_drivers::transport::pci::PciTransport;

/// Descriptors in the queue, all that QEMU has; a request takes two.
pub const QUEUE: usize = 128;
const _: () = assert!(2 * SLOTS <= QUEUE, "a slot that was taken can be submitted");

/// The only queue of a virtio-9p device.
const REQUESTS: u16 = 0;
/// Bytes for the queue itself, in two pieces of whole pages.
const QUEUE_LEN: usize = 4 * 4096;

/// A request that the device has.
struct Flight {
    slot: Slot,
    request_len: usize,
}

/// A request that the device is through with.
pub struct Completion {
    /// What was submitted; the reply is in it.
    pub slot: Slot,
    /// Bytes of reply, which is one message by its header, with the slot's
    /// index as tag; else `EPROTO`.
    pub len: Result<usize, Errno>,
}

/// A virtio-9p device.
pub struct Device {
    queue: VirtQueue<Memory, QUEUE>,
    transport: PciTransport,
    pool: &'static Pool,
    /// By the queue's token, the index of the first descriptor.
    flying: [Option<Flight>; QUEUE],
}

impl Device {
    /// Starts the device with that mount tag. Its interrupts arrive at `port`
    /// under `key`.
    ///
    /// # Errors
    /// There is no such device, it lacks something, or memory is out.
    pub fn open(tag: &str, port: &Port, key: u64) -> Result<Device, Failure> {
        memory::attach(QUEUE_LEN + POOL_LEN).about("dma memory")?;
        let data = port
            .add_interrupt(key, rt::abi::IRQ_MSI)
            .about("interrupt")?;
        let mut found = pci::find(tag, data)?;
        let features = found
            .transport
            .begin_init(Feature::VERSION_1 | Feature::RING_EVENT_IDX);
        if !features.contains(Feature::VERSION_1) {
            return Err(Failure::new("virtio-9p device: not a modern one"));
        }
        found.route(REQUESTS).about("virtio-9p device: interrupt")?;
        let event_idx = features.contains(Feature::RING_EVENT_IDX);
        let queue = VirtQueue::new(&mut found.transport, REQUESTS, false, event_idx)
            .map_err(|why| Failure::new(format_args!("virtio-9p device: queue: {why}")))?;
        found.transport.finish_init();
        let pool = Box::leak(Box::new(Pool::new().about("dma memory")?));
        let flying = [const { None }; QUEUE];
        Ok(Device {
            queue,
            transport: found.transport,
            pool,
            flying,
        })
    }

    /// Where slots come from.
    #[inline]
    pub fn pool(&self) -> &'static Pool {
        self.pool
    }

    /// Hands the first `request_len` bytes of the slot's request to the
    /// device, which may wait for [`Device::kick`] to look at it.
    ///
    /// # Errors
    /// `EIO` if the queue does not take it, which does not happen: there are
    /// descriptors for all slots.
    #[inline]
    pub fn submit(&mut self, slot: Slot, request_len: usize) -> Result<(), Errno> {
        let mut flight = Flight { slot, request_len };
        let token = {
            let (request, reply) = flight.buffers();
            // SAFETY: (1) both views are of the slot, whose memory stays for
            // ever; (2) the slot is kept in `flying`, out of everybody's
            // reach, until `completed` has popped the token.
            unsafe { self.queue.add(&[request], &mut [reply]) }.map_err(|_| Errno::EIO)?
        };
        *self.flying.get_mut(usize::from(token)).ok_or(Errno::EIO)? = Some(flight);
        Ok(())
    }

    /// Tells the device that requests were submitted, if it wants to know.
    #[inline]
    pub fn kick(&mut self) {
        // The index the device reads must be there before we look at what it
        // asked for.
        fence(Ordering::SeqCst);
        if self.queue.should_notify() {
            self.transport.notify(REQUESTS);
        }
    }

    /// The next request that the device is through with. `None`: an interrupt
    /// will tell of it.
    ///
    /// # Errors
    /// `EIO`: the device says that it is through with something it does not have.
    /// It cannot be used any more.
    #[inline]
    pub fn completed(&mut self) -> Result<Option<Completion>, Errno> {
        if !self.queue.can_pop() {
            // Popping said up to where no interrupt is needed. What came before
            // the device saw that made none, so look again after it can see it.
            fence(Ordering::SeqCst);
        }
        let Some(token) = self.queue.peek_used() else {
            return Ok(None);
        };
        let flying = self
            .flying
            .get_mut(usize::from(token))
            .and_then(Option::take);
        let mut flight = flying.ok_or(Errno::EIO)?;
        let (request, reply) = flight.buffers();
        let room = reply.len();
        // SAFETY: the same views as in `submit`.
        let len = unsafe { self.queue.pop_used(token, &[request], &mut [reply]) };
        let len = len.map_err(|_| Errno::EIO)? as usize;
        let slot = flight.slot;
        let whole = len <= room && is_reply(slot.reply(len), slot.index());
        let len = if whole { Ok(len) } else { Err(Errno::EPROTO) };
        Ok(Some(Completion { slot, len }))
    }
}

/// Is it one whole message by its header, for the request with that tag?
#[inline]
fn is_reply(msg: &[u8], tag: u16) -> bool {
    ninep::peek(msg).is_some_and(|(size, kind, of)| {
        size as usize == msg.len() && (of == tag || kind == RVERSION)
    })
}

impl Flight {
    /// The request and the room for the reply.
    #[inline]
    fn buffers(&mut self) -> (&[u8], &mut [u8]) {
        self.slot.buffers(self.request_len)
    }
}
