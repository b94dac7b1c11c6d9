//! A copy of a segment for a new process, and a segment's end.

use core::cell::RefCell;
use core::ops::Range;

use abi::Errno;

use crate::ahead::ReadAhead;
use crate::steps::{SNAPS, Turns, finish_in_steps, in_steps};
use crate::{Host, Memory, NoMemory, PageState, Segment, SnapId, discard, trim};

/// So many pages can be unmapped in one step.
pub const UNMAPPED: u64 = 4096;

impl Segment {
    /// Gives a segment of zeros the same associations, as many as one step permits; `true`:
    /// all.
    fn copy_extents(&mut self, copy: &mut Segment) -> Result<bool, NoMemory> {
        // Those of another operation that are set aside count as uses still.
        let settles = self.extents.settle();
        Ok(!settles && self.extents.copy_some(&mut copy.extents)?)
    }

    /// What is copied at one moment besides, and [`Segment::begin_copy`].
    fn begin_copy_all<M: Memory>(
        &mut self,
        m: &mut M,
        copy: &mut Segment,
    ) -> Result<Result<u64, NoMemory>, NoMemory> {
        copy.swap = self.swap.try_clone()?;
        if copy.ahead.hint() != self.ahead.hint() {
            copy.ahead = ReadAhead::new(self.ahead.hint());
        }
        self.swap.hold();
        let begun = self.begin_copy(m, copy);
        if begun == Ok(self.pages()) {
            self.swap.let_go();
        }
        Ok(begun)
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
        if *next < self.pages() || self.extents.remove_last() {
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
/// are copied, in steps: the work of one is copied at one moment. Associations are copied
/// in steps before; no other operation changes the segment from the first on. Beyond that,
/// the segment's process must not run meanwhile, because others may
/// ([`Host::pause`]).
///
/// # Errors
/// `ENOMEM`, `EINTR`; nothing has changed then.
pub fn fork<H: Host>(h: &mut H, copy: &mut Segment) -> Result<(), Errno> {
    let begun = match begin_fork(h, copy) {
        Ok(begun) => begun,
        Err(error) => {
            forget(h, copy);
            return Err(error);
        }
    };
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
        forget(h, copy);
        return Err(error);
    }
    release_files(h, copy);
    Ok(())
}

/// Copies the associations, and with the last of them what pages one step permits; where
/// that stopped.
fn begin_fork<H: Host>(h: &mut H, copy: &mut Segment) -> Result<Result<u64, NoMemory>, Errno> {
    loop {
        let begun = h.with(|segment, m| {
            debug_assert!(segment.pages() == copy.pages(), "not of the same length");
            match segment.copy_extents(copy)? {
                true => Ok(Some(segment.begin_copy_all(m, copy)?)),
                false => Ok::<_, NoMemory>(None),
            }
        });
        match begun? {
            Some(begun) => return Ok(begun),
            None if h.pause() => {}
            None => return Err(Errno::EINTR),
        }
    }
}

/// Makes a copy that was not completed zeros again.
fn forget<H: Host>(h: &mut H, copy: &mut Segment) {
    while copy.extents.remove_last() {
        h.pause();
    }
    *copy = Segment::new(copy.pages());
}

/// Releases the swap files that no page of a copy is in.
fn release_files<H: Host>(h: &mut H, copy: &mut Segment) {
    let mut turns = Turns::in_steps_of(SNAPS as u32);
    while let Some(file) = copy.swap.take_unused() {
        h.release_swap(file);
        turns.turn(h);
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

/// Lets go of extents that were set aside, and releases the snapshots that the segment no
/// longer refers to; returns true if the segment has pages in swap.
pub(crate) fn release_snaps<H: Host>(h: &mut H) -> bool {
    let mut snaps = [SnapId(0); SNAPS];
    loop {
        let (settles, count, in_swap) = h.with(|segment, _| {
            let settles = segment.extents.settle();
            let in_swap = !segment.swap.is_empty();
            (settles, segment.extents.take_unused(&mut snaps), in_swap)
        });
        for snap in snaps.iter().take(count) {
            h.release_snap(*snap);
        }
        if count < SNAPS && !settles {
            return in_swap;
        }
        h.pause();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PAGE, Source};

    #[test]
    fn associations_are_copied_and_removed_in_steps() {
        let (mut segment, mut copy) = (Segment::new(5000), Segment::new(5000));
        segment.extents.uses.adopt(SnapId(1)).unwrap();
        let mut put = |at: u64, len, source| {
            segment.extents.reserve().unwrap();
            segment.extents.replace(at..at + len, source);
        };
        for at in (0..5000 * PAGE).step_by(PAGE as usize / 4) {
            let (snap, soff) = (SnapId(1), at);
            put(at, 8, Some(Source { snap, soff }));
        }
        // Another operation lets go of many.
        put(0, 1000 * PAGE, None);
        let (mut steps, mut before) = (0, 0);
        while !segment.copy_extents(&mut copy).unwrap() {
            let now = copy.extents.iter().count();
            assert!(now - before <= 512, "{} in one step", now - before);
            (steps, before) = (steps + 1, now);
        }
        assert!(steps > 40, "{steps} steps");
        segment.extents.check();
        copy.extents.check();
        assert!(copy.extents.iter().eq(segment.extents.iter()));
        while copy.extents.remove_last() {
            let now = copy.extents.iter().count();
            assert!(before.saturating_sub(now) <= 512);
            before = now;
        }
        copy.extents.check();
        assert!(copy.extents.is_empty());
    }
}
