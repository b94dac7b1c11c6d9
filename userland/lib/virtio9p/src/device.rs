//! The device: a virtqueue of slots.
use crate::slot::{POOL_LEN, Pool, SLOTS, Slot};
use alloc::boxed::Box;
use core::iter::once;
use ninep::consts::READ_HEAD;
use rt::abi::{LOAN_MAX, PAGE};
use rt::{Errno, Failure, Named, Port};
use virtio::pci::{self, Wanted};
use virtio::queue::{self, Part, Used};
use virtio_drivers::device::common::Feature;
use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::{DeviceType, Transport};

/// Requests in the queue at most.
const QUEUE: usize = 64;
const _: () = assert!(SLOTS <= QUEUE, "a slot that was taken can be submitted");
/// Parts of a request: its message, or its head and pages with the data; its reply, or
/// the head of it and pages for the data.
const PARTS: usize = 2 + LOAN_MAX;
type Queue = queue::Queue<QUEUE, PARTS>;

/// The only queue of a virtio-9p device.
const REQUESTS: u16 = 0;

/// A request that the device is working on.
struct Flight {
    slot: Slot,
    tag: u16,
    /// Bytes of the reply at most, and how many of them are in the slot.
    room: usize,
    here: usize,
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
    /// How many of them are in the slot: the head, where the data is in lent memory.
    pub here: usize,
}

/// A virtio-9p device.
pub struct Device {
    queue: Queue,
    transport: PciTransport,
    pool: &'static Pool,
    /// The requests in flight, by the number of their slot.
    flying: [Option<Flight>; SLOTS],
}

impl Device {
    /// Starts the device with that mount tag. Its interrupts arrive at `port`
    /// under `key`.
    ///
    /// # Errors
    /// No such device, a missing feature, or out of memory.
    pub fn open(tag: &str, port: &Port, key: u64) -> Result<Device, Failure> {
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
        let memory = found.attach_memory(Queue::LEN + POOL_LEN);
        memory.about("dma memory")?;
        let wanted = Feature::VERSION_1 | Feature::RING_INDIRECT_DESC;
        let features = found.transport.begin_init(wanted | Feature::RING_EVENT_IDX);
        if !features.contains(wanted) {
            return Err(Failure::new("virtio-9p device: not a modern one"));
        }
        found.route(REQUESTS).about("virtio-9p device: interrupt")?;
        let event_idx = features.contains(Feature::RING_EVENT_IDX);
        let queue = Queue::new(&mut found.transport, REQUESTS, event_idx)
            .about("virtio-9p device: queue")?;
        found.transport.finish_init();
        let pool = Box::leak(Box::new(Pool::new().about("dma memory")?));
        let flying = [const { None }; SLOTS];
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

    /// Hands the first `len` bytes of the slot's request, which has that tag, to the
    /// device, which may wait for [`Device::kick`] before it looks at them.
    ///
    /// # Errors
    /// `EIO` if the queue refuses the request. That cannot happen, because
    /// there is room for all slots.
    #[inline]
    pub fn submit(&mut self, slot: Slot, tag: u16, len: usize) -> Result<(), Errno> {
        let reply = slot.reply_part();
        let room = reply.len as usize;
        let request = slot.request_part(len);
        self.hand_over((slot, tag), once(request), (room, room), once(reply))
    }

    /// As [`Device::submit`], of a request of which `len` bytes are in the slot and the
    /// others in memory that the kernel has lent: physical addresses and lengths, of
    /// [`LOAN_MAX`] parts at most. The kernel keeps them until the write is over that they
    /// belong to.
    ///
    /// # Errors
    /// `EINVAL`: too many parts; `EIO` as for [`Device::submit`].
    #[inline]
    pub fn submit_from(
        &mut self,
        (slot, tag, len): (Slot, u16, usize),
        lent: impl Iterator<Item = (u64, usize)>,
    ) -> Result<(), Errno> {
        let reply = slot.reply_part();
        let room = reply.len as usize;
        let data = lent.map(|(at, len)| Part {
            at,
            len: len as u32,
        });
        let request = once(slot.request_part(len)).chain(data);
        self.hand_over((slot, tag), request, (room, room), once(reply))
    }

    /// As [`Device::submit`], of a `Tread` of `count` bytes whose data the
    /// device writes to memory that the kernel has lent (`Call::Recv`): physical
    /// addresses of pages, of which the first may be within one. The kernel keeps them
    /// until the request that they came with is answered.
    ///
    /// # Errors
    /// `EINVAL`: they have no room for so many bytes; `EIO` as for
    /// [`Device::submit`].
    #[inline]
    pub fn submit_lent(
        &mut self,
        (slot, tag, len): (Slot, u16, usize),
        lent: &[u64],
        count: usize,
    ) -> Result<(), Errno> {
        let mut left = count;
        let data = lent.iter().map_while(|&at| {
            let len = left.min((PAGE - at % PAGE) as usize);
            left -= len;
            let part = Part {
                at,
                len: len as u32,
            };
            (len > 0).then_some(part)
        });
        let head = once(slot.head_part());
        let room = lent.first().map_or(0, |first| {
            lent.len() * PAGE as usize - (first % PAGE) as usize
        });
        if count > room {
            return Err(Errno::EINVAL);
        }
        let room = (READ_HEAD + count, READ_HEAD);
        let request = once(slot.request_part(len));
        self.hand_over((slot, tag), request, room, head.chain(data))
    }

    fn hand_over(
        &mut self,
        (slot, tag): (Slot, u16),
        request: impl Iterator<Item = Part>,
        (room, here): (usize, usize),
        reply: impl Iterator<Item = Part>,
    ) -> Result<(), Errno> {
        let index = slot.index();
        let flight = self.flying.get_mut(usize::from(index));
        let flight = flight.filter(|f| f.is_none()).ok_or(Errno::EIO)?;
        // SAFETY: (1) the parts in the slot are its own, whose memory is never
        // unmapped, and the slot stays in `flying`, inaccessible, until `completed` has
        // got its number from the queue; (2) the parts elsewhere are lent by the
        // kernel, which nothing here refers to, and whose loan ends when the request, or
        // the write that it is part of, is answered, which is after that.
        let submitted = unsafe { self.queue.submit(index, request, reply) };
        submitted.map_err(|_| Errno::EIO)?;
        *flight = Some(Flight {
            slot,
            tag,
            room,
            here,
        });
        Ok(())
    }

    /// Notifies the device of submitted requests, unless it has disabled
    /// notifications.
    #[inline]
    pub fn kick(&mut self) {
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
        let Some(Used { request, len }) = self.queue.completed() else {
            return Ok(None);
        };
        let flying = self.flying.get_mut(usize::from(request));
        let flight = flying.and_then(Option::take).ok_or(Errno::EIO)?;
        let Flight {
            slot,
            tag,
            room,
            here,
        } = flight;
        let len = len as usize;
        let here = here.min(len);
        let whole = len <= room && is_reply(slot.reply(here), len, tag);
        let len = if whole { Ok(len) } else { Err(Errno::EPROTO) };
        Ok(Some(Completion {
            slot,
            tag,
            len,
            here,
        }))
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

/// Returns true if `msg` is the beginning of a message of `len` bytes by its header,
/// with that tag.
#[inline]
fn is_reply(msg: &[u8], len: usize, tag: u16) -> bool {
    ninep::peek(msg).is_some_and(|(size, _, of)| size as usize == len && of == tag)
}
