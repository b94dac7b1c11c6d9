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

use crate::{Host, Memory, PageState, Segment, SwapId, TRIM_MAX};

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
        let mut count = 0;
        while let Some(range) = ranges.get_mut(count)
            && let Some(noted) = job.first()
        {
            let seen = self.overlay.step(m, noted.clone());
            let in_it = |state: PageState| state.swap_file() == Some(job.file);
            let used = self.next_own(m, noted.start..seen, in_it);
            *range = noted.start..used.unwrap_or(seen);
            job.from = used.map_or(seen, |used| used + 1);
            count += usize::from(!range.is_empty());
            if used.is_none() && seen < noted.end {
                break;
            }
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
    while let Some(file) = h.with(|segment, _| segment.swap.take_unused()) {
        h.release_swap(file);
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
            _ => Ok(()),
        };
    }
    h.with(|segment, _| segment.swap.end(result));
    h.release_swap(job.id);
}
