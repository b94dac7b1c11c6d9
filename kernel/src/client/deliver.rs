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
use super::rpc::{Answer, trace_name};
use super::{Mount, Sink, Trimmed, snapshots};
use crate::chan::kept::Driver;
use crate::chan::{Client, Incoming, Piece, Stop};
use crate::counters;
use crate::sched::{self, Slot};
use crate::trace;
use abi::trace::Event;
use abi::{Errno, Stat64};
use alloc::sync::Arc;
use alloc::vec::Vec;
use ninep::client::{Failed, Matched, Receipt, Tag};
use ninep::consts::{READ_HEAD, RREAD, RREADDIR, RREADDIRATTR};

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
        let (size, kind, tag) = ninep::peek(head).ok_or(Errno::EPROTO)?;
        let mut len = message.len();
        let (matched, sink) = {
            let mut state = self.state.lock();
            // The data is in the sink already: the size counts it.
            let direct = kind == RREAD && len == READ_HEAD as u64 && state.is_lent(tag);
            if direct {
                len = len.max(size.into());
            }
            let receipt = match self.end.has_queued(|sent| sent.tag() == Some(tag)) {
                true => Receipt::Partial,
                false => Receipt::Whole,
            };
            let matched = state.machine.expect(head, len, receipt)?;
            let sink = match &matched {
                Matched::Wanted(tag) => state.take_sink(*tag),
                Matched::Done(_) | Matched::TooLong(_) => Sink::default(),
            };
            (matched, sink)
        };
        let (answered, result) = match matched {
            Matched::Wanted(tag) => match take(message, (head, len), &sink) {
                Ok(answer) => (Answered::Now(tag, answer), Ok(())),
                Err(stop) => {
                    self.state.lock().keep_sink(tag, sink);
                    return Err(stop);
                }
            },
            Matched::Done(effects) => (Answered::Before(effects), Ok(())),
            Matched::TooLong(effects) => (Answered::Before(effects), Err(Errno::EPROTO.into())),
        };
        // Before the tag may be used again.
        let request = trace_name(self.id, tag);
        trace::note(Event::Answer, kind.into(), [request, len, 0]);
        // In any case a tag may be free now.
        let effects = self.step(|state| {
            let effects = match answered {
                Answered::Now(tag, answer) => state.machine.answer(tag, answer),
                Answered::Before(effects) => effects,
            };
            state.end_loans();
            effects
        });
        counters::add(Stat64::Messages, 1);
        if matches!(kind, RREAD | RREADDIR | RREADDIRATTR) {
            let data = len.saturating_sub(READ_HEAD as u64);
            counters::add(Stat64::BytesIn, data);
        }
        apply(effects);
        result
    }

    fn lend(&self, tag: u16, to: &mut [u64], borrower: &Arc<Driver>) -> usize {
        self.state.lock().lend(tag, to, borrower)
    }

    fn lends_data(&self, head: &[u8]) -> bool {
        self.state.lock().lends_data(head)
    }

    fn keep_data(&self, head: &[u8], data: Vec<Piece>, borrower: &Arc<Driver>) {
        self.state.lock().keep_data(head, data, borrower);
    }

    fn kept_data(&self, at: u64) -> Option<Piece> {
        self.state.lock().kept_data(at)
    }

    fn take_back(&self, tag: u16) {
        self.state.lock().take_back(tag);
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
    (head, len): (&[u8], u64),
    sink: &Sink,
) -> Result<Result<Answer, Failed>, Stop> {
    if !sink.is_empty() {
        return take_data(message, (head, len), sink);
    }
    let answer = Answer::of(len as usize, |bytes| message.copy(0, bytes))?;
    Ok(answer.map_err(Failed::Lost))
}

/// Copies the data of an Rread into the frames that wait for it, unless the device of
/// its server has written it there.
fn take_data(
    message: &dyn Incoming,
    (head, len): (&[u8], u64),
    sink: &Sink,
) -> Result<Result<Answer, Failed>, Stop> {
    let data = len.saturating_sub(READ_HEAD as u64);
    if ninep::payload_start(head) != Some(READ_HEAD) || data > sink.len() as u64 {
        return Ok(Err(Failed::Lost(Errno::EPROTO)));
    }
    let mut left = match len == message.len() {
        true => data as usize,
        false => 0,
    };
    let mut at = READ_HEAD as u64;
    for piece in sink.pieces() {
        if left == 0 {
            break;
        }
        let take = piece.len.min(left);
        let to = (&piece.frame, piece.at);
        message.copy_to_frame(at, to, take)?;
        at += take as u64;
        left -= take;
    }
    Ok(Ok(Answer::Sunk(data as usize)))
}
