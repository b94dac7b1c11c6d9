//! The lower file server for snapfs: calls that wait.
//!
//! [`ninep::client`] manages tags and matches replies; a [`Link`] carries the
//! messages. A task waits by its waker. A malformed reply is `EPROTO` for its
//! request. If it belongs to no request, the server's messages cannot be
//! trusted any more, and the link is closed.
use crate::message::Buffers;
use crate::reply;
use crate::serve::{Came, Transport};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use ninep::client::{Client, Effects, Failed, Matched, Receipt, Tag, Then};
use ninep::consts::{READ_HEAD, VERSION_L};
use ninep::{Request, Shape};
use rt::abi::{PAGE, SERVICE_FD};
use rt::time::Clock;
use rt::{Errno, Failure, Named};
use snapfs::sync::{Condition, Lock};
use snapfs::{Backing, Filled, LentBytes, LowerRead};

/// Bytes that are enough for a reply that is not data.
const SHORT: usize = PAGE as usize;

/// What waits for a reply.
enum Waiter {
    /// A task that has not been polled.
    New,
    /// A task.
    Task(Waker),
    /// The owner of the transport: a read of `count` bytes, to lent memory or not.
    Fill {
        tag: Tag,
        key: u16,
        count: u32,
        lent: bool,
    },
}

/// An event on a link.
pub enum Event<R> {
    /// A message.
    Reply(R),
    /// The message in place of the reply to the request with this tag is
    /// malformed.
    Failed(u16),
    /// There is no server any more, or none that makes sense.
    HungUp(Errno),
}

/// The way of messages to the lower server.
pub trait Link {
    /// Memory for one request.
    type Room;
    /// A message from the server, in the memory that it came in. Of one whose data
    /// went to lent memory the head is there.
    type Reply: AsRef<[u8]>;
    /// Name of the server, for messages.
    const NAME: &'static str;
    /// Name of the served tree, for messages.
    const TREE: &'static str;
    /// Requests in flight at most.
    const TAGS: u16;
    /// Longest message to agree on.
    const MSIZE: u32;
    /// The server's device can write to memory that is lent.
    const LENT: bool = false;

    /// Memory for a request of that shape, if there is some now.
    fn room(&self, shape: Shape) -> Option<Self::Room>;

    /// Sends a request with `data` as its payload. `tag` returns the tag for a
    /// message of the given length.
    ///
    /// # Errors
    /// Those of `tag`; `ENAMETOOLONG`: the request does not fit; `EIO`: it
    /// cannot be sent.
    fn send(
        &self,
        room: Self::Room,
        request: &Request<'_>,
        data: &[u8],
        tag: impl FnOnce(usize) -> Result<u16, Errno>,
    ) -> Result<(), Errno>;

    /// Sends a `Tread` whose data the device writes to lent memory: physical addresses,
    /// see [`rt::Port::receive_with_loan`].
    ///
    /// # Errors
    /// As for [`Link::send`]; `EINVAL`: there is less memory than data is asked for, or
    /// the link cannot ([`Link::LENT`]).
    fn send_lent(
        &self,
        _room: Self::Room,
        _request: &Request<'_>,
        _lent: &[u64],
        _tag: impl FnOnce(usize) -> Result<u16, Errno>,
    ) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// Sends a `Twrite` whose data the device reads from lent memory.
    ///
    /// # Errors
    /// As for [`Link::send`]; `EINVAL`: the link cannot ([`Link::LENT`]).
    fn send_from(
        &self,
        _room: Self::Room,
        _request: &Request<'_>,
        _data: LentBytes<'_>,
        _tag: impl FnOnce(usize) -> Result<u16, Errno>,
    ) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// Bytes of a message from the server, with data that went to lent memory.
    #[inline]
    fn len(reply: &Self::Reply) -> usize {
        reply.as_ref().len()
    }

    /// Sends a request whose payload is the first `len` bytes of data in a reply.
    ///
    /// # Errors
    /// As for [`Link::send`].
    fn send_back(
        &self,
        reply: Self::Reply,
        request: &Request<'_>,
        len: usize,
        tag: impl FnOnce(usize) -> Result<u16, Errno>,
    ) -> Result<(), Errno>;

    /// Calls `each` for every event.
    ///
    /// # Errors
    /// The link is unusable.
    fn receive(
        &self,
        came: Came,
        buffers: &mut Buffers,
        each: impl FnMut(Event<Self::Reply>),
    ) -> Result<(), Failure>;

    /// Makes sure that the server knows of all sent requests.
    fn flush(&self) {}

    /// The server is of no use any more.
    fn hang_up(&self) {}

    /// Counts an answered request, with its bytes of data in and out.
    fn count(&self, _came: usize, _went: usize) {}
}

/// A lower server, and the tasks that wait for it.
pub struct Lower<L: Link> {
    link: L,
    client: RefCell<Client<Waiter, L::Reply, ()>>,
    /// Tasks wait for memory or a tag.
    starved: Cell<bool>,
    freed: Condition,
    /// They stand in line for short and for long messages. One that has just freed its
    /// memory and wants more goes to the end, or a few long jobs would pass it on among
    /// themselves for ever.
    lines: [Lock; 2],
    iounit: Cell<u32>,
    clock: Option<Clock>,
}

impl<L: Link> Lower<L> {
    /// The server at the other end of `link`.
    ///
    /// # Errors
    /// Memory is out.
    pub fn new(link: L) -> Result<Lower<L>, Failure> {
        Ok(Lower {
            link,
            client: RefCell::new(Client::new(L::TAGS, L::MSIZE).about(L::NAME)?),
            starved: Cell::new(false),
            freed: Condition::default(),
            lines: [Lock::default(), Lock::default()],
            iounit: Cell::new(0),
            clock: Clock::open().ok(),
        })
    }

    /// Waits in line until `try_it` returns something, which needs a tag and memory for
    /// `len` bytes of data; the first tries again when some have become free.
    async fn wait<R>(&self, len: usize, try_it: impl Fn() -> Option<R>) -> R {
        let [short, long] = &self.lines;
        let line = if len > SHORT { long } else { short };
        if line.is_free()
            && let Some(result) = try_it()
        {
            return result;
        }
        let _first = line.exclusive().await;
        loop {
            match try_it() {
                Some(result) => return result,
                None => {
                    self.starved.set(true);
                    self.freed.wait().await;
                }
            }
        }
    }

    /// One request in memory of that shape, and its reply.
    async fn call(&self, request: &Request<'_>, shape: Shape) -> Result<Data<L::Reply>, Errno> {
        let (Shape::Reply(len) | Shape::Data(len)) = shape;
        let has_tag = || self.client.borrow().has_tag();
        let room = || has_tag().then(|| self.link.room(shape)).flatten();
        let room = self.wait(len, room).await;
        let tag = self.begin(request, |begin| self.link.send(room, request, &[], begin))?;
        let reply = Wait { lower: self, tag }.await?;
        Ok(Data { reply, start: 0 })
    }

    /// Sends a request, for which a tag is free, with `send`, which is told how to
    /// begin a message of a length.
    fn begin(
        &self,
        request: &Request<'_>,
        send: impl FnOnce(&mut dyn FnMut(usize) -> Result<u16, Errno>) -> Result<(), Errno>,
    ) -> Result<Tag, Errno> {
        let client = &mut *self.client.borrow_mut();
        let mut begun = None;
        let sent = send(&mut |len| {
            let tag = client.begin(request, len, Then::Wake(Waiter::New))?;
            begun = tag;
            tag.map(Tag::number).ok_or(Errno::EAGAIN)
        });
        match begun {
            Some(tag) => sent.map(|()| tag).inspect_err(|_| client.unsent(tag)),
            None => Err(sent.err().unwrap_or(Errno::EIO)),
        }
    }

    fn came(&self, event: Event<L::Reply>, filled: &mut Fills<'_, L>) {
        match event {
            Event::Reply(reply) => self.replied(reply, filled),
            Event::Failed(number) => self.fail(number, filled),
            Event::HungUp(errno) => self.hang_up(errno, filled),
        }
    }

    fn replied(&self, reply: L::Reply, filled: &mut Fills<'_, L>) {
        let message = reply.as_ref();
        let head = message.get(..READ_HEAD).unwrap_or(message);
        let mut client = self.client.borrow_mut();
        let len = L::len(&reply) as u64;
        let effects = match client.expect(head, len, Receipt::Whole) {
            Ok(Matched::Wanted(tag)) => client.answer(tag, Ok(reply)),
            Ok(Matched::Done(effects) | Matched::TooLong(effects)) => effects,
            Err(errno) => {
                let number = ninep::peek(head).map(|(_, _, number)| number);
                drop(client);
                return match number {
                    Some(number) => self.fail(number, filled),
                    None => self.hang_up(errno, filled),
                };
            }
        };
        drop(client);
        self.wake(effects, filled);
    }

    /// Nonsense came for the request with that tag, if there is one.
    fn fail(&self, number: u16, filled: &mut Fills<'_, L>) {
        let nonsense = Failed::Lost(Errno::EPROTO);
        let effects = {
            let mut client = self.client.borrow_mut();
            let tag = client.find(number);
            tag.map(|tag| client.answer(tag, Err(nonsense)))
        };
        match effects {
            Some(effects) => self.wake(effects, filled),
            None => self.hang_up(nonsense.errno(), filled),
        }
    }

    /// Every request in flight ends with `errno`, and every later one with `EIO`.
    fn hang_up(&self, errno: Errno, filled: &mut Fills<'_, L>) {
        self.link.hang_up();
        self.client.borrow_mut().hang_up(errno);
        while let Some(effects) = {
            let mut client = self.client.borrow_mut();
            client.next_hung_up()
        } {
            self.wake(effects, filled);
        }
    }

    #[inline]
    fn wake(&self, effects: Effects<Waiter, ()>, filled: &mut Fills<'_, L>) {
        match effects.wake {
            Some(Waiter::Task(waker)) => waker.wake(),
            Some(Waiter::Fill {
                tag,
                key,
                count,
                lent,
            }) => {
                let answer = self.client.borrow_mut().take(tag);
                let reply = answer.unwrap_or(Err(Failed::Lost(Errno::EIO)));
                let data = self.data(reply.map_err(Failed::errno), count);
                let data = data.map(|(data, got)| match lent {
                    true => Filled::There(got),
                    false => Filled::Here(data),
                });
                filled(key, data);
            }
            Some(Waiter::New) | None => {}
        }
    }

    /// The data in the reply to a `Tread` of `count` bytes, and how many there are.
    #[inline]
    fn data(
        &self,
        reply: Result<L::Reply, Errno>,
        count: u32,
    ) -> Result<(Data<L::Reply>, usize), Errno> {
        let checked = reply.and_then(|reply| {
            let got = reply::read(reply.as_ref(), count as usize)?;
            let start = READ_HEAD;
            Ok((Data { reply, start }, got))
        });
        let got = checked.as_ref().map_or(0, |(_, got)| *got);
        self.link.count(got, 0);
        checked
    }
}

/// Takes the results of reads that were begun for the owner of the transport.
type Fills<'a, L> = dyn FnMut(u16, Result<Filled<Data<<L as Link>::Reply>>, Errno>) + 'a;

/// The wait for a reply. It is polled to its end.
struct Wait<'a, L: Link> {
    lower: &'a Lower<L>,
    tag: Tag,
}

impl<L: Link> Future for Wait<'_, L> {
    type Output = Result<L::Reply, Errno>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut client = self.lower.client.borrow_mut();
        if let Some(answer) = client.take(self.tag) {
            drop(client);
            self.lower.freed();
            return Poll::Ready(answer.map_err(Failed::errno));
        }
        if let Some(waiter) = client.waiter(self.tag)
            && !matches!(waiter, Waiter::Task(waker) if waker.will_wake(cx.waker()))
        {
            *waiter = Waiter::Task(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// A `Twrite` without an answer.
pub struct Writing<'a, L: Link> {
    /// The error: it could not be sent.
    wait: Result<Wait<'a, L>, Errno>,
    given: usize,
}

impl<'a, L: Link> Writing<'a, L> {
    fn new(lower: &'a Lower<L>, sent: Result<Tag, Errno>, given: usize) -> Self {
        let wait = sent.map(|tag| Wait { lower, tag });
        Writing { wait, given }
    }
}

impl<L: Link> Future for Writing<'_, L> {
    type Output = Result<u32, Errno>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let given = self.given;
        let wait = match &mut self.wait {
            Ok(wait) => wait,
            Err(errno) => return Poll::Ready(Err(*errno)),
        };
        let link = &wait.lower.link;
        Pin::new(wait).poll(cx).map(|reply| {
            let done = reply.and_then(|reply| reply::written(reply.as_ref(), given));
            link.count(0, done.map_or(0, |done| done as usize));
            done
        })
    }
}

/// The head of a `Twrite`.
const fn twrite(fid: u32, offset: u64) -> Request<'static> {
    let data = &[];
    Request::Write { fid, offset, data }
}

/// Bytes of a reply, in the memory that it came in.
pub struct Data<R> {
    reply: R,
    /// Where they begin; not after the end.
    start: usize,
}

impl<R: AsRef<[u8]>> AsRef<[u8]> for Data<R> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &self.reply.as_ref()[self.start..]
    }
}

impl<L: Link> Backing for Lower<L> {
    type Buf = Data<L::Reply>;

    async fn rpc(&self, request: &Request<'_>) -> Result<Self::Buf, Errno> {
        let most = match request {
            Request::Readdir { count, .. } => *count as usize,
            _ => SHORT,
        };
        let reply = self.call(request, Shape::Reply(most)).await;
        self.link.count(0, 0);
        let reply = reply?;
        // A list must also fit into the client's messages.
        let long =
            matches!(request, Request::Readdir { .. }) && reply.as_ref().len() > READ_HEAD + most;
        if long { Err(Errno::EPROTO) } else { Ok(reply) }
    }

    async fn read(&self, fid: u32, off: u64, count: u32) -> Result<Self::Buf, Errno> {
        let count = count.min(self.iounit());
        let request = Request::Read {
            fid,
            offset: off,
            count,
        };
        let reply = self.call(&request, Shape::Reply(count as usize)).await;
        let data = self.data(reply.map(|data| data.reply), count);
        data.map(|(data, _)| data)
    }

    async fn write(&self, fid: u32, off: u64, data: &[u8]) -> Result<u32, Errno> {
        if let Some(writing) = self.write_now(fid, off, data) {
            return writing.await;
        }
        // All buffers may belong to tasks that are about to write. A short write is
        // slower but never waits for one of those.
        let data = data.get(..SHORT).unwrap_or(data);
        let writing = self
            .wait(data.len(), || self.write_now(fid, off, data))
            .await;
        writing.await
    }

    type Write<'a>
        = Writing<'a, L>
    where
        Self: 'a;

    fn write_now(&self, fid: u32, off: u64, data: &[u8]) -> Option<Writing<'_, L>> {
        if !self.client.borrow().has_tag() {
            return None;
        }
        let data = data.get(..self.iounit() as usize).unwrap_or(data);
        let room = self.link.room(Shape::Data(data.len()))?;
        let request = twrite(fid, off);
        let sent = self.begin(&request, |begin| {
            self.link.send(room, &request, data, begin)
        });
        Some(Writing::new(self, sent, data.len()))
    }

    fn write_lent(&self, fid: u32, off: u64, data: LentBytes<'_>) -> Option<Writing<'_, L>> {
        if !L::LENT || !self.client.borrow().has_tag() {
            return None;
        }
        let room = self.link.room(Shape::Data(0))?;
        let request = twrite(fid, off);
        let sent = self.begin(&request, |begin| {
            self.link.send_from(room, &request, data, begin)
        });
        Some(Writing::new(self, sent, data.len()))
    }

    fn copy_lent(&self, data: LentBytes<'_>) -> Result<Vec<u8>, Errno> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(data.len())
            .map_err(|_| Errno::ENOMEM)?;
        for (at, len) in data.parts() {
            let start = copy.len();
            copy.resize(start + len, 0);
            let to = copy.get_mut(start..).unwrap_or_default();
            if rt::read_lent(SERVICE_FD as u64, to, at)? != len {
                return Err(Errno::EIO);
            }
        }
        Ok(copy)
    }

    fn write_back(&self, fid: u32, off: u64, buf: Self::Buf) -> Result<Writing<'_, L>, Self::Buf> {
        if !self.client.borrow().has_tag() {
            return Err(buf);
        }
        let len = buf.as_ref().len();
        let request = twrite(fid, off);
        let send = |begin: &mut dyn FnMut(usize) -> Result<u16, Errno>| {
            self.link.send_back(buf.reply, &request, len, begin)
        };
        let sent = self.begin(&request, send);
        Ok(Writing::new(self, sent, len))
    }

    #[inline]
    fn iounit(&self) -> u32 {
        self.iounit.get()
    }

    fn now_s(&self) -> Option<u64> {
        let now = self.clock.as_ref()?.now_ns().ok()?;
        Some(now / 1_000_000_000)
    }
}

impl<L: Link> Transport for Lower<L> {
    const TREE: &'static str = L::TREE;
    const LENT: bool = L::LENT;

    async fn negotiate(&self) -> Result<(), Failure> {
        let request = Request::Version {
            msize: L::MSIZE,
            version: VERSION_L,
        };
        let reply = self.call(&request, Shape::Reply(SHORT)).await;
        let reply = reply.about(L::NAME)?;
        let (msize, data) = reply::version(reply.as_ref(), L::MSIZE, L::NAME)?;
        self.client.borrow_mut().set_msize(msize);
        self.iounit.set(data);
        Ok(())
    }

    fn flush(&self) {
        self.link.flush();
    }

    #[inline]
    fn begin_fill(&self, key: u16, read: &LowerRead, lent: &[u64]) -> bool {
        let count = read.count;
        let is_lent = L::LENT && !lent.is_empty();
        if self.starved.get() || !self.client.borrow().has_tag() {
            return false;
        }
        let here = if is_lent { 0 } else { count as usize };
        let Some(room) = self.link.room(Shape::Reply(here)) else {
            return false;
        };
        let request = Request::Read {
            fid: read.fid,
            offset: read.off,
            count,
        };
        let sent = self.begin(&request, |begin| match is_lent {
            true => self.link.send_lent(room, &request, lent, begin),
            false => self.link.send(room, &request, &[], begin),
        });
        let Ok(tag) = sent else {
            return false;
        };
        if let Some(waiter) = self.client.borrow_mut().waiter(tag) {
            let lent = is_lent;
            *waiter = Waiter::Fill {
                tag,
                key,
                count,
                lent,
            };
        }
        true
    }

    fn deliver(
        &self,
        came: Came,
        buffers: &mut Buffers,
        filled: &mut dyn FnMut(u16, Result<Filled<Self::Buf>, Errno>),
    ) -> Result<(), Failure> {
        self.freed();
        let each = |event| self.came(event, filled);
        self.link.receive(came, buffers, each)
    }

    #[inline]
    fn freed(&self) {
        if self.starved.take() {
            self.freed.signal();
        }
    }
}
