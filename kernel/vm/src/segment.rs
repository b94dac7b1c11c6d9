//! A segment's own knowledge, and the steps that every verb uses.

use core::ops::Range;

use crate::ahead::ReadAhead;
use crate::extents::{Extent, Extents};
use crate::overlay::{Aside, Entry, Overlay, Pages};
use crate::recent::Recent;
use crate::swap::SwapFiles;
use crate::{
    Count, Frame, Hint, Memory, NoMemory, Owner, PAGE, PageState, Place, SegmentNumber, SwapId,
    Ticket,
};

/// The content of one segment of a process. The content of a page is the frame
/// or the place in swap that the overlay names, if there is one, otherwise the
/// bytes that the extents name, and zeros under no extent.
///
/// A segment owns one reference to each of its frames, snapshots and swap files;
/// [`crate::destroy`] releases them (dropping the value does not).
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
pub struct Segment {
    pages: u64,
    pub(crate) extents: Extents,
    pub(crate) overlay: Overlay,
    pub(crate) swap: SwapFiles,
    ticket: Ticket,
    pub(crate) recent: Recent,
    pub(crate) ahead: ReadAhead,
    /// No page leaves memory, or falls asleep for another reason.
    pub(crate) pinned: bool,
}

impl Segment {
    /// Zeros, `pages` pages of them (at most 2^36, more than there are
    /// addresses).
    pub const fn new(pages: u64) -> Segment {
        Segment {
            pages,
            extents: Extents::new(),
            overlay: Overlay::new(pages),
            swap: SwapFiles::new(),
            ticket: Ticket(0),
            recent: Recent::new(),
            ahead: ReadAhead::new(Hint::None),
            pinned: false,
        }
    }

    /// What is known of the order of its use.
    pub const fn hint(&self) -> Hint {
        self.ahead.hint()
    }

    /// From now on the program's own word on the order of its use counts.
    pub fn set_hint(&mut self, hint: Hint) {
        self.ahead = ReadAhead::new(hint);
    }

    /// Gives the segment the number by which it owns frames ([`crate::Owner`]),
    /// while it has none.
    pub fn set_number(&mut self, number: SegmentNumber) {
        self.overlay.set_number(number);
    }

    /// The number by which it owns frames.
    pub const fn number(&self) -> SegmentNumber {
        self.overlay.number()
    }

    /// Length in pages.
    #[inline]
    pub const fn pages(&self) -> u64 {
        self.pages
    }

    /// Length in bytes.
    #[inline]
    pub const fn bytes(&self) -> u64 {
        self.pages.saturating_mul(PAGE)
    }

    /// Pages whose content is in swap, whether a frame has it too or not.
    pub const fn in_swap(&self) -> u64 {
        self.swap.pages()
    }

    /// The swap files that the segment refers to, and the pages that it has in each.
    pub fn swap_use(&self) -> impl Iterator<Item = (SwapId, u64)> + '_ {
        self.swap.pages_by_file()
    }

    /// The swap files that the segment refers to.
    pub fn swap_files(&self) -> impl Iterator<Item = SwapId> + '_ {
        self.swap.iter()
    }

    /// The swap file with the content of a page, if it is in one.
    pub fn swap_of<M: Memory>(&self, m: &M, page: u64) -> Option<SwapId> {
        self.swap.id(self.overlay.get(m, page).swap_file()?)
    }

    /// The associations.
    #[inline]
    pub const fn extents(&self) -> &Extents {
        &self.extents
    }

    /// The state of a page.
    pub fn state<M: Memory>(&self, m: &M, page: u64) -> PageState {
        self.overlay.get(m, page)
    }

    /// The first page in `pages` that is not absent.
    pub fn next_populated<M: Memory>(&self, m: &M, pages: Range<u64>) -> Option<(u64, PageState)> {
        self.overlay.next(m, Pages::Present, pages)
    }

    /// The first page at or after `from` that is asleep or in swap. `Err`: there is
    /// none before that page, where one step ends.
    pub fn next_asleep<M: Memory>(&self, m: &M, from: u64) -> Result<u64, u64> {
        let end = self.overlay.step(m, from..self.pages.max(from));
        let swapped = self.next_swapped(m, from..end);
        let asleep = self.next_unfilled(m, from..end);
        let first = match (swapped, asleep) {
            (Some(swapped), Some(asleep)) => Some(swapped.min(asleep)),
            (one, other) => one.or(other),
        };
        first.ok_or(end)
    }

    /// The first page in `pages` that is in swap alone.
    fn next_swapped<M: Memory>(&self, m: &M, pages: Range<u64>) -> Option<u64> {
        if self.swap.pages() == 0 {
            return None;
        }
        self.next_own(m, pages, |state| state.place().is_some())
    }

    /// The first page in `pages` that has the segment's own content and is `like`
    /// that.
    pub(crate) fn next_own<M: Memory>(
        &self,
        m: &M,
        mut pages: Range<u64>,
        like: impl Fn(PageState) -> bool,
    ) -> Option<u64> {
        loop {
            let (page, state) = self.overlay.next(m, Pages::Own, pages.clone())?;
            if like(state) {
                return Some(page);
            }
            pages.start = page + 1;
        }
    }

    /// The first page in `pages` that is asleep.
    fn next_unfilled<M: Memory>(&self, m: &M, pages: Range<u64>) -> Option<u64> {
        self.next_tied(pages, |page| self.overlay.get(m, page) == PageState::Absent)
    }

    /// The first page in `pages` that an extent has a part of and that is `like` that.
    fn next_tied(&self, pages: Range<u64>, like: impl Fn(u64) -> bool) -> Option<u64> {
        let mut page = pages.start;
        loop {
            let extent = self.extents.first(page * PAGE..pages.end * PAGE)?;
            page = page.max(extent.start / PAGE);
            while page * PAGE < extent.end {
                if like(page) {
                    return Some(page);
                }
                page += 1;
            }
        }
    }

    /// Returns true if any of these pages must be loaded before a part of it
    /// can be used.
    pub fn sleeps<M: Memory>(&self, m: &M, pages: Range<u64>) -> bool {
        if self.next_swapped(m, pages.clone()).is_some() {
            return true;
        }
        let sleeps = |page| {
            let state = self.overlay.get(m, page);
            matches!(state, PageState::Absent | PageState::Filling(_))
        };
        self.next_tied(pages, sleeps).is_some()
    }

    /// Returns true if the process may be about to use the page: it was one of the
    /// last that were resolved ([`Segment::evict`] takes it all the same).
    pub fn resolved_lately(&self, page: u64) -> bool {
        self.recent.has(page)
    }

    /// Takes a page's frame away if its content is elsewhere too: a clean page sleeps
    /// again, a backed one is in swap alone. `false` if it is neither, or is so no
    /// more: bytes that are here are all there is if the snapshot is lost, or the
    /// server is gone. `false`, too, if other segments share its node and there is no
    /// memory for a node of its own; they have the frame still.
    pub fn evict<M: Memory>(&mut self, m: &mut M, page: u64) -> bool {
        match self.overlay.get(m, page) {
            PageState::Resident(frame) => self.evict_clean(m, page, frame),
            PageState::Backed(frame, file) => self.evict_backed(m, page, frame, file),
            _ => false,
        }
    }

    fn evict_backed<M: Memory>(&mut self, m: &mut M, page: u64, frame: Frame, file: u16) -> bool {
        if self.overlay.open_page(m, page).is_err() {
            return false;
        }
        if self.swap.id(file).is_none_or(|file| m.has_lost_swap(file)) {
            self.change(m, page, PageState::Dirty(frame));
            self.swap.give_up(page, file);
            return false;
        }
        m.unmap(page..page + 1);
        // Nobody could store to it since it came back.
        let sum = m.sum(frame);
        self.change(m, page, PageState::Swapped(Place { file, sum }));
        m.release(frame);
        m.count(Count::Evict, 1);
        true
    }

    fn evict_clean<M: Memory>(&mut self, m: &mut M, page: u64, frame: Frame) -> bool {
        let range = page * PAGE..(page + 1) * PAGE;
        if self.overlay.open_page(m, page).is_err() {
            return false;
        }
        let mut last = None;
        let gone = |Extent { source, .. }| {
            let asked = last.replace(source.snap) == Some(source.snap);
            !asked && (self.extents.uses.is_lost(source.snap) || !m.can_provide(source.snap))
        };
        if self.extents.over(range).any(gone) {
            self.change(m, page, PageState::Dirty(frame));
            return false;
        }
        m.unmap(page..page + 1);
        self.clear(m, page);
        m.release(frame);
        m.count(Count::Evict, 1);
        true
    }

    /// A number no fill and no write under way has.
    pub(crate) const fn new_ticket(&mut self) -> Ticket {
        self.ticket = self.ticket.next();
        self.ticket
    }

    /// The bytes `[at, at + n)` as a range, if the segment has them.
    pub(crate) fn range(&self, at: u64, n: u64) -> Option<Range<u64>> {
        let end = at.checked_add(n)?;
        (end <= self.bytes()).then_some(at..end)
    }

    /// Makes a page absent whose leaf is private.
    pub(crate) fn clear<M: Memory>(&mut self, m: &mut M, page: u64) {
        let cleared = self.overlay.set(m, page, PageState::Absent);
        debug_assert!(cleared.is_ok(), "clearing needs no memory");
    }

    /// Gives a page that is not absent, and whose leaf is private, another state. Pages
    /// with a ticket have such a leaf.
    pub(crate) fn change<M: Memory>(&mut self, m: &mut M, page: u64, state: PageState) {
        let changed = self.overlay.set(m, page, state);
        debug_assert!(changed.is_ok(), "changing a state needs no memory");
    }

    /// A range of pages as [`Overlay::open`] and [`Overlay::clear`] take it.
    const fn up_to_end(&self, pages: Range<u64>) -> Range<u64> {
        let all = pages.end == self.pages;
        pages.start..if all { u64::MAX } else { pages.end }
    }

    /// Makes it possible to drop `pages`, with [`Segment::drop_some`], without memory, as
    /// long as the segment is not copied.
    pub(crate) fn open<M: Memory>(&mut self, m: &mut M, pages: Range<u64>) -> Result<(), NoMemory> {
        let pages = self.up_to_end(pages);
        self.overlay.open(m, pages)
    }

    /// Drops the content of `pages`, and the results of fills under way, as much as
    /// one step permits; where that ended. They were opened, and do not end within a
    /// shared node. One that has pages to be counted is put `aside`, for
    /// [`Segment::count_some`].
    pub(crate) fn drop_some<M: Memory>(
        &mut self,
        m: &mut M,
        pages: Range<u64>,
        aside: &mut Option<Aside>,
    ) -> u64 {
        if self.swap.pages() == 0 {
            return self.drop_last(m, pages);
        }
        let all = self.unmap_step(m, &pages, true);
        let swap = &mut self.swap;
        let release = |m: &mut M, page, state: PageState| swap.let_go_of(m, page, state);
        let (end, taken) = self.overlay.clear_counted(m, all, release);
        *aside = taken;
        end.min(pages.end)
    }

    /// Counts pages that were put aside as in swap no more, and gives them back, as many as
    /// one step permits; `false` if there are no more.
    pub(crate) fn count_some<M: Memory>(&mut self, m: &mut M, aside: &mut Aside) -> bool {
        let swap = &mut self.swap;
        aside.let_go_some(m, |m, page, state| swap.let_go_of(m, page, state))
    }

    /// As [`Segment::drop_some`] at the segment's end, where it is not counted any more which
    /// pages are in swap files, or where none are.
    pub(crate) fn drop_last<M: Memory>(&mut self, m: &mut M, pages: Range<u64>) -> u64 {
        let all = self.unmap_step(m, &pages, false);
        self.release_pages(m, all).min(pages.end)
    }

    /// The part of `pages` that can be dropped in one step. Translations go first: a frame
    /// must not be freed while it is reachable.
    fn unmap_step<M: Memory>(&self, m: &mut M, pages: &Range<u64>, counted: bool) -> Range<u64> {
        let all = self.up_to_end(pages.clone());
        let end = self.overlay.step_to_clear(m, all.clone(), counted);
        if pages.start < end && !self.overlay.is_empty() {
            m.unmap(pages.start..end.min(pages.end));
        }
        all.start..end
    }

    /// As [`Segment::drop_last`] for pages that nothing translates to.
    pub(crate) fn release_pages<M: Memory>(&mut self, m: &mut M, pages: Range<u64>) -> u64 {
        let swap = &mut self.swap;
        let release = |m: &mut M, page, state: PageState| swap.let_go_of(m, page, state);
        self.overlay.clear(m, pages, release)
    }

    /// The effect of a store on a page with that entry and the frame `old`: the page becomes
    /// dirty, its frame private and mapped for writing. On failure the page's
    /// content and state are unchanged. The place of a backed page is given up.
    pub(crate) fn make_private<M: Memory>(
        &mut self,
        m: &mut M,
        page: u64,
        entry: Entry,
        old: Frame,
    ) -> Result<Frame, NoMemory> {
        if self.swap.pages() == 0 {
            return self.detach(m, page, entry, old);
        }
        let frame = self.detach(m, page, entry, old)?;
        if let PageState::Backed(_, file) = entry.state() {
            self.swap.give_up(page, file);
        }
        Ok(frame)
    }

    #[inline]
    fn detach<M: Memory>(
        &mut self,
        m: &mut M,
        page: u64,
        entry: Entry,
        old: Frame,
    ) -> Result<Frame, NoMemory> {
        let entry = match entry.is_private() {
            true => entry,
            false => {
                self.overlay.open_page(m, page)?;
                self.overlay.find(m, page)
            }
        };
        if m.make_exclusive(old) {
            m.allow_stores(page, old)?;
            self.overlay
                .set_found(m, page, entry, PageState::Dirty(old))?;
            return Ok(old);
        }
        let new = m.alloc_copy(old).ok_or(NoMemory)?;
        if let Err(error) = m.map(page, new, true) {
            m.release(new);
            return Err(error);
        }
        self.change(m, page, PageState::Dirty(new));
        m.release(old);
        m.count(Count::Copy, 1);
        Ok(new)
    }

    /// Calls `f` for each node and each frame, with its owner here; for tests.
    #[doc(hidden)]
    pub fn owners<M: Memory>(&self, m: &M, f: impl FnMut(Frame, Owner)) {
        self.overlay.owners(m, f);
    }

    /// Makes the page's node the segment's own, so that [`Segment::evict`] and a page-out
    /// of the page need no memory.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn open_page<M: Memory>(&mut self, m: &mut M, page: u64) -> Result<(), NoMemory> {
        self.overlay.open_page(m, page)
    }

    /// The owner of a page's frame.
    pub fn owner<M: Memory>(&self, m: &M, page: u64) -> Option<Owner> {
        self.overlay.owner_of(m, page)
    }

    /// Returns true if other segments share the page's node.
    pub fn is_shared<M: Memory>(&self, m: &M, page: u64) -> bool {
        self.overlay.is_shared(m, page)
    }

    /// Panics unless the structure is sound; for tests.
    #[doc(hidden)]
    pub fn check<M: Memory>(&self, m: &M) {
        self.extents.check();
        let in_file = |file: u16| {
            let in_it = |state: PageState| state.swap_file() == Some(file);
            let (mut count, mut from) = (0, 0);
            while let Some(page) = self.next_own(m, from..self.pages, in_it) {
                (count, from) = (count + 1, page + 1);
            }
            count
        };
        self.swap.check(in_file);
        let inside = self
            .extents
            .iter()
            .next_back()
            .is_none_or(|e| e.end <= self.bytes());
        assert!(inside, "an extent leaves the segment");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestMemory;
    use crate::{SnapId, Source};

    /// Pages that sleep on one snapshot.
    fn tied(pages: u64) -> Segment {
        let mut segment = Segment::new(pages);
        let (snap, soff) = (SnapId(1), 0);
        segment.extents.uses.adopt(snap).unwrap();
        segment.extents.reserve().unwrap();
        segment
            .extents
            .replace(0..pages * PAGE, Some(Source { snap, soff }));
        segment
    }

    #[test]
    fn what_a_server_that_is_gone_gave_is_kept() {
        let (mut segment, mut m) = (tied(2), TestMemory::default());
        for page in 0..2 {
            let frame = m.alloc_zeroed().unwrap();
            let resident = PageState::Resident(frame);
            segment.overlay.set(&mut m, page, resident).unwrap();
        }
        assert!(segment.evict(&mut m, 0));
        m.gone = true;
        assert!(!segment.evict(&mut m, 1));
        assert!(matches!(segment.state(&m, 1), PageState::Dirty(_)));
    }

    #[test]
    fn what_a_swap_server_that_is_gone_had_is_kept() {
        let (mut segment, mut m) = (Segment::new(2), TestMemory::default());
        assert_eq!(segment.swap.adopt(SwapId(7)), Ok(true));
        for page in 0..2 {
            let frame = m.alloc_zeroed().unwrap();
            let backed = PageState::Backed(frame, 0);
            segment.overlay.set(&mut m, page, backed).unwrap();
            segment.swap.gain(0);
        }
        assert!(segment.evict(&mut m, 0));
        assert!(matches!(segment.state(&m, 0), PageState::Swapped(_)));
        m.gone = true;
        assert!(!segment.evict(&mut m, 1));
        assert!(matches!(segment.state(&m, 1), PageState::Dirty(_)));
        assert_eq!(segment.in_swap(), 1);
    }

    #[test]
    fn each_page_is_asked_once_whether_it_sleeps_however_many_extents_it_has() {
        let (mut segment, mut m) = (Segment::new(4), TestMemory::default());
        segment.extents.uses.adopt(SnapId(1)).unwrap();
        for at in (0..4 * PAGE).step_by(8) {
            let (snap, soff) = (SnapId(1), at);
            segment.extents.reserve().unwrap();
            let source = Some(Source { snap, soff });
            segment.extents.replace(at..at + 4, source);
        }
        for page in 0..4 {
            let state = PageState::Resident(Frame(page as u32));
            segment.overlay.set(&mut m, page, state).unwrap();
        }
        let before = m.seen.get();
        assert!(!segment.sleeps(&m, 0..4));
        assert!(m.seen.get() - before <= 8, "{}", m.seen.get() - before);
        segment
            .overlay
            .set(&mut m, 3, PageState::Filling(Ticket(1)))
            .unwrap();
        assert!(segment.sleeps(&m, 0..4) && !segment.sleeps(&m, 0..3));
    }

    #[test]
    fn a_sleeping_page_behind_many_resident_ones_is_found_in_steps() {
        let (pages, awake) = (1 << 20, 10_000);
        let (mut segment, mut m) = (tied(pages), TestMemory::default());
        for page in 0..awake {
            let state = PageState::Resident(Frame(page as u32));
            segment.overlay.set(&mut m, page, state).unwrap();
        }
        let (mut from, mut most) = (0, 0);
        let found = loop {
            let before = m.seen.get();
            let next = segment.next_asleep(&m, from);
            most = most.max(m.seen.get() - before);
            match next {
                Ok(page) => break page,
                Err(end) => from = end,
            }
        };
        assert_eq!(found, awake);
        assert!(most < 20_000, "{most} entries in one step");
        assert_eq!(segment.next_asleep(&m, pages), Err(pages));
    }
}
