//! Creating, removing and emptying segments, and the effect of fork on each
//! kind.
use super::host::Operation;
use super::shared::Shared;
use super::view::View;
use super::{Content, Segment, SegmentKind, Space, SpaceLock, user};
use crate::chan::kept;
use crate::sched;
use abi::{Errno, PAGE, USER_END};
use alloc::sync::Arc;
use core::ops::Range;
use hw::frames::{Device, Run};
use vm::{Hint, Parts};

/// Where the kernel begins to look when it may choose an address.
const CHOICE: u64 = 0x0000_1000_0000_0000;
/// Frames in one `dma` segment at most.
const DMA_MAX: u64 = 4096;

/// The request of a program.
pub struct Wish {
    /// Kind of segment.
    pub kind: SegmentKind,
    /// First address, a multiple of the page size; 0: the kernel's choice.
    pub va: u64,
    /// Bytes; rounded up to pages.
    pub len: u64,
    /// Physical address for `device`, [`abi::snapshot`] for `snapshot`.
    pub argument: u64,
}

/// Attaches a segment; its first address. The caller has checked that the process
/// may have one of that kind.
pub fn attach(space: &SpaceLock, wish: &Wish) -> Result<u64, Errno> {
    let pages = wish.len.div_ceil(PAGE);
    if pages == 0 || !wish.va.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    if pages > USER_END / PAGE {
        return Err(Errno::ENOMEM);
    }
    let (eager, hint) = match (wish.kind, wish.argument) {
        (SegmentKind::Snapshot, abi::snapshot::DEFERRED) => (false, Hint::None),
        (SegmentKind::Snapshot, abi::snapshot::EAGER) => (true, Hint::None),
        (SegmentKind::Snapshot, abi::snapshot::SEQUENTIAL) => (false, Hint::Sequential),
        (SegmentKind::Snapshot, abi::snapshot::RANDOM) => (false, Hint::Random),
        (SegmentKind::Snapshot, _) => return Err(Errno::EINVAL),
        (_, _) => (false, Hint::None),
    };
    if wish.kind == SegmentKind::Dma {
        kept::reset(&super::registers(space));
    }
    let mut space = space.lock();
    let va = match wish.va {
        0 => choose(&space, pages * PAGE)?,
        va => va,
    };
    let content = match wish.kind {
        SegmentKind::Memory | SegmentKind::Snapshot | SegmentKind::Stack | SegmentKind::Program => {
            let mut content = vm::Segment::new(pages);
            content.set_hint(hint);
            Content::Virtual(content)
        }
        SegmentKind::Device => {
            let device = Device::new(wish.argument, pages);
            Content::Device(device.ok_or(Errno::EINVAL)?)
        }
        SegmentKind::Dma if pages > DMA_MAX => return Err(Errno::EINVAL),
        SegmentKind::Dma => Content::Dma(Run::new(pages as u32).ok_or(Errno::ENOMEM)?),
        SegmentKind::Shared => Content::Shared(Shared::new(pages)?),
    };
    let mut segment = Segment::new(va, pages, wish.kind, content);
    segment.eager = eager;
    insert(&mut space, segment).map(|_| va)
}

/// Puts a segment into the table; its id. `EINVAL`: not user addresses; `EBUSY`: it
/// overlaps another; `ENFILE`: the table is full.
pub fn insert(space: &mut Space, segment: Segment) -> Result<u64, Errno> {
    let len = segment.pages.checked_mul(PAGE).ok_or(Errno::EINVAL)?;
    let end = segment.base.checked_add(len).ok_or(Errno::EINVAL)?;
    // The first page stays empty, so that a null pointer is a fault.
    if segment.base < PAGE || end > USER_END {
        return Err(Errno::EINVAL);
    }
    let overlaps = |s: &Segment| segment.base < s.end() && s.base < end;
    if space.table.iter().flatten().any(overlaps) {
        return Err(Errno::EBUSY);
    }
    space.enter(segment)
}

/// The lowest address from [`CHOICE`] with room for `len` bytes and a guard
/// page on both sides.
fn choose(space: &Space, len: u64) -> Result<u64, Errno> {
    let mut va = CHOICE;
    loop {
        let end = va.checked_add(len).ok_or(Errno::ENOMEM)?;
        if end > USER_END {
            return Err(Errno::ENOMEM);
        }
        let blocked = |s: &&Segment| va < s.end() + PAGE && s.base < end + PAGE;
        match space.table.iter().flatten().find(blocked) {
            Some(segment) => va = segment.end() + PAGE,
            None => return Ok(va),
        }
    }
}

/// Physical address behind `va`, which must be in a `dma` or `device`
/// segment.
pub fn physical(space: &SpaceLock, va: u64) -> Result<u64, Errno> {
    let space = space.lock();
    let segment = space.find(va).ok_or(Errno::EFAULT)?;
    match segment.content {
        Content::Device(ref device) => Ok(device.pa() + (va - segment.base)),
        Content::Dma(ref run) => Ok(run.pa() + (va - segment.base)),
        Content::Virtual(_) | Content::Shared(_) => Err(Errno::EINVAL),
    }
}

/// Removes the segment that begins at `va`.
pub fn detach(space: &SpaceLock, va: u64) -> Result<(), Errno> {
    let id = {
        let space = space.lock();
        let segment = space.table.iter().flatten().find(|s| s.base == va);
        let segment = segment.ok_or(Errno::EINVAL)?;
        match segment.kind {
            SegmentKind::Program | SegmentKind::Stack => return Err(Errno::EINVAL),
            SegmentKind::Memory
            | SegmentKind::Snapshot
            | SegmentKind::Shared
            | SegmentKind::Device
            | SegmentKind::Dma => segment.id,
        }
    };
    if let Some(content) = remove(space, id) {
        let_go(content);
    }
    Ok(())
}

/// Removes a segment; its content, to be given to [`let_go`]. Others may run meanwhile.
pub(super) fn remove(space: &SpaceLock, id: u64) -> Option<Content> {
    let is_virtual = {
        let mut space = space.lock();
        let (_, segment) = space.by_id(id)?;
        matches!(segment.content, Content::Virtual(_))
    };
    if is_virtual {
        vm::destroy(&mut Operation::new(space, id));
    } else {
        unmap(space, id);
    }
    let removed = space.lock().take(id);
    removed.map(|removed| removed.content)
}

/// Gives back what a segment held that is in no table any more.
pub(super) fn let_go(content: Content) {
    match content {
        Content::Virtual(_) | Content::Device(_) | Content::Dma(_) => {}
        Content::Shared(shared) => shared.let_go(),
    }
}

/// Forgets the translations of a segment of fixed frames.
fn unmap(space: &SpaceLock, id: u64) {
    in_steps(space, id, |view, _, range| view.pages.unmap(range));
}

/// Calls `f` for all addresses of a segment, a range that is one step's work after the
/// other. Others may run in between.
pub(super) fn in_steps(
    space: &SpaceLock,
    id: u64,
    mut f: impl FnMut(&mut View, &mut Segment, Range<u64>),
) {
    let mut from = 0;
    loop {
        {
            let mut space = space.lock();
            let Some((view, segment)) = space.by_id(id) else {
                return;
            };
            let end = segment.pages.min(from + STEP);
            let range = segment.base + from * PAGE..segment.base + end * PAGE;
            f(view, segment, range);
            if end == segment.pages {
                return;
            }
            from = end;
        }
        sched::breathe();
    }
}

/// Pages whose translations are changed in one step.
const STEP: u64 = 16 * 1024;

/// `[va, va + len)` reads as zeros and holds nothing from now on, over as
/// many segments as it covers.
pub fn free(space: &SpaceLock, va: u64, len: u64) -> Result<(), Errno> {
    user::check(va, len)?;
    let end = va + len;
    let mut at = va;
    while at < end {
        let (base, stop, zeroing) = {
            let space = space.lock();
            let segment = space.find(at).ok_or(Errno::EFAULT)?;
            if !segment.write {
                return Err(Errno::EFAULT);
            }
            let zeroing = match &segment.content {
                Content::Virtual(_) => Zeroing::Freed(segment.id),
                Content::Device(_) | Content::Dma(_) => Zeroing::Stored,
                Content::Shared(shared) => Zeroing::Shared(shared.clone()),
            };
            (segment.base, segment.end().min(end), zeroing)
        };
        match zeroing {
            Zeroing::Freed(id) => vm::free(&mut Operation::new(space, id), at - base, stop - at)?,
            Zeroing::Stored => user::zero(space, at, (stop - at) as usize)?,
            Zeroing::Shared(shared) => zero_shared(space, &shared, base, at..stop)?,
        }
        at = stop;
    }
    Ok(())
}

/// How memory is turned into zeros.
enum Zeroing {
    /// The VM core gives back what that segment holds.
    Freed(u64),
    /// Zeros are stored.
    Stored,
    /// Zeros are stored into frames that others see too.
    Shared(Arc<Shared>),
}

/// Zeroes shared memory in place; its frames stay shared.
fn zero_shared(
    space: &SpaceLock,
    shared: &Shared,
    base: u64,
    range: Range<u64>,
) -> Result<(), Errno> {
    let Parts { edges, pages } = vm::parts(&(range.start - base..range.end - base));
    for edge in edges.into_iter().flatten() {
        user::zero(space, base + edge.start, (edge.end - edge.start) as usize)?;
    }
    let mut page = pages.start;
    while page < pages.end {
        page = shared.zero_some(page..pages.end);
        sched::breathe();
        if sched::ending() {
            return Err(Errno::EINTR);
        }
    }
    Ok(())
}

/// The child's share of each of the parent's segments, put into `to`.
pub fn copy_all(from: &SpaceLock, to: &SpaceLock) -> Result<(), Errno> {
    for index in 0..abi::NSEG {
        let Some((id, copied)) = ({
            let space = from.lock();
            space.table[index]
                .as_ref()
                .map(|s| (s.id, inherits(s.kind)))
        }) else {
            continue;
        };
        if !copied {
            continue;
        }
        let shared = shared_content(from, id);
        let (copy_id, number) = {
            let space = to.lock();
            let id = space.next_id()?;
            (id, space.number(id))
        };
        let content = match shared {
            Some(shared) => Content::Shared(shared),
            None => Content::Virtual(vm::fork(&mut Operation::new(from, id), number)?),
        };
        let copy = {
            let mut space = from.lock();
            let Some((_, s)) = space.by_id(id) else {
                continue;
            };
            let mut copy = Segment::new(s.base, s.pages, s.kind, content);
            (copy.write, copy.execute, copy.eager) = (s.write, s.execute, s.eager);
            copy.id = copy_id;
            copy
        };
        // The child has the same layout and an empty table: it fits.
        insert(&mut to.lock(), copy)?;
    }
    Ok(())
}

/// The shared memory of a segment, which a child shares instead of getting a
/// copy.
fn shared_content(space: &SpaceLock, id: u64) -> Option<Arc<Shared>> {
    match &space.lock().by_id(id)?.1.content {
        Content::Shared(shared) => Some(shared.clone()),
        Content::Virtual(_) | Content::Device(_) | Content::Dma(_) => None,
    }
}

/// Returns true if a child gets a copy of such a segment, or shares it.
fn inherits(kind: SegmentKind) -> bool {
    match kind {
        SegmentKind::Program
        | SegmentKind::Stack
        | SegmentKind::Memory
        | SegmentKind::Snapshot
        | SegmentKind::Shared => true,
        // A driver's hold on its device is not divided.
        SegmentKind::Device | SegmentKind::Dma => false,
    }
}
