//! A segment's memory as the VM core sees it: frames, overlay nodes in
//! frames, and the page tables of the process it belongs to.
use super::Segment;
use super::spaces::{self, Number};
use crate::chan::room;
use crate::client::{snapshots, swap};
use crate::counters;
use crate::sched;
use crate::trace;
use abi::trace::Event;
use abi::{Errno, NSEG, PAGE, Stat64};
use alloc::vec::Vec;
use core::ops::Range;
use hw::paging::{AddressSpace, Prot};
use hw::{ahead, frames, named, owners};
use vm::{Count, Frame, Memory, NoMemory, Owner, PageState, SegmentNumber, SnapId, SwapId};

/// The page tables of a space, seen from one of its segments at a time.
pub struct View {
    /// The process's page tables.
    pub pages: AddressSpace,
    /// The number of the space.
    pub(super) space: Number,
    /// Where the segment begins.
    pub base: u64,
    /// May it be stored to?
    pub write: bool,
    /// May it be executed?
    pub execute: bool,
    /// False for a segment that was detached: nothing of it is mapped any more.
    pub(super) open: bool,
    /// The place of the segment in the table.
    pub(super) place: usize,
    /// What has happened to the pages of each segment: [`NSEG`] entries.
    events: Vec<Events>,
}

/// How often each [`Count`] has happened.
pub type Events = [u64; Count::KINDS];

impl View {
    /// Of no segment yet.
    pub fn new(pages: AddressSpace) -> Result<View, Errno> {
        let mut events = room(NSEG)?;
        events.resize(NSEG, Events::default());
        Ok(View {
            pages,
            space: 0,
            base: 0,
            write: false,
            execute: false,
            open: true,
            place: 0,
            events,
        })
    }

    /// The view from that segment.
    #[inline]
    pub fn seen_from(&mut self, segment: &Segment) -> &mut View {
        self.base = segment.base;
        self.write = segment.write;
        self.execute = segment.execute;
        self.place = super::place_of(segment.id);
        self.open = !segment.is_detached();
        if !self.open {
            self.base = segment.closing.start;
        }
        self
    }

    /// What has happened to the pages of the segment.
    pub fn events(&self) -> Events {
        self.events.get(self.place).copied().unwrap_or_default()
    }

    /// Another segment is in the place.
    pub fn forget_events(&mut self, place: usize) {
        if let Some(events) = self.events.get_mut(place) {
            *events = Events::default();
        }
    }

    /// Returns true if the page was used since the last call; forgets that.
    pub fn take_accessed(&mut self, page: u64) -> bool {
        self.has_addresses() && self.pages.take_accessed(self.base + page * PAGE)
    }

    /// The accesses to a page of the segment.
    #[inline(always)]
    fn prot(&self, writable: bool) -> Prot {
        Prot {
            write: writable && self.write,
            exec: self.execute,
        }
    }

    /// False for a segment that was detached and whose translations have been removed:
    /// its addresses may be another's.
    #[inline]
    fn has_addresses(&self) -> bool {
        self.base != 0
    }

    /// Tells the trace that pages have a state. Those of a copy for a child are not the
    /// space's, and those of a segment that was detached have no addresses any more.
    #[cold]
    fn trace_pages(&self, segment: SegmentNumber, pages: Range<u64>, state: PageState) {
        if super::space_of(segment) != self.space || !self.has_addresses() || !self.open {
            return;
        }
        let at = self.base.saturating_add(pages.start.saturating_mul(PAGE));
        let words = [at, self.space.into(), pages.end - pages.start];
        match spaces::of(sched::current_slot()) == Some(self.space) {
            true => trace::note(Event::Page, state.tag(), words),
            // An eviction from the memory of another process.
            false => trace::note_foreign(Event::Page, state.tag(), words),
        }
    }

    fn addresses(&self, pages: Range<u64>) -> Range<u64> {
        self.base + pages.start * PAGE..self.base + pages.end * PAGE
    }
}

impl Memory for View {
    #[inline]
    fn alloc_zeroed(&mut self) -> Option<Frame> {
        named::alloc_zeroed()
    }

    #[inline]
    fn alloc(&mut self) -> Option<Frame> {
        named::alloc()
    }

    fn alloc_copy(&mut self, of: Frame) -> Option<Frame> {
        let frame = named::alloc()?;
        named::copy_between((of, 0), (frame, 0), PAGE as usize);
        Some(frame)
    }

    fn retain(&mut self, frame: Frame) {
        named::retain(frame);
    }

    fn release(&mut self, frame: Frame) {
        named::release(frame);
    }

    #[inline]
    fn shared(&self, frame: Frame) -> bool {
        named::shared(frame)
    }

    fn is_held(&self, frame: Frame) -> bool {
        owners::others_hold(frame)
    }

    #[inline]
    fn make_exclusive(&mut self, frame: Frame) -> bool {
        named::make_exclusive(frame)
    }

    #[inline]
    fn cached(&mut self, snap: SnapId, soff: u64) -> Option<Frame> {
        snapshots::cached(snap, soff)
    }

    fn cached_run(&mut self, snap: SnapId, soff: u64, wanted: u64, frames: &mut [Frame]) -> u64 {
        snapshots::cached_run(snap, soff, wanted, frames)
    }

    fn uncached(&mut self, snap: SnapId, soff: u64, pages: u64) -> u64 {
        snapshots::uncached(snap, soff, pages)
    }

    fn publish(&mut self, snap: SnapId, soff: u64, frame: Frame) -> Option<Frame> {
        // A frame that somebody else holds may be about to be written.
        if named::shared(frame) {
            return None;
        }
        snapshots::publish(snap, soff, frame)
    }

    fn can_provide(&self, snap: SnapId) -> bool {
        !snapshots::is_down(snap)
    }

    fn has_lost_swap(&self, file: SwapId) -> bool {
        swap::is_down(file)
    }

    fn publish_run(&mut self, snap: SnapId, soff: u64, frames: &mut [Frame]) {
        snapshots::publish_run(snap, soff, frames);
    }

    fn copy(&mut self, from: (Frame, usize), to: (Frame, usize), len: usize) {
        named::copy_between(from, to, len);
    }

    fn zero(&mut self, frame: Frame, at: usize, len: usize) {
        named::zero_range(frame, at, len);
    }

    fn sum(&self, frame: Frame) -> u32 {
        named::checksum(frame)
    }

    fn alloc_node(&mut self) -> Option<Frame> {
        named::alloc_node()
    }

    fn share_node(&mut self, node: Frame) {
        named::share_node(node);
    }

    #[inline(always)]
    fn is_shared_node(&self, node: Frame) -> bool {
        named::is_shared_node(node)
    }

    fn free_node(&mut self, node: Frame) {
        named::free_node(node);
    }

    #[inline(always)]
    fn entry(&self, node: Frame, index: usize) -> u64 {
        named::node_entry(node, index)
    }

    #[inline]
    fn find_entry(
        &self,
        node: Frame,
        entries: Range<usize>,
        is_it: impl Fn(u64) -> bool,
    ) -> Option<(usize, u64)> {
        named::find_node_entry(node, entries, is_it)
    }

    #[inline(always)]
    fn set_entry(&mut self, node: Frame, index: usize, value: u64) {
        named::set_node_entry(node, index, value);
    }

    #[inline]
    fn map(&mut self, page: u64, frame: Frame, writable: bool) -> Result<(), NoMemory> {
        if !self.open {
            // No translation is left of what was there: its frame may be given back.
            self.unmap(page..page + 1);
            return Ok(());
        }
        named::check_written(frame);
        let prot = self.prot(writable);
        self.pages.map(self.base + page * PAGE, frame, prot)
    }

    #[inline(always)]
    fn map_zeroed_quickly(&mut self, page: u64, owner: Owner) -> Option<Frame> {
        if !self.open {
            return None;
        }
        let (va, exec) = (self.base + page * PAGE, self.execute);
        debug_assert!(self.write, "a store to a segment that is read only");
        let prot = Prot { write: true, exec };
        self.pages.map_zeroed_quickly(va, prot, owner)
    }

    #[inline]
    fn allow_stores(&mut self, page: u64, frame: Frame) -> Result<(), NoMemory> {
        if !self.open {
            return Ok(());
        }
        let (va, prot) = (self.base + page * PAGE, self.prot(true));
        named::check_written(frame);
        match self.pages.change_access(va, frame, prot) {
            true => Ok(()),
            false => self.pages.map(va, frame, prot),
        }
    }

    fn map_ahead(&mut self, page: u64, frames: &[Frame]) {
        if !self.open {
            return;
        }
        for frame in frames {
            named::check_written(*frame);
        }
        let va = self.base + page * PAGE;
        let prot = Prot {
            write: false,
            exec: self.execute,
        };
        self.pages.map_ahead(va, frames, prot);
    }

    fn map_new(&mut self, page: u64, frames: &[Frame]) {
        if !self.open {
            return;
        }
        for frame in frames {
            named::check_written(*frame);
        }
        let va = self.base + page * PAGE;
        let prot = Prot {
            write: self.write,
            exec: self.execute,
        };
        self.pages.map_all(va, frames, prot);
    }

    fn used(&mut self, pages: Range<u64>) -> u64 {
        if !self.has_addresses() {
            return 0;
        }
        let range = self.addresses(pages);
        self.pages.used(range)
    }

    fn ahead_max(&self) -> u64 {
        // Unused pages may take a quarter of memory, and of what is free.
        let quarter = frames::total() / 4;
        let left = quarter.saturating_sub(ahead::unused());
        left.min(frames::free_count() / 4)
    }

    fn unmap(&mut self, pages: Range<u64>) {
        if self.has_addresses() {
            let range = self.addresses(pages);
            self.pages.unmap(range);
        }
    }

    fn mapped(&self) -> u64 {
        self.pages.mapped()
    }

    fn protect(&mut self, pages: Range<u64>) {
        if self.write && self.has_addresses() {
            let range = self.addresses(pages);
            self.pages.protect(range);
        }
    }

    #[inline(always)]
    fn own(&mut self, frame: Frame, owner: Owner) {
        owners::own(frame, owner);
    }

    #[inline]
    fn disown(&mut self, frame: Frame, owner: Owner) {
        owners::disown(frame, owner);
    }

    #[inline(always)]
    fn listens(&self) -> bool {
        trace::is_on()
    }

    #[inline(always)]
    fn enters(&mut self, segment: SegmentNumber, page: u64, state: PageState) {
        if self.listens() {
            self.trace_pages(segment, page..page + 1, state);
        }
    }

    fn leave(&mut self, segment: SegmentNumber, pages: Range<u64>) {
        if self.listens() {
            self.trace_pages(segment, pages, PageState::Absent);
        }
    }

    #[inline(always)]
    fn count(&mut self, what: Count, n: u64) {
        if let Some(events) = self.events.get_mut(self.place) {
            events[what as usize] += n;
        }
        let what = match what {
            Count::Fill => Stat64::Fills,
            Count::ZeroFill => Stat64::ZeroFills,
            Count::Copy => Stat64::Copies,
            Count::Cached => Stat64::Cached,
            Count::Ahead => Stat64::Ahead,
            Count::Evict => Stat64::Evictions,
            Count::PageOut => Stat64::PageOuts,
            Count::PageIn => Stat64::PageIns,
            Count::Stale | Count::Elided | Count::Sent => return,
        };
        counters::add(what, n);
    }
}
