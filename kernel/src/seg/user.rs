//! Touching user memory.
//!
//! Two ways, the same rules. Small copies to and from the running process
//! go through its own translations (`arch::user`), where a page that is not
//! ready makes the copy fail instead of the kernel. All others look the page
//! up as the processor would and copy through the frame. Either way the page
//! is then made ready by the ordinary fault path (rule 5: a system call that
//! takes a sleeping buffer wakes what it needs; invariant 12: a store detaches
//! first), and the copy is tried again. Nothing preempts the kernel between a
//! look-up and its copy, so no frame has to be pinned for it.
use super::{SpaceLock, fault};
use crate::arch::{self, user::UserFault};
use crate::chan::{FrameRef, Piece, Source, room};
use crate::mem::frames;
use crate::proc::{relief, slots};
use abi::{Errno, PAGE, Slice, USER_END};
use alloc::string::String;
use alloc::vec::Vec;
use vm::{Access, Frame};

/// Checks that `[va, va + len)` could be user memory at all.
pub fn check(va: u64, len: u64) -> Result<(), Errno> {
    match va.checked_add(len) {
        Some(end) if end <= USER_END => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

/// The frame behind `va`, ready for `access`, and the offset in it.
pub fn resolve(space: &SpaceLock, va: u64, access: Access) -> Result<(Frame, usize), Errno> {
    check(va, 1)?;
    loop {
        let found = space.lock().view.pages.translate(va);
        if let Some((frame, prot)) = found
            && prot.user
            && (access == Access::Load || prot.write)
        {
            // Device memory is for its driver's own loads and stores.
            return if frames::managed(frame) {
                Ok((frame, (va % PAGE) as usize))
            } else {
                Err(Errno::EFAULT)
            };
        }
        touch(space, va, access)?;
    }
}

/// What a load or store would do, for a system call. A program that takes memory
/// in calls is told like any other when there is none.
fn touch(space: &SpaceLock, va: u64, access: Access) -> Result<(), Errno> {
    fault::resolve(space, va, access).map_err(|denied| {
        if denied == fault::Denied::Failed(Errno::ENOMEM) {
            relief::note_in_call();
        }
        denied.errno()
    })
}

/// Calls `f(frame, offset, length, done)` for each page of the range.
fn for_each_page(
    space: &SpaceLock,
    va: u64,
    len: usize,
    access: Access,
    mut f: impl FnMut(Frame, usize, usize, usize) -> Result<(), Errno>,
) -> Result<(), Errno> {
    check(va, len as u64)?;
    let mut done = 0;
    while done < len {
        let (frame, at) = resolve(space, va + done as u64, access)?;
        let run = (PAGE as usize - at).min(len - done);
        f(frame, at, run, done)?;
        done += run;
    }
    Ok(())
}

/// Tries a copy through the running process's own translations until no page
/// of it stands in the way.
#[inline]
fn ready(space: &SpaceLock, mut copy: impl FnMut() -> Result<(), UserFault>) -> Result<(), Errno> {
    loop {
        let Err(fault) = copy() else { return Ok(()) };
        check(fault.address, 1)?;
        let access = if fault.write {
            Access::Store
        } else {
            Access::Load
        };
        touch(space, fault.address, access)?;
    }
}

/// Copies from user memory.
pub fn read(space: &SpaceLock, va: u64, to: &mut [u8]) -> Result<(), Errno> {
    if slots::is_current(space) {
        return ready(space, || arch::user::copy_in(to, va));
    }
    for_each_page(space, va, to.len(), Access::Load, |frame, at, run, done| {
        let to = to.get_mut(done..done + run).ok_or(Errno::EFAULT)?;
        frames::copy_from(frame, at, to);
        Ok(())
    })
}

/// Copies to user memory.
pub fn write(space: &SpaceLock, va: u64, from: &[u8]) -> Result<(), Errno> {
    if slots::is_current(space) {
        return ready(space, || arch::user::copy_out(va, from));
    }
    for_each_page(
        space,
        va,
        from.len(),
        Access::Store,
        |frame, at, run, done| {
            let from = from.get(done..done + run).ok_or(Errno::EFAULT)?;
            frames::copy_to(frame, at, from);
            Ok(())
        },
    )
}

/// Copies from a message to user memory.
pub fn write_source(space: &SpaceLock, va: u64, from: Source<'_>) -> Result<(), Errno> {
    match from {
        Source::Bytes(bytes) => write(space, va, bytes),
        Source::Frame(source, from, len) => {
            for_each_page(space, va, len, Access::Store, |frame, at, run, done| {
                frames::copy_between(source, from + done, frame, at, run);
                Ok(())
            })
        }
    }
}

/// Zeroes user memory.
pub fn zero(space: &SpaceLock, va: u64, len: usize) -> Result<(), Errno> {
    const ZEROS: [u8; 512] = [0; 512];
    let mut done = 0;
    while done < len {
        let run = ZEROS.len().min(len - done);
        write(space, va + done as u64, ZEROS.get(..run).unwrap_or(&[]))?;
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
    let mut bytes = room(len as usize)?;
    bytes.resize(len as usize, 0);
    read(space, va, &mut bytes)?;
    Ok(bytes)
}

/// A number.
pub fn read_u64(space: &SpaceLock, va: u64) -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    read(space, va, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// A number, if it lies in one page that is mapped; never waits.
pub fn peek_u64(space: &SpaceLock, va: u64) -> Option<u64> {
    if !va.is_multiple_of(8) || check(va, 8).is_err() {
        return None;
    }
    let (frame, prot) = space.lock().view.pages.translate(va)?;
    (prot.user && frames::managed(frame)).then(|| frames::read_u64(frame, (va % PAGE / 8) as usize))
}

/// The pages of a range, each ready for `access` and held by a reference, as
/// pieces for a message. With `Access::Store` the pages are detached first,
/// so that no shared frame is written through (invariant 12).
pub fn pin(space: &SpaceLock, va: u64, len: usize, access: Access) -> Result<Vec<Piece>, Errno> {
    let pages = (len + 2 * PAGE as usize - 1) / PAGE as usize;
    let mut pieces = room(pages)?;
    for_each_page(space, va, len, access, |frame, at, len, _| {
        let frame = FrameRef::retained(frame);
        pieces.push(Piece { frame, at, len });
        Ok(())
    })?;
    Ok(pieces)
}

/// Most parts of one gathered message.
const PARTS: usize = 8;
/// Most bytes of one gathered message.
const MESSAGE_MAX: u64 = 1 << 20;

/// A message scattered over user memory, its addresses checked for range.
pub struct Gather {
    parts: [Slice; PARTS],
    total: u64,
}

impl Gather {
    /// From an array of `count` slices at `va`.
    pub fn from_user(space: &SpaceLock, va: u64, count: u64) -> Result<Gather, Errno> {
        if count > PARTS as u64 {
            return Err(Errno::E2BIG);
        }
        let mut bytes = [0; PARTS * size_of::<Slice>()];
        let used = count as usize * size_of::<Slice>();
        read(space, va, bytes.get_mut(..used).ok_or(Errno::E2BIG)?)?;
        let mut parts = [Slice::default(); PARTS];
        let mut words = bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|w| u64::from_le_bytes(*w));
        let mut total: u64 = 0;
        for part in parts.iter_mut().take(count as usize) {
            part.address = words.next().unwrap_or(0);
            part.len = words.next().unwrap_or(0);
            check(part.address, part.len)?;
            total = total.checked_add(part.len).ok_or(Errno::EMSGSIZE)?;
        }
        if total > MESSAGE_MAX {
            return Err(Errno::EMSGSIZE);
        }
        Ok(Gather { parts, total })
    }

    /// One part.
    pub fn one(va: u64, len: u64) -> Result<Gather, Errno> {
        check(va, len)?;
        if len > MESSAGE_MAX {
            return Err(Errno::EMSGSIZE);
        }
        let mut parts = [Slice::default(); PARTS];
        parts[0] = Slice { address: va, len };
        Ok(Gather { parts, total: len })
    }

    /// Bytes in all.
    pub fn len(&self) -> u64 {
        self.total
    }

    /// Calls `f(address, run, done)` for the parts of `[from, from + len)`.
    fn runs(
        &self,
        from: u64,
        len: u64,
        mut f: impl FnMut(u64, usize, usize) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        let (mut skip, mut done) = (from, 0);
        for part in &self.parts {
            let passed = skip.min(part.len);
            skip -= passed;
            let run = (part.len - passed).min(len - done);
            if run > 0 {
                f(part.address + passed, run as usize, done as usize)?;
                done += run;
            }
        }
        Ok(done as usize)
    }
}

/// Copies bytes of a gathered message from `from` on; how many there were.
pub fn gather(space: &SpaceLock, g: &Gather, from: u64, to: &mut [u8]) -> Result<usize, Errno> {
    g.runs(from, to.len() as u64, |va, run, done| {
        read(
            space,
            va,
            to.get_mut(done..done + run).ok_or(Errno::EFAULT)?,
        )
    })
}

/// The same into part of a frame that nobody maps yet.
pub fn gather_to_frame(
    space: &SpaceLock,
    g: &Gather,
    from: u64,
    (frame, at): (Frame, usize),
    len: usize,
) -> Result<usize, Errno> {
    g.runs(from, len as u64, |va, run, done| {
        for_each_page(space, va, run, Access::Load, |source, from, run, inner| {
            frames::copy_between(source, from, frame, at + done + inner, run);
            Ok(())
        })
    })
}
