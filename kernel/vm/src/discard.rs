//! Giving the room of pages that left swap back to the swap server.
//!
//! A file that no page is in goes as a whole. Of the others, the pages that were
//! given up are noted ([`SwapFiles::give_up`]) and told together at the end of an
//! operation, never from a store's fault, once they are worth a message, and only
//! while no other segment refers to the file. They are compared with the overlay
//! just before, because a noted page may be in the file again, and notes are merged
//! with pages between them.
//!
//! [`SwapFiles::give_up`]: crate::swap::SwapFiles::give_up

use core::ops::Range;

use ranges::RangeMap;

use crate::overlay::Pages;
use crate::steps::{SNAPS, Turns};
use crate::{Host, Memory, Segment, SwapId, TRIM_MAX};

/// Looks for pages that are in a file again, in one step.
const LOOKS: usize = 512;

/// Pages of one file to be told of.
pub(crate) struct Job {
    pub(crate) id: SwapId,
    pub(crate) file: u16,
    /// Pages that were given up.
    pub(crate) untold: RangeMap<()>,
    /// Told up to here.
    pub(crate) from: u64,
}

impl Job {
    /// The first range that is left.
    fn first(&self) -> Option<Range<u64>> {
        self.untold
            .first(self.from..u64::MAX)
            .map(|span| span.range())
    }
}

impl Segment {
    /// Fills `ranges` with the next pages of `job` of which nothing here is in the
    /// file, and takes them out of it, as many as one step may look at; how many
    /// ranges.
    fn gaps<M: Memory>(&self, m: &M, job: &mut Job, ranges: &mut [Range<u64>]) -> usize {
        let (mut count, mut looks) = (0, LOOKS);
        while looks > 0
            && let Some(range) = ranges.get_mut(count)
            && let Some(noted) = job.first()
        {
            let (mut from, mut used) = (noted.start, None);
            while looks > 0 && used.is_none() && from < noted.end {
                looks -= 1;
                let next = self.overlay.next(m, Pages::Own, from..noted.end);
                used = next.filter(|(_, state)| state.swap_file() == Some(job.file));
                from = next.map_or(noted.end, |(page, _)| page + 1);
            }
            *range = noted.start..used.map_or(from, |(page, _)| page);
            job.from = from;
            count += usize::from(!range.is_empty());
        }
        count
    }
}

/// Ends an operation on a segment with swap files: releases files without pages, and tells
/// of given-up pages if that is worth a message.
pub(crate) fn tell<H: Host>(h: &mut H) {
    if h.with(|segment, _| segment.swap.is_empty()) {
        return;
    }
    let mut turns = Turns::in_steps_of(SNAPS as u32);
    while let Some(file) = h.with(|segment, _| segment.swap.take_unused()) {
        h.release_swap(file);
        turns.turn(h);
    }
    let worth = h.discard_worth();
    while let Some(job) = h.with(|segment, _| segment.swap.next_job(worth)) {
        tell_one(h, job);
    }
}

/// Tells of the pages of one file; nothing is moved to swap meanwhile.
fn tell_one<H: Host>(h: &mut H, mut job: Job) {
    if h.swap_holders(job.id) != 1 {
        // Another segment may be in those pages.
        h.with(|segment, _| segment.swap.keep(job));
        return;
    }
    h.retain_swap(job.id);
    let mut result = Ok(());
    while job.first().is_some() && result.is_ok() {
        let mut ranges = [const { 0..0 }; TRIM_MAX];
        let count = h.with(|segment, m| segment.gaps(m, &mut job, &mut ranges));
        if h.swap_holders(job.id) != 2 {
            // Another process has forked: what is given up here from then on is in use
            // there.
            let id = job.id;
            h.with(|segment, _| segment.swap.keep(job));
            h.release_swap(id);
            return;
        }
        result = match ranges.get(..count) {
            Some(ranges) if !ranges.is_empty() => h.discard_swap(job.id, ranges),
            _ => {
                h.pause();
                Ok(())
            }
        };
    }
    h.with(|segment, _| segment.swap.end(result));
    h.release_swap(job.id);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestMemory;
    use crate::{PageState, Place};

    /// The steps in which it is told of `pages` that were given up, of which those that
    /// `used` names are in the file again; what is told.
    fn told(pages: u64, used: impl Fn(u64) -> bool) -> alloc::vec::Vec<Range<u64>> {
        let (mut segment, mut m) = (Segment::new(1 << 20), TestMemory::default());
        for page in (0..pages).filter(|page| used(*page)) {
            let state = PageState::Swapped(Place { file: 0, sum: 0 });
            segment.overlay.set(&mut m, page, state).unwrap();
        }
        let mut job = Job {
            id: SwapId(1),
            file: 0,
            untold: RangeMap::new(),
            from: 0,
        };
        job.untold.set(0..pages, ()).unwrap();
        let (mut told, mut most) = (alloc::vec::Vec::new(), 0);
        while job.first().is_some() {
            let mut ranges = [const { 0..0 }; TRIM_MAX];
            let before = m.seen.get();
            let count = segment.gaps(&m, &mut job, &mut ranges);
            most = most.max(m.seen.get() - before);
            told.extend_from_slice(&ranges[..count]);
        }
        assert!(most <= 60_000, "{most} entries in one step");
        told
    }

    #[test]
    fn pages_that_are_in_a_file_again_are_passed_over_in_steps() {
        assert_eq!(told(50_000, |_| true), []);
        let alone: alloc::vec::Vec<_> = (0..5000).map(|n| n * 2..n * 2 + 1).collect();
        assert_eq!(told(10_000, |page| page % 2 == 1), alone);
        let all = told(50_000, |_| false);
        assert!(all.into_iter().eq(core::iter::once(0..50_000)));
    }
}
