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
use super::{Mount, Trimmed, rpc::Answer, snapshots};
use crate::chan::{Client, Incoming, Piece, Stop, room};
use crate::counters;
use crate::sched::{self, Slot};
use abi::{Errno, Stat64};
use alloc::vec::Vec;
use ninep::client::{Failed, Matched, Receipt, Tag};
use ninep::consts::{READ_HEAD, RREAD, RREADDIR};

type Effects = ninep::client::Effects<Slot, Trimmed>;

/// When a request ends.
enum Answered {
    /// With its content, which was taken.
    Now(Tag, Result<Answer, Failed>),
    /// When it was matched.
    Before(Effects),
}

impl Client for Mount {
    /// # Errors
    /// `EPROTO` for a message that is not a reply to a received request.
    fn deliver(&self, message: &dyn Incoming) -> Result<(), Stop> {
        let mut head = [0; READ_HEAD];
        let known = message.copy(0, &mut head)?;
        let head = &head[..known];
        let (_, kind, tag) = ninep::peek(head).ok_or(Errno::EPROTO)?;
        let (matched, sink) = {
            let mut state = self.state.lock();
            let receipt = match self.end.has_queued(|sent| sent.tag() == Some(tag)) {
                true => Receipt::Partial,
                false => Receipt::Whole,
            };
            let matched = state.machine.expect(head, message.len(), receipt)?;
            let sink = match &matched {
                Matched::Wanted(tag) => state.take_sink(*tag),
                Matched::Done(_) | Matched::TooLong(_) => Vec::new(),
            };
            (matched, sink)
        };
        let (answered, result) = match matched {
            Matched::Wanted(tag) => match take(message, head, &sink) {
                Ok(answer) => (Answered::Now(tag, answer), Ok(())),
                Err(stop) => {
                    self.state.lock().keep_sink(tag, sink);
                    return Err(stop);
                }
            },
            Matched::Done(effects) => (Answered::Before(effects), Ok(())),
            Matched::TooLong(effects) => (Answered::Before(effects), Err(Errno::EPROTO.into())),
        };
        // In any case a tag may be free now.
        let effects = self.step(|state| match answered {
            Answered::Now(tag, answer) => state.machine.answer(tag, answer),
            Answered::Before(effects) => effects,
        });
        counters::add(Stat64::Messages, 1);
        if kind == RREAD || kind == RREADDIR {
            let data = message.len().saturating_sub(READ_HEAD as u64);
            counters::add(Stat64::BytesIn, data);
        }
        apply(effects);
        result
    }

    fn hang_up(&self) {
        self.end_all();
    }
}

/// Carries out the effects of a request's end.
pub(super) fn apply(effects: Effects) {
    if let Some(slot) = effects.wake {
        sched::unpark(slot);
    }
    if let Some((what, _)) = effects.told {
        snapshots::trimmed(what);
    }
}

/// Copies the content of a reply, without waiting. The inner error is for the
/// waiting process.
fn take(
    message: &dyn Incoming,
    head: &[u8],
    sink: &[Piece],
) -> Result<Result<Answer, Failed>, Stop> {
    if !sink.is_empty() {
        return take_data(message, head, sink);
    }
    let len = message.len() as usize;
    let Ok(mut bytes) = room(len) else {
        return Ok(Err(Failed::Lost(Errno::ENOMEM)));
    };
    bytes.resize(len, 0);
    message.copy(0, &mut bytes)?;
    Ok(Ok(Answer::Message(bytes)))
}

/// Copies the data of an Rread into the frames that wait for it.
fn take_data(
    message: &dyn Incoming,
    head: &[u8],
    sink: &[Piece],
) -> Result<Result<Answer, Failed>, Stop> {
    let room: usize = sink.iter().map(|p| p.len).sum();
    let data = message.len().saturating_sub(READ_HEAD as u64);
    if ninep::payload_start(head) != Some(READ_HEAD) || data > room as u64 {
        return Ok(Err(Failed::Lost(Errno::EPROTO)));
    }
    let mut left = data as usize;
    let mut at = READ_HEAD as u64;
    for piece in sink {
        let take = piece.len.min(left);
        let to = (&piece.frame, piece.at);
        message.copy_to_frame(at, to, take)?;
        at += take as u64;
        left -= take;
    }
    Ok(Ok(Answer::Sunk(data as usize)))
}
