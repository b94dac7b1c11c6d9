//! Atomic replacement of a range of bytes: the common end of a deferred `read`
//! and of `free`.
//!
//! Whole pages lose their content and take the new association. A fragment at
//! either end does the same if its page is asleep. If the page has a frame, the
//! fragment's bytes are copied into that frame, made private as for a store.

use core::ops::Range;

use crate::extents::Source;
use crate::overlay::Aside;
use crate::{Frame, Memory, NoMemory, PAGE, PageState, RUN_MAX, Segment};

/// A range of bytes cut at page boundaries.
pub struct Parts {
    /// The fragments: of the first page, of the last. A range inside one page
    /// is a first fragment.
    pub edges: [Option<Range<u64>>; 2],
    /// The pages between them, by number.
    pub pages: Range<u64>,
}

/// Cuts a range at page boundaries.
pub fn parts(range: &Range<u64>) -> Parts {
    let (first, last) = (range.start.div_ceil(PAGE), range.end / PAGE);
    if first > last {
        return Parts {
            edges: [Some(range.clone()), None],
            pages: first..first,
        };
    }
    let some = |range: Range<u64>| (!range.is_empty()).then_some(range);
    Parts {
        edges: [
            some(range.start..first * PAGE),
            some(last * PAGE..range.end),
        ],
        pages: first..last,
    }
}

/// The page of an edge, and where in it the edge is.
pub(crate) fn page_of(edge: &Range<u64>) -> (u64, usize, usize) {
    let len = (edge.end - edge.start) as usize;
    (edge.start / PAGE, (edge.start % PAGE) as usize, len)
}

/// How a replacement begins.
pub(crate) enum Begun {
    /// The bytes of that edge are needed first; nothing has changed.
    Needs(usize),
    /// That page must be brought back from swap first, for the bytes of it that
    /// stay; nothing has changed.
    Swapped(u64),
    /// The pages must not sleep; nothing has changed.
    Pinned,
    /// As much as one step may do is done, the edges at any rate; this is left
    /// for [`Segment::replace_some`], which is called until nothing is.
    Left(Left),
}

/// Why the rest of a replacement stays as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    /// Another operation has used up the room.
    NoMemory,
    /// The pages must not sleep any more.
    Pinned,
}

/// The part of a replacement that is left to be done.
pub(crate) struct Left {
    /// The bytes.
    pub range: Range<u64>,
    /// What the first of them is to mean.
    source: Option<Source>,
    /// The extents' generation after the last step.
    generation: u64,
    /// Pages that are gone with the last step, and not counted yet.
    aside: Option<Aside>,
}

impl Left {
    /// Returns true if nothing is left.
    pub(crate) const fn is_done(&self) -> bool {
        self.range.start >= self.range.end && self.aside.is_none()
    }

    fn start_at(&mut self, at: u64) {
        self.source = self.source.map(|s| s.advance(at - self.range.start));
        self.range.start = at;
    }
}

impl Segment {
    /// Begins to make `range` mean `source`, or zeros. Fragments at either end
    /// whose pages have frames are put in place there. `staged` are frames with the
    /// edges' bytes, at their places in the page.
    ///
    /// # Errors
    /// No memory; the content is as it was.
    pub(crate) fn begin_replace<M: Memory>(
        &mut self,
        m: &mut M,
        range: Range<u64>,
        source: Option<Source>,
        staged: [Option<Frame>; 2],
    ) -> Result<Begun, NoMemory> {
        if source.is_some() && self.pinned {
            return Ok(Begun::Pinned);
        }
        self.extents.reserve()?;
        let Parts { edges, pages } = parts(&range);
        self.open(m, pages)?;
        let mut targets = [None; 2];
        for (index, (edge, staged)) in edges.iter().zip(staged).enumerate() {
            let Some(edge) = edge else { continue };
            let (page, ..) = page_of(edge);
            let entry = self.overlay.find(m, page);
            let state = entry.state();
            if state.place().is_some() {
                return Ok(Begun::Swapped(page));
            }
            let Some(frame) = state.frame() else {
                continue;
            };
            if source.is_some() && staged.is_none() {
                return Ok(Begun::Needs(index));
            }
            if let Some(target) = targets.get_mut(index) {
                *target = Some(self.make_private(m, page, entry, frame)?);
            }
        }
        // Nothing fails from here on.
        let mut left = Left {
            range: range.clone(),
            source,
            generation: self.extents.generation(),
            aside: None,
        };
        for (index, edge) in edges.iter().enumerate() {
            let Some(edge) = edge else { continue };
            let (page, at, len) = page_of(edge);
            let (target, staged) = (targets.get(index), staged.get(index));
            match (target.copied().flatten(), staged.copied().flatten()) {
                (Some(target), Some(bytes)) if source.is_some() => {
                    m.copy((bytes, at), (target, at), len);
                }
                (Some(target), _) => m.zero(target, at, len),
                // The result of a fill under way is no longer wanted.
                (None, _) => {
                    self.clear(m, page);
                    continue;
                }
            }
            match index {
                0 => left.start_at(edge.end),
                _ => left.range.end = edge.start,
            }
        }
        if !left.range.is_empty() {
            self.overlay.begin_changes();
            let first = self.replace_some(m, &mut left);
            first.map_err(|_| NoMemory)?;
        }
        Ok(Begun::Left(left))
    }

    /// Replaces the front of what is left, as much of it as one step may do. Pages and
    /// associations change together, however many extents there are: only afterwards they
    /// are let go of ([`crate::extents::Extents::settle`]).
    ///
    /// # Errors
    /// Not in the first step.
    pub(crate) fn replace_some<M: Memory>(
        &mut self,
        m: &mut M,
        left: &mut Left,
    ) -> Result<(), Cut> {
        if let Some(aside) = &mut left.aside {
            if !self.count_some(m, aside) {
                left.aside = None;
            }
        } else {
            self.replace_front(m, left)
                .inspect_err(|_| self.overlay.end_changes())?;
        }
        if left.is_done() {
            self.overlay.end_changes();
        }
        Ok(())
    }

    fn replace_front<M: Memory>(&mut self, m: &mut M, left: &mut Left) -> Result<(), Cut> {
        if left.source.is_some() && self.pinned {
            return Err(Cut::Pinned);
        }
        // Steps of one replacement that follow each other need room once.
        if left.generation != self.extents.generation() {
            self.extents.reserve().map_err(|_| Cut::NoMemory)?;
        }
        let range = &left.range;
        let mut end = range.end;
        let pages = range.start.div_ceil(PAGE)..end / PAGE;
        if !pages.is_empty() {
            let stop = self.drop_some(m, pages.clone(), &mut left.aside);
            if stop < pages.end {
                end = stop * PAGE;
            }
        }
        self.extents.replace(range.start..end, left.source);
        left.generation = self.extents.generation();
        left.start_at(end);
        Ok(())
    }

    /// Installs `frames` (from byte `range.start % PAGE` of the first) in place
    /// of `range`, as private content. `Ok` has the number of bytes in place,
    /// less if memory ran out. `Err` names a page that must be filled and made
    /// private first; nothing has changed.
    ///
    /// Frames that became pages are replaced by `None`.
    pub(crate) fn install<M: Memory>(
        &mut self,
        m: &mut M,
        range: Range<u64>,
        frames: &mut [Option<Frame>],
    ) -> Result<u64, u64> {
        let Parts { edges, pages } = parts(&range);
        let base = range.start / PAGE;
        let mut targets = [None; 2];
        for (edge, target) in edges.iter().flatten().zip(&mut targets) {
            let (page, ..) = page_of(edge);
            let entry = self.overlay.find(m, page);
            match entry.state() {
                PageState::Dirty(frame) if entry.is_private() && m.make_exclusive(frame) => {
                    *target = Some((edge, page, frame))
                }
                _ => return Err(page),
            }
        }
        if self.extents.reserve().is_err() {
            return Ok(0);
        }
        m.unmap(pages.clone());
        let mut done = range.end;
        let mut put = [Frame(0); RUN_MAX];
        let mut count = 0;
        for page in pages.clone() {
            let Some(new) = frames.get_mut((page - base) as usize) else {
                break;
            };
            let Some(frame) = *new else { break };
            let old = self.overlay.get(m, page);
            if self.overlay.set(m, page, PageState::Dirty(frame)).is_err() {
                done = page * PAGE;
                break;
            }
            *new = None;
            if let Some(put) = put.get_mut(count) {
                (*put, count) = (frame, count + 1);
            }
            self.swap.let_go_of(m, page, old);
        }
        // What was asked for will be used: no page needs a fault of its own.
        m.map_new(pages.start, put.get(..count).unwrap_or(&[]));
        for (edge, page, frame) in targets.into_iter().flatten() {
            let staged = frames.get((page - base) as usize).copied().flatten();
            if let (Some(staged), true) = (staged, edge.start < done) {
                let (_, at, len) = page_of(edge);
                m.copy((staged, at), (frame, at), len);
            }
        }
        let replaced = pages.start * PAGE..done.min(pages.end * PAGE);
        if replaced.start < replaced.end {
            self.extents.replace(replaced, None);
        }
        Ok(done - range.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SnapId;
    use crate::testing::TestMemory;

    /// A page of a snapshot.
    fn source(snap: u32, page: u64) -> Source {
        let (snap, soff) = (SnapId(snap), page * PAGE);
        Source { snap, soff }
    }

    fn begin(segment: &mut Segment, m: &mut TestMemory, pages: Range<u64>, snap: u32) -> Left {
        let source = source(snap, pages.start);
        let bytes = pages.start * PAGE..pages.end * PAGE;
        match segment.begin_replace(m, bytes, Some(source), [None; 2]) {
            Ok(Begun::Left(left)) => left,
            _ => panic!("not begun"),
        }
    }

    /// Changes pages, more than one step may drop.
    fn fill(segment: &mut Segment, m: &mut TestMemory, pages: Range<u64>) {
        for page in pages {
            let state = PageState::Dirty(m.alloc_zeroed().unwrap());
            segment.overlay.set(m, page, state).unwrap();
        }
    }

    fn finish(segment: &mut Segment, m: &mut TestMemory, mut left: Left) {
        while !left.is_done() {
            segment.replace_some(m, &mut left).unwrap();
        }
    }

    #[test]
    fn each_step_has_room_whatever_other_operations_did_before_it() {
        for others in 0..150 {
            let (mut segment, mut m) = (Segment::new(2000), TestMemory::default());
            for snap in [1, 2, 3] {
                segment.extents.uses.adopt(SnapId(snap)).unwrap();
            }
            for page in (0..1400).step_by(2) {
                begin(&mut segment, &mut m, page..page + 1, 1);
            }
            fill(&mut segment, &mut m, 10..1400);
            let left = begin(&mut segment, &mut m, 10..1200, 2);
            let step = left.range.start / PAGE;
            assert!(step < 1200, "one step");
            // One extent over all of it, then more at the end that take the room.
            let over = begin(&mut segment, &mut m, 5..1400, 3);
            finish(&mut segment, &mut m, over);
            for other in 0..others {
                let page = 1500 + 2 * other;
                begin(&mut segment, &mut m, page..page + 1, 1);
            }
            finish(&mut segment, &mut m, left);
            segment.check(&m);
            for (page, snap) in [(step - 1, 3), (step, 2), (1199, 2), (1200, 3)] {
                let at = segment.extents.first(page * PAGE..page * PAGE + 1);
                assert_eq!(at.map(|extent| extent.source), Some(source(snap, page)));
            }
        }
    }

    /// Bytes of extents that a segment still counts as a snapshot's.
    fn counted(segment: &Segment, snap: u32) -> u64 {
        segment
            .extents
            .uses
            .get(SnapId(snap))
            .map_or(0, |u| u.bytes)
    }

    #[test]
    fn very_many_extents_over_a_shared_node_are_let_go_of_in_steps() {
        const EACH: u64 = 16;
        let (mut segment, mut m) = (Segment::new(512), TestMemory::default());
        for snap in [1, 2] {
            segment.extents.uses.adopt(SnapId(snap)).unwrap();
        }
        for at in (0..512 * PAGE).step_by(EACH as usize) {
            let (snap, soff) = (SnapId(1), at);
            segment.extents.reserve().unwrap();
            let source = Some(Source { snap, soff });
            segment.extents.replace(at..at + EACH / 2, source);
        }
        let frame = m.alloc_zeroed().unwrap();
        let state = PageState::Dirty(frame);
        segment.overlay.set(&mut m, 300, state).unwrap();
        let mut child = crate::overlay::Overlay::new(512);
        child.set_number(crate::SegmentNumber::new(1));
        segment.overlay.share(&mut m, &mut child);
        let nodes = m.nodes_in_use();
        let mut before = counted(&segment, 1);
        let mut most = 0;
        let mut step = |segment: &Segment| {
            let now = counted(segment, 1);
            most = most.max((before - now) / (EACH / 2));
            before = now;
        };
        m.fail_after = Some(0);
        let mut left = begin(&mut segment, &mut m, 0..512, 2);
        step(&segment);
        while !left.is_done() {
            segment.replace_some(&mut m, &mut left).unwrap();
            step(&segment);
            // What a fault or a call of another thread sees is right at each moment.
            segment.check(&m);
            let page = segment.overlay.get(&m, 300);
            let at = segment.extents.first(300 * PAGE..301 * PAGE).unwrap();
            let new = at.source.snap == SnapId(2);
            assert_eq!(page, if new { PageState::Absent } else { state });
        }
        while segment.extents.settle() {
            step(&segment);
        }
        step(&segment);
        assert_eq!(counted(&segment, 1), 0);
        assert!(most <= 1024, "{most} extents in one step");
        assert_eq!(segment.extents.iter().count(), 1);
        assert_eq!(m.nodes_in_use(), nodes, "a node was copied");
        assert_eq!(child.get(&m, 300), state);
        assert_eq!(m.references(frame), 1);
    }

    #[test]
    fn very_many_pages_in_swap_below_a_shared_node_are_counted_in_steps() {
        let pages = 1 << 17;
        let (mut segment, mut m) = (Segment::new(pages), TestMemory::default());
        segment.extents.uses.adopt(SnapId(1)).unwrap();
        assert_eq!(segment.swap.adopt(crate::SwapId(1)), Ok(true));
        for page in 0..pages {
            let place = crate::Place { file: 0, sum: 0 };
            let state = PageState::Swapped(place);
            segment.overlay.set(&mut m, page, state).unwrap();
            segment.swap.gain(0);
        }
        let mut child = crate::overlay::Overlay::new(pages);
        child.set_number(crate::SegmentNumber::new(1));
        segment.overlay.share(&mut m, &mut child);
        m.fail_after = Some(0);
        let (mut most, mut before) = (0, (segment.in_swap(), m.seen.get()));
        let mut left = begin(&mut segment, &mut m, 0..pages, 1);
        loop {
            let now = (segment.in_swap(), m.seen.get());
            most = most.max(before.0 - now.0).max((now.1 - before.1) / 16);
            before = now;
            if left.is_done() {
                break;
            }
            segment.replace_some(&mut m, &mut left).unwrap();
        }
        assert!(most <= 1024, "{most} pages in one step");
        assert_eq!(segment.in_swap(), 0);
        segment.check(&m);
        assert!(!segment.overlay.is_busy());
        assert!(matches!(child.get(&m, 7), PageState::Swapped(_)));
    }

    #[test]
    fn nothing_more_is_tied_once_no_page_may_sleep() {
        let (mut segment, mut m) = (Segment::new(2000), TestMemory::default());
        for snap in [1, 2] {
            segment.extents.uses.adopt(SnapId(snap)).unwrap();
        }
        for page in (0..1400).step_by(2) {
            begin(&mut segment, &mut m, page..page + 1, 1);
        }
        fill(&mut segment, &mut m, 10..1400);
        let mut left = begin(&mut segment, &mut m, 10..1200, 2);
        let step = left.range.start / PAGE;
        assert!(step < 1200, "one step");
        segment.pin();
        let cut = segment.replace_some(&mut m, &mut left);
        assert_eq!((cut, left.range.start), (Err(Cut::Pinned), step * PAGE));
        let at = |segment: &Segment, page: u64| {
            let extent = segment.extents.first(page * PAGE..page * PAGE + 1);
            extent.map(|extent| extent.source)
        };
        let other = step.next_multiple_of(2);
        assert_eq!(at(&segment, step - 1), Some(source(2, step - 1)));
        assert_eq!(at(&segment, other), Some(source(1, other)));
        let bytes = 10 * PAGE..1200 * PAGE;
        let (none, tied) = ([None; 2], Some(source(2, 10)));
        let begun = segment.begin_replace(&mut m, bytes.clone(), tied, none);
        assert!(matches!(begun, Ok(Begun::Pinned)));
        // Zeros need not sleep.
        match segment.begin_replace(&mut m, bytes, None, none) {
            Ok(Begun::Left(left)) => finish(&mut segment, &mut m, left),
            _ => panic!("not begun"),
        }
        assert_eq!(at(&segment, other), None);
        segment.unpin();
        let left = begin(&mut segment, &mut m, 10..1200, 2);
        finish(&mut segment, &mut m, left);
        assert_eq!(at(&segment, other), Some(source(2, other)));
        segment.check(&m);
    }

    #[test]
    fn a_range_is_cut_into_fragments_and_pages() {
        let cut = |range| {
            let parts = parts(&range);
            (parts.edges, parts.pages)
        };
        assert_eq!(cut(0..8192), ([None, None], 0..2));
        assert_eq!(cut(10..20), ([Some(10..20), None], 1..1));
        assert_eq!(cut(10..4096), ([Some(10..4096), None], 1..1));
        assert_eq!(cut(10..5000), ([Some(10..4096), Some(4096..5000)], 1..1));
        assert_eq!(cut(0..10), ([None, Some(0..10)], 0..0));
        assert_eq!(cut(1..12289), ([Some(1..4096), Some(12288..12289)], 1..3));
    }
}
