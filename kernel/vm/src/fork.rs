//! A copy of a segment for a new process, and a segment's end.

use core::ops::Range;

use abi::Errno;

use crate::steps::{EXTENTS, SNAPS, Turns, finish_in_steps, in_steps};
use crate::{Host, Memory, NoMemory, PageState, Segment, SegmentNumber, SnapId, trim};

impl Segment {
    /// A segment with the same associations and no pages.
    fn bare_copy(&self, number: SegmentNumber) -> Result<Segment, NoMemory> {
        let mut copy = Segment::new(self.pages());
        copy.extents = self.extents.try_clone()?;
        copy.set_number(number);
        Ok(copy)
    }

    /// Copies as many of `pages` into `copy` as one step permits, sharing every
    /// frame until a store; returns where it stopped.
    ///
    /// In the copy, a filling page is asleep and a sending page dirty, because
    /// neither ticket belongs to the copy.
    fn copy_some<M: Memory>(
        &mut self,
        m: &mut M,
        pages: Range<u64>,
        copy: &mut Segment,
    ) -> Result<u64, NoMemory> {
        let share = |m: &mut M, state| match state {
            PageState::Absent | PageState::Filling(_) => PageState::Absent,
            PageState::Resident(frame) => {
                m.retain(frame);
                PageState::Resident(frame)
            }
            PageState::Dirty(frame) | PageState::Sending(frame, _) => {
                m.retain(frame);
                PageState::Dirty(frame)
            }
        };
        let undo = |m: &mut M, state: PageState| {
            if let Some(frame) = state.frame() {
                m.release(frame);
            }
        };
        let (overlay, first) = (&mut self.overlay, pages.start);
        let (end, copied) = overlay.copy_to(m, pages, &mut copy.overlay, share, undo);
        // From here on every store in the original is seen.
        m.protect(first..end);
        copied.map(|()| end)
    }

    /// Releases the frames of `pages` of a copy that was never mapped, as many
    /// as one step permits; returns where it stopped.
    fn forget_some<M: Memory>(&mut self, m: &mut M, pages: Range<u64>) -> u64 {
        self.release_pages(m, pages)
    }

    /// Drops all that the segment holds, as much as one step may do; `false` if
    /// there is more, in pages from the one that is `next` on or in extents.
    fn drop_all<M: Memory>(&mut self, m: &mut M, next: &mut u64) -> bool {
        *next = self.drop_some(m, *next..self.pages());
        *next == self.pages() && !self.extents.remove_last(EXTENTS)
    }
}

/// Copies the segment for another address space, under a number of its own, with
/// its own references to frames and snapshots, and nothing mapped. The cost follows the pages that
/// have frames. The work of one step is copied at one moment; beyond that, the
/// segment's process must not run meanwhile, because others may
/// ([`Host::pause`]).
///
/// # Errors
/// `ENOMEM`, `EINTR`; nothing has changed then.
pub fn fork<H: Host>(h: &mut H, number: SegmentNumber) -> Result<Segment, Errno> {
    let (mut copy, begun) = h.with(|segment, m| {
        let mut copy = segment.bare_copy(number)?;
        let begun = segment.copy_some(m, 0..segment.pages(), &mut copy);
        Ok::<_, Errno>((copy, begun))
    })?;
    let pages = copy.pages();
    // Nothing else happens to the segment between the copy and its references.
    let mut turns = Turns::new();
    for snap in copy.extents.snapshots() {
        h.retain_snap(snap);
        turns.turn(h);
    }
    let copied = match begun {
        Ok(from) => in_steps(h, from..pages, |h, rest| {
            let end = h.with(|segment, m| segment.copy_some(m, rest, &mut copy))?;
            Ok(end)
        }),
        Err(error) => Err(error.into()),
    };
    if let Err(error) = copied {
        // Also if the process is to end: it must leave nothing behind.
        finish_in_steps(h, 0..pages, |h, rest| {
            h.with(|_, m| copy.forget_some(m, rest))
        });
        for snap in copy.extents.snapshots() {
            h.release_snap(snap);
            turns.turn(h);
        }
        return Err(error);
    }
    Ok(copy)
}

/// Releases all frames, nodes, translations and snapshots. The segment then
/// consists of zeros.
pub fn destroy<H: Host>(h: &mut H) {
    let mut next = 0;
    while !h.with(|segment, m| segment.drop_all(m, &mut next)) {
        h.pause();
    }
    release_unused(h);
}

/// Ends an operation that may have dropped associations: releases the snapshots
/// that the segment no longer refers to.
pub(crate) fn release_unused<H: Host>(h: &mut H) {
    let mut snaps = [SnapId(0); SNAPS];
    loop {
        let count = h.with(|segment, _| segment.extents.take_unused(&mut snaps));
        for snap in snaps.iter().take(count) {
            h.release_snap(*snap);
        }
        if count < SNAPS {
            break;
        }
        h.pause();
    }
    trim::tell(h);
}
