//! The server at the other end of a channel, as snapfs wants it: calls that wait.
//!
//! Each request is one message with a tag of its own; its reply is found by that
//! tag. A reply that makes no sense is `EPROTO` for the one who asked. If nobody
//! can tell who asked, everybody gets it, and there is no server any more.
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use ninep::Request;
use ninep::consts::{NOTAG, READ_HEAD, VERSION_L};
use rt::{Errno, Failure, File, Named, Port, send};
use serving::{BELOW, Buffers, Came, MSIZE, Message, Transport, reply};
use snapfs::Backing;
use snapfs::sync::Bell;

/// Requests in flight: fewer than messages may wait at an end of a channel, so
/// that neither side ever waits until it can send.
const TAGS: usize = 32;
/// The place of `Tversion`, which has no tag.
const VERSION: usize = TAGS;
/// Room for the longest request but for its data.
const HEAD: usize = 4096;
/// What messages call it.
const NAME: &str = "the server beneath";

/// How far a request is.
enum Call {
    /// There is none.
    Free,
    /// It is on its way; nobody has looked yet, or this one waits.
    Sent(Option<Waker>),
    /// What came.
    Done(Result<Message, Errno>),
}

/// The channel and those who wait.
pub struct Below {
    /// `None` when nobody is there any more.
    channel: RefCell<Option<File>>,
    /// By tag, and that without one.
    calls: RefCell<[Call; TAGS + 1]>,
    /// A bit for each tag in use.
    used: Cell<u32>,
    /// Rings when a tag becomes free.
    freed: Bell,
    /// Replies that are not needed any more.
    spent: Rc<RefCell<Vec<Message>>>,
    msize: Cell<u32>,
    iounit: Cell<u32>,
}

impl Below {
    /// The server at the other end of `channel`; what it sends comes to `port`.
    pub fn new(channel: File, port: &Port) -> Result<Below, Failure> {
        port.add(&channel, BELOW).about(NAME)?;
        Ok(Below {
            channel: RefCell::new(Some(channel)),
            calls: RefCell::new([const { Call::Free }; TAGS + 1]),
            used: Cell::new(0),
            freed: Bell::default(),
            spent: Rc::default(),
            msize: Cell::new(MSIZE as u32),
            iounit: Cell::new(0),
        })
    }

    /// A free tag, as soon as there is one.
    async fn tag(&self) -> usize {
        loop {
            let tag = self.used.get().trailing_ones() as usize;
            if tag < TAGS {
                self.used.set(self.used.get() | 1 << tag);
                return tag;
            }
            self.freed.wait().await;
        }
    }

    /// One request, with `data` after it, and its reply.
    async fn call(&self, request: &Request<'_>, data: &[u8]) -> Result<Data, Errno> {
        let tag = self.tag().await;
        let came = self.exchange(tag, request, data).await;
        self.used.set(self.used.get() & !(1 << tag));
        self.freed.ring();
        came
    }

    /// The same at a place that is free.
    async fn exchange(
        &self,
        place: usize,
        request: &Request<'_>,
        data: &[u8],
    ) -> Result<Data, Errno> {
        self.submit(place, request, data)?;
        let message = Wait { below: self, place }.await?;
        Ok(Data {
            message: Some(message),
            start: 0,
            spent: self.spent.clone(),
        })
    }

    /// Sends a request. Not a part of the future, which would keep the buffer.
    fn submit(&self, place: usize, request: &Request<'_>, data: &[u8]) -> Result<(), Errno> {
        let tag = match place {
            VERSION => NOTAG,
            tag => tag as u16,
        };
        let mut head = [0; HEAD];
        let encoded = ninep::encode_request_head(tag, request, data.len(), &mut head);
        let head = encoded.ok().and_then(|len| head.get(..len));
        let head = head.ok_or(Errno::ENAMETOOLONG)?;
        if head.len() + data.len() > self.msize.get() as usize {
            return Err(Errno::ENAMETOOLONG);
        }
        let channel = self.channel.borrow();
        let channel = channel.as_ref().ok_or(Errno::EIO)?;
        send(channel, [head, data]).map_err(|_| Errno::EIO)?;
        if let Some(call) = self.calls.borrow_mut().get_mut(place) {
            *call = Call::Sent(None);
        }
        Ok(())
    }

    /// A message came from below.
    fn answered(&self, message: Message) {
        let Some((size, _, tag)) = ninep::peek(&message) else {
            return self.give_up(Errno::EPROTO);
        };
        let place = match tag {
            NOTAG => VERSION,
            tag if usize::from(tag) < TAGS => usize::from(tag),
            _ => return self.give_up(Errno::EPROTO),
        };
        let sound = size as usize == message.len() && size <= self.msize.get();
        let came = sound.then_some(message).ok_or(Errno::EPROTO);
        if !self.finish(place, came) {
            self.give_up(Errno::EPROTO);
        }
    }

    /// Hands what came to the one who waits for it; `false` if nobody does.
    fn finish(&self, place: usize, came: Result<Message, Errno>) -> bool {
        let mut calls = self.calls.borrow_mut();
        match calls.get_mut(place) {
            Some(call @ Call::Sent(_)) => {
                if let Call::Sent(Some(waker)) = core::mem::replace(call, Call::Done(came)) {
                    waker.wake();
                }
                true
            }
            _ => false,
        }
    }

    /// Nobody is there any more: who waits gets `errno`, who comes later `EIO`.
    fn give_up(&self, errno: Errno) {
        self.channel.take();
        for place in 0..=TAGS {
            self.finish(place, Err(errno));
        }
    }
}

/// The wait for a reply.
struct Wait<'a> {
    below: &'a Below,
    place: usize,
}

impl Future for Wait<'_> {
    type Output = Result<Message, Errno>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut calls = self.below.calls.borrow_mut();
        let Some(call) = calls.get_mut(self.place) else {
            return Poll::Ready(Err(Errno::EIO));
        };
        match core::mem::replace(call, Call::Free) {
            Call::Done(came) => Poll::Ready(came),
            Call::Sent(_) => {
                *call = Call::Sent(Some(cx.waker().clone()));
                Poll::Pending
            }
            Call::Free => Poll::Ready(Err(Errno::EIO)),
        }
    }
}

/// Bytes of a reply, in the buffer that it came in.
pub struct Data {
    /// `None` only while it is dropped.
    message: Option<Message>,
    start: usize,
    spent: Rc<RefCell<Vec<Message>>>,
}

impl AsRef<[u8]> for Data {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        let message = self.message.as_deref().unwrap_or(&[]);
        message.get(self.start..).unwrap_or(&[])
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        self.spent.borrow_mut().extend(self.message.take());
    }
}

impl Backing for Below {
    type Buf = Data;

    async fn rpc(&self, request: &Request<'_>) -> Result<Data, Errno> {
        let reply = self.call(request, &[]).await?;
        match request {
            // The list is handed on to a client who has no more room.
            Request::Readdir { count, .. } => {
                let most = READ_HEAD + *count as usize;
                (reply.as_ref().len() <= most)
                    .then_some(reply)
                    .ok_or(Errno::EPROTO)
            }
            _ => Ok(reply),
        }
    }

    async fn read(&self, fid: u32, off: u64, count: u32) -> Result<Data, Errno> {
        let count = count.min(self.iounit());
        let request = Request::Read {
            fid,
            offset: off,
            count,
        };
        let mut reply = self.call(&request, &[]).await?;
        reply::read(reply.as_ref(), count as usize)?;
        reply.start = READ_HEAD;
        Ok(reply)
    }

    async fn write(&self, fid: u32, off: u64, data: &[u8]) -> Result<u32, Errno> {
        let data = data.get(..self.iounit() as usize).unwrap_or(data);
        let request = Request::Write {
            fid,
            offset: off,
            data: &[],
        };
        let reply = self.call(&request, data).await?;
        reply::written(reply.as_ref(), data.len())
    }

    fn iounit(&self) -> u32 {
        self.iounit.get()
    }
}

impl Transport for Below {
    const TREE: &'static str = NAME;

    async fn negotiate(&self) -> Result<(), Failure> {
        let request = Request::Version {
            msize: MSIZE as u32,
            version: VERSION_L,
        };
        let reply = self.exchange(VERSION, &request, &[]).await.about(NAME)?;
        let (msize, data) = reply::version(reply.as_ref(), MSIZE as u32, NAME)?;
        self.msize.set(msize);
        self.iounit.set(data);
        Ok(())
    }

    /// Nothing to do: a request is sent at once.
    fn flush(&self) {}

    fn deliver(&self, came: Came, buffers: &mut Buffers) -> Result<(), Failure> {
        for message in self.spent.borrow_mut().drain(..) {
            buffers.give_back(message);
        }
        match came {
            Came::Message(len) => self.answered(buffers.message(len)),
            Came::TooLong => self.give_up(Errno::EPROTO),
            Came::HangUp => self.give_up(Errno::EIO),
            // None were asked for.
            Came::Interrupts => {}
        }
        Ok(())
    }

    /// Nothing to do: tags become free when replies come.
    fn freed(&self) {}
}
