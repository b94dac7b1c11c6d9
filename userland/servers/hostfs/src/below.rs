//! The device as the link to the server behind it.
use core::cell::{Cell, RefCell};
use ninep::consts::WRITE_HEAD;
use ninep::{Request, Shape};
use rt::{Errno, Failure, Named, Port, stats};
use serving::{Buffers, Came, Event, Link};
use snapfs::LentBytes;
use virtio9p::{Completion, Device, MSIZE, SLOTS, Slot};

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
        let (tag, len) = encode(&mut slot, request, len, tag)?;
        self.device.borrow_mut().submit(slot, tag, len)?;
        self.unkicked.set(true);
        Ok(())
    }
}

/// Puts a request into the slot, of which the last `payload` bytes are there; its tag
/// and length.
#[inline]
fn encode(
    slot: &mut Slot,
    request: &Request<'_>,
    payload: usize,
    tag: impl FnOnce(usize) -> Result<u16, Errno>,
) -> Result<(u16, usize), Errno> {
    let out = slot.request_mut();
    let head = ninep::encode_request_head(0, request, payload, out);
    let len = head.map_err(|_| Errno::ENAMETOOLONG)? + payload;
    let tag = tag(len)?;
    ninep::set_tag(out, tag);
    Ok((tag, len))
}

/// A message in the device's memory; dropping it frees the slot.
pub struct Reply {
    slot: Slot,
    /// Bytes of it, and how many of them are in the slot.
    len: usize,
    here: usize,
}

impl AsRef<[u8]> for Reply {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.slot.reply(self.here)
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
    const LENT: bool = true;

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
    fn send_lent(
        &self,
        mut slot: Slot,
        request: &Request<'_>,
        lent: &[u64],
        tag: impl FnOnce(usize) -> Result<u16, Errno>,
    ) -> Result<(), Errno> {
        let Request::Read { count, .. } = *request else {
            return Err(Errno::EINVAL);
        };
        let (tag, len) = encode(&mut slot, request, 0, tag)?;
        let mut device = self.device.borrow_mut();
        device.submit_lent((slot, tag, len), lent, count as usize)?;
        self.unkicked.set(true);
        Ok(())
    }

    #[inline]
    fn send_from(
        &self,
        mut slot: Slot,
        request: &Request<'_>,
        data: LentBytes<'_>,
        tag: impl FnOnce(usize) -> Result<u16, Errno>,
    ) -> Result<(), Errno> {
        let (tag, len) = encode(&mut slot, request, data.len(), tag)?;
        let head = len - data.len();
        let mut device = self.device.borrow_mut();
        device.submit_from((slot, tag, head), data.parts())?;
        self.unkicked.set(true);
        Ok(())
    }

    #[inline]
    fn len(reply: &Reply) -> usize {
        reply.len
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
            let Completion {
                slot,
                tag,
                len,
                here,
            } = completion;
            each(match len {
                Ok(len) => Event::Reply(Reply { slot, len, here }),
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
