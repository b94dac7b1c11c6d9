//! Taking replies from a server, in the server's own system call.
//!
//! The server gathers a reply from its memory; the payload of an Rread goes
//! from there straight into the frames that wait for it. Nothing a server
//! sends is believed: sizes, tags and counts are checked, and what does not
//! fit is an error for the one who waits, or for the server.
//!
//! A reply is taken in one step (invariant 15): from the moment it is matched
//! with its request until the request is answered nothing waits, so nothing else
//! runs, and the sink that is filled is that of the request that is answered. Where
//! a page of the server's is not ready nothing is taken; the sender makes it ready
//! and delivers the reply again.
use super::{Mount, Progress, TAGS, rpc::Answer, snapshots};
use crate::chan::{Client, Incoming, Piece, Stop, room};
use crate::counters;
use abi::{Errno, Stat64};
use alloc::vec::Vec;
use ninep::consts::{NOTAG, READ_HEAD, RREAD, RREADDIR};

/// A reply that a server sends.
struct Received<'a> {
    message: &'a dyn Incoming,
    head: &'a [u8],
    kind: u8,
}

impl Client for Mount {
    /// # Errors
    /// `EPROTO` for what is no answer to a request that the server has received.
    fn deliver(&self, message: &dyn Incoming) -> Result<(), Stop> {
        self.try_deliver(message)?;
        self.give_back();
        Ok(())
    }

    fn hang_up(&self) {
        self.end_all();
    }
}

impl Mount {
    fn try_deliver(&self, message: &dyn Incoming) -> Result<(), Stop> {
        let mut head = [0; READ_HEAD];
        let total = message.len();
        let known = message.copy(0, &mut head)?;
        let head = &head[..known];
        let (size, kind, wire_tag) = ninep::peek(head).ok_or(Errno::EPROTO)?;
        if u64::from(size) != total {
            return Err(Stop::Failed(Errno::EPROTO));
        }
        let received = Received {
            message,
            head,
            kind,
        };
        let tag = match wire_tag {
            NOTAG => 0,
            tag => usize::from(tag),
        };
        let claimed = self.claim(tag, wire_tag).ok_or(Errno::EPROTO)?;
        let too_long = total > u64::from(self.msize());
        let answer = match &claimed {
            _ if too_long => Err(Errno::EPROTO),
            Claimed::Nobodys => Ok(Answer::Message(Vec::new())),
            Claimed::Sink(sink) => match received.take(sink) {
                Ok(answer) => answer,
                Err(page) => {
                    self.put_back(tag, claimed);
                    return Err(page);
                }
            },
        };
        counters::add(Stat64::Messages, 1);
        if kind == RREAD || kind == RREADDIR {
            counters::add(Stat64::BytesIn, total.saturating_sub(READ_HEAD as u64));
        }
        drop(claimed);
        self.answer(tag, answer);
        if too_long {
            return Err(Stop::Failed(Errno::EPROTO));
        }
        Ok(())
    }

    /// The sink of a request in flight; it stays in flight meanwhile. `None` if
    /// the server has received no such request, or has answered it.
    fn claim(&self, tag: usize, wire_tag: u16) -> Option<Claimed> {
        if tag >= TAGS || self.is_queued(wire_tag) {
            return None;
        }
        let mut state = self.state.lock();
        let pending = state.pending.get_mut(tag)?;
        if !matches!(pending.progress, Progress::Sent) || pending.wire_tag != wire_tag {
            return None;
        }
        Some(match pending.waiter {
            Some(_) => Claimed::Sink(core::mem::take(&mut pending.sink)),
            None => Claimed::Nobodys,
        })
    }

    /// The reply could not be taken yet.
    fn put_back(&self, tag: usize, claimed: Claimed) {
        if let Claimed::Sink(sink) = claimed
            && let Some(pending) = self.state.lock().pending.get_mut(tag)
        {
            pending.sink = sink;
        }
    }

    /// Answers a request, and does what is left to do if nobody waits for it.
    pub(super) fn answer(&self, tag: usize, answer: Result<Answer, Errno>) {
        let after = self.state.lock().answer(tag, answer);
        if let Some(what) = after.trimmed {
            snapshots::trimmed(what);
        }
        if let Some(fid) = after.clunk {
            self.clunk_later(fid);
        }
    }
}

/// What is known of a request when its reply comes.
enum Claimed {
    /// Nobody waits for it.
    Nobodys,
    /// Where its data goes.
    Sink(Vec<Piece>),
}

impl Received<'_> {
    /// Copies it, without waiting. The inner error is for the one who waits.
    fn take(&self, sink: &[Piece]) -> Result<Result<Answer, Errno>, Stop> {
        if self.kind == RREAD && !sink.is_empty() {
            return self.sink_data(sink);
        }
        let len = self.message.len() as usize;
        let Ok(mut bytes) = room(len) else {
            return Ok(Err(Errno::ENOMEM));
        };
        bytes.resize(len, 0);
        self.message.copy(0, &mut bytes)?;
        Ok(Ok(Answer::Message(bytes)))
    }

    /// Copies the data of an Rread into the frames that wait for it.
    fn sink_data(&self, sink: &[Piece]) -> Result<Result<Answer, Errno>, Stop> {
        let room: usize = sink.iter().map(|p| p.len).sum();
        let data = self.message.len().saturating_sub(READ_HEAD as u64);
        if ninep::payload_start(self.head) != Some(READ_HEAD) || data > room as u64 {
            return Ok(Err(Errno::EPROTO));
        }
        let mut left = data as usize;
        let mut at = READ_HEAD as u64;
        for piece in sink {
            let take = piece.len.min(left);
            let to = (&piece.frame, piece.at);
            self.message.copy_to_frame(at, to, take)?;
            at += take as u64;
            left -= take;
        }
        Ok(Ok(Answer::Sunk(data as usize)))
    }
}
