//! Segments: the table of a process's address ranges, and the parts that the
//! kernel adds to the VM core: page tables, locks, messages.
//!
//! [`fault`] resolves faults, [`user`] copies to and from user memory, [`host`]
//! lets the VM core's operations run in the kernel, [`attach`] creates and
//! removes segments, [`resident`] keeps all of a file server's memory in
//! frames, [`reclaim`] evicts the pages of others. Page states are defined in the
//! crate `vm`.
pub mod attach;
pub mod audit;
mod clear;
pub mod fault;
pub mod host;
pub mod info;
pub mod iovec;
pub mod reclaim;
pub mod resident;
pub mod shared;
pub mod spaces;
pub mod swap;
pub mod user;
pub mod view;

pub use clear::leave;

use crate::chan::kept::Driver;
use crate::chan::room;
use crate::options;
use crate::sched::{Slots, WaitQueue};
use crate::trace;
use abi::trace::Event;
use abi::{Errno, NSEG, PAGE};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use hw::frames::{Device, Run};
use hw::heap::new_box;
use hw::lock::Lock;
use hw::paging::AddressSpace;
use hw::task::Slot;
use shared::Shared;
use view::View;
use vm::{Access, Hint, SegmentNumber, SwapId};

/// A process's memory behind its lock.
pub type SpaceLock = Lock<Space>;

/// The purpose of a segment; decides fork, detach and the text of errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentKind {
    /// A program's instructions or data, as the ELF file says.
    Program,
    /// The stack; grows by being touched.
    Stack,
    /// Stacks of threads; a fault below one of them does not meet the next.
    Stacks,
    /// Zeros until stored to.
    Memory,
    /// Reads into it are deferred.
    Snapshot,
    /// The same memory in the process that attached it and in all children.
    Shared,
    /// A device's registers. Not inherited by a child.
    Device,
    /// Contiguous frames for a device to read and write. Not inherited.
    Dma,
}

impl SegmentKind {
    /// The kind for a name given to `segattach`.
    pub fn from_name(name: &str) -> Result<SegmentKind, Errno> {
        match name {
            "stacks" => Ok(SegmentKind::Stacks),
            "memory" => Ok(SegmentKind::Memory),
            "snapshot" => Ok(SegmentKind::Snapshot),
            "shared" => Ok(SegmentKind::Shared),
            "device" => Ok(SegmentKind::Device),
            "dma" => Ok(SegmentKind::Dma),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            SegmentKind::Program => "program",
            SegmentKind::Stack => "stack",
            SegmentKind::Stacks => "stacks",
            SegmentKind::Memory => "memory",
            SegmentKind::Snapshot => "snapshot",
            SegmentKind::Shared => "shared",
            SegmentKind::Device => "device",
            SegmentKind::Dma => "dma",
        }
    }
}

/// The content behind the addresses.
pub enum Content {
    /// Pages that the VM core looks after.
    Virtual(Box<vm::Segment>),
    /// A device's registers.
    Device(Device),
    /// Frames in a row that a device reads and writes.
    Dma(Run),
    /// Frames shared with other processes.
    Shared(Arc<Shared>),
}

impl Content {
    /// Virtual memory, all zeros.
    pub fn zeros(pages: u64) -> Result<Content, Errno> {
        Ok(Content::Virtual(new_box(vm::Segment::new(pages))?))
    }
}

/// One entry of the segment table.
pub struct Segment {
    /// Never used again; proves that a segment looked at again is the same. Its place
    /// in the table is in it. 0 before it is in one.
    pub id: u64,
    /// First address, a multiple of the page size.
    pub base: u64,
    /// Length in pages.
    pub pages: u64,
    /// The purpose.
    pub kind: SegmentKind,
    /// True if stores are permitted.
    pub write: bool,
    /// True if instruction fetches are permitted.
    pub execute: bool,
    /// True if reads into it are never deferred.
    pub eager: bool,
    /// Of stacks: bytes from one to the next, of which the first page is never mapped; 0:
    /// all pages may be.
    pub stride: u64,
    /// The content.
    pub content: Content,
    /// Operations on the content that are under way.
    users: u32,
    /// The process that copies the content for a child.
    copier: Option<Slot>,
    /// Of a segment that was detached during operations on it, and answers to no address
    /// any more: where its translations are being removed.
    closing: Range<u64>,
}

impl Segment {
    /// A segment that can be stored to, not executed.
    pub fn new(base: u64, pages: u64, kind: SegmentKind, mut content: Content) -> Segment {
        // Pages that left come back in runs: each alone would cost a message.
        if options::pressure()
            && let Content::Virtual(content) = &mut content
            && matches!(content.hint(), Hint::None | Hint::Program)
        {
            content.set_hint(Hint::Sequential);
        }
        Segment {
            id: 0,
            base,
            pages,
            kind,
            write: true,
            execute: false,
            eager: false,
            stride: 0,
            content,
            users: 0,
            copier: None,
            closing: 0..0,
        }
    }

    /// Returns true if byte `at` is in the guard page of a stack.
    fn is_guard(&self, at: u64) -> bool {
        self.stride != 0 && at % self.stride < PAGE
    }

    fn is_device(&self) -> bool {
        matches!(self.content, Content::Device(_)) && !self.is_detached()
    }

    /// Returns true if it answers to no address any more, and only waits for the end of
    /// operations on it.
    #[inline]
    pub fn is_detached(&self) -> bool {
        self.pages == 0
    }

    /// The addresses that no other segment may have.
    fn addresses(&self) -> Range<u64> {
        match self.is_detached() {
            true => self.closing.clone(),
            false => self.base..self.end(),
        }
    }

    /// One past its last address.
    pub fn end(&self) -> u64 {
        self.base + self.pages * PAGE
    }

    /// Returns true if `va` lies in the segment.
    #[inline]
    pub fn contains(&self, va: u64) -> bool {
        va.wrapping_sub(self.base) < self.pages * PAGE
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);
/// Ids tell places in the table apart by their remainder.
const IDS: u64 = NSEG.next_power_of_two() as u64;

/// The place in the table of the segment with that id.
#[inline]
fn place_of(id: u64) -> usize {
    (id % IDS) as usize
}

/// Bits of an id that are part of a segment's number as an owner of frames; the number
/// of its space is the rest.
const NUMBER_ID_BITS: u32 = 17;
const _: () = assert!(spaces::SPACES_MAX <= 1 << (SegmentNumber::BITS - NUMBER_ID_BITS));

/// Whether the pages of a process may leave memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Residence {
    /// They may.
    Pageable,
    /// They stay, and those that sleep or are swapped are being brought.
    Waking,
    /// The process answers as a file server: nothing in it is asleep.
    Resident,
}

/// What protects those that have a space: each of them protects all.
#[derive(Clone, Copy, Default)]
pub struct Protection {
    /// The privileges that they have together.
    pub privileges: u64,
    /// One of them is init.
    pub init: bool,
}

/// The memory of a process, or of several.
pub struct Space {
    /// Its number; that of [`spaces::create`].
    number: spaces::Number,
    /// The processes that have it, or will.
    pub members: Slots,
    /// What protects them, if it was asked for since one of them changed.
    pub protection: Option<Protection>,
    /// All of them have been ordered to end.
    is_ending: bool,
    /// The hardware's view.
    pub view: View,
    /// The segments, in no order; [`NSEG`] entries.
    pub table: Vec<Option<Segment>>,
    /// Whether pages may leave.
    residence: Residence,
    /// Those that wait until another has woken all pages.
    waking: WaitQueue,
    /// The places of the segment that was found last, and of another one before.
    last: Cell<usize>,
    before: Cell<usize>,
    /// The addresses from the first to the last of devices' memory.
    devices: Range<u64>,
    /// The driver that its processes are, if they are one.
    driver: Option<Arc<Driver>>,
}

impl Space {
    /// An address space without segments, for those processes.
    fn new(members: Slots) -> Result<Space, Errno> {
        let mut table = room(NSEG)?;
        table.resize_with(NSEG, || None);
        Ok(Space {
            number: 0,
            members,
            protection: None,
            is_ending: false,
            table,
            view: View::new(AddressSpace::new().ok_or(Errno::ENOMEM)?)?,
            residence: Residence::Pageable,
            waking: WaitQueue::new(),
            last: Cell::new(0),
            before: Cell::new(0),
            devices: 0..0,
            driver: None,
        })
    }

    /// Its number.
    pub fn number(&self) -> spaces::Number {
        self.number
    }

    /// All that have it are to end: those that were not told so before. Who is to end makes
    /// no others.
    pub fn end(&mut self) -> Slots {
        match core::mem::replace(&mut self.is_ending, true) {
            false => self.members,
            true => Slots::NONE,
        }
    }

    /// The driver that its processes are, from now on if they were none.
    #[inline]
    pub fn driver(&mut self) -> Result<Arc<Driver>, Errno> {
        match &self.driver {
            Some(driver) => Ok(driver.clone()),
            None => Ok(self.driver.insert(Driver::new()?).clone()),
        }
    }

    /// Returns true if the process answers as a file server: nothing in it is asleep.
    #[inline]
    pub fn is_resident(&self) -> bool {
        self.residence == Residence::Resident
    }

    /// The segment that `va` is in.
    #[inline]
    pub fn find(&self, va: u64) -> Option<&Segment> {
        self.table.get(self.place(va)?)?.as_ref()
    }

    /// The same, and the page tables seen from it.
    #[inline]
    pub fn find_mut(&mut self, va: u64) -> Option<(&mut View, &mut Segment)> {
        let place = self.place(va)?;
        let segment = self.table.get_mut(place)?.as_mut()?;
        Some((self.view.seen_from(segment), segment))
    }

    /// The content of the segment that `va` is in, if that was found last, is virtual
    /// memory and may be stored to; the page, and the page tables seen from it.
    #[inline(always)]
    fn find_last_to_store(&mut self, va: u64) -> Option<(&mut View, &mut vm::Segment, u64)> {
        let Some(Some(segment)) = self.table.get_mut(self.last.get()) else {
            return None;
        };
        let Content::Virtual(content) = &mut segment.content else {
            return None;
        };
        let at = va.wrapping_sub(segment.base);
        if at >= segment.pages * PAGE || !segment.write {
            return None;
        }
        self.view.place = self.last.get();
        self.view.base = segment.base;
        self.view.write = true;
        self.view.execute = segment.execute;
        self.view.open = true;
        Some((&mut self.view, content, at / PAGE))
    }

    /// Returns true if the range lies in one of the segments that were found last, and
    /// that allows the access.
    #[inline]
    fn last_allow(&self, va: u64, len: u64, access: Access) -> bool {
        let allows = |place: usize| {
            let segment = self.table.get(place).and_then(Option::as_ref);
            segment.is_some_and(|segment| {
                let (size, at) = (segment.pages * PAGE, va.wrapping_sub(segment.base));
                let allowed = access != Access::Store || segment.write;
                at < size && len <= size - at && allowed
            })
        };
        allows(self.last.get()) || allows(self.before.get())
    }

    /// The place in the table of the segment that `va` is in.
    #[inline]
    fn place(&self, va: u64) -> Option<usize> {
        let (last, before) = (self.last.get(), self.before.get());
        let is_in = |entry: &Option<Segment>| entry.as_ref().is_some_and(|s| s.contains(va));
        // Neighbouring calls and faults are about the same few buffers.
        if self.table.get(last).is_some_and(is_in) {
            return Some(last);
        }
        let place = match self.table.get(before).is_some_and(is_in) {
            true => before,
            false => self.table.iter().position(is_in)?,
        };
        // A store to a guard page must not find its segment the quick way.
        if self
            .table
            .get(place)
            .is_some_and(|s| s.as_ref().is_some_and(|s| s.stride == 0))
        {
            self.last.set(place);
            self.before.set(last);
        }
        Some(place)
    }

    /// The segment of that id.
    #[inline]
    pub fn get(&self, id: u64) -> Option<&Segment> {
        let entry = self.table.get(place_of(id))?;
        entry.as_ref().filter(|s| s.id == id)
    }

    /// The same, and the page tables seen from it.
    #[inline]
    pub fn by_id(&mut self, id: u64) -> Option<(&mut View, &mut Segment)> {
        let entry = self.table.get_mut(place_of(id))?;
        let segment = entry.as_mut().filter(|s| s.id == id)?;
        Some((self.view.seen_from(segment), segment))
    }
}

impl Space {
    /// An id for the next segment that is entered. `ENFILE`: the table is full.
    fn next_id(&self) -> Result<u64, Errno> {
        let free = self.table.iter().position(Option::is_none);
        let index = free.ok_or(Errno::ENFILE)?;
        Ok(NEXT_ID.fetch_add(1, Relaxed) * IDS + index as u64)
    }

    /// Puts a segment into the table; its id from now on. `ENFILE`: the table is
    /// full.
    fn enter(&mut self, mut segment: Segment) -> Result<u64, Errno> {
        if segment.id == 0 {
            segment.id = self.next_id()?;
            if let Content::Virtual(content) = &mut segment.content {
                content.set_number(self.owner_number(segment.id));
            }
        }
        let (id, device) = (segment.id, segment.is_device());
        let entry = self.table.get_mut(place_of(id));
        let entry = entry.ok_or(Errno::ENFILE)?;
        trace::note(
            Event::Attach,
            segment.kind as u16,
            [segment.base, segment.pages, self.number.into()],
        );
        *entry = Some(segment);
        self.view.forget_events(place_of(id));
        // The one that was found there last is gone.
        for found in [&self.last, &self.before] {
            if found.get() == place_of(id) {
                found.set(usize::MAX);
            }
        }
        if device {
            self.note_devices();
        }
        Ok(id)
    }

    /// The number of a segment with that id as an owner of frames. Two segments may
    /// have the same one: who looks for a page by it must check what is found.
    fn owner_number(&self, id: u64) -> SegmentNumber {
        let id = id as u32 & ((1 << NUMBER_ID_BITS) - 1);
        SegmentNumber::new(u32::from(self.number) << NUMBER_ID_BITS | id)
    }

    /// Begins to detach a segment that others may be using: it answers to no address from
    /// now on. `None`: another process has begun to.
    fn close(&mut self, id: u64) -> Option<()> {
        let (_, segment) = self.by_id(id)?;
        if segment.is_detached() {
            return None;
        }
        let base = segment.base;
        segment.closing = base..segment.end();
        (segment.base, segment.pages) = (0, 0);
        segment.users += 1;
        self.note_devices();
        self.trace_end(base);
        Some(())
    }

    /// All translations of a closed segment have been removed; returns true if no
    /// operation on it is left.
    fn closed(&mut self, id: u64) -> bool {
        self.by_id(id).is_some_and(|(_, segment)| {
            segment.closing = 0..0;
            segment.users -= 1;
            segment.users == 0
        })
    }

    /// Takes a segment out of the table.
    fn take(&mut self, id: u64) -> Option<Segment> {
        let entry = self.table.get_mut(place_of(id))?;
        let taken = entry.take_if(|segment| segment.id == id)?;
        if !taken.is_detached() {
            self.trace_end(taken.base);
        }
        if taken.is_device() {
            self.note_devices();
        }
        Some(taken)
    }

    /// Tells the trace that the segment there is no more.
    fn trace_end(&self, base: u64) {
        trace::note(Event::Detach, 0, [base, 0, self.number.into()]);
    }

    /// Notes where devices' memory is, after a change of the table.
    fn note_devices(&mut self) {
        let devices = || self.table.iter().flatten().filter(|s| s.is_device());
        let start = devices().map(|segment| segment.base).min().unwrap_or(0);
        let end = devices().map(Segment::end).max().unwrap_or(0);
        self.devices = start..end;
    }

    /// Returns true if any of the range is a device's memory.
    #[inline]
    fn has_device(&self, range: Range<u64>) -> bool {
        let near = self.devices.start < range.end && range.start < self.devices.end;
        near && self.find_device(range)
    }

    #[cold]
    fn find_device(&self, range: Range<u64>) -> bool {
        let overlaps = |s: &Segment| s.base < range.end && range.start < s.end();
        let mut segments = self.table.iter().flatten();
        segments.any(|segment| segment.is_device() && overlaps(segment))
    }

    /// The segment of virtual memory with that number: its id, its content, and the
    /// page tables seen from it.
    fn by_number(&mut self, number: SegmentNumber) -> Option<(u64, &mut View, &mut vm::Segment)> {
        let index = (u64::from(number.get()) % IDS) as usize;
        let id = self.table.get(index)?.as_ref()?.id;
        if self.owner_number(id) != number {
            return None;
        }
        let (view, segment) = self.by_id(id)?;
        match &mut segment.content {
            Content::Virtual(content) => Some((id, view, content)),
            Content::Device(_) | Content::Dma(_) | Content::Shared(_) => None,
        }
    }

    /// The pages of the process that are in swap, weighed by `weigh`, and its swap
    /// files.
    pub fn in_swap(&mut self, weigh: impl Fn(SwapId, u64) -> u64) -> (u64, u64) {
        let (mut pages, mut files) = (0, 0);
        for segment in self.table.iter().flatten() {
            if let Content::Virtual(content) = &segment.content {
                for (file, count) in content.swap_use() {
                    pages += weigh(file, count);
                    files += 1;
                }
            }
        }
        (pages, files)
    }

    /// Returns true if any of these pages of a segment must be loaded.
    fn sleeps(&mut self, segment: u64, pages: Range<u64>) -> bool {
        self.by_id(segment)
            .is_some_and(|(view, segment)| match &segment.content {
                Content::Virtual(content) => content.sleeps(view, pages),
                Content::Device(_) | Content::Dma(_) | Content::Shared(_) => false,
            })
    }
}

/// The number of the space that has a segment of that number.
fn space_of(number: SegmentNumber) -> spaces::Number {
    (number.get() >> NUMBER_ID_BITS) as spaces::Number
}

/// The snapshot segment that holds all of `[va, va + len)`, and where in it
/// the range begins, in bytes.
pub fn snapshot_range(space: &SpaceLock, va: u64, len: u64) -> Option<(u64, u64)> {
    let space = space.lock();
    let segment = space.find(va)?;
    let inside = va.checked_add(len)? <= segment.end();
    (segment.kind == SegmentKind::Snapshot && inside).then_some((segment.id, va - segment.base))
}

/// A segment whose content is complete: no stores are allowed from now on. Others may
/// run meanwhile.
pub fn seal(space: &SpaceLock, id: u64) {
    attach::in_steps(space, id, |view, segment, range| {
        segment.write = false;
        view.pages.protect(range);
    });
}
