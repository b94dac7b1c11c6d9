//! The server behind the device, as snapfs wants it: calls that wait.
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use ninep::consts::{NOTAG, READ_HEAD, VERSION_L};
use ninep::{Request, TooSmall};
use rt::{Errno, Failure, Named, Port, stats};
use serving::{Buffers, Came, TOGETHER, Transport, reply};
use snapfs::Backing;
use snapfs::sync::Bell;
use virtio9p::{Completion, Device, IOUNIT, MSIZE, SLOTS, Shape, Slot};

/// What messages call it.
const NAME: &str = "virtio-9p";
const PAGE: usize = rt::abi::PAGE as usize;
/// Most bytes of a reply that is not data, rounded up to what a slot has.
const REPLY: usize = PAGE;

const _: () = assert!(TOGETHER < SLOTS, "one slot held, another waited for");

/// How far a slot's request is.
enum Call {
    /// Nobody waits, or nobody has looked yet.
    Idle,
    Waiting(Waker),
    Done(Completion),
}

/// The device and those who wait for it.
pub struct Below {
    device: RefCell<Device>,
    /// By slot.
    calls: RefCell<[Call; SLOTS]>,
    /// Rings when slots may have become free, if somebody waits for one.
    freed: Bell,
    starved: Cell<bool>,
    /// Requests were submitted that the device was not told about.
    unkicked: Cell<bool>,
    iounit: Cell<u32>,
}

impl Below {
    /// The device with that mount tag; see [`Device::open`].
    pub fn open(tag: &str, port: &Port, key: u64) -> Result<Below, Failure> {
        Ok(Below {
            device: RefCell::new(Device::open(tag, port, key)?),
            calls: RefCell::new([const { Call::Idle }; SLOTS]),
            freed: Bell::default(),
            starved: Cell::new(false),
            unkicked: Cell::new(false),
            iounit: Cell::new(0),
        })
    }

    /// A request that `encode` writes into `slot`, and its reply.
    async fn exchange(
        &self,
        mut slot: Slot,
        encode: impl FnOnce(u16, &mut [u8]) -> Result<usize, TooSmall>,
    ) -> Result<Data, Errno> {
        let index = slot.index();
        let len = encode(index, slot.request_mut()).map_err(|_| Errno::ENAMETOOLONG)?;
        self.device.borrow_mut().submit(slot, len)?;
        self.unkicked.set(true);
        let Completion { slot, len } = Wait { below: self, index }.await;
        Ok(Data {
            start: 0,
            end: len?,
            slot,
        })
    }

    /// A slot for a request of that shape, as soon as there is one.
    async fn slot(&self, shape: Shape) -> Slot {
        loop {
            match self.slot_now(shape) {
                Some(slot) => return slot,
                None => {
                    self.starved.set(true);
                    self.freed.wait().await;
                }
            }
        }
    }

    fn slot_now(&self, shape: Shape) -> Option<Slot> {
        self.device.borrow().pool().take(shape)
    }
}

/// The wait for one slot's reply.
struct Wait<'a> {
    below: &'a Below,
    index: u16,
}

impl Future for Wait<'_> {
    type Output = Completion;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Completion> {
        let mut calls = self.below.calls.borrow_mut();
        let Some(call) = calls.get_mut(usize::from(self.index)) else {
            return Poll::Pending;
        };
        match core::mem::replace(call, Call::Idle) {
            Call::Done(completion) => Poll::Ready(completion),
            Call::Waiting(waker) if waker.will_wake(cx.waker()) => {
                *call = Call::Waiting(waker);
                Poll::Pending
            }
            _ => {
                *call = Call::Waiting(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Bytes in the device's memory; dropping it frees the slot.
pub struct Data {
    slot: Slot,
    start: usize,
    end: usize,
}

impl Data {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.slot.reply(self.end).get(self.start..).unwrap_or(&[])
    }
}

impl AsRef<[u8]> for Data {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl Backing for Below {
    type Buf = Data;

    async fn rpc(&self, request: &Request<'_>) -> Result<Data, Errno> {
        let room = match request {
            Request::Readdir { count, .. } => *count as usize,
            _ => REPLY,
        };
        let encode = |tag, out: &mut [u8]| ninep::encode_request(tag, request, out);
        let reply = self
            .exchange(self.slot(Shape::Reply(room)).await, encode)
            .await?;
        stats::count_request(0, 0);
        Ok(reply)
    }

    async fn read(&self, fid: u32, off: u64, count: u32) -> Result<Data, Errno> {
        let count = count.min(self.iounit());
        let request = Request::Read {
            fid,
            offset: off,
            count,
        };
        let encode = |tag, out: &mut [u8]| ninep::encode_request(tag, &request, out);
        let slot = self.slot(Shape::Reply(count as usize)).await;
        let mut reply = self.exchange(slot, encode).await?;
        let got = reply::read(reply.bytes(), count as usize);
        stats::count_request(got.unwrap_or(0) as u64, 0);
        got?;
        reply.start = READ_HEAD;
        Ok(reply)
    }

    async fn write(&self, fid: u32, off: u64, data: &[u8]) -> Result<u32, Errno> {
        let data = data.get(..self.iounit() as usize).unwrap_or(data);
        let (slot, data) = match self.slot_now(Shape::Data(data.len())) {
            Some(slot) => (slot, data),
            // Large slots may all be with tasks that are about to write. A
            // short write is slower and never waits for one of those.
            None => {
                let data = data.get(..PAGE).unwrap_or(data);
                (self.slot(Shape::Data(data.len())).await, data)
            }
        };
        let request = Request::Write {
            fid,
            offset: off,
            data,
        };
        let encode = |tag, out: &mut [u8]| ninep::encode_request(tag, &request, out);
        let reply = self.exchange(slot, encode).await?;
        let done = reply::written(reply.bytes(), data.len());
        stats::count_request(0, u64::from(done.unwrap_or(0)));
        done
    }

    fn iounit(&self) -> u32 {
        self.iounit.get().min(IOUNIT as u32)
    }
}

impl Transport for Below {
    const TREE: &'static str = "the host's directory";

    async fn negotiate(&self) -> Result<(), Failure> {
        let request = Request::Version {
            msize: MSIZE,
            version: VERSION_L,
        };
        let encode = |_, out: &mut [u8]| ninep::encode_request(NOTAG, &request, out);
        let slot = self.slot(Shape::Reply(REPLY)).await;
        let reply = self.exchange(slot, encode).await.about(NAME)?;
        let (_, room) = reply::version(reply.bytes(), MSIZE, NAME)?;
        self.iounit.set(room);
        Ok(())
    }

    fn deliver(&self, _: Came, _: &mut Buffers) -> Result<(), Failure> {
        self.freed();
        let mut device = self.device.borrow_mut();
        let mut calls = self.calls.borrow_mut();
        while let Some(completion) = device.completed().about(NAME)? {
            let index = usize::from(completion.slot.index());
            let call = calls.get_mut(index).ok_or(Errno::EIO).about(NAME)?;
            if let Call::Waiting(waker) = core::mem::replace(call, Call::Done(completion)) {
                waker.wake();
            }
        }
        Ok(())
    }

    fn flush(&self) {
        if self.unkicked.take() {
            self.device.borrow_mut().kick();
        }
    }

    #[inline]
    fn freed(&self) {
        if self.starved.take() {
            self.freed.ring();
        }
    }
}
