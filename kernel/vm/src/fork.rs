//! A copy of a segment for a new process, and a segment's end.

use core::cell::RefCell;
use core::ops::Range;

use abi::Errno;

use crate::ahead::ReadAhead;
use crate::steps::{EXTENTS, SNAPS, Turns, finish_in_steps, in_steps};
use crate::{Host, Memory, NoMemory, PageState, Segment, SnapId, discard, trim};

/// So many pages can be unmapped in one step.
pub const UNMAPPED: u64 = 4096;

impl Segment {
    /// Gives a segment of zeros the same associations, and no pages.
    fn copy_bare(&self, copy: &mut Segment) -> Result<(), NoMemory> {
        let (extents, swap) = (self.extents.try_clone()?, self.swap.try_clone()?);
        (copy.extents, copy.swap) = (extents, swap);
        if copy.ahead.hint() != self.ahead.hint() {
            copy.ahead = ReadAhead::new(self.ahead.hint());
        }
        Ok(())
    }

    /// Gives `copy` all pages, sharing the nodes, if no page has a ticket; otherwise as many
    /// as one step permits, sharing the frames. Returns where it stopped.
    fn begin_copy<M: Memory>(&mut self, m: &mut M, copy: &mut Segment) -> Result<u64, NoMemory> {
        if self.overlay.is_busy() {
            return self.copy_some(m, 0..self.pages(), copy);
        }
        self.overlay.share(m, &mut copy.overlay);
        copy.swap.gain_all(&self.swap);
        // From here on every store in the original is seen.
        m.protect(0..self.pages());
        Ok(self.pages())
    }

    /// Copies as many of `pages` into `copy` as one step permits, sharing every
    /// frame until a store; returns where it stopped.
    ///
    /// In the copy, a filling page is asleep, a sending page dirty and a loading
    /// page swapped, because no ticket belongs to the copy.
    fn copy_some<M: Memory>(
        &mut self,
        m: &mut M,
        pages: Range<u64>,
        copy: &mut Segment,
    ) -> Result<u64, NoMemory> {
        let Segment {
            overlay: copied,
            swap,
            ..
        } = copy;
        let swap = RefCell::new(swap);
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
            // A place with two holders: neither writes to it again.
            PageState::Swapped(place) | PageState::Loading(place, _) => {
                swap.borrow_mut().gain(place.file);
                PageState::Swapped(place)
            }
            PageState::Backed(frame, file) => {
                m.retain(frame);
                swap.borrow_mut().gain(file);
                state
            }
        };
        let undo = |m: &mut M, page, state| swap.borrow_mut().let_go_of(m, page, state);
        let first = pages.start;
        let (end, result) = self.overlay.copy_to(m, pages, copied, share, undo);
        // From here on every store in the original is seen.
        m.protect(first..end);
        result.map(|()| end)
    }

    /// Releases the frames of `pages` of a copy that was never mapped, as many
    /// as one step permits; returns where it stopped.
    fn forget_some<M: Memory>(&mut self, m: &mut M, pages: Range<u64>) -> u64 {
        self.release_pages(m, pages)
    }

    /// Drops all that the segment holds, as much as one step may do; `false` if
    /// there is more, in pages from the one that is `next` on or in extents.
    fn drop_all<M: Memory>(&mut self, m: &mut M, next: &mut u64) -> bool {
        *next = self.drop_last(m, *next..self.pages());
        if *next < self.pages() || self.extents.remove_last(EXTENTS) {
            return false;
        }
        self.swap.close();
        true
    }

    /// Drops all that the segment holds, if that is one step and nothing is in swap, as of
    /// most segments; how many of the snapshots that it held the caller is to release, and
    /// whether these are all. `None`: there are pages or extents left.
    fn drop_at_once<M: Memory>(
        &mut self,
        m: &mut M,
        snaps: &mut [SnapId],
    ) -> Option<(usize, bool)> {
        let mut next = 0;
        if m.mapped() > UNMAPPED || !self.swap.is_empty() || !self.drop_all(m, &mut next) {
            return None;
        }
        let count = self.extents.take_unused(snaps);
        Some((count, self.extents.uses.is_empty()))
    }
}

/// Copies the segment into `copy`, zeros of the same length for another address space that
/// have a number of their own, with
/// its own references to frames and snapshots, and nothing mapped. The pages are shared
/// with their nodes, so the cost does not follow them. Only while a page has a ticket they
/// are copied, in steps: the work of one is copied at one moment; beyond that, the
/// segment's process must not run meanwhile, because others may
/// ([`Host::pause`]).
///
/// # Errors
/// `ENOMEM`, `EINTR`; nothing has changed then.
pub fn fork<H: Host>(h: &mut H, copy: &mut Segment) -> Result<(), Errno> {
    let begun = h.with(|segment, m| {
        debug_assert!(segment.pages() == copy.pages(), "not of the same length");
        segment.copy_bare(copy)?;
        segment.swap.hold();
        let begun = segment.begin_copy(m, copy);
        if begun == Ok(segment.pages()) {
            segment.swap.let_go();
        }
        Ok::<_, Errno>(begun)
    })?;
    let pages = copy.pages();
    // Nothing else happens to the segment between the copy and its references.
    for file in copy.swap.iter() {
        h.retain_swap(file);
    }
    let mut turns = Turns::new();
    for snap in copy.extents.snapshots() {
        h.retain_snap(snap);
        turns.turn(h);
    }
    if begun == Ok(pages) {
        release_files(h, copy);
        return Ok(());
    }
    let copied = match begun {
        Ok(from) => in_steps(h, from..pages, |h, rest| {
            let end = h.with(|segment, m| segment.copy_some(m, rest, copy))?;
            Ok(end)
        }),
        Err(error) => Err(error.into()),
    };
    h.with(|segment, _| segment.swap.let_go());
    if let Err(error) = copied {
        // Also if the process is to end: it must leave nothing behind.
        finish_in_steps(h, 0..pages, |h, rest| {
            h.with(|_, m| copy.forget_some(m, rest))
        });
        for snap in copy.extents.snapshots() {
            h.release_snap(snap);
            turns.turn(h);
        }
        release_files(h, copy);
        *copy = Segment::new(pages);
        return Err(error);
    }
    release_files(h, copy);
    Ok(())
}

/// Releases the swap files that no page of a copy is in.
fn release_files<H: Host>(h: &mut H, copy: &mut Segment) {
    while let Some(file) = copy.swap.take_unused() {
        h.release_swap(file);
    }
}

/// Unmaps pages before they are dropped: those of a shared node go in one step, which is
/// short if few of them are mapped.
pub(crate) fn unmap_shared<H: Host>(h: &mut H, pages: Range<u64>) {
    let many = h.with(|segment, m| segment.overlay.has_forked() && m.mapped() > UNMAPPED);
    finish_in_steps(
        h,
        pages.start..if many { pages.end } else { 0 },
        |h, rest| {
            h.with(|segment, m| {
                let end = segment.overlay.step(m, rest.clone());
                m.unmap(rest.start..end);
                end
            })
        },
    );
}

/// Releases all frames, nodes, translations, snapshots and swap files. The segment
/// then consists of zeros, of which none is moved to swap.
pub fn destroy<H: Host>(h: &mut H) {
    let mut snaps = [SnapId(0); SNAPS];
    if let Some((count, all)) = h.with(|segment, m| segment.drop_at_once(m, &mut snaps)) {
        for snap in snaps.iter().take(count) {
            h.release_snap(*snap);
        }
        if !all {
            release_unused(h);
        }
        return;
    }
    let pages = h.with(|segment, _| segment.pages());
    unmap_shared(h, 0..pages);
    let mut next = 0;
    while !h.with(|segment, m| segment.drop_all(m, &mut next)) {
        h.pause();
    }
    release_unused(h);
}

/// Ends an operation that may have dropped associations: releases the snapshots
/// that the segment no longer refers to.
pub(crate) fn release_unused<H: Host>(h: &mut H) {
    if release_snaps(h) {
        discard::tell(h);
    }
    trim::tell(h);
}

/// Releases the snapshots that the segment no longer refers to; returns true if the
/// segment has pages in swap.
pub(crate) fn release_snaps<H: Host>(h: &mut H) -> bool {
    let mut snaps = [SnapId(0); SNAPS];
    loop {
        let (count, in_swap) = h.with(|segment, _| {
            let in_swap = !segment.swap.is_empty();
            (segment.extents.take_unused(&mut snaps), in_swap)
        });
        for snap in snaps.iter().take(count) {
            h.release_snap(*snap);
        }
        if count < SNAPS {
            return in_swap;
        }
        h.pause();
    }
}
