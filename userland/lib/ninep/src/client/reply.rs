//! Matching of messages from the server with requests.
use super::table::State;
use super::{Client, Tag, Then};
use crate::{Reply, decode_reply, peek};
use abi::Errno;

/// The effects of a step that the caller must carry out. In addition, tags may
/// have become free ([`Client::has_tag`]), and messages of the client's own may
/// be ready ([`Client::own`]).
#[must_use = "a waiter that is not woken waits for ever"]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Effects<W, T> {
    /// The waiter to wake.
    pub wake: Option<W>,
    /// A request that nothing waited for is over, with this status.
    pub told: Option<(T, Result<(), Errno>)>,
}

impl<W, T> Effects<W, T> {
    /// Nothing is left to do.
    pub const NONE: Self = Effects {
        wake: None,
        told: None,
    };
}

/// Why a request has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Failed {
    /// The request was not sent: the server does not know of it.
    Unsent(Errno),
    /// The server answered with this error: the request was not performed.
    Refused(Errno),
    /// There was no valid answer: `EINTR` for a request that was flushed or
    /// withdrawn, also if the server answers a flushed one with that error; `EPROTO` for a malformed answer, or the error that ended the
    /// connection.
    Lost(Errno),
}

impl Failed {
    /// As an error. `EINTR` means that the client gave the request up: no server may say
    /// that of another.
    pub const fn errno(self) -> Errno {
        match self {
            Failed::Refused(Errno::EINTR) => Errno::EIO,
            Failed::Unsent(errno) | Failed::Refused(errno) | Failed::Lost(errno) => errno,
        }
    }
}

impl From<Failed> for Errno {
    fn from(failed: Failed) -> Errno {
        failed.errno()
    }
}

/// How much of a request the server has received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receipt {
    /// All of it: it may be answered.
    Whole,
    /// Not all yet.
    Partial,
}

/// The meaning of a message.
#[must_use]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Matched<W, T> {
    /// The reply to a request whose waiter needs its content. Nothing has
    /// changed yet: the caller takes the content and calls [`Client::answer`],
    /// with no other step between.
    Wanted(Tag),
    /// A reply of which the head says all, or the wrong one. Its request is over.
    Done(Effects<W, T>),
    /// A reply longer than the connection's messages. Its request is over with
    /// `EPROTO`, and the server has broken the protocol.
    TooLong(Effects<W, T>),
}

impl<W, A, T> Client<W, A, T> {
    /// Matches a message with its request. `head` holds its first
    /// [`READ_HEAD`](crate::consts::READ_HEAD) bytes, or all if there are
    /// fewer; `len` is its length.
    ///
    /// # Errors
    /// `EPROTO` for a message that is not a reply to a request that the server
    /// has received and not answered. Nothing has changed then.
    #[inline]
    pub fn expect(
        &mut self,
        head: &[u8],
        len: u64,
        receipt: Receipt,
    ) -> Result<Matched<W, T>, Errno> {
        let (size, kind, tag) = peek(head).ok_or(Errno::EPROTO)?;
        let tag = Tag(tag);
        let call = self.table.get(tag).ok_or(Errno::EPROTO)?;
        let State::Sent(then) = &call.state else {
            return Err(Errno::EPROTO);
        };
        if u64::from(size) != len || receipt == Receipt::Partial {
            return Err(Errno::EPROTO);
        }
        let status = match status(kind, call.reply, head) {
            // It has given up what it was told to give up.
            Err(Failed::Refused(Errno::EINTR)) if call.is_flushed() => {
                Err(Failed::Lost(Errno::EINTR))
            }
            status => status,
        };
        if size > self.msize {
            return Ok(Matched::TooLong(self.end(tag, Err(NONSENSE))));
        }
        if status.is_ok() && matches!(then, Then::Wake(_)) {
            return Ok(Matched::Wanted(tag));
        }
        Ok(Matched::Done(self.end(tag, status.map(|()| None))))
    }

    /// Ends the request with that tag with the content of its reply, or with an error
    /// of the caller's.
    #[inline]
    pub fn answer(&mut self, tag: Tag, answer: Result<A, Failed>) -> Effects<W, T> {
        self.end(tag, answer.map(Some))
    }

    #[inline]
    fn end(&mut self, tag: Tag, answer: Result<Option<A>, Failed>) -> Effects<W, T> {
        let mut effects = Effects::NONE;
        let Some(closed) = self.table.close(tag) else {
            return effects;
        };
        if let Some(fid) = closed.unwanted {
            self.keep_unwanted(fid);
        }
        if let Then::Wake(waiter) = closed.then {
            let answer = answer.and_then(|content| content.ok_or(NONSENSE));
            if let Some(call) = self.table.get(tag) {
                call.state = State::Answered(answer);
            }
            effects.wake = Some(waiter);
            return effects;
        }
        self.table.retire(tag);
        self.unwaited(closed.then, answer.map(drop).map_err(Failed::errno))
    }

    /// The effects of the end of a request without a waiter.
    fn unwaited(&mut self, then: Then<W, T>, status: Result<(), Errno>) -> Effects<W, T> {
        let mut effects = Effects::NONE;
        match then {
            Then::Staged(wid) => effects.wake = self.writes.answered(wid, status),
            Then::Clunk(fid) => {
                self.clunks -= 1;
                self.fids.give_back(fid);
            }
            Then::Aborted(wid) => self.writes.end(wid),
            Then::Tell(what) => effects.told = Some((what, status)),
            Then::Flushed(old) => {
                // The Tflush is over with any reply. `old` is not the tag of a
                // Tflush, so this recursion ends here.
                let errno = self.down.unwrap_or(Errno::EINTR);
                effects = self.end(old, Err(Failed::Lost(errno)));
                self.table.flushed(old);
            }
            Then::Wake(_) | Then::Nothing => {}
        }
        effects
    }
}

/// A reply of the wrong kind.
const NONSENSE: Failed = Failed::Lost(Errno::EPROTO);

/// Whether a message of that kind is the reply that a request wants.
#[inline]
fn status(kind: u8, wanted: u8, head: &[u8]) -> Result<(), Failed> {
    if kind == wanted {
        return Ok(());
    }
    match decode_reply(head) {
        Ok((_, Reply::Error(errno))) => Err(Failed::Refused(errno)),
        _ => Err(NONSENSE),
    }
}
