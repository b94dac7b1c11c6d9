//! The pages of a segment by state, for those who ask where memory is.

use core::ops::Range;

use crate::steps::EXTENTS;
use crate::{Memory, PAGE, PageState, Segment};

/// How many pages are in which state.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Not transferred, or on the way.
    pub asleep: u64,
    /// Clean copies of snapshots, in frames.
    pub clean: u64,
    /// The segment's own content, in frames alone.
    pub dirty: u64,
    /// The segment's own content, in frames and in swap.
    pub backed: u64,
    /// The segment's own content, in swap alone.
    pub swapped: u64,
    /// Of those in frames, the ones whose frame somebody else has too.
    pub shared: u64,
}

impl Tally {
    /// Pages that have a frame.
    pub const fn in_frames(&self) -> u64 {
        self.clean + self.dirty + self.backed
    }

    fn add<M: Memory>(&mut self, m: &M, state: PageState, shared_node: bool) {
        let kind = match state {
            PageState::Absent | PageState::Filling(_) => &mut self.asleep,
            PageState::Resident(_) => &mut self.clean,
            PageState::Dirty(_) | PageState::Sending(..) => &mut self.dirty,
            PageState::Backed(..) => &mut self.backed,
            PageState::Swapped(_) | PageState::Loading(..) => &mut self.swapped,
        };
        *kind += 1;
        let shared = |frame| shared_node || m.shared(frame);
        let shared = state.frame().is_some_and(shared);
        self.shared += u64::from(shared);
    }
}

impl Segment {
    /// Adds the pages from `from` on to `tally`, as many as one step permits; where that
    /// ended.
    pub fn tally<M: Memory>(&self, m: &M, from: u64, tally: &mut Tally) -> u64 {
        let end = self.overlay.step(m, from..self.pages());
        let seen = self.extents.step(&(from * PAGE..end * PAGE), EXTENTS) / PAGE;
        let pages = from..end.min(seen.max(from + 1));
        tally.asleep += self.associated(pages.clone());
        let mut rest = pages.clone();
        while let Some((page, state)) = self.next_populated(m, rest.clone()) {
            rest.start = page + 1;
            let hidden = self.extents.first(page * PAGE..(page + 1) * PAGE).is_some();
            tally.asleep -= u64::from(hidden);
            tally.add(m, state, self.overlay.is_shared(m, page));
        }
        pages.end
    }

    /// Pages with an extent over some of them.
    fn associated(&self, pages: Range<u64>) -> u64 {
        let (mut count, mut from) = (0, pages.start);
        for extent in self.extents.over(pages.start * PAGE..pages.end * PAGE) {
            let (first, end) = ((extent.start / PAGE).max(from), extent.end.div_ceil(PAGE));
            count += end.saturating_sub(first);
            from = from.max(end);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestMemory;
    use crate::{Frame, Place, SnapId, Source, Ticket};

    #[test]
    fn each_page_counts_once_by_its_state() {
        let (mut segment, mut m) = (Segment::new(1 << 20), TestMemory::default());
        segment.extents.uses.adopt(SnapId(1)).unwrap();
        // Two pieces of one page, whole pages, and a piece of the last.
        for (start, end) in [(10, 100), (200, 300), (4096, 9 * PAGE + 1)] {
            let (snap, soff) = (SnapId(1), start);
            segment.extents.reserve().unwrap();
            let source = Some(Source { snap, soff });
            segment.extents.replace(start..end, source);
        }
        let place = Place { file: 0, sum: 0 };
        let ticket = Ticket(1);
        let states = [
            (1, PageState::Filling(ticket)),
            (2, PageState::Resident(m.alloc_zeroed().unwrap())),
            (3, PageState::Dirty(m.alloc_zeroed().unwrap())),
            (
                700_000,
                PageState::Sending(m.alloc_zeroed().unwrap(), ticket),
            ),
            (5, PageState::Backed(m.alloc_zeroed().unwrap(), 0)),
            (6, PageState::Swapped(place)),
            (900_000, PageState::Loading(place, ticket)),
        ];
        for (page, state) in states {
            segment.overlay.set(&mut m, page, state).unwrap();
        }
        m.retain(states[1].1.frame().unwrap_or(Frame(0)));
        let (mut tally, mut at) = (Tally::default(), 0);
        while at < segment.pages() {
            at = segment.tally(&m, at, &mut tally);
        }
        let want = Tally {
            asleep: 10 - 4,
            clean: 1,
            dirty: 2,
            backed: 1,
            swapped: 2,
            shared: 1,
        };
        assert_eq!(tally, want);
        assert_eq!(tally.in_frames(), 4);
    }
}
