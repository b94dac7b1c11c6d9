//! Sending requests and waiting for replies.
//!
//! Life of a tag: free, sent, answered, free. A process that is to end does
//! not wait: it leaves the tag behind with a Tflush after it, and whatever a
//! late reply made is undone when it comes ([`super::deliver`]). A process
//! that a note interrupts flushes too, but waits for the outcome: a reply that
//! comes before the flush's counts, so that it knows what has happened
//! (invariant 13).
use super::{
    Afterwards, BYTES_OUT, FIDS, Mount, Outstanding, Pending, Progress, State, TAGS, Trimmed,
};
use crate::chan::{HEAD_MAX, Message, Piece, room};
use crate::proc::sched::{self, Reason, Wake};
use abi::Errno;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use ninep::consts::{NOFID, NOTAG, put};
use ninep::{List, Reply, Request};

/// Bytes that hold most heads.
const SMALL_HEAD: usize = 128;

/// A reply as it came, but for data that went into the sink.
pub struct Answer {
    pub(super) bytes: Vec<u8>,
    /// Data bytes that went into the sink.
    pub sunk: usize,
}

impl Answer {
    /// The reply; an `Rlerror` is its error. Meaningless for a sunk Rread.
    pub fn reply(&self) -> Result<Reply<'_>, Errno> {
        match ninep::decode_reply(&self.bytes) {
            Ok((_, Reply::Error(errno))) => Err(errno),
            Ok((_, reply)) => Ok(reply),
            Err(_) => Err(Errno::EPROTO),
        }
    }

    /// What a Tread came to: data bytes in the sink, or its error.
    pub fn data_reply(&self) -> Result<usize, Errno> {
        if self.bytes.is_empty() {
            return Ok(self.sunk);
        }
        // Anything but an error here is not an answer to a Tread.
        self.reply().and(Err(Errno::EPROTO))
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

    /// The same, for a request that makes `fid` at the server.
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
        undo: u32,
    ) -> Result<Sent, Errno> {
        let tag = self.take_tag(sink, undo)?;
        self.transmit(tag, tag as u16, request, body)
    }

    /// The same for a message of a write, whose answer need not be taken at
    /// once. Waits while there are too many of those: whoever has some takes
    /// their answers first.
    pub fn start_held(&self, request: &Request<'_>, body: Vec<Piece>) -> Result<Sent, Errno> {
        self.enter(|state| &mut state.held)?;
        let tag = match self.take_tag(Vec::new(), NOFID) {
            Ok(tag) => tag,
            Err(errno) => {
                self.state.lock().held.leave();
                return Err(errno);
            }
        };
        if let Some(pending) = self.state.lock().pending.get_mut(tag) {
            pending.held = true;
        }
        self.transmit(tag, tag as u16, request, body)
    }

    /// For Tversion, whose tag is not ours to choose. Nothing else is in
    /// flight then, and tag 0 keeps its place.
    pub(super) fn call_tagged(&self, tag: u16, request: &Request<'_>) -> Result<Answer, Errno> {
        let index = self.take_tag(Vec::new(), NOFID)?;
        debug_assert!(index == 0 && tag == NOTAG);
        let sent = self.transmit(index, tag, request, Vec::new())?;
        self.finish(sent)
    }

    fn transmit(
        &self,
        tag: usize,
        wire_tag: u16,
        request: &Request<'_>,
        body: Vec<Piece>,
    ) -> Result<Sent, Errno> {
        let payload: usize = body.iter().map(|p| p.len).sum();
        let sent = encode(wire_tag, request, payload).and_then(|head| {
            let taken = 0;
            self.end.send(Message { head, body, taken })
        });
        match sent {
            Ok(()) => {
                BYTES_OUT.fetch_add(payload as u64, Relaxed);
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

    /// Would [`Mount::start_held`] find a tag without waiting?
    pub fn has_tag(&self) -> bool {
        let state = self.state.lock();
        state.used != u64::MAX && state.held.has_room()
    }

    fn take_tag(&self, sink: Vec<Piece>, undo: u32) -> Result<usize, Errno> {
        self.give_back();
        loop {
            {
                let mut state = self.state.lock();
                if state.down {
                    return Err(Errno::EIO);
                }
                if let Some(tag) = state.try_tag() {
                    if let Some(pending) = state.pending.get_mut(tag) {
                        pending.sink = sink;
                        pending.undo = undo;
                        pending.waiter = Some(sched::current_slot());
                    }
                    return Ok(tag);
                }
                state.free.join();
            }
            let wake = sched::park(Reason::Tag, None);
            let mut state = self.state.lock();
            if wake.interrupted() {
                state.free.give_up();
                return Err(Errno::EINTR);
            }
            state.free.leave();
        }
    }

    /// Waits for the reply. `EINTR`: the process is to end, or a note came
    /// and the server has dropped the request; `EIO`: the server is gone.
    pub fn finish(&self, Sent(tag): Sent) -> Result<Answer, Errno> {
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
                    self.flush(tag);
                    flushed = true;
                }
                Wake::Ending => {
                    self.abandon(tag);
                    return Err(Errno::EINTR);
                }
            }
        }
    }

    /// Nobody waits for `tag` any more: flush it, without waiting for that
    /// either. With no tag left for the flush the reply itself frees it. What
    /// a reply made that is here already is given back.
    fn abandon(&self, tag: usize) {
        let answered = {
            let mut state = self.state.lock();
            let undo = state.pending.get(tag).map_or(NOFID, |p| p.undo);
            let answer = state.take_answer(tag);
            if answer.is_none()
                && let Some(pending) = state.pending.get_mut(tag)
            {
                pending.waiter = None;
            }
            answer.map(|answer| (answer, undo))
        };
        match answered {
            Some((Ok(answer), undo)) if answer.reply().is_ok() => self.clunk_later(undo),
            Some(_) => {}
            None => self.flush(tag),
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

    /// Gives a fid back without waiting for the reply.
    pub fn clunk_later(&self, fid: u32) {
        {
            let mut state = self.state.lock();
            if state.down || fid == NOFID {
                return;
            }
            // There is room, but for a fid that its maker took for dropped.
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

    /// Tells the server what is not wanted any more, as far as there are tags.
    pub(super) fn give_back(&self) {
        loop {
            let (tag, unwanted) = {
                let mut state = self.state.lock();
                if state.unwanted.is_empty() && state.given_up == 0 || state.down {
                    return;
                }
                let Some(tag) = state.try_tag() else { return };
                (tag, state.take_unwanted())
            };
            let Some(unwanted) = unwanted else {
                return self.state.lock().free_tag(tag);
            };
            let sent = match unwanted {
                Unwanted::Fid(fid) => self.send_detached(tag, &Request::Clunk { fid }),
                Unwanted::Write { wid, fid } => self.send_detached(tag, &abort(wid, fid)),
            };
            if !sent {
                // Not now: there is no memory, or a note came.
                return self.state.lock().keep_unwanted(unwanted);
            }
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

    /// Sends a request whose reply only frees the tag; was it sent?
    fn send_detached(&self, tag: usize, request: &Request<'_>) -> bool {
        let sent = encode(tag as u16, request, 0).and_then(|head| {
            self.end.send(Message {
                head,
                ..Message::default()
            })
        });
        if sent.is_err() {
            self.state.lock().not_sent(tag);
        }
        sent.is_ok()
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
    FIDS.fetch_add(1, Relaxed);
}

/// Counts a fid given back.
pub fn uncount_fid() {
    FIDS.fetch_sub(1, Relaxed);
}

fn encode(tag: u16, request: &Request<'_>, payload: usize) -> Result<Vec<u8>, Errno> {
    for size in [SMALL_HEAD, HEAD_MAX] {
        let mut head = room(size)?;
        head.resize(size, 0);
        if let Ok(len) = ninep::encode_request_head(tag, request, payload, &mut head) {
            head.truncate(len);
            return Ok(head);
        }
    }
    Err(Errno::ENAMETOOLONG)
}

impl State {
    /// Writes come first: they name fids.
    fn take_unwanted(&mut self) -> Option<Unwanted> {
        if self.given_up == 0 {
            let fid = self.unwanted.pop()?;
            self.fids = self.fids.saturating_sub(1);
            return Some(Unwanted::Fid(fid));
        }
        let mut writes = self.writes.iter().enumerate();
        let (at, wid, fid) = writes.find_map(|(at, w)| Some((at, w.wid, w.given_up?)))?;
        self.writes.swap_remove(at);
        self.given_up -= 1;
        Some(Unwanted::Write { wid, fid })
    }

    /// What [`State::take_unwanted`] took could not be sent.
    fn keep_unwanted(&mut self, unwanted: Unwanted) {
        match unwanted {
            Unwanted::Fid(fid) if self.unwanted.try_reserve(1).is_ok() => {
                self.fids += 1;
                self.unwanted.push(fid);
            }
            Unwanted::Write { wid, fid } if self.writes.try_reserve(1).is_ok() => {
                let given_up = Some(fid);
                self.writes.push(Outstanding { wid, given_up });
                self.given_up += 1;
            }
            Unwanted::Fid(_) | Unwanted::Write { .. } => {}
        }
    }

    /// A free tag, marked as sent by nobody.
    pub(super) fn try_tag(&mut self) -> Option<usize> {
        let tag = (!self.used).trailing_zeros() as usize;
        let pending = self.pending.get_mut(tag)?;
        *pending = Pending::new(Progress::Sent);
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
                self.held.leave();
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
    /// now on.
    fn flush_done(&mut self, tag: usize) {
        let Some(pending) = self.pending.get_mut(tag) else {
            return;
        };
        pending.flushed = false;
        match (&pending.progress, pending.waiter) {
            (Progress::Sent, Some(slot)) => {
                pending.progress = Progress::Answered(Err(Errno::EINTR));
                sched::unpark(slot);
            }
            (Progress::Sent, None) | (Progress::Free, _) => self.free_tag(tag),
            (Progress::Answered(_), _) => {}
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

    /// A reply for `tag`; what it leaves to do if nobody waits for it.
    pub(super) fn answer(&mut self, tag: usize, result: Result<Answer, Errno>) -> Afterwards {
        let Some(pending) = self.pending.get_mut(tag) else {
            return Afterwards::default();
        };
        if !matches!(pending.progress, Progress::Sent) {
            return Afterwards::default();
        }
        if let Some(slot) = pending.waiter {
            pending.progress = Progress::Answered(result);
            sched::unpark(slot);
            return Afterwards::default();
        }
        let made = result.is_ok_and(|a| a.reply().is_ok());
        let after = Afterwards {
            clunk: (made && pending.undo != NOFID).then_some(pending.undo),
            trimmed: pending.trims.take(),
        };
        let flushed = pending.flushes.take();
        self.free_tag(tag);
        if let Some(old) = flushed {
            self.flush_done(usize::from(old));
        }
        after
    }
}
