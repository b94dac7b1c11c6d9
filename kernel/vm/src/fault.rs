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
use crate::fill::{Filling, fill, one_page, whole};
use crate::overlay::Overlay;
use crate::page_in::load_around;
use crate::{Count, Frame, Host, Memory, NoMemory, PAGE, PageState, Segment, Ticket};

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
    match h.with(|segment, m| segment.touch(m, page, access))? {
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
        let state = self.overlay.get(m, page);
        match state.frame() {
            Some(frame) => self.make_private(m, page, frame).map(drop)?,
            // The result of a fill under way is no longer wanted.
            None => {
                self.zero_fill(m, page, state)?;
                if let Some(place) = state.place() {
                    self.swap.give_up(page, place.file);
                }
            }
        }
        Ok(())
    }

    /// Gives a page that has no frame one of zeros, as the segment's own. A ticket
    /// of a fill under way is lost with the `old` state, which makes that fill
    /// stale. On failure the page is as it was.
    #[inline]
    fn zero_fill<M: Memory>(
        &mut self,
        m: &mut M,
        page: u64,
        old: PageState,
    ) -> Result<(), NoMemory> {
        let frame = m.alloc_zeroed().ok_or(NoMemory)?;
        if let Err(error) = self.overlay.set(m, page, PageState::Dirty(frame)) {
            m.release(frame);
            return Err(error);
        }
        if let Err(error) = m.map(page, frame, true) {
            // No memory is needed to go back to a state that was there.
            let _ = self.overlay.set(m, page, old);
            m.release(frame);
            return Err(error);
        }
        m.count(Count::ZeroFill, 1);
        Ok(())
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
        match (self.overlay.get(m, page), access) {
            (PageState::Absent, _) => return self.resolve_absent(m, page, access),
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
                let alone = m.make_exclusive(frame);
                m.map(page, frame, alone)?;
            }
            (
                PageState::Resident(frame)
                | PageState::Sending(frame, _)
                | PageState::Dirty(frame)
                | PageState::Backed(frame, _),
                Access::Store,
            ) => {
                self.make_private(m, page, frame)?;
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
        access: Access,
    ) -> Result<Option<Need>, Errno> {
        let start = page * PAGE;
        if let Some(first) = self.extents.first(start..start + PAGE) {
            if let Some(source) = one_page(&first)
                && let Some(frame) = m.cached(source.snap, source.soff)
            {
                self.resolve_cached(m, page, frame, access)?;
                self.map_cached_around(m, page);
                return Ok(None);
            }
            let ticket = self.new_ticket();
            self.overlay.set(m, page, PageState::Filling(ticket))?;
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
            return Ok(Some(Need(Wanted::Fill(filling))));
        }
        // Writable at once for any access, because a second fault would cost
        // more than the page that might have been shared.
        self.zero_fill(m, page, PageState::Absent)?;
        Ok(None)
    }

    /// Maps a sleeping page to a frame from the cache, to which the caller has
    /// a reference.
    #[inline]
    fn resolve_cached<M: Memory>(
        &mut self,
        m: &mut M,
        page: u64,
        frame: Frame,
        access: Access,
    ) -> Result<(), Errno> {
        self.set_cached(m, page, frame)?;
        match access {
            Access::Load | Access::Fetch => m.map(page, frame, false)?,
            Access::Store => self.make_private(m, page, frame).map(drop)?,
        }
        Ok(())
    }

    fn set_cached<M: Memory>(
        &mut self,
        m: &mut M,
        page: u64,
        frame: Frame,
    ) -> Result<(), NoMemory> {
        let set = self.overlay.set(m, page, PageState::Resident(frame));
        match set {
            Ok(()) => m.count(Count::Cached, 1),
            Err(NoMemory) => m.release(frame),
        }
        set
    }

    /// Maps the neighbours of a page that are in the cache, too, as far as
    /// read-ahead would bring them.
    fn map_cached_around<M: Memory>(&mut self, m: &mut M, page: u64) {
        let window = self.window_around(m, page);
        let most = usize::try_from(m.ahead_max()).unwrap_or(usize::MAX);
        for page in (page + 1..window.end).take(most) {
            if !self.map_cached(m, page) {
                break;
            }
        }
        for page in (window.start..page).rev().take(most) {
            if !self.map_cached(m, page) {
                break;
            }
        }
    }

    fn map_cached<M: Memory>(&mut self, m: &mut M, page: u64) -> bool {
        let start = page * PAGE;
        let source = self.extents.first(start..start + PAGE);
        let source = source.as_ref().and_then(one_page);
        if let Some(source) = source
            && self.overlay.get(m, page) == PageState::Absent
            && let Some(frame) = m.cached(source.snap, source.soff)
            && self.set_cached(m, page, frame).is_ok()
        {
            m.count(Count::Ahead, 1);
            m.map_ahead(page, &[frame]);
            return true;
        }
        false
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
    use crate::extents::Source;
    use crate::testing::TestMemory;

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
            assert!(!segment.extents.lost(0..PAGE));
        }
        let (mut segment, mut m) = (asleep(), TestMemory::default());
        let filling = begun(&mut segment, &mut m);
        let frame = m.alloc().unwrap();
        segment.filled(&mut m, &filling, Ok(frame)).unwrap();
        assert_eq!(m.published, [(SnapId(1), 0, frame)]);
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
