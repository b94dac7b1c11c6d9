//! Sending requests and waiting for replies.
//!
//! [`ninep::client`] manages tags, requests in flight and the purpose of their
//! replies; this module sends its messages and makes processes wait. A process
//! that must end does not wait: it withdraws its request if the server has not
//! received it, or leaves it behind. A process that a note interrupts flushes
//! its request, but waits for the outcome: a reply that arrives before the
//! Rflush counts, so that the process knows the result (invariant 13).
use super::{Mount, Sink, State, Then, Trimmed, unsent};
use crate::chan::{End, HEAD_MAX, HEAD_SMALL, Message, Piece, room};
use crate::counters;
use crate::sched::{self, Reason, Wait, Wake, relief};
use crate::trace;
use abi::trace::Event;
use abi::{Errno, Stat64};
use alloc::vec::Vec;
use ninep::client::{Failed, Own, Tag};
use ninep::consts::{NOTAG, TREAD};
use ninep::{List, Reply, Request};

/// Bytes of the longest message that is kept without memory of its own: the reply to any
/// request that changes a name, or to a write unless its file has much news.
const SHORT: usize = 64;

/// Where a Tread has its offset.
const READ_OFFSET: core::ops::Range<usize> = 11..19;

/// The content of a reply of the right type.
pub enum Answer {
    /// The number of bytes of an Rread's data in the request's sink.
    Sunk(usize),
    /// The whole message: its length, and its bytes. What a server has done must not be
    /// lost because there is no memory to hear of it.
    Short(u8, [u8; SHORT]),
    /// The whole message.
    Long(Vec<u8>),
}

impl Answer {
    /// The message of `len` bytes that `copy` stores.
    ///
    /// # Errors
    /// As of `copy`. The inner one, `ENOMEM`, is for a message that is not short.
    pub(super) fn of<E>(
        len: usize,
        copy: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Result<Answer, Errno>, E> {
        let mut short = [0; SHORT];
        if let Some(bytes) = short.get_mut(..len) {
            copy(bytes)?;
            return Ok(Ok(Answer::Short(len as u8, short)));
        }
        let mut bytes = match room(len) {
            Ok(bytes) => bytes,
            Err(errno) => return Ok(Err(errno)),
        };
        bytes.resize(len, 0);
        copy(&mut bytes)?;
        Ok(Ok(Answer::Long(bytes)))
    }

    /// The message, unless it is in the sink.
    fn message(&self) -> Option<&[u8]> {
        match self {
            Answer::Sunk(_) => None,
            Answer::Short(len, bytes) => bytes.get(..usize::from(*len)),
            Answer::Long(bytes) => Some(bytes),
        }
    }

    /// Data bytes of the file that are in it.
    fn data(&self) -> u64 {
        match (self, self.message()) {
            (Answer::Sunk(bytes), _) => *bytes as u64,
            (_, message) => {
                let bytes = message.unwrap_or_default();
                let start = ninep::payload_start(bytes);
                start.map_or(0, |start| bytes.len().saturating_sub(start)) as u64
            }
        }
    }

    /// The reply.
    pub fn reply(&self) -> Result<Reply<'_>, Errno> {
        let bytes = self.message().ok_or(Errno::EPROTO)?;
        let decoded = ninep::decode_reply(bytes);
        decoded.map(|(_, reply)| reply).map_err(|_| Errno::EPROTO)
    }
}

/// The error of a request that changes something and must not be made twice: where there
/// was no memory for the answer the server may have done it, which `ENOMEM` denies.
pub(super) const fn unknown(failed: Failed) -> Errno {
    match failed {
        Failed::Lost(Errno::ENOMEM) => Errno::EIO,
        failed => failed.errno(),
    }
}

/// A request that was sent, and whose answer the running process will take.
#[must_use = "a tag whose answer is not taken is lost"]
pub struct Sent(Tag);

impl Mount {
    /// Sends a request without payload and waits for the reply.
    pub fn call(&self, request: &Request<'_>) -> Result<Answer, Failed> {
        let sent = self.start(request, Vec::new());
        self.finish(sent.map_err(Failed::Unsent)?)
    }

    /// Reads of a fid into `sink`, in one message; bytes that came.
    pub fn read(&self, fid: u32, offset: u64, sink: impl Into<Sink>) -> Result<usize, Errno> {
        let sink: Sink = sink.into();
        let count = sink.len().min(self.iounit() as usize) as u32;
        let request = Request::Read { fid, offset, count };
        let sent = self.send(
            &request,
            Vec::new(),
            sink,
            Then::Wake(sched::current_slot()),
        )?;
        match self.finish(Sent(sent)) {
            Ok(Answer::Sunk(bytes)) => Ok(bytes),
            Ok(Answer::Short(..) | Answer::Long(_)) => Err(Errno::EPROTO),
            // The kernel does not wait for memory of a server.
            Err(Failed::Refused(Errno::ENOMEM)) => Err(Errno::EIO),
            Err(failed) => Err(failed.errno()),
        }
    }

    /// Sends `request` with `body` as its payload. Waits while all tags are in use.
    pub fn start(&self, request: &Request<'_>, body: Vec<Piece>) -> Result<Sent, Errno> {
        let waiter = sched::current_slot();
        let sent = self.send(request, body, Sink::default(), Then::Wake(waiter));
        sent.map(Sent)
    }

    /// Sends a part of a write. Nothing waits for the reply.
    pub fn stage(&self, wid: u64, request: &Request<'_>, body: Vec<Piece>) -> Result<(), Errno> {
        let sent = self.send(request, body, Sink::default(), Then::Staged(wid));
        sent.map(drop)
    }

    /// Sends `request` with `body` as its payload; the data of an Rread goes to
    /// `sink`. Waits while all tags are in use.
    fn send(
        &self,
        request: &Request<'_>,
        body: Vec<Piece>,
        sink: Sink,
        then: Then,
    ) -> Result<Tag, Errno> {
        let payload = body.iter().map(|piece| piece.len).sum();
        let mut message = relief::again(|| encode(request, payload))?;
        message.set_body(body);
        let mut message = Some((message, sink));
        let tag = self.state.wait(
            |state| &mut state.starved,
            Reason::Tag,
            |state| {
                let sent = state.try_send(&self.end, request, then, &mut message);
                sent.transpose()
            },
        )??;
        counters::add(Stat64::BytesOut, payload as u64);
        counters::sent(sched::current_slot(), payload as u64);
        Ok(tag)
    }

    /// Sends a trim of a snapshot's ranges, without waiting for the reply.
    /// `false`: not possible now.
    pub fn trim(&self, what: Trimmed, ranges: &[(u64, u64)]) -> bool {
        let request = Request::Trim {
            snapfid: what.snapfid,
            ranges: List::new(ranges),
        };
        let Ok(message) = encode(&request, 0) else {
            return false;
        };
        let mut message = Some((message, Sink::default()));
        let mut state = self.state.lock();
        let sent = state.try_send(&self.end, &request, Then::Tell(what), &mut message);
        matches!(sent, Ok(Some(_)))
    }

    /// Waits for the reply. Lost with `EINTR`: the process is to end, or a note came
    /// and the server has dropped the request; with `EIO`: the server is gone.
    pub fn finish(&self, Sent(tag): Sent) -> Result<Answer, Failed> {
        let answer = self.wait_for(
            |state| state.machine.take(tag),
            |state| state.machine.flush(tag),
        );
        let answer = answer.unwrap_or_else(|| {
            self.step(|state| state.leave(&self.end, tag));
            Err(Failed::Lost(Errno::EINTR))
        });
        if let Ok(answer) = &answer {
            counters::received(sched::current_slot(), answer.data());
        }
        answer
    }

    /// Waits until all parts of a write have replies; the first error among those.
    pub fn finish_parts(&self, wid: u64) -> Result<(), Errno> {
        let waiter = sched::current_slot();
        let status = self.wait_for(
            |state| state.machine.poll_write(wid, waiter),
            |state| state.machine.flush_write(wid),
        );
        status.unwrap_or_else(|| {
            self.step(|state| state.leave_parts(&self.end, wid));
            Err(Errno::EINTR)
        })
    }

    /// Waits for a reply: until `poll` returns something. A note calls `flush`,
    /// once, and waits for its result. `None`: the process must end.
    fn wait_for<R>(
        &self,
        mut poll: impl FnMut(&mut State) -> Option<R>,
        flush: impl Fn(&mut State),
    ) -> Option<R> {
        let mut flushed = false;
        loop {
            if let Some(result) = self.step(&mut poll) {
                return Some(result);
            }
            let wake = match flushed {
                true => sched::park_through_notes(Reason::Reply, None),
                false => sched::park(Reason::Reply, None),
            };
            match wake {
                Wake::Woken | Wake::Timeout => {}
                Wake::Noted => {
                    self.step(&flush);
                    flushed = true;
                }
                Wake::Ending => return None,
            }
        }
    }

    /// Gives a fid back without waiting for the reply.
    pub fn clunk_later(&self, fid: u32) {
        self.step(|state| state.machine.clunk(fid));
    }

    /// Takes a step of the machine, then sends the machine's own messages and
    /// wakes a process that waits for a tag.
    pub(super) fn step<R>(&self, step: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let result = step(&mut state);
        while let Some((tag, own)) = state.machine.own() {
            if state.send_own(&self.end, tag, own).is_err() {
                self.itself.get().into_iter().for_each(unsent::note);
                break;
            }
        }
        state.pass_on();
        result
    }
}

/// The message of a request, up to its payload of `payload` bytes. The tag is
/// filled in later.
fn encode(request: &Request<'_>, payload: usize) -> Result<Message, Errno> {
    for size in [HEAD_SMALL, HEAD_MAX] {
        let mut message = Message::new(size)?;
        let head = message.head_mut();
        if let Ok(len) = ninep::encode_request_head(NOTAG, request, payload, head) {
            message.shorten(len);
            return Ok(message);
        }
        message.done();
    }
    Err(Errno::ENAMETOOLONG)
}

/// A message that waits for a tag, and where the data of its reply goes.
type Unsent = Option<(Message, Sink)>;

impl State {
    /// Sends a message if a tag is free.
    fn try_send(
        &mut self,
        end: &End,
        request: &Request<'_>,
        then: Then,
        unsent: &mut Unsent,
    ) -> Result<Option<Tag>, Errno> {
        let len = unsent.as_ref().map_or(0, |(message, _)| message.len());
        let Some(tag) = self.machine.begin(request, len, then)? else {
            return Ok(None);
        };
        let Some((message, sink)) = unsent.take() else {
            self.machine.unsent(tag);
            return Err(Errno::EINVAL);
        };
        // Another tag may be free for the next process that waits.
        self.pass_on();
        self.transmit(end, tag, message)?;
        self.keep_sink(tag, sink);
        Ok(Some(tag))
    }

    /// A channel has room for a message of each tag, so it takes this one unless the
    /// other side is closed.
    fn transmit(&mut self, end: &End, tag: Tag, mut message: Message) -> Result<(), Errno> {
        ninep::set_tag(message.head_mut(), tag.number());
        let told = trace::is_on().then(|| told(self.id, &mut message));
        if end.try_send(message).is_err() {
            self.machine.unsent(tag);
            return Err(Errno::EIO);
        }
        if let Some((kind, words)) = told {
            trace::note(Event::Request, kind, words);
        }
        Ok(())
    }

    fn send_own(&mut self, end: &End, tag: Tag, own: Own) -> Result<(), Errno> {
        match encode(&own.request(), 0) {
            Ok(message) => self.transmit(end, tag, message),
            Err(errno) => {
                self.machine.unsent(tag);
                Err(errno)
            }
        }
    }

    /// If a tag is free the process that waits longest for one looks again.
    #[inline]
    fn pass_on(&mut self) {
        if self.machine.has_tag() {
            self.starved.wake_one();
        }
    }

    /// The running process waits for a request no longer: it is taken back if the
    /// server has received nothing of it, or left behind.
    fn leave(&mut self, end: &End, tag: Tag) {
        self.leave_sink(tag);
        self.machine.detach(tag);
        if withdraw(end, tag) {
            self.withdrawn(tag);
        }
    }

    /// The same for the parts of a write.
    fn leave_parts(&mut self, end: &End, wid: u64) {
        let withdraw = |state: &State| state.machine.parts(wid).find(|tag| withdraw(end, *tag));
        while let Some(tag) = withdraw(self) {
            self.withdrawn(tag);
        }
        self.machine.flush_write(wid);
    }

    fn withdrawn(&mut self, tag: Tag) {
        let lost = Err(Failed::Lost(Errno::EINTR));
        // The only process to wake is the running one.
        let _ = self.machine.answer(tag, lost);
    }
}

/// What the trace is told of a message: its type, and the event's words.
#[cold]
fn told(connection: u32, message: &mut Message) -> (u16, [u64; 3]) {
    let len = message.len() as u64;
    let head = message.head_mut();
    let (_, kind, tag) = ninep::peek(head).unwrap_or_default();
    let offset = match kind {
        TREAD => head
            .get(READ_OFFSET)
            .and_then(|bytes| bytes.try_into().ok()),
        _ => None,
    };
    let offset = offset.map_or(0, u64::from_le_bytes);
    (kind.into(), [trace_name(connection, tag), len, offset])
}

/// How the trace tells requests in flight apart.
pub(super) fn trace_name(connection: u32, tag: u16) -> u64 {
    u64::from(connection) << 32 | u64::from(tag)
}

/// Takes a message back that the server has received nothing of.
fn withdraw(end: &End, tag: Tag) -> bool {
    let message = end.withdraw(|message| message.tag() == Some(tag.number()));
    message.is_some()
}
