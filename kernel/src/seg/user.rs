//! Touching user memory.
//!
//! Two ways, the same rules. Bytes are copied to and from the running process, to
//! which `space` belongs, through its own translations (`hw::user`), where a page
//! that is not ready makes the copy fail instead of the kernel. Frames are copied, or
//! lent to a message, after a look-up as the processor makes it. Either way the page
//! is then made ready by the ordinary fault path (rule 5: a system call that
//! takes a sleeping buffer wakes what it needs; invariant 12: a store detaches
//! first), and the copy is tried again. Nothing preempts the kernel between a
//! look-up and its copy, so no frame has to be pinned for it.
use super::{Space, SpaceLock, fault};
use crate::chan::{Message, Piece, Source, Stop, room};
use crate::sched::{self, relief};
use abi::{Errno, PAGE, USER_END};
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use hw::frames::FrameRef;
use hw::paging::Page;
use vm::Access;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Checks that `[va, va + len)` could be user memory at all.
#[inline]
pub fn check(va: u64, len: u64) -> Result<(), Errno> {
    match va.checked_add(len) {
        Some(end) if end <= USER_END => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

/// Makes the page at `va`, which is not, ready for `access`.
fn make_ready(space: &SpaceLock, va: u64, access: Access) -> Result<(), Errno> {
    refuse_devices(space, va, 1)?;
    fault::resolve(space, va, access).map_err(told)
}

/// `EFAULT` if any of the range is a device's memory, which is for its driver's own
/// loads and stores. Asked before each copy: the driver's own touch maps the page.
#[inline]
fn refuse_devices(space: &SpaceLock, va: u64, len: u64) -> Result<(), Errno> {
    match space.lock().has_device(va..va.saturating_add(len)) {
        true => Err(Errno::EFAULT),
        false => Ok(()),
    }
}

/// Fills `to` from memory that is ready. On an error part of it may be filled.
#[inline]
pub(super) fn copy_in(space: &SpaceLock, va: u64, to: &mut [u8]) -> Result<(), Stop> {
    refuse_devices(space, va, to.len() as u64)?;
    hw::user::copy_in(to, va).map_err(|fault| Stop::NotReady(fault.address))
}

/// Copies from and to the running process, which has no device's memory, so that none
/// must be refused.
pub struct Plain(());

impl Plain {
    /// `None` if the process, to which `space` belongs, has a device's memory.
    #[inline]
    pub fn of(space: &SpaceLock) -> Option<Plain> {
        space.lock().devices.is_empty().then_some(Plain(()))
    }

    /// Fills `to` from memory if that is ready; if not, part of it may be filled.
    #[inline]
    pub fn read(&self, va: u64, to: &mut [u8]) -> Option<()> {
        hw::user::copy_in(to, va).ok()
    }

    /// Copies between memory, if that is ready for `access`, and part of a frame: to the
    /// frame, or, for a store, from it. Nothing else refers to the frame: where a program
    /// has it, the copy might overlap itself.
    #[inline(always)]
    pub(super) fn copy_frame(
        &self,
        access: Access,
        va: u64,
        (frame, at): (&FrameRef, usize),
        len: usize,
    ) -> Result<(), Stop> {
        let copied = match access {
            Access::Store => frame.copy_out(at, va, len),
            Access::Load | Access::Fetch => frame.copy_in(at, va, len),
        };
        copied.map_err(|fault| Stop::NotReady(fault.address))
    }

    /// Copies to memory if that is ready; if not, part may have been stored.
    #[inline]
    pub fn write(&self, va: u64, from: &[u8]) -> Option<()> {
        hw::user::copy_out(va, from).ok()
    }
}

/// Copies to memory that is ready. On an error part may have been stored.
#[inline]
fn copy_out(space: &SpaceLock, va: u64, from: &[u8]) -> Result<(), Stop> {
    refuse_devices(space, va, from.len() as u64)?;
    hw::user::copy_out(va, from).map_err(|fault| Stop::NotReady(fault.address))
}

/// As [`copy_in`] or, for a store, [`copy_out`], with part of a frame as for
/// [`Plain::copy_frame`].
#[inline(always)]
pub(super) fn copy_frame(
    space: &SpaceLock,
    access: Access,
    va: u64,
    part: (&FrameRef, usize),
    len: usize,
) -> Result<(), Stop> {
    refuse_devices(space, va, len as u64)?;
    Plain(()).copy_frame(access, va, part, len)
}

/// Makes the page at `va` ready for `access`.
fn resolve(space: &SpaceLock, va: u64, access: Access) -> Result<(), Errno> {
    check(va, 1)?;
    let not_ready = |va| make_ready(space, va, access);
    with_page(space, va, access, not_ready, |_| ())
}

/// The frame of the page at `va`, which is made ready for `access`.
pub fn hold(space: &SpaceLock, va: u64, access: Access) -> Result<FrameRef, Errno> {
    check(va, 1)?;
    let not_ready = |va| make_ready(space, va, access);
    with_page(space, va, access, not_ready, |page| page.hold())
}

/// The error of a call whose memory is denied. A program that takes memory in
/// calls gets the note of relief like any other.
fn told(denied: fault::Denied) -> Errno {
    if denied == fault::Denied::Failed(Errno::ENOMEM) {
        relief::denied_in_call();
    }
    denied.errno()
}

/// As [`make_ready`], for a store to all of the page at `va`: its content is not
/// loaded first (rule 8), so it does not matter whether it is lost.
fn overwrite(space: &SpaceLock, va: u64) -> Result<(), Errno> {
    check(va, PAGE)?;
    refuse_devices(space, va, PAGE)?;
    fault::overwrite(space, va).map_err(fault::Denied::errno)
}

/// `EFAULT` unless all of the range lies in segments that allow the access.
#[inline]
pub fn within(space: &SpaceLock, va: u64, len: u64, access: Access) -> Result<(), Errno> {
    plain_within(space, va, len, access).map(drop)
}

/// The same, and [`Plain::of`] in one look.
#[inline]
pub fn plain_within(
    space: &SpaceLock,
    va: u64,
    len: u64,
    access: Access,
) -> Result<Option<Plain>, Errno> {
    check(va, len)?;
    let space = space.lock();
    if !space.last_allow(va, len, access) {
        within_several(&space, va..va + len, access)?;
    }
    Ok(space.devices.is_empty().then_some(Plain(())))
}

/// As [`within`] for two ranges, in one look.
#[inline]
pub fn both_within(
    space: &SpaceLock,
    ranges: [(u64, u64); 2],
    access: Access,
) -> Result<(), Errno> {
    for (va, len) in ranges {
        check(va, len)?;
    }
    let space = space.lock();
    for (va, len) in ranges {
        if !space.last_allow(va, len, access) {
            within_several(&space, va..va + len, access)?;
        }
    }
    Ok(())
}

/// The same for a range that may lie in several.
#[inline(never)]
fn within_several(space: &Space, range: Range<u64>, access: Access) -> Result<(), Errno> {
    let Range { start: mut at, end } = range;
    while at < end {
        match space.find(at) {
            Some(segment) if access != Access::Store || segment.write => at = segment.end(),
            _ => return Err(Errno::EFAULT),
        }
    }
    Ok(())
}

/// Calls `f` with the page at `va`, which `not_ready` makes ready for `access`.
fn with_page<T, E>(
    space: &SpaceLock,
    va: u64,
    access: Access,
    mut not_ready: impl FnMut(u64) -> Result<(), E>,
    f: impl FnOnce(Page<'_>) -> T,
) -> Result<T, E> {
    loop {
        if let Some(page) = space.lock().view.pages.page(va, access) {
            return Ok(f(page));
        }
        not_ready(va)?;
    }
}

/// Calls `f(page, length, done)` for each page of the range `(va, len)`.
pub(super) fn for_each_page<E>(
    space: &SpaceLock,
    (va, len): (u64, usize),
    access: Access,
    mut not_ready: impl FnMut(u64) -> Result<(), E>,
    mut f: impl FnMut(Page<'_>, usize, usize),
) -> Result<(), E> {
    let mut done = 0;
    while done < len {
        let at = va + done as u64;
        done += with_page(space, at, access, &mut not_ready, |page| {
            let run = page.len().min(len - done);
            f(page, run, done);
            run
        })?;
    }
    Ok(())
}

/// Copies from user memory.
pub fn read(space: &SpaceLock, va: u64, to: &mut [u8]) -> Result<(), Errno> {
    check(va, to.len() as u64)?;
    let mut done = 0;
    loop {
        match copy_in(space, va + done as u64, &mut to[done..]) {
            Ok(()) => return Ok(()),
            Err(Stop::NotReady(address)) => {
                fault::resolve(space, address, Access::Load).map_err(told)?;
                done = copied(va, address, done);
            }
            Err(Stop::Failed(errno)) => return Err(errno),
        }
    }
}

/// Bytes that are copied at once, as long as there are so many.
const WORD: u64 = 8;

/// Bytes that have been copied when the copy met a fault at `address`: all words
/// that lie before its page.
fn copied(va: u64, address: u64, before: usize) -> usize {
    let page = address / PAGE * PAGE;
    (page.saturating_sub(va + WORD) as usize).max(before)
}

/// Copies to user memory. Pages that are overwritten completely are not loaded
/// first.
pub fn write(space: &SpaceLock, va: u64, from: &[u8]) -> Result<(), Errno> {
    check(va, from.len() as u64)?;
    write_source(
        space,
        va,
        Source::Bytes(from),
        &(va..va + from.len() as u64),
    )
}

/// Runs a copy that does not wait until it has found all pages ready; makes
/// those ready that it has not, waiting for their content if they are asleep, and
/// for memory if there is none.
pub fn waiting<T>(
    space: &SpaceLock,
    access: Access,
    mut copy: impl FnMut() -> Result<T, Stop>,
) -> Result<T, Errno> {
    let mut tries = relief::Tries::default();
    loop {
        match copy() {
            Ok(copied) => return Ok(copied),
            Err(Stop::NotReady(va)) => resolve(space, va, access)?,
            Err(Stop::Failed(Errno::ENOMEM)) if relief::relieve(&mut tries)? => {}
            Err(Stop::Failed(errno)) => {
                if errno == Errno::ENOMEM {
                    relief::denied_in_call();
                }
                return Err(errno);
            }
        }
    }
}

/// Copies from a message to user memory, of which `all` is overwritten before
/// anything else runs.
pub fn write_source(
    space: &SpaceLock,
    va: u64,
    from: Source<'_>,
    all: &Range<u64>,
) -> Result<(), Errno> {
    waiting(space, Access::Store, || {
        try_write_source(space, va, from, all)
    })
}

/// The same, without waiting: a page of which only a part is overwritten must be
/// ready.
fn try_write_source(
    space: &SpaceLock,
    va: u64,
    from: Source<'_>,
    all: &Range<u64>,
) -> Result<(), Stop> {
    let not_ready = |va: u64| {
        let page = va / PAGE * PAGE;
        if page < all.start || page + PAGE > all.end {
            return Err(Stop::NotReady(va));
        }
        Ok(overwrite(space, page)?)
    };
    if let Source::Frame(frame, at, len) = from
        && !frame.is_only()
    {
        let copy = |page: Page<'_>, run, done| page.copy_from((frame, at + done), run);
        return for_each_page(space, (va, len), Access::Store, not_ready, copy);
    }
    let mut done = 0;
    loop {
        match copy_part(space, va, from, done..from.len()) {
            Err(Stop::NotReady(address)) => {
                let page = (address / PAGE * PAGE).saturating_sub(va) as usize;
                // Of a word over the page's start nothing was stored. What is before it is
                // complete whatever becomes of the page: there might be nothing else there.
                if page > done && !(va + done as u64).is_multiple_of(WORD) {
                    copy_part(space, va, from, copied(va, address, done)..page)?;
                }
                done = done.max(page);
                not_ready(address)?;
            }
            copied => return copied,
        }
    }
}

/// Copies that part of a message, which is for the memory at `va`, if that is ready.
#[inline]
fn copy_part(space: &SpaceLock, va: u64, from: Source<'_>, part: Range<usize>) -> Result<(), Stop> {
    let va = va + part.start as u64;
    match from {
        Source::Bytes(bytes) => copy_out(space, va, &bytes[part]),
        Source::Frame(frame, at, _) => copy_frame(
            space,
            Access::Store,
            va,
            (frame, at + part.start),
            part.len(),
        ),
    }
}

/// Copies to user memory without waiting.
pub fn try_write(space: &SpaceLock, va: u64, from: &[u8]) -> Result<(), Stop> {
    let all = va..va + from.len() as u64;
    try_write_source(space, va, Source::Bytes(from), &all)
}

/// Copies up to `limit` bytes of a message to user memory, without waiting; how
/// many. Nothing else runs meanwhile, so that the message is either taken or
/// can be put back.
pub fn try_store(
    space: &SpaceLock,
    va: u64,
    limit: usize,
    message: &Message,
) -> Result<usize, Stop> {
    if let Some(head) = message.as_head()
        && head.len() <= limit
        && copy_out(space, va, head).is_ok()
    {
        return Ok(head.len());
    }
    let all = va..va + limit.min(message.len()) as u64;
    let plain = Plain::of(space);
    message.for_each(limit, |done, source| {
        let va = va + done as u64;
        if let (Some(memory), Source::Frame(frame, at, len)) = (&plain, source)
            && frame.is_only()
            && memory
                .copy_frame(Access::Store, va, (frame, at), len)
                .is_ok()
        {
            return Ok(());
        }
        try_write_source(space, va, source, &all)
    })
}

/// Zeroes user memory. Others may run meanwhile.
pub fn zero(space: &SpaceLock, va: u64, len: usize) -> Result<(), Errno> {
    const ZEROS: [u8; 512] = [0; 512];
    /// Bytes zeroed in one step.
    const STEP: usize = 64 * 1024;
    let mut done = 0;
    while done < len {
        if done > 0 && done.is_multiple_of(STEP) {
            sched::breathe();
        }
        let run = ZEROS.len().min(len - done);
        write(space, va + done as u64, &ZEROS[..run])?;
        done += run;
    }
    Ok(())
}

/// A text of at most `most` bytes, `ENAMETOOLONG` beyond; UTF-8 or `EINVAL`.
pub fn text(space: &SpaceLock, va: u64, len: u64, most: usize) -> Result<String, Errno> {
    let bytes = bytes(space, va, len, most)?;
    String::from_utf8(bytes).map_err(|_| Errno::EINVAL)
}

/// A string of at most `most` bytes, `ENAMETOOLONG` beyond.
pub fn bytes(space: &SpaceLock, va: u64, len: u64, most: usize) -> Result<Vec<u8>, Errno> {
    if len > most as u64 {
        return Err(Errno::ENAMETOOLONG);
    }
    let mut bytes = relief::again(|| room(len as usize))?;
    bytes.resize(len as usize, 0);
    read(space, va, &mut bytes)?;
    Ok(bytes)
}

/// A record.
pub fn get<T: FromBytes + IntoBytes>(space: &SpaceLock, va: u64) -> Result<T, Errno> {
    let mut record = T::new_zeroed();
    read(space, va, record.as_mut_bytes())?;
    Ok(record)
}

/// Puts a record there.
pub fn put<T: IntoBytes + Immutable>(space: &SpaceLock, va: u64, record: &T) -> Result<(), Errno> {
    write(space, va, record.as_bytes())
}

/// A number, if it lies in one page that is mapped; never waits.
pub fn peek_u64(space: &SpaceLock, va: u64) -> Option<u64> {
    if !va.is_multiple_of(8) || check(va, 8).is_err() {
        return None;
    }
    let mut bytes = [0; 8];
    space
        .lock()
        .view
        .pages
        .page(va, Access::Load)?
        .read(&mut bytes);
    Some(u64::from_le_bytes(bytes))
}

/// The pages of a range, each ready for `access` and held by a reference, as
/// pieces for a message. With `Access::Store` the pages are detached first,
/// so that no shared frame is written through (invariant 12).
pub fn pin(space: &SpaceLock, va: u64, len: usize, access: Access) -> Result<Vec<Piece>, Errno> {
    check(va, len as u64)?;
    let mut pieces = room(pages_over(va, len))?;
    let not_ready = |va| make_ready(space, va, access);
    for_each_page(space, (va, len), access, not_ready, |page, len, _| {
        let (frame, at) = (page.hold(), page.offset());
        pieces.push(Piece { frame, at, len });
    })?;
    Ok(pieces)
}

/// Pages that a range touches, at most.
const fn pages_over(va: u64, len: usize) -> usize {
    ((va % PAGE) as usize + len).div_ceil(PAGE as usize)
}

/// Where the data of a read goes.
pub struct Sink {
    va: u64,
    /// Frames of their own, from which the data is copied when it has come;
    /// `None`: it goes straight to the buffer.
    staged: Option<Vec<Piece>>,
}

impl Sink {
    /// For a read of up to `len` bytes to `va`, and the pieces for its message.
    /// Into frames of its own if a page that the read may overwrite entirely is
    /// asleep: then nothing is loaded, and its old content stays until there is
    /// new. Also if other processes have the memory: while the data is on its way, one
    /// of them might fork and then store beside it, and get a copy of the page.
    pub fn new(space: &SpaceLock, va: u64, len: usize) -> Result<(Sink, Vec<Piece>), Errno> {
        let end = va + len as u64;
        let whole = va.next_multiple_of(PAGE)..end / PAGE * PAGE;
        let shared = space.lock().members.len() > 1;
        if !shared && !fault::sleeps(space, whole) {
            let pieces = pin(space, va, len, Access::Store)?;
            return Ok((Sink { va, staged: None }, pieces));
        }
        for edge in [va, end - 1] {
            resolve_edge(space, edge, &(va..end))?;
        }
        let mut staged = room(pages_over(va, len))?;
        let mut pieces = room(pages_over(va, len))?;
        let mut at = va;
        while at < end {
            let piece = Piece::alloc((PAGE - at % PAGE).min(end - at) as usize)?;
            at += piece.len as u64;
            pieces.push(piece.again());
            staged.push(piece);
        }
        let staged = Some(staged);
        Ok((Sink { va, staged }, pieces))
    }

    /// That many bytes have come.
    pub fn filled(self, space: &SpaceLock, got: usize) -> Result<(), Errno> {
        let all = self.va..self.va + got as u64;
        let mut at = all.start;
        for piece in self.staged.iter().flatten() {
            let len = piece.len.min((all.end - at) as usize);
            let source = Source::Frame(&piece.frame, piece.at, len);
            write_source(space, at, source, &all)?;
            at += len as u64;
        }
        Ok(())
    }
}

/// Makes the page at an end of a range ready for a store, unless all of it is
/// in the range.
fn resolve_edge(space: &SpaceLock, edge: u64, all: &Range<u64>) -> Result<(), Errno> {
    let page = edge / PAGE * PAGE;
    if page >= all.start && page + PAGE <= all.end {
        return Ok(());
    }
    resolve(space, edge, Access::Store)
}
