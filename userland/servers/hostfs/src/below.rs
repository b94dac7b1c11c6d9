//! The device as the link to the server behind it.
use core::cell::{Cell, RefCell};
use ninep::consts::WRITE_HEAD;
use ninep::{Request, Shape};
use rt::{Errno, Failure, Named, Port, stats};
use serving::{Buffers, Came, Event, Link, TOGETHER};
use virtio9p::{Completion, Device, MSIZE, SLOTS, Slot};

const _: () = assert!(TOGETHER < SLOTS, "one slot held, another waited for");

/// The device.
pub struct Virtio {
    device: RefCell<Device>,
    /// Requests were submitted without a notification of the device.
    unkicked: Cell<bool>,
}

impl Virtio {
    /// The device with that mount tag; see [`Device::open`].
    pub fn open(tag: &str, port: &Port, key: u64) -> Result<Virtio, Failure> {
        Ok(Virtio {
            device: RefCell::new(Device::open(tag, port, key)?),
            unkicked: Cell::new(false),
        })
    }
}

impl Virtio {
    /// Submits a request, of which the last `len` bytes are in the slot.
    #[inline]
    fn submit(
        &self,
        mut slot: Slot,
        request: &Request<'_>,
        len: usize,
        tag: impl FnOnce(usize) -> Result<u16, Errno>,
    ) -> Result<(), Errno> {
        let out = slot.request_mut();
        let head = ninep::encode_request_head(0, request, len, out);
        let len = head.map_err(|_| Errno::ENAMETOOLONG)? + len;
        let tag = tag(len)?;
        ninep::set_tag(out, tag);
        self.device.borrow_mut().submit(slot, tag, len)?;
        self.unkicked.set(true);
        Ok(())
    }
}

/// A message in the device's memory; dropping it frees the slot.
pub struct Reply {
    slot: Slot,
    len: usize,
}

impl AsRef<[u8]> for Reply {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.slot.reply(self.len)
    }
}

impl Link for Virtio {
    type Room = Slot;
    type Reply = Reply;
    const NAME: &'static str = "virtio-9p";
    const TREE: &'static str = "the host's directory";
    /// One for each slot, so that a slot implies a tag.
    const TAGS: u16 = SLOTS as u16;
    const MSIZE: u32 = MSIZE;

    #[inline]
    fn room(&self, shape: Shape) -> Option<Slot> {
        self.device.borrow().pool().take(shape)
    }

    #[inline]
    fn send(
        &self,
        mut slot: Slot,
        request: &Request<'_>,
        data: &[u8],
        tag: impl FnOnce(usize) -> Result<u16, Errno>,
    ) -> Result<(), Errno> {
        let out = slot.request_mut();
        let payload = out
            .get_mut(WRITE_HEAD..)
            .and_then(|rest| rest.get_mut(..data.len()));
        if !data.is_empty() {
            payload.ok_or(Errno::ENAMETOOLONG)?.copy_from_slice(data);
        }
        self.submit(slot, request, data.len(), tag)
    }

    #[inline]
    fn send_back(
        &self,
        reply: Reply,
        request: &Request<'_>,
        len: usize,
        tag: impl FnOnce(usize) -> Result<u16, Errno>,
    ) -> Result<(), Errno> {
        let mut slot = reply.slot;
        slot.turn_round();
        self.submit(slot, request, len, tag)
    }

    #[inline]
    fn receive(
        &self,
        _: Came,
        _: &mut Buffers,
        mut each: impl FnMut(Event<Reply>),
    ) -> Result<(), Failure> {
        let mut device = self.device.borrow_mut();
        while let Some(completion) = device.completed().about(Self::NAME)? {
            let Completion { slot, tag, len } = completion;
            each(match len {
                Ok(len) => Event::Reply(Reply { slot, len }),
                Err(_) => Event::Failed(tag),
            });
        }
        Ok(())
    }

    #[inline]
    fn flush(&self) {
        if self.unkicked.take() {
            self.device.borrow_mut().kick();
        }
    }

    #[inline]
    fn count(&self, came: usize, went: usize) {
        stats::count_request(came as u64, went as u64);
    }
}
