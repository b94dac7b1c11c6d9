//! Creating, removing and emptying segments, and the effect of fork on each
//! kind.
use super::host::Operation;
use super::shared::Shared;
use super::view::View;
use super::{Content, Segment, SegmentKind, Space, SpaceLock, user};
use crate::chan::kept::{self, Registers};
use crate::sched::{self, relief};
use crate::trace;
use abi::trace::Event;
use abi::{Errno, NSEG, PAGE, USER_END};
use alloc::sync::Arc;
use core::ops::Range;
use hw::frames::{Device, Run};
use hw::heap::new_box;
use vm::{Hint, Memory, Parts};

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
    /// Physical address for `device`, [`abi::snapshot`] for `snapshot`, bytes of one with
    /// its guard page for `stacks`.
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
    let stride = match wish.kind {
        SegmentKind::Stacks => wish.argument,
        _ => 0,
    };
    let stacks = stride >= 2 * PAGE && stride.is_multiple_of(PAGE);
    if wish.kind == SegmentKind::Stacks && !stacks {
        return Err(Errno::EINVAL);
    }
    if wish.kind == SegmentKind::Dma {
        kept::reset(&registers(space));
    }
    let content = content(space, wish, pages, hint)?;
    let mut space = space.lock();
    let va = match wish.va {
        0 => choose(&space, pages * PAGE)?,
        va => va,
    };
    let mut segment = Segment::new(va, pages, wish.kind, content);
    segment.eager = eager;
    segment.stride = stride;
    insert(&mut space, segment).map(|_| va)
}

/// What a new segment of that many pages has. Others may run meanwhile.
fn content(space: &SpaceLock, wish: &Wish, pages: u64, hint: Hint) -> Result<Content, Errno> {
    Ok(match wish.kind {
        SegmentKind::Memory
        | SegmentKind::Snapshot
        | SegmentKind::Stacks
        | SegmentKind::Stack
        | SegmentKind::Program => {
            let mut content = new_box(vm::Segment::new(pages))?;
            content.set_hint(hint);
            Content::Virtual(content)
        }
        SegmentKind::Device => {
            let device = Device::new(wish.argument, pages).ok_or(Errno::EINVAL)?;
            space.lock().driver()?;
            Content::Device(device)
        }
        SegmentKind::Dma if pages > DMA_MAX => return Err(Errno::EINVAL),
        SegmentKind::Dma => Content::Dma(run(pages as u32)?),
        SegmentKind::Shared => Content::Shared(Shared::new(pages)?),
    })
}

/// Frames in a row. Where there are not enough, all that are kept for a certain use go
/// first.
fn run(pages: u32) -> Result<Run, Errno> {
    if let Some(run) = Run::new(pages) {
        return Ok(run);
    }
    relief::free_kept();
    Run::new(pages).ok_or(Errno::ENOMEM)
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
    if !is_free(space, &(segment.base..end)) {
        return Err(Errno::EBUSY);
    }
    space.enter(segment)
}

/// Returns true if no segment has any of these addresses.
fn is_free(space: &Space, range: &Range<u64>) -> bool {
    let mut segments = space.table.iter().flatten().map(Segment::addresses);
    !segments.any(|its| range.start < its.end && its.start < range.end)
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
        let addresses = || space.table.iter().flatten().map(Segment::addresses);
        let blocked = |s: &Range<u64>| va < s.end + PAGE && s.start < end + PAGE;
        match addresses().find(blocked) {
            Some(its) => va = its.end + PAGE,
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

/// Removes the segment that begins at `va`; the addresses that it had. Operations of
/// other processes on it end as if it were there, and nobody sees their effect.
pub fn detach(space: &SpaceLock, va: u64, gone: impl FnOnce(&Range<u64>)) -> Result<(), Errno> {
    let (id, addresses) = {
        let space = space.lock();
        let mut segments = space.table.iter().flatten();
        let segment = segments.find(|s| s.base == va && !s.is_detached());
        let segment = segment.ok_or(Errno::EINVAL)?;
        match segment.kind {
            SegmentKind::Program | SegmentKind::Stack => return Err(Errno::EINVAL),
            SegmentKind::Memory
            | SegmentKind::Stacks
            | SegmentKind::Snapshot
            | SegmentKind::Shared
            | SegmentKind::Device
            | SegmentKind::Dma => (segment.id, segment.addresses()),
        }
    };
    // Nothing runs before it answers to no address.
    gone(&addresses);
    if let Some(content) = remove(space, id) {
        let_go(content);
    }
    Ok(())
}

/// Removes a segment; its content, to be given to [`let_go`], unless operations on it
/// are under way, of which the last one gives it back. Others may run meanwhile.
fn remove(space: &SpaceLock, id: u64) -> Option<Content> {
    // Others that have the memory might touch it while it is being given back.
    let shared = space.lock().members.len() > 1;
    if shared && !close(space, id)? {
        return None;
    }
    empty(space, id)
}

/// Makes a segment answer to no address; returns true if no operation on it is left.
/// `None`: another process has begun to.
fn close(space: &SpaceLock, id: u64) -> Option<bool> {
    space.lock().close(id)?;
    let mut page = 0;
    loop {
        {
            let mut space = space.lock();
            let (view, segment) = space.by_id(id)?;
            let pages = (segment.closing.end - segment.closing.start) / PAGE;
            let first = match &segment.content {
                Content::Virtual(content) => content.next_populated(view, page..pages),
                Content::Device(_) | Content::Dma(_) | Content::Shared(_) => None,
            };
            let first = match (&segment.content, first) {
                (Content::Virtual(_), first) => first.map(|(page, _)| page),
                _ => (page < pages).then_some(page),
            };
            let Some(first) = first else {
                return Some(space.closed(id));
            };
            page = pages.min(first + STEP);
            view.unmap(first..page);
        }
        sched::breathe();
    }
}

/// Removes what a segment holds, which nobody touches, and takes it out of the table.
pub(super) fn empty(space: &SpaceLock, id: u64) -> Option<Content> {
    let is_virtual = {
        let mut space = space.lock();
        let (_, segment) = space.by_id(id)?;
        matches!(segment.content, Content::Virtual(_))
    };
    if is_virtual {
        vm::destroy(&mut Operation::last(space, id));
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
const STEP: u64 = 8 * 1024;

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
            Zeroing::Freed(id) => {
                vm::free(&mut Operation::begin(space, id)?, at - base, stop - at)?;
                trace::note(Event::Read, 0, [at, stop - at, 0]);
            }
            Zeroing::Stored => user::zero(space, at, (stop - at) as usize)?,
            Zeroing::Shared(shared) => {
                let zeroed = zero_shared(space, &shared, base, at..stop);
                // Others may have let go of it meanwhile.
                shared.let_go();
                zeroed?;
            }
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

/// The child's share of each of the parent's segments, put into `to`. Of a segment that
/// another process attaches or detaches meanwhile the child may have a share or none.
pub fn copy_all(from: &SpaceLock, to: &SpaceLock) -> Result<(), Errno> {
    for index in 0..abi::NSEG {
        let Some((id, mut copy)) = bare_copy(&from.lock(), index)? else {
            continue;
        };
        if !is_free(&to.lock(), &copy.addresses()) {
            continue;
        }
        let (copy_id, number) = {
            let space = to.lock();
            let id = space.next_id()?;
            (id, space.owner_number(id))
        };
        copy.id = copy_id;
        if let Content::Virtual(content) = &mut copy.content {
            content.set_number(number);
            vm::fork(&mut Operation::begin(from, id)?.copying(), content)?;
        }
        insert(&mut to.lock(), copy)?;
    }
    Ok(())
}

/// The segment at that place of the table as a child has it, and its id; virtual memory
/// without content. `None`: there is none, or a child gets none.
fn bare_copy(space: &Space, index: usize) -> Result<Option<(u64, Segment)>, Errno> {
    let Some(Some(segment)) = space.table.get(index) else {
        return Ok(None);
    };
    if segment.is_detached() || !inherits(segment.kind) {
        return Ok(None);
    }
    let content = match &segment.content {
        Content::Shared(shared) => Content::Shared(shared.clone()),
        Content::Virtual(_) => Content::zeros(segment.pages)?,
        Content::Device(_) | Content::Dma(_) => return Ok(None),
    };
    let mut copy = Segment::new(segment.base, segment.pages, segment.kind, content);
    (copy.write, copy.execute, copy.eager) = (segment.write, segment.execute, segment.eager);
    copy.stride = segment.stride;
    Ok(Some((segment.id, copy)))
}

/// Returns true if a child gets a copy of such a segment, or shares it.
fn inherits(kind: SegmentKind) -> bool {
    match kind {
        SegmentKind::Program
        | SegmentKind::Stack
        | SegmentKind::Stacks
        | SegmentKind::Memory
        | SegmentKind::Snapshot
        | SegmentKind::Shared => true,
        // A driver's hold on its device is not divided.
        SegmentKind::Device | SegmentKind::Dma => false,
    }
}

/// The registers of devices that are attached in a space.
pub(super) fn registers(space: &SpaceLock) -> Registers {
    let mut registers = [0; NSEG];
    let space = space.lock();
    if space.devices.is_empty() {
        return registers;
    }
    for (segment, to) in space.table.iter().flatten().zip(&mut registers) {
        if let Content::Device(device) = &segment.content {
            *to = device.pa();
        }
    }
    registers
}
