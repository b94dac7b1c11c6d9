//! `write` from a segment: changed pages are sent, unchanged ranges are named.
//!
//! The buffer is walked in runs: private pages are DATA, bytes associated with
//! a snapshot KEEP, resident or not, and untouched zeros ZERO. The messages of
//! one *piece* (at most `wmax` bytes sent or moved) are pipelined and take
//! effect together. Pieces follow each other, so that a short one ends the
//! write with nothing written behind it. The written ranges become content of
//! one snapshot, `into`, and the buffer is associated with it: the next `write`
//! of the same image sends only the changes since.
//!
//! If the server has lost bytes that were named, [`Caution`] decides the next
//! attempt: resident pages are sent instead.

use core::ops::Range;

use abi::Errno;

use crate::caution::Caution;
use crate::extents::{Extent, Source};
use crate::fork::release_unused;
use crate::page_in::load;
use crate::replace::parts;
use crate::stage::{Message, Run};
use crate::steps::{MESSAGES, Turns, in_steps};
use crate::{
    Access, Count, Frame, Host, Limits, Memory, OpKind, PAGE, PageState, Put, PutReply, Segment,
    SnapId, Ticket, fault, in_a_call,
};

/// Where in the file a write goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteTo {
    /// At this offset.
    At(u64),
    /// To the end, wherever that is when it takes effect.
    End,
}

impl From<u64> for WriteTo {
    fn from(off: u64) -> WriteTo {
        WriteTo::At(off)
    }
}

/// Writes bytes `[at, at + n)` of the segment to the file; how many of them the
/// server acknowledged, less than `n` if an error came later.
///
/// # Errors
/// Only if nothing was written: `EFAULT` outside of the segment, `EFBIG` past
/// the largest offset, `ENOMEM`, `EINTR`, and the server's.
pub fn write<H: Host>(
    h: &mut H,
    at: u64,
    n: u64,
    file: H::File,
    to: impl Into<WriteTo>,
) -> Result<u64, Errno> {
    let range = h
        .with(|segment, _| segment.range(at, n))
        .ok_or(Errno::EFAULT)?;
    if n == 0 {
        return Ok(0);
    }
    let to = to.into();
    if let WriteTo::At(off) = to {
        off.checked_add(n).ok_or(Errno::EFBIG)?;
    }
    let limits = h.limits(file);
    let mut job = Job {
        file,
        range,
        to,
        limits,
        into: None,
        zeros: None,
        caution: Caution::new(),
    };
    let result = job.run(h);
    job.forget_into(h);
    if let Some(zeros) = job.zeros {
        h.with(|_, m| m.release(zeros));
    }
    release_unused(h);
    result
}

/// One `write`.
struct Job<F> {
    file: F,
    range: Range<u64>,
    to: WriteTo,
    limits: Limits,
    /// The snapshot that the written ranges become content of, pinned.
    into: Option<SnapId>,
    /// A frame of zeros, for servers that want them as data.
    zeros: Option<Frame>,
    caution: Caution,
}

/// One commit of it.
struct Piece {
    /// The staged range: from the piece's first byte to the next to be staged.
    range: Range<u64>,
    /// It goes no further.
    end: u64,
    /// From the first byte that is sent to the last.
    sent: Range<u64>,
    /// It names something that the server has.
    names: bool,
    wid: u64,
    ticket: Ticket,
    /// The extents' when it began.
    generation: u64,
    /// Bytes that may still be sent or moved.
    room: u64,
}

impl Piece {
    /// These bytes are sent.
    fn send(&mut self, bytes: Range<u64>) {
        self.room -= bytes.end - bytes.start;
        if self.sent.is_empty() {
            self.sent.start = bytes.start;
        }
        self.sent.end = bytes.end;
    }
}

impl<F: Copy> Job<F> {
    fn run<H: Host<File = F>>(&mut self, h: &mut H) -> Result<u64, Errno> {
        let start = self.range.start;
        let mut at = start;
        while at < self.range.end {
            match self.write_piece(h, at) {
                // A server that does nothing and says no error: enough.
                Ok(0) => break,
                Ok(done) => {
                    at += done;
                    self.caution.relax();
                }
                Err(error) if self.caution.try_again(error) => {
                    let left = at / PAGE..self.range.end.div_ceil(PAGE);
                    let kept = in_steps(h, left, |h, left| {
                        Ok(h.with(|segment, m| segment.keep_some(m, left))?)
                    });
                    match kept {
                        Ok(()) => self.forget_into(h),
                        Err(error) if at == start => return Err(error),
                        Err(_) => break,
                    }
                }
                Err(error) if at == start => return Err(error),
                Err(_) => break,
            }
        }
        Ok(at - start)
    }

    /// Where position `at` of the buffer goes, if that is known.
    fn offset(&self, at: u64) -> Option<u64> {
        match self.to {
            WriteTo::At(off) => Some(off + (at - self.range.start)),
            WriteTo::End => None,
        }
    }

    /// Stages and commits one piece from `at`; how many bytes were done. The order
    /// matters: the target is chosen and trimmed before anything is staged, other
    /// servers' bytes are loaded before the wid takes room at this one, and the
    /// extents are held from the first message that names them to the answer.
    fn write_piece<H: Host<File = F>>(&mut self, h: &mut H, at: u64) -> Result<u64, Errno> {
        if self.into.is_none() {
            self.choose_into(h, at);
            self.give_up_hidden(h, at);
        }
        let end = self.wake_ahead(h, at)?;
        let wid = h.put_begin(self.file)?;
        let (ticket, generation) = h.with(|segment, _| {
            segment.extents.hold();
            (segment.new_ticket(), segment.extents.generation())
        });
        let mut piece = Piece {
            range: at..at,
            end,
            sent: at..at,
            names: false,
            wid,
            ticket,
            generation,
            room: self.limits.wmax.max(1),
        };
        let answer = match self.stage(h, &mut piece) {
            Ok(()) => h.put_wait(self.file, wid),
            Err(error) => {
                h.put_abort(self.file, wid);
                Err(error)
            }
        };
        self.caution.sent(&piece.range, piece.names);
        self.complete(h, &piece, answer)
    }

    /// Loads the bytes of other servers that a piece from `at` will send,
    /// before anything is staged: in the middle of a piece the writer has room
    /// at the server that others wait for, so it must not wait for any server
    /// then. Returns the end of the piece, which lies before bytes that could
    /// not be loaded.
    fn wake_ahead<H: Host<File = F>>(&self, h: &mut H, at: u64) -> Result<u64, Errno> {
        let (mut left, end) = (at, self.caution.end(&(at..self.range.end)));
        if !self.limits.snapshots || !self.names_others(h) {
            return Ok(end);
        }
        let (mut room, mut turns) = (self.limits.wmax, Turns::new());
        while let Some(extent) = h.with(|segment, _| segment.extents.first(left..end)) {
            left = extent.end;
            turns.turn(h);
            if h.same_server(extent.source.snap, self.file) && !self.caution.wakes() {
                continue;
            }
            for page in extent.start / PAGE..extent.end.div_ceil(PAGE) {
                turns.turn(h);
                if h.with(|segment, m| segment.state(m, page)) != PageState::Absent {
                    continue;
                }
                let before = extent.start.max(page * PAGE);
                match fault(h, page, Access::Load) {
                    Ok(()) => room = room.saturating_sub(PAGE),
                    Err(error) if before <= at => return Err(in_a_call(error)),
                    Err(_) => return Ok(before),
                }
                if room == 0 {
                    return Ok(end.min((page + 1) * PAGE));
                }
            }
        }
        Ok(end)
    }

    /// Returns true if the buffer is associated with snapshots that the server
    /// of the write cannot reach or may have lost.
    fn names_others<H: Host<File = F>>(&self, h: &mut H) -> bool {
        let (mut last, mut turns) = (None, Turns::new());
        while let Some(snap) = h.with(|segment, _| segment.extents.uses.referred(last).next()) {
            if self.caution.wakes() || !h.same_server(snap, self.file) {
                return true;
            }
            last = Some(snap);
            turns.turn(h);
        }
        false
    }

    /// The end of a piece, whatever the answer: its pages become clean or dirty, and
    /// the extents are released in the last step, not before, because a trim or a
    /// release in between could take what the commit has just made `into`'s.
    fn complete<H: Host<File = F>>(
        &mut self,
        h: &mut H,
        piece: &Piece,
        answer: Result<PutReply, Errno>,
    ) -> Result<u64, Errno> {
        let len = piece.range.end - piece.range.start;
        let done = answer.map_or(0, |reply| reply.count.min(len));
        let target = self.target(piece, answer);
        let tied = target.filter(|_| answer.is_ok_and(|reply| reply.assoc));
        let range = piece.range.clone();
        let associate = tied.map(|source| (source, piece.generation));
        let mut completion = None;
        let mut complete = |segment: &mut Segment, m: &mut H::Memory| {
            let completion = completion.get_or_insert_with(|| {
                segment.begin_completion((&range, &piece.sent), piece.ticket, done, associate)
            });
            if !segment.complete_some(m, completion) {
                return false;
            }
            if let Some(target) = target {
                // It may cover the written ranges all the same.
                segment.extents.drop_untied(range.clone(), target);
            }
            segment.extents.let_go();
            true
        };
        while !h.with(&mut complete) {
            h.pause();
        }
        if self.to == WriteTo::End {
            // The next piece need not follow this one in the file, and a
            // snapshot has one delta.
            self.forget_into(h);
        }
        answer.map(|_| done)
    }

    /// The source that the piece's bytes became content of, or may have become.
    fn target(&self, piece: &Piece, answer: Result<PutReply, Errno>) -> Option<Source> {
        let base = answer.ok().map(|reply| reply.off);
        let soff = self.offset(piece.range.start).or(base)?;
        // A base the server made up must not wrap.
        soff.checked_add(piece.range.end - piece.range.start)?;
        let snap = self.into?;
        Some(Source { snap, soff })
    }

    /// Sends all messages of a piece, the last with the commit.
    fn stage<H: Host<File = F>>(&mut self, h: &mut H, piece: &mut Piece) -> Result<(), Errno> {
        let mut message = Message::new();
        let result = self.stage_in(h, piece, &mut message);
        h.with(|_, m| message.clear(m));
        result
    }

    fn stage_in<H: Host<File = F>>(
        &mut self,
        h: &mut H,
        piece: &mut Piece,
        message: &mut Message,
    ) -> Result<(), Errno> {
        let (mut messages, mut runs) = (Turns::in_steps_of(MESSAGES), Turns::new());
        while piece.range.end < piece.end {
            if message.full(&self.limits) {
                if !self.limits.snapshots {
                    break;
                }
                self.send(h, piece, message, false)?;
                h.with(|_, m| message.clear(m));
                messages.turn(h);
            }
            runs.turn(h);
            match self.add_run(h, piece, message) {
                Ok(Some(0)) => break,
                Ok(Some(added)) => piece.range.end += added,
                // The page has changed its state: check again.
                Ok(None) => {}
                Err(error) if piece.range.is_empty() => return Err(error),
                // The bytes before it are written; the next piece meets the
                // error again.
                Err(_) => break,
            }
        }
        self.send(h, piece, message, true)
    }

    fn send<H: Host<File = F>>(
        &self,
        h: &mut H,
        piece: &Piece,
        message: &Message,
        commit: bool,
    ) -> Result<(), Errno> {
        h.put_send(&Put {
            file: self.file,
            wid: piece.wid,
            off: self.offset(piece.range.start).unwrap_or(0),
            append: self.to == WriteTo::End,
            commit,
            into: self.into,
            ops: message.ops(),
            data: message.data(),
        })
    }

    /// How far bytes that cost something may go in this piece: to a page
    /// boundary if it is not the end, for half a page never becomes clean.
    fn paid_end(&self, piece: &Piece) -> u64 {
        let at = piece.range.end;
        let end = at.saturating_add(piece.room);
        if end >= piece.end {
            return piece.end;
        }
        match end / PAGE * PAGE {
            cut if cut > at => cut,
            _ if piece.range.is_empty() => end,
            _ => at,
        }
    }

    /// Puts the run at the end of `piece` into the message; its length, 0 if
    /// the piece has no room for it, `None` if one must look again.
    fn add_run<H: Host<File = F>>(
        &mut self,
        h: &mut H,
        piece: &mut Piece,
        message: &mut Message,
    ) -> Result<Option<u64>, Errno> {
        let at = piece.range.end;
        let paid_end = self.paid_end(piece);
        let (rest, ticket, limits) = (at..piece.end, piece.ticket, self.limits);
        let run = h.with(|segment, m| {
            segment.next_run(m, rest, paid_end, ticket, (&mut *message, &limits))
        });
        let data = match run {
            Run::Zero(len) if limits.snapshots => {
                message.op(OpKind::Zero, at - piece.range.start, len);
                return Ok(Some(len));
            }
            Run::Named(extent)
                if h.same_server(extent.source.snap, self.file) && !self.caution.wakes() =>
            {
                return Ok(Some(self.keep(h, piece, message, extent)));
            }
            Run::Data(len) => len,
            Run::NoMemory => return Err(Errno::ENOMEM),
            Run::Swapped if paid_end <= at => return Ok(Some(0)),
            // The swap server waits for nobody, so a piece may be under way.
            Run::Swapped => {
                load(h, at / PAGE..paid_end.div_ceil(PAGE)).map_err(in_a_call)?;
                // Another process may have begun to bring it back.
                fault(h, at / PAGE, Access::Load).map_err(in_a_call)?;
                return Ok(None);
            }
            Run::Zero(len) => {
                let zeros = self.zeros(h)?;
                let zero = at..(at + len).min(paid_end);
                h.with(|_, m| message.gather_zeros(m, zeros, zero, &limits))
            }
            // Asleep after all: the next piece begins with it.
            Run::Named(_) if self.would_wait(h, piece) => return Ok(Some(0)),
            Run::Named(extent) => {
                match wake(h, at..extent.end.min(paid_end), (message, &limits))? {
                    Some(len) => len,
                    None => return Ok(None),
                }
            }
        };
        if data > 0 {
            message.op(OpKind::Data, at - piece.range.start, data);
            piece.send(at..at + data);
            h.with(|_, m| m.count(Count::Sent, data));
        }
        Ok(Some(data))
    }

    /// Returns true if the page at the end of `piece` would have to be loaded
    /// while part of the piece may be staged.
    fn would_wait<H: Host<File = F>>(&self, h: &mut H, piece: &Piece) -> bool {
        let page = piece.range.end / PAGE;
        let state = h.with(|segment, m| segment.state(m, page));
        let sleeps = matches!(state, PageState::Absent | PageState::Filling(_));
        self.limits.snapshots && !piece.range.is_empty() && sleeps
    }

    /// Names bytes that the server has; how many.
    fn keep<H: Host<File = F>>(
        &self,
        h: &mut H,
        piece: &mut Piece,
        message: &mut Message,
        extent: Extent,
    ) -> u64 {
        let at = piece.range.end;
        let Source { snap, soff } = extent.source;
        let in_place = self.offset(at) == Some(soff) && h.same_file(snap, self.file);
        let mut len = extent.len();
        if !in_place {
            len = len.min(self.paid_end(piece) - at);
            piece.room -= len;
        }
        if len > 0 {
            piece.names = true;
            message.op(OpKind::Keep { snap, soff }, at - piece.range.start, len);
            h.with(|_, m| m.count(Count::Elided, len));
        }
        len
    }

    fn zeros<H: Host<File = F>>(&mut self, h: &mut H) -> Result<Frame, Errno> {
        if self.zeros.is_none() {
            self.zeros = h.with(|_, m| m.alloc_zeroed());
        }
        self.zeros.ok_or(Errno::ENOMEM)
    }

    /// Chooses the snapshot that the bytes from `at` on become content of: the
    /// snapshot that a part of the buffer is associated with at that place of
    /// that file, if this segment is its only holder, because no before-images
    /// are then saved for the reader that is overwriting them; otherwise a
    /// fresh one. None if no page would become clean, or no handle is free: the
    /// pages then stay dirty.
    fn choose_into<H: Host<File = F>>(&mut self, h: &mut H, at: u64) {
        let rest = at..self.range.end;
        if !self.limits.snapshots || !h.deferred(self.file) {
            return;
        }
        let whole_pages = !parts(&rest).pages.is_empty();
        let own = match self.caution.used() {
            true => None,
            false => self.own_snapshot(h, rest),
        };
        self.into = own.or_else(|| {
            if !whole_pages {
                return None;
            }
            let snap = h.new_snap(self.file).ok()?;
            if h.with(|segment, _| segment.extents.uses.adopt(snap))
                .is_err()
            {
                h.release_snap(snap);
                return None;
            }
            Some(snap)
        });
    }

    /// Trims the part of `into` beside the written part of a dirty page, which
    /// no page refers to. The server is told now, because this very write would
    /// make it save a before-image: work that eager I/O does not do, and a
    /// write that would be refused without space for it.
    fn give_up_hidden<H: Host<File = F>>(&self, h: &mut H, at: u64) {
        let Some(snap) = self.into.filter(|snap| h.holders(*snap) == 1) else {
            return;
        };
        for edge in parts(&(at..self.range.end)).edges.into_iter().flatten() {
            let start = edge.start / PAGE * PAGE;
            for rest in [start..edge.start, edge.end..start + PAGE] {
                let hidden = h.with(|segment, m| segment.untie_hidden(m, rest, snap));
                if let Some(soffs) = hidden {
                    h.trim(snap, &[soffs]);
                }
            }
        }
    }

    /// A snapshot of the buffer with the write's delta that is this segment's
    /// alone, pinned. A snapshot with another delta would need a second extent for
    /// the same bytes, and one with other holders would change under them.
    fn own_snapshot<H: Host<File = F>>(&self, h: &mut H, mut rest: Range<u64>) -> Option<SnapId> {
        let delta = self.offset(rest.start)?.wrapping_sub(rest.start);
        let mut turns = Turns::new();
        while !rest.is_empty() {
            let found = h.with(|segment, _| {
                let found = segment.extents.changeable(delta, &rest);
                found.inspect(|fits| segment.extents.uses.pin(fits.source.snap))
            });
            let extent = match found {
                Ok(extent) => extent,
                Err(end) => {
                    rest.start = end;
                    h.pause();
                    continue;
                }
            };
            let snap = extent.source.snap;
            if h.holders(snap) == 1 && h.same_file(snap, self.file) {
                return Some(snap);
            }
            h.with(|segment, _| segment.extents.uses.unpin(snap));
            rest.start = extent.end;
            turns.turn(h);
        }
        None
    }

    /// Unpins the target; it is released if nothing became content of it.
    fn forget_into<H: Host<File = F>>(&mut self, h: &mut H) {
        if let Some(snap) = self.into.take() {
            h.with(|segment, _| segment.extents.uses.unpin(snap));
        }
    }
}

/// Puts the bytes of clean pages from `range.start` on, which the server of the write
/// cannot get at itself, into the message; how many. The first page is woken if it
/// sleeps, and those with it that read-ahead brings. `None` if it is not a clean one
/// any more.
fn wake<H: Host>(
    h: &mut H,
    range: Range<u64>,
    (message, limits): (&mut Message, &Limits),
) -> Result<Option<u64>, Errno> {
    if range.is_empty() {
        return Ok(Some(0));
    }
    let awake = h.with(|segment, m| segment.clean_run(m, range.clone(), (&mut *message, limits)));
    if awake.is_some() {
        return Ok(awake);
    }
    fault(h, range.start / PAGE, Access::Load).map_err(in_a_call)?;
    Ok(h.with(|segment, m| segment.clean_run(m, range, (message, limits))))
}
