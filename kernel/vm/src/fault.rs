//! Page faults: the translation is missing or forbids the access.
//!
//! One loop serves all of them: look at the page with the segment locked; map it,
//! or unlock and wait for the one thing that it needs; look again from the start.
//! Nothing seen before a wait is relied on after it, because anything may have
//! happened to the page meanwhile: a read over it, a fork, a write, its removal.
//! The ticket of a fill tells the page's own fill from a fill that was overtaken.

use abi::Errno;

use core::ops::Range;

use crate::ahead::Near;
use crate::extents::{Extent, Source};
use crate::fill::{Filling, fill, map_ahead, one_page, whole};
use crate::overlay::{Entry, Overlay};
use crate::page_in::load_around;
use crate::{Count, Frame, Host, Memory, NoMemory, PAGE, PageState, RUN_MAX, Segment, Ticket};

/// The kind of access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// To read.
    Load,
    /// A store.
    Store,
    /// Of an instruction. To the content of a page it is a load.
    Fetch,
}

/// What a touched page needs before it can be mapped.
pub struct Need(Wanted);

enum Wanted {
    /// The caller fills it.
    Fill(Filling),
    /// The caller brings it back from swap.
    Swapped,
    /// Another process is filling it or bringing it back.
    Wait(Ticket),
}

/// Page fault: makes `page` accessible. On success the page is mapped so that
/// the access works, unless it was unmapped again meanwhile; the access then
/// faults again.
///
/// # Errors
/// `EFAULT` outside of the segment, `ENOMEM`, `EINTR` while waiting, and the
/// server's error if it cannot provide the bytes. `EBADMSG`: the bytes in swap are
/// not those that were moved there.
pub fn fault<H: Host>(h: &mut H, page: u64, access: Access) -> Result<(), Errno> {
    let touched = h.with(|segment, m| match access {
        Access::Store if segment.store_quickly(m, page) => {
            if m.listens() {
                let state = segment.overlay.get(m, page);
                m.enters(segment.number(), page, state);
            }
            Ok(None)
        }
        _ => segment.touch(m, page, access),
    });
    match touched? {
        None => Ok(()),
        Some(need) => satisfy(h, page, access, need),
    }
}

/// The rest of a page fault, from a [`Segment::touch`] that was not enough.
///
/// # Errors
/// Those of [`fault`].
pub fn satisfy<H: Host>(h: &mut H, page: u64, access: Access, mut need: Need) -> Result<(), Errno> {
    loop {
        match need.0 {
            Wanted::Fill(filling) => fill(h, &filling)?,
            Wanted::Swapped => load_around(h, page)?,
            Wanted::Wait(ticket) => h.wait_fill(page, ticket)?,
        }
        match h.with(|segment, m| segment.touch(m, page, access))? {
            None => return Ok(()),
            Some(more) => need = more,
        }
    }
}

impl Segment {
    /// Makes `page` private and mapped for writing without loading its content: the
    /// caller stores to all of it before anything else runs (rule 8).
    ///
    /// # Errors
    /// `EFAULT` outside of the segment, `ENOMEM`; nothing has changed then.
    pub fn overwrite<M: Memory>(&mut self, m: &mut M, page: u64) -> Result<(), Errno> {
        if page >= self.pages() {
            return Err(Errno::EFAULT);
        }
        self.recent.note(page);
        let entry = self.overlay.find(m, page);
        let state = entry.state();
        match state.frame() {
            Some(frame) => self.make_private(m, page, entry, frame).map(drop)?,
            // The result of a fill under way is no longer wanted.
            None => {
                self.zero_fill(m, page, entry)?;
                if let Some(place) = state.place() {
                    self.swap.give_up(page, place.file);
                }
            }
        }
        Ok(())
    }

    /// Gives a page that has no frame one of zeros, as the segment's own. A ticket
    /// of a fill under way is lost with the old state, which makes that fill
    /// stale. On failure the page is as it was.
    #[inline]
    fn zero_fill<M: Memory>(&mut self, m: &mut M, page: u64, old: Entry) -> Result<(), NoMemory> {
        let frame = m.alloc_zeroed().ok_or(NoMemory)?;
        if let Err(error) = m.map(page, frame, true) {
            m.release(frame);
            return Err(error);
        }
        let set = self
            .overlay
            .set_found(m, page, old, PageState::Dirty(frame));
        if let Err(error) = set {
            m.unmap(page..page + 1);
            m.release(frame);
            return Err(error);
        }
        m.count(Count::ZeroFill, 1);
        Ok(())
    }

    /// [`Segment::touch`] for a store, in the cases that nearly all stores are: the first
    /// to a page of zeros of a segment without associations, the first to a clean page
    /// that nobody else has, and the first to a changed page after a fork, each beside a
    /// page of the segment's own. `false`, and nothing has changed, in any other. The caller
    /// tells who listens ([`Memory::listens`]).
    #[inline(always)]
    pub fn store_quickly<M: Memory>(&mut self, m: &mut M, page: u64) -> bool {
        if !self.overlay.is_beside_own(page) {
            return false;
        }
        if !self.overlay.is_absent(m, page) {
            return self.detach_quickly(m, page);
        }
        if !self.extents.is_empty() || page >= self.pages() {
            return false;
        }
        let owner = self.overlay.owner(page);
        let Some(frame) = m.map_zeroed_quickly(page, owner) else {
            return false;
        };
        self.overlay.make_own(m, page, frame);
        self.recent.add(page);
        m.count(Count::ZeroFill, 1);
        true
    }

    /// The same for a page that is not absent.
    #[inline(never)]
    fn detach_quickly<M: Memory>(&mut self, m: &mut M, page: u64) -> bool {
        let (frame, dirty) = match self.overlay.get(m, page) {
            PageState::Resident(frame) => (frame, false),
            PageState::Dirty(frame) => (frame, true),
            _ => return false,
        };
        match (m.make_exclusive(frame), dirty) {
            (true, _) if m.allow_stores(page, frame).is_err() => return false,
            (true, true) => {}
            (true, false) => self.overlay.make_own(m, page, frame),
            (false, true) if self.copy_quickly(m, page, frame).is_some() => {}
            (false, _) => return false,
        }
        self.recent.note(page);
        true
    }

    /// Gives a page of the segment's own, whose leaf was found last, a frame of its own.
    fn copy_quickly<M: Memory>(&mut self, m: &mut M, page: u64, old: Frame) -> Option<()> {
        let new = m.alloc_copy_quickly(old)?;
        if m.map(page, new, true).is_err() {
            m.release(new);
            return None;
        }
        self.overlay.replace_own(m, page, (old, new));
        m.release(old);
        m.count(Count::Copy, 1);
        Some(())
    }

    /// One look at a page, without waiting: maps it so that the access works, or says
    /// what it needs. Only a private page is ever mapped for writing: a clean page
    /// must fault at its first store so that it is detached, and a page being sent
    /// so that the store does not reach the message or get lost when the page
    /// becomes clean.
    ///
    /// # Errors
    /// `EFAULT` outside of the segment, `ENOMEM`.
    #[inline]
    pub fn touch<M: Memory>(
        &mut self,
        m: &mut M,
        page: u64,
        access: Access,
    ) -> Result<Option<Need>, Errno> {
        if page >= self.pages() {
            return Err(Errno::EFAULT);
        }
        self.recent.note(page);
        let entry = self.overlay.find(m, page);
        match (entry.state(), access) {
            (PageState::Absent, _) => return self.resolve_absent(m, page, entry, access),
            (PageState::Filling(ticket) | PageState::Loading(_, ticket), _) => {
                return Ok(Some(Need(Wanted::Wait(ticket))));
            }
            (PageState::Swapped(_), _) => return Ok(Some(Need(Wanted::Swapped))),
            // The next store must be seen: it detaches the page.
            (
                PageState::Resident(frame)
                | PageState::Sending(frame, _)
                | PageState::Backed(frame, _),
                Access::Load | Access::Fetch,
            ) => {
                m.map(page, frame, false)?;
            }
            // After a fork both sides have the frame: read-only until one is left.
            (PageState::Dirty(frame), Access::Load | Access::Fetch) => {
                let alone = entry.is_private() && m.make_exclusive(frame);
                m.map(page, frame, alone)?;
            }
            (
                PageState::Resident(frame)
                | PageState::Sending(frame, _)
                | PageState::Dirty(frame)
                | PageState::Backed(frame, _),
                Access::Store,
            ) => {
                self.make_private(m, page, entry, frame)?;
            }
        }
        Ok(None)
    }

    /// A page with no state of its own: zeros, or asleep. A frame from the cache
    /// needs no fill: no ticket, no message, no wait. The page is marked as filling
    /// before the message is sent, so that all others who touch it wait for this
    /// fill and the server is asked once.
    #[inline]
    fn resolve_absent<M: Memory>(
        &mut self,
        m: &mut M,
        page: u64,
        entry: Entry,
        access: Access,
    ) -> Result<Option<Need>, Errno> {
        let start = page * PAGE;
        let Some(first) = self.extents.first(start..start + PAGE) else {
            // Writable at once for any access, because a second fault would cost
            // more than the page that might have been shared.
            self.zero_fill(m, page, entry)?;
            return Ok(None);
        };
        if let Some(source) = one_page(&first)
            && let Some(frame) = m.cached(source.snap, source.soff)
        {
            self.resolve_cached(m, page, (entry, frame), access)?;
            self.map_cached_around(m, page, source);
            return Ok(None);
        }
        self.begin_fill(m, page, first).map(Some)
    }

    /// Marks a sleeping page as filling.
    #[inline(never)]
    fn begin_fill<M: Memory>(
        &mut self,
        m: &mut M,
        page: u64,
        first: Extent,
    ) -> Result<Need, Errno> {
        let ticket = self.new_ticket();
        self.overlay.set(m, page, PageState::Filling(ticket))?;
        // Its number must not become another snapshot's before the fill is over.
        self.extents.uses.pin(first.source.snap);
        let window = match whole(&first) {
            true => self.window_around(m, page),
            false => page..page + 1,
        };
        let filling = Filling {
            page,
            ticket,
            first,
            generation: self.extents.generation(),
            window,
        };
        Ok(Need(Wanted::Fill(filling)))
    }

    /// Maps a sleeping page to a frame from the cache, to which the caller has
    /// a reference.
    #[inline]
    fn resolve_cached<M: Memory>(
        &mut self,
        m: &mut M,
        page: u64,
        (entry, frame): (Entry, Frame),
        access: Access,
    ) -> Result<(), Errno> {
        let resident = PageState::Resident(frame);
        if let Err(error) = self.overlay.set_found(m, page, entry, resident) {
            m.release(frame);
            return Err(error.into());
        }
        m.count(Count::Cached, 1);
        match access {
            Access::Load | Access::Fetch => m.map(page, frame, false)?,
            Access::Store => {
                let entry = self.overlay.find(m, page);
                self.make_private(m, page, entry, frame).map(drop)?;
            }
        }
        Ok(())
    }

    /// Maps the neighbours of a page that are in the cache, too, as far as
    /// read-ahead would bring them. `source` is the place of the page.
    fn map_cached_around<M: Memory>(&mut self, m: &mut M, page: u64, source: Source) {
        let mut window = self.window_around(m, page);
        if window == (page..page + 1) {
            window = self.ahead.around(page);
            window.end = window.end.min(self.pages());
        }
        if window == (page..page + 1) {
            return;
        }
        let most = m.ahead_max();
        let pages = self.same_extent(page, &window);
        let start = pages.start.max(page.saturating_sub(most));
        let end = pages.end.min(page.saturating_add(most).saturating_add(1));
        let absent = self.overlay.absent(m, start..end);
        let mut frames = [Frame(0); RUN_MAX];
        let first = source.at_page(start, page);
        let found = m.cached_run(first.snap, first.soff, absent, &mut frames);
        self.overlay.fill(m, start, found, &frames);
        m.count(Count::Cached, u64::from(found.count_ones()));
        map_ahead(m, start, found, &frames);
    }

    /// The pages that should be filled together with this one.
    fn window_around<M: Memory>(&mut self, m: &mut M, page: u64) -> Range<u64> {
        self.window(m, page, |overlay, m| overlay.near(m, page))
    }

    /// The pages that should come together with this one; `near` tells what is present
    /// around it.
    pub(crate) fn window<M: Memory>(
        &mut self,
        m: &mut M,
        page: u64,
        near: impl FnOnce(&Overlay, &M) -> Near,
    ) -> Range<u64> {
        let (pages, overlay) = (self.pages(), &self.overlay);
        let window = self.ahead.choose(page, || near(overlay, m));
        let inside = |range: Range<u64>| range.start..range.end.min(pages);
        if let Some(passed) = window.passed {
            m.used(inside(passed));
        }
        if let Some(blocks) = self.ahead.due() {
            let used = blocks.map(|block| m.used(inside(block))).sum();
            self.ahead.judge(used);
        }
        inside(window.pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SnapId;
    use crate::testing::TestMemory;
    use alloc::vec::Vec;

    /// Three pages asleep on one snapshot.
    fn asleep() -> Segment {
        let mut segment = Segment::new(3);
        let source = Source {
            snap: SnapId(1),
            soff: 0,
        };
        segment.extents.uses.adopt(source.snap).unwrap();
        segment.extents.reserve().unwrap();
        segment.extents.replace(0..3 * PAGE, Some(source));
        segment
    }

    #[test]
    fn a_page_that_is_overwritten_is_not_loaded() {
        let (mut segment, mut m) = (asleep(), TestMemory::default());
        assert!(segment.sleeps(&m, 0..3) && segment.sleeps(&m, 1..2));
        segment.overwrite(&mut m, 1).unwrap();
        assert!(matches!(segment.state(&m, 1), PageState::Dirty(_)));
        assert!(m.map[&1].1, "it is mapped for writing");
        assert!(!segment.sleeps(&m, 1..2) && segment.sleeps(&m, 1..3));
        assert_eq!(segment.overwrite(&mut m, 3), Err(Errno::EFAULT));
    }

    /// The fill of the first page, begun.
    fn begun(segment: &mut Segment, m: &mut TestMemory) -> Filling {
        match segment.touch(m, 0, Access::Load) {
            Ok(Some(Need(Wanted::Fill(filling)))) => filling,
            _ => panic!("the page is asleep"),
        }
    }

    #[test]
    fn a_fill_from_a_snapshot_that_the_page_is_no_longer_tied_to_is_no_error_and_not_cached() {
        for fails in [false, true] {
            let (mut segment, mut m) = (asleep(), TestMemory::default());
            let filling = begun(&mut segment, &mut m);
            let source = Source {
                snap: SnapId(2),
                soff: 0,
            };
            segment.extents.uses.adopt(source.snap).unwrap();
            segment.extents.reserve().unwrap();
            segment.extents.replace(0..PAGE, Some(source));
            let outcome = match fails {
                false => Ok(m.alloc().unwrap()),
                true => Err(Errno::ESTALE),
            };
            segment.filled(&mut m, &filling, outcome).unwrap();
            assert_eq!(m.published, []);
            assert_eq!(segment.sleeps(&m, 0..1), fails, "it may be filled anew");
            assert!(!segment.extents.uses.is_lost(SnapId(2)));
        }
        let (mut segment, mut m) = (asleep(), TestMemory::default());
        let filling = begun(&mut segment, &mut m);
        let frame = m.alloc().unwrap();
        segment.filled(&mut m, &filling, Ok(frame)).unwrap();
        assert_eq!(m.published, [(SnapId(1), 0, frame)]);
    }

    #[test]
    fn a_quick_store_does_what_the_long_way_does() {
        let pages = 1500;
        let (mut quick, mut long) = (Segment::new(pages), Segment::new(pages));
        let (mut fast, mut slow) = (TestMemory::default(), TestMemory::default());
        let mut held = Vec::new();
        let (mut seed, mut done) = (7_u64, 0);
        for _ in 0..4000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            let (page, kind) = ((seed >> 40) % pages, seed >> 33 & 3);
            let both = [(&mut quick, &mut fast), (&mut long, &mut slow)];
            match kind {
                // A clean page with a frame of its own.
                0 => {
                    for (segment, m) in both {
                        if segment.state(m, page) == PageState::Absent {
                            let frame = m.alloc().unwrap();
                            let state = PageState::Resident(frame);
                            segment.overlay.set(m, page, state).unwrap();
                            m.map(page, frame, false).unwrap();
                        }
                    }
                }
                // A changed page whose frame another has too, or had.
                1 => {
                    for (segment, m) in both {
                        if let PageState::Dirty(frame) = segment.state(m, page) {
                            m.protect(page..page + 1);
                            m.retain(frame);
                            match page % 2 {
                                0 => m.release(frame),
                                _ => held.push((page, frame)),
                            }
                        }
                    }
                }
                _ => {
                    let was = quick.state(&fast, page);
                    let stored = quick.store_quickly(&mut fast, page);
                    done += u32::from(stored);
                    if !stored {
                        assert_eq!(quick.state(&fast, page), was, "nothing has changed");
                        let need = quick.touch(&mut fast, page, Access::Store);
                        assert!(matches!(need, Ok(None)));
                    }
                    let need = long.touch(&mut slow, page, Access::Store);
                    assert!(matches!(need, Ok(None)));
                }
            }
            assert_eq!(quick.state(&fast, page), long.state(&slow, page));
        }
        assert!(done > 500, "{done} quick stores");
        assert_eq!(
            quick.overlay.populated(&fast),
            long.overlay.populated(&slow)
        );
        assert_eq!(fast.map, slow.map);
        let sorted = |m: &TestMemory| {
            let mut owners: Vec<_> = m.owners.iter().map(|(f, o)| (f.0, o.above())).collect();
            owners.sort_unstable_by_key(|(frame, _)| *frame);
            owners
        };
        assert_eq!(sorted(&fast), sorted(&slow));
        assert!(held.len() > 100);
        for pair in held.chunks(2) {
            assert_eq!(pair[0], pair[1]);
            fast.release(pair[0].1);
            slow.release(pair[0].1);
        }
        for (segment, m) in [(&mut quick, &mut fast), (&mut long, &mut slow)] {
            segment.check(m);
            let mut at = 0;
            while at < pages {
                at = segment.drop_last(m, at..pages);
            }
            assert_eq!((m.nodes_in_use(), m.frames_in_use()), (0, 0));
        }
    }

    #[test]
    fn a_quick_store_beyond_the_end_or_without_memory_is_none() {
        let (mut segment, mut m) = (Segment::new(3), TestMemory::default());
        assert!(!segment.store_quickly(&mut m, 0), "there is no leaf");
        segment.touch(&mut m, 0, Access::Store).unwrap();
        // The leaf is found.
        assert!(matches!(segment.state(&m, 0), PageState::Dirty(_)));
        assert!(!segment.store_quickly(&mut m, 3));
        m.fail_after = Some(0);
        assert!(!segment.store_quickly(&mut m, 1));
        (m.fail_after, m.no_tables) = (None, true);
        assert!(!segment.store_quickly(&mut m, 1));
        assert_eq!((segment.overlay.populated(&m), m.frames_in_use()), (1, 1));
        m.no_tables = false;
        assert!(segment.store_quickly(&mut m, 1));
        assert_eq!((segment.overlay.populated(&m), m.frames_in_use()), (2, 2));
    }

    #[test]
    fn a_fill_does_not_undo_an_overwriting() {
        let (mut segment, mut m) = (asleep(), TestMemory::default());
        let filling = begun(&mut segment, &mut m);
        segment.overwrite(&mut m, 0).unwrap();
        let before = segment.state(&m, 0);
        let late = m.alloc().unwrap();
        segment.filled(&mut m, &filling, Ok(late)).unwrap();
        assert_eq!(segment.state(&m, 0), before);
    }

    #[test]
    fn without_memory_a_page_stays_asleep() {
        let (mut segment, mut m) = (asleep(), TestMemory::default());
        m.fail_after = Some(0);
        assert_eq!(segment.overwrite(&mut m, 0), Err(Errno::ENOMEM));
        assert!(segment.sleeps(&m, 0..1));
        // There is a frame and no table for it.
        (m.fail_after, m.no_tables) = (None, true);
        assert_eq!(segment.overwrite(&mut m, 0), Err(Errno::ENOMEM));
        assert!(segment.sleeps(&m, 0..1), "its content is lost");
        assert_eq!((m.nodes_in_use(), m.frames_in_use()), (0, 0));
    }
}
