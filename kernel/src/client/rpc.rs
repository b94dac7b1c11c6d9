//! Sending requests and waiting for replies.
//!
//! Life of a tag: free, sent, answered, free. A process that is to end does
//! not wait: it takes the request back if the server has not received it, or
//! leaves the tag behind with a Tflush after it, and a fid that the late reply
//! made is given back when it comes ([`super::deliver`]). A process
//! that a note interrupts flushes too, but waits for the outcome: a reply that
//! comes before the flush's counts, so that it knows what has happened
//! (invariant 13).
use super::{Afterwards, Mount, Outstanding, Pending, Progress, State, TAGS, Trimmed};
use crate::chan::{HEAD_MAX, Message, Piece, room};
use crate::counters;
use crate::sched::{self, Reason, Wake, relief};
use abi::{Errno, Stat64};
use alloc::vec::Vec;
use ninep::consts::{NOFID, NOTAG, put};
use ninep::{List, Reply, Request};

/// Bytes that hold most heads.
const SMALL_HEAD: usize = 128;

/// A reply as it came.
pub enum Answer {
    /// Data of an Rread: so many bytes are in the request's sink.
    Sunk(usize),
    /// Any other: the whole message; nothing of it if nobody waited.
    Message(Vec<u8>),
}

impl Answer {
    /// The reply; an `Rlerror` is its error.
    pub fn reply(&self) -> Result<Reply<'_>, Errno> {
        let Answer::Message(bytes) = self else {
            return Err(Errno::EPROTO);
        };
        match ninep::decode_reply(bytes) {
            Ok((_, Reply::Error(errno))) => Err(of_a_server(errno)),
            Ok((_, reply)) => Ok(reply),
            Err(_) => Err(Errno::EPROTO),
        }
    }

    /// What a Tread came to: data bytes in the sink, or its error.
    pub fn data_reply(&self) -> Result<usize, Errno> {
        match self {
            Answer::Sunk(bytes) => Ok(*bytes),
            // Anything but an error here is not an answer to a Tread.
            Answer::Message(_) => match self.reply() {
                // A fill that fails so has not run out of our memory.
                Err(Errno::ENOMEM) => Err(Errno::EIO),
                other => other.and(Err(Errno::EPROTO)),
            },
        }
    }
}

/// An error that a server answered. `EINTR` means here that a note or the end of
/// the process cut a wait short, after which the program's instruction is tried
/// again: no server may say that.
const fn of_a_server(errno: Errno) -> Errno {
    match errno {
        Errno::EINTR => Errno::EIO,
        other => other,
    }
}

/// A request that was sent.
#[must_use = "a tag that nobody waits for is lost"]
pub struct Sent(usize);

impl Mount {
    /// Sends a request without payload and waits for the reply.
    pub fn call(&self, request: &Request<'_>) -> Result<Answer, Errno> {
        let sent = self.start(request, Vec::new(), Vec::new(), NOFID)?;
        self.finish(sent)
    }

    /// The same, for a request that makes `fid` at the server, or changes it if
    /// it is a snapshot.
    pub fn call_making(&self, request: &Request<'_>, fid: u32) -> Result<Answer, Errno> {
        let sent = self.start(request, Vec::new(), Vec::new(), fid)?;
        self.finish(sent)
    }

    /// Sends `request` with `body` as its payload; data of the Rread, if that
    /// is what comes, goes to `sink`. Waits while all tags are in use.
    pub fn start(
        &self,
        request: &Request<'_>,
        body: Vec<Piece>,
        sink: Vec<Piece>,
        makes: u32,
    ) -> Result<Sent, Errno> {
        let tag = self.take_tag(sink, makes)?;
        self.transmit(tag, request, body)
    }

    /// The same for a message of a write, whose answer need not be taken at
    /// once. Waits while there are too many of those: whoever has some takes
    /// their answers first.
    pub fn start_held(
        &self,
        request: &Request<'_>,
        body: Vec<Piece>,
        makes: u32,
    ) -> Result<Sent, Errno> {
        self.take_permit(|state| &mut state.held)?;
        let tag = match self.take_tag(Vec::new(), makes) {
            Ok(tag) => tag,
            Err(errno) => {
                self.state.lock().held.give();
                return Err(errno);
            }
        };
        if let Some(pending) = self.state.lock().pending.get_mut(tag) {
            pending.held = true;
        }
        self.transmit(tag, request, body)
    }

    /// For Tversion, whose tag is not ours to choose. Nothing else is in
    /// flight then, and tag 0 keeps its place.
    pub(super) fn call_untagged(&self, request: &Request<'_>) -> Result<Answer, Errno> {
        let index = self.take_tag(Vec::new(), NOFID)?;
        debug_assert!(index == 0);
        if let Some(pending) = self.state.lock().pending.get_mut(index) {
            pending.wire_tag = NOTAG;
        }
        let sent = self.transmit(index, request, Vec::new())?;
        self.finish(sent)
    }

    fn transmit(&self, tag: usize, request: &Request<'_>, body: Vec<Piece>) -> Result<Sent, Errno> {
        let payload: usize = body.iter().map(|p| p.len).sum();
        let wire_tag = self.wire_tag(tag);
        let head = relief::again(|| self.encode(wire_tag, request, payload));
        let sent = head.and_then(|head| {
            let taken = 0;
            self.end.send(Message { head, body, taken })
        });
        match sent {
            Ok(()) => {
                counters::add(Stat64::BytesOut, payload as u64);
                Ok(Sent(tag))
            }
            Err(errno) => {
                self.state.lock().free_tag(tag);
                Err(if errno == Errno::EPIPE {
                    Errno::EIO
                } else {
                    errno
                })
            }
        }
    }

    /// The tag of a request in its message.
    fn wire_tag(&self, tag: usize) -> u16 {
        let state = self.state.lock();
        state.pending.get(tag).map_or(NOTAG, |p| p.wire_tag)
    }

    /// Has the server not received all of the request with that tag yet?
    pub(super) fn is_queued(&self, wire_tag: u16) -> bool {
        self.end
            .has_queued(|message| message.tag() == Some(wire_tag))
    }

    /// Takes a request back that the server has received nothing of.
    fn withdraw(&self, tag: usize) -> bool {
        let wire_tag = self.wire_tag(tag);
        let message = self.end.withdraw(|m| m.tag() == Some(wire_tag));
        message.is_some()
    }

    /// Would [`Mount::start_held`] find a tag without waiting?
    pub fn has_tag(&self) -> bool {
        let state = self.state.lock();
        state.used != u64::MAX && state.held.has_room()
    }

    fn take_tag(&self, sink: Vec<Piece>, makes: u32) -> Result<usize, Errno> {
        self.give_back();
        let mut sink = Some(sink);
        self.wait(
            |state| &mut state.free,
            |state| {
                let tag = state.try_tag()?;
                let pending = state.pending.get_mut(tag)?;
                pending.sink = sink.take()?;
                pending.makes = makes;
                pending.waiter = Some(sched::current_slot());
                Some(tag)
            },
        )
    }

    /// Waits for the reply. `EINTR`: the process is to end, or a note came
    /// and the server has dropped the request; `EIO`: the server is gone.
    pub fn finish(&self, sent: Sent) -> Result<Answer, Errno> {
        let own = sent.0;
        self.finish_or_flush(sent, own)
    }

    /// The same for a part of something that takes effect with a later request:
    /// a note flushes that one, so that it never takes effect without this.
    pub fn finish_before(&self, sent: Sent, last: &Sent) -> Result<Answer, Errno> {
        self.finish_or_flush(sent, last.0)
    }

    fn finish_or_flush(&self, Sent(tag): Sent, effective: usize) -> Result<Answer, Errno> {
        let mut flushed = false;
        loop {
            {
                let mut state = self.state.lock();
                if let Some(result) = state.take_answer(tag) {
                    return result;
                }
            }
            let wake = if flushed {
                sched::park_through_notes(Reason::Reply)
            } else {
                sched::park(Reason::Reply, None)
            };
            match wake {
                Wake::Woken | Wake::Timeout => {}
                Wake::Noted => {
                    self.flush(effective);
                    if !self.in_flight(effective) {
                        self.flush(tag);
                    }
                    flushed = true;
                }
                Wake::Ending => {
                    self.abandon(tag);
                    return Err(Errno::EINTR);
                }
            }
        }
    }

    fn in_flight(&self, tag: usize) -> bool {
        let state = self.state.lock();
        let pending = state.pending.get(tag);
        pending.is_some_and(|p| matches!(p.progress, Progress::Sent))
    }

    /// Nobody waits for `tag` any more: the request is taken back, or flushed
    /// without waiting for that either. With no tag left for the flush the reply
    /// itself frees it. What was to be read goes nowhere.
    fn abandon(&self, tag: usize) {
        {
            let mut state = self.state.lock();
            if state.take_answer(tag).is_some() {
                return;
            }
            if let Some(pending) = state.pending.get_mut(tag) {
                pending.waiter = None;
                pending.sink = Vec::new();
            }
        }
        if self.withdraw(tag) {
            self.answer(tag, Err(Errno::EINTR));
        } else {
            self.flush(tag);
        }
    }

    /// Asks the server to forget a request, once.
    fn flush(&self, tag: usize) {
        let flush = {
            let mut state = self.state.lock();
            let wanted = state
                .pending
                .get(tag)
                .is_some_and(|p| matches!(p.progress, Progress::Sent) && !p.flushed);
            if !wanted {
                return;
            }
            let Some(flush) = state.try_tag() else {
                return;
            };
            if let Some(pending) = state.pending.get_mut(flush) {
                pending.flushes = Some(tag as u16);
            }
            if let Some(pending) = state.pending.get_mut(tag) {
                pending.flushed = true;
            }
            flush
        };
        self.send_detached(flush, &Request::Flush { oldtag: tag as u16 });
    }

    /// Gives a fid back without waiting for the reply; one that a request in
    /// flight makes as soon as that is answered, or the Tclunk might come first.
    pub fn clunk_later(&self, fid: u32) {
        {
            let mut state = self.state.lock();
            if state.down || fid == NOFID {
                return;
            }
            if let Some(making) = state.making(fid) {
                making.unwanted = true;
                return;
            }
            // There is room, made by `new_fid`.
            if state.unwanted.try_reserve(1).is_ok() {
                state.unwanted.push(fid);
            }
        }
        self.give_back();
    }

    /// Has the server forget what was staged of a write, without waiting for
    /// the reply.
    pub fn give_up(&self, wid: u64, fid: u32) {
        {
            let state = &mut *self.state.lock();
            if let Some(write) = state.writes.iter_mut().find(|w| w.wid == wid) {
                write.given_up = Some(fid);
                state.given_up += 1;
            }
        }
        self.give_back();
    }

    /// Tells the server what is not wanted any more, as far as there are tags
    /// and room. Never waits.
    pub(super) fn give_back(&self) {
        loop {
            let (tag, unwanted) = {
                let mut state = self.state.lock();
                let Some(unwanted) = state.unwanted().filter(|_| !state.down) else {
                    return;
                };
                let Some(tag) = state.try_tag() else { return };
                if let Some(pending) = state.pending.get_mut(tag) {
                    pending.clunks = unwanted.fid_given_back();
                }
                (tag, unwanted)
            };
            let request = match unwanted {
                Unwanted::Fid(fid) => Request::Clunk { fid },
                Unwanted::Write { wid, fid } => abort(wid, fid),
            };
            if !self.send_detached(tag, &request) {
                return;
            }
            self.state.lock().given_back(unwanted);
        }
    }

    /// Tells the server, without waiting for the reply, that nobody refers to
    /// these ranges of a snapshot any more. `false`: that was not possible now.
    pub fn trim(&self, what: Trimmed, ranges: &[(u64, u64)]) -> bool {
        let tag = {
            let mut state = self.state.lock();
            let Some(tag) = state.try_tag() else {
                return false;
            };
            if let Some(pending) = state.pending.get_mut(tag) {
                pending.trims = Some(what);
            }
            tag
        };
        let ranges = List::new(ranges);
        let snapfid = what.snapfid;
        self.send_detached(tag, &Request::Trim { snapfid, ranges })
    }

    /// Sends a request whose reply only frees the tag, if there is room in the
    /// channel: this may be the server's own system call, which must not wait for
    /// the server. Was it sent?
    fn send_detached(&self, tag: usize, request: &Request<'_>) -> bool {
        let sent = self.encode(tag as u16, request, 0).and_then(|head| {
            self.end.try_send(Message {
                head,
                ..Message::default()
            })
        });
        if sent.is_err() {
            self.state.lock().not_sent(tag);
        }
        sent.is_ok()
    }

    fn encode(&self, tag: u16, request: &Request<'_>, payload: usize) -> Result<Vec<u8>, Errno> {
        for size in [SMALL_HEAD, HEAD_MAX] {
            let mut head = room(size)?;
            head.resize(size, 0);
            if let Ok(len) = ninep::encode_request_head(tag, request, payload, &mut head) {
                head.truncate(len);
                return if len + payload <= self.msize() as usize {
                    Ok(head)
                } else {
                    Err(Errno::ENAMETOOLONG)
                };
            }
        }
        Err(Errno::ENAMETOOLONG)
    }
}

/// What the server is to forget.
#[derive(Clone, Copy)]
enum Unwanted {
    Fid(u32),
    /// Of a file that is open as `fid`.
    Write {
        wid: u64,
        fid: u32,
    },
}

impl Unwanted {
    fn fid_given_back(self) -> Option<u32> {
        match self {
            Unwanted::Fid(fid) => Some(fid),
            Unwanted::Write { .. } => None,
        }
    }
}

fn abort(wid: u64, fid: u32) -> Request<'static> {
    Request::Put {
        fid,
        wid,
        ack: 0,
        flags: put::ABORT,
        off: 0,
        into: NOFID,
        known: 0,
        ops: List::new(&[]),
        data: &[],
    }
}

/// Counts a fid that the kernel now holds.
pub fn count_fid() {
    counters::add(Stat64::Fids, 1);
}

/// Counts a fid given back.
pub fn uncount_fid() {
    counters::subtract_one(Stat64::Fids);
}

impl State {
    /// The next to be told the server. Writes come first: they name fids.
    fn unwanted(&self) -> Option<Unwanted> {
        if self.given_up == 0 {
            return self.unwanted.last().copied().map(Unwanted::Fid);
        }
        let given_up = |w: &Outstanding| Some((w.wid, w.given_up?));
        let (wid, fid) = self.writes.iter().find_map(given_up)?;
        Some(Unwanted::Write { wid, fid })
    }

    /// The server has been told.
    fn given_back(&mut self, unwanted: Unwanted) {
        match unwanted {
            Unwanted::Fid(_) => {
                self.unwanted.pop();
            }
            Unwanted::Write { wid, .. } => {
                self.writes.retain(|w| w.wid != wid);
                self.given_up -= 1;
            }
        }
    }

    /// The request in flight that makes `fid`.
    fn making(&mut self, fid: u32) -> Option<&mut Pending> {
        let mut tags = self.used;
        while tags != 0 {
            let tag = tags.trailing_zeros() as usize;
            let pending = self.pending.get(tag)?;
            if pending.makes == fid && matches!(pending.progress, Progress::Sent) {
                return self.pending.get_mut(tag);
            }
            tags &= tags - 1;
        }
        None
    }

    /// A free tag, marked as sent by nobody.
    pub(super) fn try_tag(&mut self) -> Option<usize> {
        let tag = (!self.used).trailing_zeros() as usize;
        let pending = self.pending.get_mut(tag)?;
        *pending = Pending::new(Progress::Sent, tag as u16);
        self.used |= 1 << tag;
        Some(tag)
    }

    /// Done with a tag; it is free unless the answer to its flush is still to
    /// come, which must not meet another request under the same tag.
    pub(super) fn free_tag(&mut self, tag: usize) {
        if tag < TAGS
            && let Some(pending) = self.pending.get_mut(tag)
        {
            pending.progress = Progress::Free;
            pending.sink = Vec::new();
            let held = core::mem::take(&mut pending.held);
            if !pending.flushed {
                self.used &= !(1 << tag);
                self.free.wake_one();
            }
            if held {
                self.held.give();
            }
        }
    }

    /// A request that nobody waits for did not get out. What a flush was for
    /// is free at its reply again.
    fn not_sent(&mut self, tag: usize) {
        let flushes = self.pending.get_mut(tag).and_then(|p| p.flushes.take());
        self.free_tag(tag);
        if let Some(old) = flushes.map(usize::from)
            && let Some(pending) = self.pending.get_mut(old)
        {
            pending.flushed = false;
            if matches!(pending.progress, Progress::Free) {
                self.free_tag(old);
            }
        }
    }

    /// The flush of `tag` is answered: the server promises no reply to it from
    /// now on. A fid to give back.
    fn flush_done(&mut self, tag: usize) -> Option<u32> {
        let pending = self.pending.get_mut(tag)?;
        pending.flushed = false;
        match (&pending.progress, pending.waiter) {
            (Progress::Sent, Some(slot)) => {
                pending.progress = Progress::Answered(Err(Errno::EINTR));
                let unwanted = pending.take_unwanted();
                sched::unpark(slot);
                unwanted
            }
            (Progress::Sent, None) | (Progress::Free, _) => {
                let unwanted = pending.take_unwanted();
                self.free_tag(tag);
                unwanted
            }
            (Progress::Answered(_), _) => None,
        }
    }

    /// The result, if it is there; frees the tag.
    fn take_answer(&mut self, tag: usize) -> Option<Result<Answer, Errno>> {
        let pending = self.pending.get_mut(tag)?;
        if !matches!(pending.progress, Progress::Answered(_)) {
            return None;
        }
        let progress = core::mem::replace(&mut pending.progress, Progress::Free);
        self.free_tag(tag);
        match progress {
            Progress::Answered(result) => Some(result),
            Progress::Free | Progress::Sent => None,
        }
    }

    /// A reply for `tag`; what it leaves to do.
    pub(super) fn answer(&mut self, tag: usize, result: Result<Answer, Errno>) -> Afterwards {
        let Some(pending) = self.pending.get_mut(tag) else {
            return Afterwards::default();
        };
        if !matches!(pending.progress, Progress::Sent) {
            return Afterwards::default();
        }
        let mut after = Afterwards {
            clunk: pending.take_unwanted(),
            trimmed: pending.trims.take(),
        };
        if let Some(slot) = pending.waiter {
            pending.progress = Progress::Answered(result);
            sched::unpark(slot);
            return after;
        }
        let (flushed, clunked) = (pending.flushes.take(), pending.clunks.take());
        self.free_tag(tag);
        if let Some(fid) = clunked {
            self.fids.give_back(fid);
        }
        if let Some(old) = flushed {
            after.clunk = self.flush_done(usize::from(old));
        }
        after
    }
}
