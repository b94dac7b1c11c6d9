//! The device: a virtqueue of slots.
use crate::slot::{POOL_LEN, Pool, SLOTS, Slot};
use alloc::boxed::Box;
use core::sync::atomic::{Ordering, fence};
use rt::{Errno, Failure, Named, Port};
use virtio::memory::{self, Memory};
use virtio::pci::{self, Wanted};
use virtio_drivers::device::common::Feature;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::{DeviceType, Transport};

/// Descriptors in the queue, all that QEMU has; a request takes two.
pub const QUEUE: usize = 128;
const _: () = assert!(2 * SLOTS <= QUEUE, "a slot that was taken can be submitted");

/// The only queue of a virtio-9p device.
const REQUESTS: u16 = 0;
/// Bytes for the queue itself, in two pieces of whole pages.
const QUEUE_LEN: usize = 4 * 4096;

/// A request that the device is working on.
struct Flight {
    slot: Slot,
    tag: u16,
    request_len: usize,
}

/// A request that the device has completed.
pub struct Completion {
    /// The slot of the request; the reply is in it.
    pub slot: Slot,
    /// The tag of the request.
    pub tag: u16,
    /// Bytes of the reply, which is one message by its header with that tag;
    /// otherwise `EPROTO`.
    pub len: Result<usize, Errno>,
}

/// A virtio-9p device.
pub struct Device {
    queue: VirtQueue<Memory, QUEUE>,
    transport: PciTransport,
    pool: &'static Pool,
    /// The requests in flight, by the queue's token: the index of their first
    /// descriptor.
    flying: [Option<Flight>; QUEUE],
}

impl Device {
    /// Starts the device with that mount tag. Its interrupts arrive at `port`
    /// under `key`.
    ///
    /// # Errors
    /// No such device, a missing feature, or out of memory.
    pub fn open(tag: &str, port: &Port, key: u64) -> Result<Device, Failure> {
        memory::attach(QUEUE_LEN + POOL_LEN).about("dma memory")?;
        let data = port
            .add_interrupt(key, rt::abi::IRQ_MSI)
            .about("interrupt")?;
        let wanted = Wanted {
            kind: DeviceType::_9P,
            name: "virtio-9p",
            fits: &|transport| has_tag(transport, tag),
        };
        let missing = || Failure::new(format_args!("no virtio-9p device with mount tag {tag}"));
        let mut found = pci::find(&wanted, data)?.ok_or_else(missing)?;
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

    /// The pool that slots are taken from.
    #[inline]
    pub fn pool(&self) -> &'static Pool {
        self.pool
    }

    /// Hands the first `request_len` bytes of the slot's request, which has that
    /// tag, to the device, which may wait for [`Device::kick`] before it looks at
    /// them.
    ///
    /// # Errors
    /// `EIO` if the queue refuses the request. That cannot happen, because
    /// there are descriptors for all slots.
    #[inline]
    pub fn submit(&mut self, slot: Slot, tag: u16, request_len: usize) -> Result<(), Errno> {
        let mut flight = Flight {
            slot,
            tag,
            request_len,
        };
        let token = {
            let (request, reply) = flight.buffers();
            // SAFETY: (1) both views are of the slot, whose memory is never
            // unmapped; (2) the slot stays in `flying`, inaccessible, until
            // `completed` has popped the token.
            unsafe { self.queue.add(&[request], &mut [reply]) }.map_err(|_| Errno::EIO)?
        };
        *self.flying.get_mut(usize::from(token)).ok_or(Errno::EIO)? = Some(flight);
        Ok(())
    }

    /// Notifies the device of submitted requests, unless it has disabled
    /// notifications.
    #[inline]
    pub fn kick(&mut self) {
        // The queue's index must be visible to the device before its request
        // for a notification is read.
        fence(Ordering::SeqCst);
        if self.queue.should_notify() {
            self.transport.notify(REQUESTS);
        }
    }

    /// The next completed request. `None`: an interrupt will announce it.
    ///
    /// # Errors
    /// `EIO`: the device completed a request that it does not have. The device
    /// is unusable from then on.
    #[inline]
    pub fn completed(&mut self) -> Result<Option<Completion>, Errno> {
        if !self.queue.can_pop() {
            // Popping has told the device up to which index no interrupt is
            // needed. Completions from before the device saw this raise none,
            // so check again once it is visible.
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
        let Flight { slot, tag, .. } = flight;
        let whole = len <= room && is_reply(slot.reply(len), tag);
        let len = if whole { Ok(len) } else { Err(Errno::EPROTO) };
        Ok(Some(Completion { slot, tag, len }))
    }
}

/// Returns true if the device's configuration (`len[2] tag[len]`) has that tag.
fn has_tag(transport: &PciTransport, tag: &str) -> bool {
    let matches = transport.read_consistent(|| {
        let len: u16 = transport.read_config_space(0)?;
        let mut same = usize::from(len) == tag.len();
        for (i, expected) in tag.bytes().enumerate() {
            same = same && transport.read_config_space::<u8>(2 + i)? == expected;
        }
        Ok(same)
    });
    matches.unwrap_or(false)
}

/// Returns true if `msg` is one whole message by its header, with that tag.
#[inline]
fn is_reply(msg: &[u8], tag: u16) -> bool {
    ninep::peek(msg).is_some_and(|(size, _, of)| size as usize == msg.len() && of == tag)
}

impl Flight {
    /// The request, and the space for its reply.
    #[inline]
    fn buffers(&mut self) -> (&[u8], &mut [u8]) {
        self.slot.buffers(self.request_len)
    }
}
