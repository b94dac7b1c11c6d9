//! The tags of a connection, with the purpose and state of each request.
use super::{Failed, Tag, Then};
use crate::Request;
use crate::consts::{NOFID, NOTAG, put};
use abi::Errno;
use alloc::vec::Vec;
use core::mem;

/// How far a request is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum State<W, A, T> {
    /// There is none: the tag is free.
    Free,
    /// It has no reply yet.
    Sent(Then<W, T>),
    /// The reply waits to be taken.
    Answered(Result<A, Failed>),
    /// It is over, but the reply to its Tflush is still to come and must not meet
    /// another request with the same tag.
    Over,
}

/// How far the Tflush of a request is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Flush {
    /// There is none.
    No,
    /// It goes out as soon as a tag is free.
    Wanted,
    /// It has no reply yet.
    Sent,
}

/// A tag and its request.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Call<W, A, T> {
    pub state: State<W, A, T>,
    flush: Flush,
    /// Type number of the reply, unless that is an error.
    pub reply: u8,
    /// The fid that the request makes, or the snapshot that it changes.
    makes: Option<u32>,
    /// The fid is to be clunked as soon as the request is over.
    unwanted: bool,
}

impl<W, A, T> Call<W, A, T> {
    const FREE: Self = Call {
        state: State::Free,
        flush: Flush::No,
        reply: 0,
        makes: None,
        unwanted: false,
    };

    /// Returns true if a Tflush of the request is with the server.
    pub fn is_flushed(&self) -> bool {
        self.flush == Flush::Sent
    }

    fn is_making(&self, fid: u32) -> bool {
        self.makes == Some(fid) && matches!(self.state, State::Sent(_))
    }
}

/// The remains of a request that is over.
pub(super) struct Closed<W, T> {
    /// The purpose of its reply.
    pub then: Then<W, T>,
    /// A fid to clunk.
    pub unwanted: Option<u32>,
}

/// All tags.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Table<W, A, T> {
    /// By tag.
    calls: Vec<Call<W, A, T>>,
    /// The call under [`NOTAG`].
    version: Call<W, A, T>,
    /// Free tags; the last one is given out next. Has room for all.
    free: Vec<Tag>,
    /// Tflushes that wait for a tag.
    flushes: usize,
}

impl<W, A, T> Table<W, A, T> {
    /// A table of `tags` free tags.
    pub fn new(tags: u16) -> Result<Self, Errno> {
        if tags == NOTAG {
            return Err(Errno::EINVAL);
        }
        let (mut calls, mut free) = (Vec::new(), Vec::new());
        let count = usize::from(tags);
        calls.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        calls.resize_with(count, || Call::FREE);
        free.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        free.extend((0..tags).rev().map(Tag));
        Ok(Table {
            calls,
            version: Call::FREE,
            free,
            flushes: 0,
        })
    }

    /// The number of free tags.
    #[inline]
    pub const fn free(&self) -> usize {
        self.free.len()
    }

    /// Returns true if all tags are free.
    pub const fn is_empty(&self) -> bool {
        self.free.len() == self.calls.len()
    }

    /// Returns true if Tflushes wait for a tag.
    #[inline]
    pub const fn has_flushes(&self) -> bool {
        self.flushes > 0
    }

    /// The call with that tag, whatever its state.
    #[inline]
    pub fn get(&mut self, tag: Tag) -> Option<&mut Call<W, A, T>> {
        match tag {
            Tag(NOTAG) => Some(&mut self.version),
            Tag(tag) => self.calls.get_mut(usize::from(tag)),
        }
    }

    /// All tags.
    pub fn tags(&self) -> impl Iterator<Item = Tag> + use<W, A, T> {
        (0..self.calls.len() as u16).chain([NOTAG]).map(Tag)
    }

    /// The purpose of the reply to a request, if it is still to come.
    pub fn then(&self, tag: Tag) -> Option<&Then<W, T>> {
        let call = match tag {
            Tag(NOTAG) => Some(&self.version),
            Tag(tag) => self.calls.get(usize::from(tag)),
        };
        match &call?.state {
            State::Sent(then) => Some(then),
            _ => None,
        }
    }

    /// Takes a free tag for `request`. `None`: there is none.
    #[inline]
    pub fn open(&mut self, request: &Request<'_>, then: Then<W, T>) -> Option<Tag> {
        let tag = match request {
            Request::Version { .. } => Tag(NOTAG),
            _ => self.free.pop()?,
        };
        let call = self.get(tag)?;
        if !matches!(call.state, State::Free) {
            return None;
        }
        call.state = State::Sent(then);
        call.reply = request.kind() + 1;
        call.makes = made_by(request);
        Some(tag)
    }

    /// Ends a request that has no reply yet. Its tag is free after
    /// [`Table::retire`] or, with an answer put there, [`Table::take`].
    #[inline]
    pub fn close(&mut self, tag: Tag) -> Option<Closed<W, T>> {
        let flushes = self.flushes;
        let call = self.get(tag)?;
        let then = match mem::replace(&mut call.state, State::Over) {
            State::Sent(then) => then,
            state => {
                call.state = state;
                return None;
            }
        };
        let unwanted = match mem::take(&mut call.unwanted) {
            true => call.makes,
            false => None,
        };
        if call.flush == Flush::Wanted {
            call.flush = Flush::No;
            self.flushes = flushes - 1;
        }
        Some(Closed { then, unwanted })
    }

    /// Frees the tag of a request that is over, unless its Rflush is still to come.
    #[inline]
    pub fn retire(&mut self, tag: Tag) {
        if let Some(call) = self.get(tag)
            && matches!(call.state, State::Over)
            && call.flush == Flush::No
        {
            call.state = State::Free;
            if tag != Tag(NOTAG) {
                self.free.push(tag);
            }
        }
    }

    /// Takes the answer to a request, if it is here.
    #[inline]
    pub fn take(&mut self, tag: Tag) -> Option<Result<A, Failed>> {
        let call = self.get(tag)?;
        if !matches!(call.state, State::Answered(_)) {
            return None;
        }
        let State::Answered(answer) = mem::replace(&mut call.state, State::Over) else {
            return None;
        };
        self.retire(tag);
        Some(answer)
    }

    /// A Tflush of the request is to go out, if it has no reply and none did.
    pub fn want_flush(&mut self, tag: Tag) {
        if let Some(call) = self.get(tag)
            && call.flush == Flush::No
            && let State::Sent(then) = &call.state
            && then.is_flushable()
        {
            call.flush = Flush::Wanted;
            self.flushes += 1;
        }
    }

    /// The next request that a Tflush is to go out for; it is taken to be sent.
    pub fn next_flush(&mut self) -> Option<Tag> {
        if self.flushes == 0 {
            return None;
        }
        let mut tags = self.tags();
        let wanted = |tag: &Tag| self.get(*tag).is_some_and(|c| c.flush == Flush::Wanted);
        let tag = tags.find(wanted)?;
        self.get(tag)?.flush = Flush::Sent;
        self.flushes -= 1;
        Some(tag)
    }

    /// The Tflush of `tag` has its reply, or never will.
    pub fn flushed(&mut self, tag: Tag) {
        if let Some(call) = self.get(tag)
            && call.flush == Flush::Sent
        {
            call.flush = Flush::No;
            self.retire(tag);
        }
    }

    /// Finds the request in flight that creates `fid`, which must be clunked
    /// afterwards.
    pub fn unwant(&mut self, fid: u32) -> Result<(), NotMade> {
        let mut calls = self.calls.iter_mut();
        let call = calls.find(|call| call.is_making(fid)).ok_or(NotMade)?;
        call.unwanted = true;
        Ok(())
    }
}

/// The fid that a request makes at the server, or the snapshot that it changes.
#[inline]
fn made_by(request: &Request<'_>) -> Option<u32> {
    match *request {
        Request::Walk { newfid, .. }
        | Request::Walkopen { newfid, .. }
        | Request::Xattrwalk { newfid, .. } => Some(newfid),
        Request::Attach { fid, .. } => Some(fid),
        Request::Snap { snapfid, .. } => Some(snapfid),
        Request::Put { flags, into, .. } if flags & put::COMMIT != 0 => {
            Some(into).filter(|fid| *fid != NOFID)
        }
        _ => None,
    }
}

/// No request in flight makes that fid.
pub(super) struct NotMade;
