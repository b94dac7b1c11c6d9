//! The client's side of a connection: tags, requests in flight, their replies.
//!
//! A [`Client`] is a state machine without I/O, locks or waiting. Its caller sends
//! and receives the messages and does what a step returns:
//!
//! ```text
//! begin ---> a tag; the caller sends the request     take   <--- the waiter's answer
//! own   ---> a message on the client's own account   expect <--- a message came
//!            (Tclunk, Tflush, the end of a write)    answer <--- its content was taken
//! ```
//!
//! Life of a tag: free, sent, answered, free. What a reply is for is said when its
//! request is sent ([`Then`]), so nothing has to be waiting when the reply comes:
//! - A part of a write notes an error and frees its tag.
//! - A process that ends leaves its request behind ([`Client::detach`]); a fid that
//!   the reply makes is clunked when it has come ([`Client::clunk`]).
//! - A request that is flushed ends with its own reply or with the Rflush, whichever
//!   comes first. Its tag is used again after the Rflush only.
//! - At a hang-up each request ends with an error.
//!
//! A reply ends a request once, and only one that the server has received; anything
//! else is refused and changes nothing.
mod fids;
mod reply;
mod table;
mod writes;

pub use reply::{Effects, Failed, Matched, Receipt};

use crate::consts::{NOFID, put};
use crate::{List, Request};
use abi::Errno;
use alloc::vec::Vec;
use fids::Fids;
use table::{State, Table};
use writes::Writes;

/// The tag of a request in flight.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tag(u16);

impl Tag {
    /// The number in messages.
    #[inline]
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// The purpose of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Then<W, T> {
    /// The reply is kept until the waiter takes it.
    Wake(W),
    /// It answers a part of the write with this number, which notes an error.
    Staged(u64),
    /// The fid is free.
    Clunk(u32),
    /// The server has forgotten the write with this number.
    Aborted(u64),
    /// The request with this tag is over: no reply to it comes any more.
    Flushed(Tag),
    /// The caller is told, with the reply's status.
    Tell(T),
    /// The tag is free.
    Nothing,
}

impl<W, T> Then<W, T> {
    /// Returns true if a Tflush of the request makes sense.
    const fn is_flushable(&self) -> bool {
        match self {
            Then::Wake(_) | Then::Staged(_) | Then::Tell(_) | Then::Nothing => true,
            Then::Clunk(_) | Then::Aborted(_) | Then::Flushed(_) => false,
        }
    }
}

/// A message that the client sends on its own account. Nothing waits for the reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Own {
    /// The server is to forget a request.
    Flush(Tag),
    /// Discards the server's messages of a write.
    Abort {
        /// The write's number.
        wid: u64,
        /// The fid of the write's file.
        fid: u32,
    },
    /// A fid is given back.
    Clunk(u32),
}

impl Own {
    /// As a message.
    pub const fn request(self) -> Request<'static> {
        match self {
            Own::Flush(Tag(oldtag)) => Request::Flush { oldtag },
            Own::Clunk(fid) => Request::Clunk { fid },
            Own::Abort { wid, fid } => Request::Put {
                fid,
                wid,
                ack: 0,
                flags: put::ABORT,
                off: 0,
                into: NOFID,
                known: 0,
                ops: List::new(&[]),
                data: &[],
            },
        }
    }
}

/// Tags that only a Tflush takes: where all others wait at the server for what another
/// request of the connection must bring, those that are given up can still be ended.
pub const FLUSH_TAGS: u16 = 1;
/// Tclunks in flight at most. A server may answer one late, if its file is busy.
const CLUNKS_MAX: u16 = 16;

/// The client's side of a connection. `W` names a waiter, `A` is the content of
/// a reply as the caller keeps it, `T` is the report about a request without a
/// waiter ([`Then::Tell`]).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Client<W, A, T> {
    table: Table<W, A, T>,
    writes: Writes<W>,
    fids: Fids,
    /// Fids that wait for a tag to be clunked with; has room for all that are in use.
    unwanted: Vec<u32>,
    /// Tclunks in flight.
    clunks: u16,
    /// Longest message, either way.
    msize: u32,
    /// The error that requests in flight end with after a hang-up.
    down: Option<Errno>,
}

impl<W, A, T> Client<W, A, T> {
    /// A client with `tags` tags, [`FLUSH_TAGS`] more, and messages of at most `msize`
    /// bytes.
    ///
    /// # Errors
    /// `ENOMEM`; `EINVAL`: too many tags.
    pub fn new(tags: u16, msize: u32) -> Result<Self, Errno> {
        Ok(Client {
            table: Table::new(tags.checked_add(FLUSH_TAGS).ok_or(Errno::EINVAL)?)?,
            writes: Writes::NONE,
            fids: Fids::NONE,
            unwanted: Vec::new(),
            clunks: 0,
            msize,
            down: None,
        })
    }

    /// Longest message, either way.
    #[inline]
    pub const fn msize(&self) -> u32 {
        self.msize
    }

    /// Both sides have agreed on messages of `msize` bytes at most.
    pub const fn set_msize(&mut self, msize: u32) {
        self.msize = msize;
    }

    /// Returns true after a hang-up.
    #[inline]
    pub const fn is_down(&self) -> bool {
        self.down.is_some()
    }
}

/// Requests.
impl<W, A, T> Client<W, A, T> {
    /// Returns true if a tag is free that any request may take.
    #[inline]
    pub const fn has_tag(&self) -> bool {
        self.table.free() > FLUSH_TAGS as usize
    }

    /// A tag for `request`, a message of `len` bytes with its payload. The caller
    /// sends it before the next step, or says [`Client::unsent`]. `None`: all tags
    /// are in use.
    ///
    /// # Errors
    /// `EIO` after a hang-up; `ENAMETOOLONG` if the message is longer than any may be.
    #[inline]
    pub fn begin(
        &mut self,
        request: &Request<'_>,
        len: usize,
        then: Then<W, T>,
    ) -> Result<Option<Tag>, Errno> {
        if self.is_down() {
            return Err(Errno::EIO);
        }
        if len > self.msize as usize {
            return Err(Errno::ENAMETOOLONG);
        }
        let part_of = match then {
            Then::Staged(wid) => Some(wid),
            _ => None,
        };
        let tagged = self.has_tag() || matches!(request, Request::Version { .. });
        let tag = match tagged {
            true => self.table.open(request, then),
            false => None,
        };
        if tag.is_some() {
            if let Request::Put { wid, .. } = request {
                self.writes.begun(*wid);
            }
            if let Some(wid) = part_of {
                self.writes.sent(wid);
            }
        }
        Ok(tag)
    }

    /// The request with that tag could not be sent. One of the client's own is tried
    /// again later.
    pub fn unsent(&mut self, tag: Tag) {
        let Some(closed) = self.table.close(tag) else {
            return;
        };
        match closed.then {
            Then::Staged(wid) => self.writes.unsent(wid),
            Then::Clunk(fid) => {
                self.clunks -= 1;
                self.keep_unwanted(fid);
            }
            Then::Aborted(wid) => self.writes.untell(wid),
            Then::Flushed(old) => {
                self.table.flushed(old);
                self.table.want_flush(old);
            }
            Then::Wake(_) | Then::Tell(_) | Then::Nothing => {}
        }
        self.table.retire(tag);
    }

    /// The answer to a request, if it is here; the tag is free then.
    #[inline]
    pub fn take(&mut self, tag: Tag) -> Option<Result<A, Failed>> {
        self.table.take(tag)
    }

    /// Returns true if the request with that tag still waits for its reply.
    pub fn in_flight(&self, tag: Tag) -> bool {
        self.table.then(tag).is_some()
    }

    /// The request in flight that has this number as its tag.
    pub fn find(&self, number: u16) -> Option<Tag> {
        Some(Tag(number)).filter(|tag| self.in_flight(*tag))
    }

    /// The waiter of a request in flight, for one that changes.
    pub fn waiter(&mut self, tag: Tag) -> Option<&mut W> {
        match &mut self.table.get(tag)?.state {
            State::Sent(Then::Wake(waiter)) => Some(waiter),
            _ => None,
        }
    }

    /// Nothing waits for the request any more: an answer is dropped; without one the
    /// request is flushed, and its reply only frees the tag.
    pub fn detach(&mut self, tag: Tag) {
        if self.table.take(tag).is_some() {
            return;
        }
        if let Some(call) = self.table.get(tag)
            && let State::Sent(then @ Then::Wake(_)) = &mut call.state
        {
            *then = Then::Nothing;
            self.table.want_flush(tag);
        }
    }

    /// Asks the server to forget a request in flight, once.
    pub fn flush(&mut self, tag: Tag) {
        self.table.want_flush(tag);
    }
}

/// The client's own messages, and the end.
impl<W, A, T> Client<W, A, T> {
    /// Returns true if every request has its answer, and nothing is to be given back.
    pub fn is_quiet(&self) -> bool {
        self.table.is_empty() && !self.writes.has_unwanted() && self.unwanted.is_empty()
    }

    /// The next message on the client's own account, with its tag, if one is to go out
    /// and a tag is free. The caller sends it before the next step, or says
    /// [`Client::unsent`] and does not ask again for now.
    #[inline]
    pub fn own(&mut self) -> Option<(Tag, Own)> {
        let any =
            self.table.has_flushes() || self.writes.has_unwanted() || !self.unwanted.is_empty();
        if any && self.table.free() > 0 && !self.is_down() {
            return self.next_own();
        }
        None
    }

    /// A Tflush goes before the end of the write that it belongs to, and that before the
    /// Tclunk of the fid that it names.
    fn next_own(&mut self) -> Option<(Tag, Own)> {
        let (own, then) = if let Some(old) = self.table.next_flush() {
            (Own::Flush(old), Then::Flushed(old))
        } else if !self.has_tag() {
            return None;
        } else if let Some((wid, fid)) = self.writes.next_unwanted() {
            self.writes.tell(wid);
            (Own::Abort { wid, fid }, Then::Aborted(wid))
        } else if self.clunks < CLUNKS_MAX {
            let fid = self.unwanted.pop()?;
            self.clunks += 1;
            (Own::Clunk(fid), Then::Clunk(fid))
        } else {
            return None;
        };
        let tag = self.table.open(&own.request(), then)?;
        Some((tag, own))
    }

    /// The other side has hung up. Every request in flight is to end with `errno`
    /// ([`Client::next_hung_up`]), and every later one fails with `EIO`.
    pub fn hang_up(&mut self, errno: Errno) {
        self.down = Some(self.down.unwrap_or(errno));
        // Nothing has to be given back to a server that is gone.
        self.unwanted.clear();
        self.writes.end_unwanted();
    }

    /// After a hang-up: ends the next request in flight. To be called until `None`.
    pub fn next_hung_up(&mut self) -> Option<Effects<W, T>> {
        let errno = self.down?;
        let in_flight = self.table.tags().find(|tag| self.in_flight(*tag));
        in_flight.map(|tag| self.answer(tag, Err(Failed::Lost(errno))))
    }
}

/// Fids.
impl<W, A, T> Client<W, A, T> {
    /// Takes a number that is no fid on this connection. It belongs to the
    /// caller until [`Client::free_fid`] or, with its file, [`Client::clunk`];
    /// the room for the latter is reserved now.
    ///
    /// # Errors
    /// `ENOMEM`; `ENFILE` if all numbers are in use.
    pub fn new_fid(&mut self) -> Result<u32, Errno> {
        let more = (self.fids.in_use() + 1).saturating_sub(self.unwanted.len());
        let reserved = self.unwanted.try_reserve(more);
        reserved.map_err(|_| Errno::ENOMEM)?;
        self.fids.take()
    }

    /// Numbers given out and not given back.
    pub const fn fids(&self) -> usize {
        self.fids.in_use()
    }

    /// The server has refused to make this fid.
    pub fn free_fid(&mut self, fid: u32) {
        self.fids.give_back(fid);
    }

    /// Gives a fid back; one that a request in flight makes, or a snapshot that it
    /// changes, when that request is over: a Tclunk must not overtake it.
    pub fn clunk(&mut self, fid: u32) {
        if self.is_down() || fid == NOFID {
            return;
        }
        if self.table.unwant(fid).is_err() {
            self.keep_unwanted(fid);
        }
    }

    /// Clunks a fid as soon as a tag is free.
    fn keep_unwanted(&mut self, fid: u32) {
        // There is room, made by `new_fid`.
        if self.unwanted.try_reserve(1).is_ok() {
            self.unwanted.push(fid);
        }
    }
}

/// Writes of several messages.
impl<W, A, T> Client<W, A, T> {
    /// A number for a write, until [`Client::end_write`] or [`Client::abort_write`].
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn begin_write(&mut self) -> Result<u64, Errno> {
        self.writes.begin()
    }

    /// Returns true until the result of the write is known, or the server has said that
    /// it has forgotten the write.
    pub fn has_write(&self, wid: u64) -> bool {
        self.writes.has(wid)
    }

    /// Results of writes with a smaller number are not asked for again.
    pub fn oldest_write(&self) -> u64 {
        self.writes.oldest()
    }

    /// Checks the answers to the parts of a write so far.
    ///
    /// # Errors
    /// The first error among them.
    pub fn check_write(&mut self, wid: u64) -> Result<(), Errno> {
        self.writes.status(wid)
    }

    /// The result of the parts once all have an answer; until then `None`, and the
    /// last answer wakes `waiter`.
    pub fn poll_write(&mut self, wid: u64, waiter: W) -> Option<Result<(), Errno>> {
        self.writes.poll(wid, waiter)
    }

    /// Asks the server to forget the parts of a write that have no answer.
    pub fn flush_write(&mut self, wid: u64) {
        for tag in self.table.tags() {
            if matches!(self.table.then(tag), Some(Then::Staged(of)) if *of == wid) {
                self.table.want_flush(tag);
            }
        }
    }

    /// Tags of the parts of a write that have no answer.
    pub fn parts(&self, wid: u64) -> impl Iterator<Item = Tag> {
        let part = move |then: &Then<W, T>| matches!(then, Then::Staged(of) if *of == wid);
        let tags = self.table.tags();
        tags.filter(move |tag| self.table.then(*tag).is_some_and(part))
    }

    /// The result of the write is known.
    pub fn end_write(&mut self, wid: u64) {
        self.writes.end(wid);
    }

    /// Aborts the write to the file of `fid`, also at a server that may know it.
    pub fn abort_write(&mut self, wid: u64, fid: u32) {
        match self.is_down() {
            true => self.writes.end(wid),
            false => self.writes.give_up(wid, fid),
        }
    }
}
