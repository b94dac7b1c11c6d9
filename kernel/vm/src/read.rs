//! `read` into a segment, deferred or eager, and `free`.

use core::ops::Range;

use abi::Errno;

use crate::discard;
use crate::extents::Source;
use crate::fill::read_exactly;
use crate::fork::{release_unused, unmap_shared};
use crate::replace::{Begun, Cut, Left, page_of, parts};
use crate::{
    Access, Frame, Host, Memory, Origin, PAGE, RUN_MAX, Segment, SnapId, fault, in_a_call,
};

/// Replaces bytes `[at, at + n)` of the segment by the file's bytes from `off`,
/// up to its end; returns the byte count.
///
/// If deferred, takes a snapshot and associates the buffer with it: the cost
/// does not depend on `n`. In both modes all bytes come from one moment, and an
/// error leaves the buffer unchanged. Fewer bytes than there are if memory runs out in
/// the middle. Where the server has no snapshots, or no room for one, the file is
/// copied as it is, message by message.
///
/// # Errors
/// `EFAULT` outside of the segment, `ENOMEM`, `EINTR`, and the server's.
pub fn read<H: Host>(h: &mut H, at: u64, n: u64, file: H::File, off: u64) -> Result<u64, Errno> {
    let range = h
        .with(|segment, _| segment.range(at, n))
        .ok_or(Errno::EFAULT)?;
    let n = n.min(u64::MAX - off);
    if n == 0 {
        return Ok(0);
    }
    let limits = h.limits(file);
    let taken = limits.snapshots.then(|| read_snapshot(h, at, n, file, off));
    let result = match taken {
        Some(Err(Errno::EMFILE)) | None => {
            copy_in(h, range, Origin::Live(file), off, limits.iounit)
        }
        Some(result) => result,
    };
    release_unused(h);
    result
}

/// `read` from a server with snapshots.
///
/// # Errors
/// `EMFILE`: there is no room for another snapshot.
fn read_snapshot<H: Host>(
    h: &mut H,
    at: u64,
    n: u64,
    file: H::File,
    off: u64,
) -> Result<u64, Errno> {
    let (snap, count) = take_snapshot(h, at, n, file, off)?;
    let (got, source) = (at..at + count, Source { snap, soff: off });
    let result = match count {
        0 => Ok(0),
        _ => take_over(h, got.clone(), source, file),
    };
    h.with(|segment, _| {
        segment.extents.drop_untied(got, source);
        segment.extents.uses.unpin(snap);
    });
    result
}

/// Makes `range` the bytes of the snapshot: ties it, or copies what must not sleep.
fn take_over<H: Host>(
    h: &mut H,
    range: Range<u64>,
    source: Source,
    file: H::File,
) -> Result<u64, Errno> {
    let tied = match h.deferred(file) {
        true => match associate(h, range.clone(), source)? {
            (tied, Some(Cut::Pinned)) => tied,
            (tied, _) => return Ok(tied),
        },
        false => 0,
    };
    let (rest, from) = (range.start + tied..range.end, Origin::Snap(source.snap));
    let iounit = h.limits(file).iounit;
    match copy_in(h, rest, from, source.soff + tied, iounit) {
        Err(_) if tied > 0 => Ok(tied),
        copied => Ok(tied + copied?),
    }
}

impl Segment {
    /// Makes bytes `[at, at + n)` of a segment of zeros, in which nothing was touched yet,
    /// the bytes of a snapshot from `soff` on, which all come when they are touched. The
    /// segment takes over the caller's reference to the snapshot.
    ///
    /// # Errors
    /// `EFAULT` outside of the segment, `EINVAL` for no bytes, `EBUSY` if the segment has
    /// any content, `ENOMEM`; the reference is the caller's still.
    pub fn tie(&mut self, at: u64, n: u64, snap: SnapId, soff: u64) -> Result<(), Errno> {
        let range = self.range(at, n).ok_or(Errno::EFAULT)?;
        if !self.overlay.is_empty() || !self.extents.is_empty() {
            return Err(Errno::EBUSY);
        }
        if range.is_empty() {
            return Err(Errno::EINVAL);
        }
        self.extents.reserve()?;
        self.extents.uses.adopt(snap)?;
        self.extents.replace(range, Some(Source { snap, soff }));
        self.extents.uses.unpin(snap);
        Ok(())
    }
}

/// Makes bytes `[at, at + n)` zeros and releases their content.
///
/// # Errors
/// `EFAULT` outside of the segment, `ENOMEM`; of a page in swap that stays in part,
/// the errors of a touch. Nothing has changed then, unless others changed the same
/// memory meanwhile.
pub fn free<H: Host>(h: &mut H, at: u64, n: u64) -> Result<(), Errno> {
    let range = h.with(|segment, _| segment.range(at, n));
    unmap_shared(h, parts(&range.ok_or(Errno::EFAULT)?).pages);
    if n == 0 {
        return Ok(());
    }
    let mut left = loop {
        let begun = h.with(|segment, m| {
            let range = segment.range(at, n).ok_or(Errno::EFAULT)?;
            Ok::<Begun, Errno>(segment.begin_replace(m, range, None, [None; 2])?)
        })?;
        match begun {
            Begun::Left(left) => break left,
            Begun::Swapped(page) => fault(h, page, Access::Load).map_err(in_a_call)?,
            // Zeros need no bytes.
            Begun::Needs(_) | Begun::Pinned => return Err(Errno::EIO),
        }
    };
    let result = finish(h, &mut left);
    release_unused(h);
    result.map_err(|_| Errno::ENOMEM)
}

/// Does the rest of a replacement step by step, with others running before each.
///
/// # Errors
/// As [`Segment::replace_some`](crate::Segment::replace_some).
fn finish<H: Host>(h: &mut H, left: &mut Left) -> Result<(), Cut> {
    while !left.is_done() {
        h.pause();
        let done = h.with(|segment, m| segment.replace_some(m, left));
        // What one step gives up is told before the next.
        discard::tell(h);
        done?;
    }
    Ok(())
}

/// A snapshot of `[off, off + n)`, pinned in the segment, and how much of the
/// range it has.
fn take_snapshot<H: Host>(
    h: &mut H,
    at: u64,
    n: u64,
    file: H::File,
    off: u64,
) -> Result<(SnapId, u64), Errno> {
    let grow = growable(h, at, n, file, off);
    match (h.snap(file, off, n, grow), grow) {
        (Ok(taken), Some(grown)) => Ok((grown, taken.count.min(n))),
        (Ok(taken), None) => {
            if h.with(|segment, _| segment.extents.uses.adopt(taken.snap))
                .is_err()
            {
                h.release_snap(taken.snap);
                return Err(Errno::ENOMEM);
            }
            Ok((taken.snap, taken.count.min(n)))
        }
        (Err(error), grow) => {
            if let Some(grow) = grow {
                h.with(|segment, _| segment.extents.uses.unpin(grow));
            }
            Err(error)
        }
    }
}

/// The snapshot that ends where this read begins, or a little before, pinned,
/// if it can take the new range too: many small reads are then one snapshot,
/// and where they adjoin they are one extent. Without that, a loop of small
/// reads over a large file would hold one snapshot and one extent for each.
///
/// A grown snapshot has the new range at a later epoch than the rest. Bytes that
/// can still be asked for must not change, so the snapshot has to be this
/// segment's alone and have nothing in the buffer, which is not asked of one with very many
/// extents.
fn growable<H: Host>(h: &mut H, at: u64, n: u64, file: H::File, off: u64) -> Option<SnapId> {
    if !h.deferred(file) {
        return None;
    }
    let snap = h.with(|segment, _| {
        let before = segment.extents.before(at)?;
        let snap = before.source.snap;
        let near = at - before.end <= PAGE;
        let fits = before.delta() == off.wrapping_sub(at);
        let free = (near && fits)
            && segment.extents.may_change(snap)
            && segment.extents.are_others(&(at..at + n), snap);
        free.then(|| segment.extents.uses.pin(snap)).map(|()| snap)
    })?;
    if h.holders(snap) == 1 && h.same_file(snap, file) {
        return Some(snap);
    }
    h.with(|segment, _| segment.extents.uses.unpin(snap));
    None
}

/// Ties `range` to a snapshot. Fragments on pages that have a frame are fetched
/// first, from the same snapshot: the page holds other bytes that are the
/// segment's own, so it cannot sleep. Each attempt begins from the start, because
/// a page may get a frame, or lose it, while a fragment is fetched. How many bytes are
/// tied, and why no more.
fn associate<H: Host>(
    h: &mut H,
    range: Range<u64>,
    source: Source,
) -> Result<(u64, Option<Cut>), Errno> {
    unmap_shared(h, parts(&range).pages);
    let mut staged = [None; 2];
    let result = loop {
        let begun =
            h.with(|segment, m| segment.begin_replace(m, range.clone(), Some(source), staged));
        let fetched = match begun {
            Ok(Begun::Left(mut left)) => {
                break Ok(match finish(h, &mut left) {
                    Ok(()) => (range.end - range.start, None),
                    Err(cut) => (left.range.start - range.start, Some(cut)),
                });
            }
            Ok(Begun::Pinned) => break Ok((0, Some(Cut::Pinned))),
            Ok(Begun::Swapped(page)) => fault(h, page, Access::Load).map_err(in_a_call),
            Ok(Begun::Needs(edge)) => fetch(h, &range, source, edge, &mut staged),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = fetched {
            break Err(error);
        }
    };
    h.with(|_, m| {
        staged
            .into_iter()
            .flatten()
            .for_each(|frame| m.release(frame))
    });
    result
}

/// Reads the bytes of one edge of `range` into a frame of its own.
fn fetch<H: Host>(
    h: &mut H,
    range: &Range<u64>,
    source: Source,
    index: usize,
    staged: &mut [Option<Frame>; 2],
) -> Result<(), Errno> {
    let edges = parts(range).edges;
    let (Some(Some(edge)), Some(staged)) = (edges.get(index), staged.get_mut(index)) else {
        return Err(Errno::EIO);
    };
    let frame = h.with(|_, m| m.alloc()).ok_or(Errno::ENOMEM)?;
    *staged = Some(frame);
    let (_, at, len) = page_of(edge);
    let source = source.advance(edge.start - range.start);
    read_exactly(h, source, frame, at, len).map_err(in_a_call)
}

/// Copies bytes into `range` with messages as large as they may be. Short where
/// the source is, and where something failed after a beginning.
fn copy_in<H: Host>(
    h: &mut H,
    range: Range<u64>,
    from: Origin<H::File>,
    off: u64,
    iounit: u64,
) -> Result<u64, Errno> {
    let mut at = range.start;
    while at < range.end {
        // Whole pages, where there is a choice.
        let most = iounit.clamp(1, (RUN_MAX as u64 - 1) * PAGE);
        let mut end = range.end.min(at.saturating_add(most));
        if end < range.end && end / PAGE * PAGE > at {
            end = end / PAGE * PAGE;
        }
        match copy_run(h, at..end, from, off + (at - range.start)) {
            Ok(got) if at + got == end => at = end,
            Ok(got) => match from {
                // A snapshot is as long as the server said it is.
                Origin::Snap(_) if got > 0 => at += got,
                Origin::Snap(_) if at == range.start => return Err(Errno::EIO),
                Origin::Snap(_) => break,
                Origin::Live(_) => return Ok(at + got - range.start),
            },
            Err(error) if at == range.start => return Err(error),
            Err(_) => break,
        }
    }
    Ok(at - range.start)
}

/// One message's worth of [`copy_in`]. The bytes go to frames of their own first:
/// an error, or a short answer, leaves the buffer as it was.
fn copy_run<H: Host>(
    h: &mut H,
    range: Range<u64>,
    from: Origin<H::File>,
    off: u64,
) -> Result<u64, Errno> {
    let len = range.end - range.start;
    let pages = (range.end.div_ceil(PAGE) - range.start / PAGE) as usize;
    let mut frames = [Frame(0); RUN_MAX];
    let frames = frames.get_mut(..pages).ok_or(Errno::EIO)?;
    let mut owned = [None; RUN_MAX];
    let owned = owned.get_mut(..pages).ok_or(Errno::EIO)?;
    let result = h.with(|_, m| {
        for (frame, owned) in frames.iter_mut().zip(owned.iter_mut()) {
            *frame = m.alloc().ok_or(Errno::ENOMEM)?;
            *owned = Some(*frame);
        }
        Ok(())
    });
    let result = result.and_then(|()| {
        let at = (range.start % PAGE) as usize;
        let got = match (h.read_run(from, off, frames, at, len as usize), from) {
            (Err(error), Origin::Snap(_)) => return Err(in_a_call(error)),
            (got, _) => got? as u64,
        };
        put_in(h, range.start..range.start + got.min(len), owned)
    });
    h.with(|_, m| owned.iter().flatten().for_each(|&frame| m.release(frame)));
    result
}

/// Puts bytes that have arrived in place.
fn put_in<H: Host>(
    h: &mut H,
    range: Range<u64>,
    frames: &mut [Option<Frame>],
) -> Result<u64, Errno> {
    if range.is_empty() {
        return Ok(0);
    }
    loop {
        match h.with(|segment, m| segment.install(m, range.clone(), frames)) {
            Ok(0) => return Err(Errno::ENOMEM),
            Ok(done) => return Ok(done),
            Err(page) => fault(h, page, Access::Store).map_err(in_a_call)?,
        }
    }
}
