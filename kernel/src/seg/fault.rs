//! Page faults, from the typed fault to the mapped page.
//!
//! This module looks up the segment and checks its rules. `vm::fault` decides
//! and does the rest: it tries without blocking, waits with nothing locked for
//! the one message that the page needs, and checks again.
use super::host::Operation;
use super::view::View;
use super::{Content, Segment, SegmentKind, Space, SpaceLock};
use crate::client::snapshots;
use crate::counters;
use crate::sched::relief;
use crate::text;
use abi::{Errno, PAGE, Stat64};
use alloc::string::String;
use core::ops::Range;
use hw::named;
use hw::paging::Prot;
use vm::{Access, Need, SnapId};

/// Why an access cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denied {
    /// No segment there.
    Unmapped,
    /// Just below the stack.
    StackOverflow,
    /// A store to a segment that may not be stored to.
    ReadOnly,
    /// A fetch from a segment that may not be executed.
    NotExecutable,
    /// Not the program's own access, but the processor's on its behalf.
    Privileged,
    /// The server did not give the bytes of a snapshot.
    Lost {
        /// The snapshot.
        snap: SnapId,
        /// The first byte, in the file.
        offset: u64,
        /// The server's answer.
        errno: Errno,
    },
    /// The bytes of a page in swap are not those that were moved there
    /// (`EBADMSG`), or its server did not give them.
    Swap(Errno),
    /// Any other error.
    Failed(Errno),
}

impl Denied {
    /// The error of a system call on such memory.
    pub fn errno(self) -> Errno {
        match self {
            Denied::Swap(_)
            | Denied::Failed(Errno::ESTALE)
            | Denied::Lost {
                errno: Errno::ESTALE,
                ..
            } => Errno::EIO,
            Denied::Failed(errno) | Denied::Lost { errno, .. } => errno,
            _ => Errno::EFAULT,
        }
    }

    /// The reason why `va` cannot be accessed, for users: of lost bytes the file, the
    /// offset and the server's answer.
    pub fn text(self, va: u64) -> String {
        match self {
            Denied::Unmapped => text::owned("no segment there"),
            Denied::StackOverflow => text::owned("stack overflow"),
            Denied::ReadOnly => text::owned("store to read-only segment"),
            Denied::NotExecutable => text::owned("jump into data"),
            Denied::Privileged => text::owned("privileged access"),
            Denied::Failed(errno) => text::format(format_args!("fault at {va:#x}: {errno}")),
            Denied::Swap(Errno::EBADMSG) => text::format(format_args!(
                "swap damaged: page at {:#x}",
                va & !(PAGE - 1)
            )),
            Denied::Swap(errno) => text::format(format_args!(
                "swap lost: page at {:#x}: server answered {errno:?}",
                va & !(PAGE - 1)
            )),
            Denied::Lost {
                snap,
                offset,
                errno,
            } => match snapshots::path(snap) {
                Some((path, true)) => text::format(format_args!(
                    "snapshot lost: {path} at {offset:#x}: server hung up"
                )),
                Some((path, false)) => text::format(format_args!(
                    "snapshot lost: {path} at {offset:#x}: server answered {errno:?}"
                )),
                None => text::format(format_args!("fault at {va:#x}: {errno}")),
            },
        }
    }
}

/// The error of an operation at byte `at` of a segment of virtual memory.
fn denied(content: &vm::Segment, view: &View, at: u64, errno: Errno) -> Denied {
    let failed = Denied::Failed(errno);
    if matches!(errno, Errno::ENOMEM | Errno::EINTR) {
        return failed;
    }
    if content.state(view, at / PAGE).place().is_some() {
        return Denied::Swap(errno);
    }
    let extent = content.extents().first(at..at + 1);
    extent.map_or(failed, |extent| Denied::Lost {
        snap: extent.source.snap,
        offset: extent.source.soff,
        errno,
    })
}

/// How far below the stack an access counts as its overflow.
const STACK_REACH: u64 = 1 << 20;

/// Makes the page at `va` ready for `access`, waiting for its content if it is
/// asleep. Where frames are out, waits for others to give some back.
pub fn resolve(space: &SpaceLock, va: u64, access: Access) -> Result<(), Denied> {
    let mut tries = relief::Tries::default();
    loop {
        match try_resolve(space, va, access) {
            Err(Denied::Failed(Errno::ENOMEM))
                if relief::relieve(&mut tries).map_err(Denied::Failed)? => {}
            result => return result,
        }
    }
}

/// [`resolve`] for a store in the usual cases, in the segment that was found last;
/// `false`, and nothing has changed, in any other ([`vm::Segment::store_quickly`]). Not
/// while somebody listens.
#[inline(always)]
pub fn store_quickly(space: &SpaceLock, va: u64) -> bool {
    let mut space = space.lock();
    if let Some((view, content, page)) = space.find_last_to_store(va)
        && content.store_quickly(view, page)
    {
        counters::add(Stat64::Faults, 1);
        return true;
    }
    false
}

fn try_resolve(space: &SpaceLock, va: u64, access: Access) -> Result<(), Denied> {
    let touched = at_page(&mut space.lock(), va, access, |content, view, page| {
        content.touch(view, page, access)
    })?;
    match touched {
        Some(Touched {
            segment,
            at,
            result: Some(need),
        }) => wait_for(space, (segment, at), access, need),
        _ => Ok(()),
    }
}

/// Provides what a page needs before it can be mapped.
#[cold]
fn wait_for(
    space: &SpaceLock,
    (segment, at): (u64, u64),
    access: Access,
    need: Need,
) -> Result<(), Denied> {
    let mut operation = Operation::begin(space, segment).map_err(Denied::Failed)?;
    let resolved = vm::satisfy(&mut operation, at / PAGE, access, need);
    resolved.map_err(|errno| {
        if let Some((view, segment)) = space.lock().by_id(segment)
            && let Content::Virtual(content) = &segment.content
        {
            return denied(content, view, at, errno);
        }
        Denied::Failed(errno)
    })
}

/// Prepares the page at `va` for a store to all of it, without loading its
/// content. Never waits; the caller stores before anything else runs.
pub fn overwrite(space: &SpaceLock, va: u64) -> Result<(), Denied> {
    let space = &mut space.lock();
    at_page(space, va, Access::Store, |content, view, page| {
        content.overwrite(view, page)
    })
    .map(drop)
}

/// Returns true if a page of the range must be loaded before a part of it can
/// be used.
pub fn sleeps(space: &SpaceLock, range: Range<u64>) -> bool {
    let mut space = space.lock();
    let mut at = range.start;
    while at < range.end {
        let Some(segment) = space.find(at) else {
            return false;
        };
        let (id, base, end) = (segment.id, segment.base, segment.end().min(range.end));
        let pages = (at - base) / PAGE..(end - base).div_ceil(PAGE);
        if space.sleeps(id, pages) {
            return true;
        }
        at = end;
    }
    false
}

/// A page of virtual memory after an access to it.
struct Touched<T> {
    /// The segment's id.
    segment: u64,
    /// The byte in it.
    at: u64,
    result: T,
}

/// Calls `touch` with the page at `va` if that is virtual memory that may be
/// accessed so. Any other memory it maps; `None`.
#[inline]
fn at_page<T>(
    space: &mut Space,
    va: u64,
    access: Access,
    touch: impl FnOnce(&mut vm::Segment, &mut View, u64) -> Result<T, Errno>,
) -> Result<Option<Touched<T>>, Denied> {
    counters::add(Stat64::Faults, 1);
    let resident = space.is_resident();
    let Some((view, segment)) = space.find_mut(va) else {
        return Err(missing(space, va));
    };
    match access {
        Access::Store if !segment.write => return Err(Denied::ReadOnly),
        Access::Fetch if !segment.execute => return Err(Denied::NotExecutable),
        Access::Load | Access::Store | Access::Fetch => {}
    }
    let at = va - segment.base;
    if segment.is_guard(at) {
        return Err(Denied::StackOverflow);
    }
    let Content::Virtual(content) = &mut segment.content else {
        return map_fixed(view, segment, va & !(PAGE - 1)).map(|()| None);
    };
    let page = at / PAGE;
    // Content that is asleep in a server could not be read when it began to serve.
    if resident && content.sleeps(view, page..page + 1) {
        return Err(denied(content, view, at, Errno::EIO));
    }
    match touch(content, view, page) {
        Ok(result) => Ok(Some(Touched {
            segment: segment.id,
            at,
            result,
        })),
        Err(errno) => Err(denied(content, view, at, errno)),
    }
}

/// Maps the page at `va` of a segment whose frames are not the VM core's affair.
fn map_fixed(view: &mut View, segment: &Segment, va: u64) -> Result<(), Denied> {
    let page = (va - segment.base) / PAGE;
    let prot = Prot {
        write: segment.write,
        exec: false,
    };
    let mapped = match &segment.content {
        Content::Virtual(_) => return Err(Denied::Unmapped),
        Content::Device(device) => view.pages.map_device(va, (device, page), prot),
        Content::Dma(run) => view.pages.map(va, run.frame(page), prot),
        Content::Shared(shared) => {
            let frame = shared.frame(page).map_err(Denied::Failed)?;
            named::check_written(frame);
            view.pages.map(va, frame, prot)
        }
    };
    mapped.map_err(|_| Denied::Failed(Errno::ENOMEM))
}

fn missing(space: &Space, va: u64) -> Denied {
    let below_stack =
        |s: &Segment| s.kind == SegmentKind::Stack && va < s.base && s.base - va <= STACK_REACH;
    if space.table.iter().flatten().any(below_stack) {
        Denied::StackOverflow
    } else {
        Denied::Unmapped
    }
}
