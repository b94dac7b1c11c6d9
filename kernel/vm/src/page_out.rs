//! Changed pages leave memory, for swap.
//!
//! The pages are *sending* meanwhile, as those of a write are: they are
//! write-protected before their bytes are looked at, and a store, a read over them,
//! a write or a fork that comes first wins. A page is *swapped* only once the swap
//! server has acknowledged all of it; whatever fails before leaves it dirty.

use core::ops::Range;

use abi::Errno;

use crate::{Count, Frame, Memory, NoMemory, PageState, Place, Segment, Swap, SwapId, Ticket};

/// A process that makes pages of a segment leave memory. The segment may be
/// another's, and be gone when an answer arrives.
pub trait Pager: Swap {
    /// Frames and translations of the segment.
    type Memory: Memory;

    /// Runs `f` with the segment locked; nothing in `f` blocks. `None`: the segment
    /// is gone.
    fn with<R>(&mut self, f: impl FnOnce(&mut Segment, &mut Self::Memory) -> R) -> Option<R>;

    /// As [`Memory::release`], also if the segment is gone.
    fn release(&mut self, frame: Frame);
}

/// Most pages that leave with one page-out: what one message to a swap server holds.
pub const OUT_MAX: u64 = 32;

/// Moves a run of dirty pages to swap: the first in `pages`, at most [`OUT_MAX`]
/// pages. Backed pages at the front of `pages` leave too, without a message. Returns
/// how many left memory; fewer than there were if some changed meanwhile, or if
/// another page-out of the segment is under way. Nothing is allocated but a small
/// table, once.
///
/// # Errors
/// `ENOSPC` if swap is full or absent, `ENOMEM`, `EINTR`, and the swap server's. The
/// pages are dirty then, as they were.
pub fn page_out<P: Pager>(p: &mut P, pages: Range<u64>) -> Result<u64, Errno> {
    let begun = p.with(|segment, m| {
        let backed = segment.evict_all_backed(m, pages.clone());
        let run = segment.dirty_run(m, pages);
        (backed, run.filter(|_| segment.swap.begin()))
    });
    let Some((backed, run)) = begun else {
        return Ok(0);
    };
    match run {
        Some(run) => Ok(backed + send(p, run)?),
        None => Ok(backed),
    }
}

/// Moves dirty pages to swap, of a segment that has begun a request for it.
fn send<P: Pager>(p: &mut P, pages: Range<u64>) -> Result<u64, Errno> {
    let file = target(p);
    let run = match file {
        Ok(Some(file)) => p.with(|segment, m| segment.begin_page_out(m, pages, file)),
        _ => None,
    };
    let Some(Ok(Some(run))) = run else {
        p.with(|segment, _| segment.swap.end(Ok(())));
        if let Ok(Some(file)) = file {
            p.release_swap(file);
        }
        if let Some(Err(error)) = run {
            return Err(error.into());
        }
        return file.map(|_| 0);
    };
    let result = p.swap_out(run.file, run.first, run.frames());
    let gone = p.with(|segment, m| segment.end_page_out(m, &run, result));
    for frame in run.frames() {
        p.release(*frame);
    }
    p.release_swap(run.file);
    result.map(|()| gone.unwrap_or(0))
}

/// The swap file that pages may go to, with a reference for the caller. None if the
/// segment is gone or being copied.
fn target<P: Pager>(p: &mut P) -> Result<Option<SwapId>, Errno> {
    let files = p.with(|segment, _| (segment.swap.current(), segment.swap.former()));
    let Some((current, former)) = files else {
        return Ok(None);
    };
    if let Some(file) = current {
        p.retain_swap(file);
        return Ok(Some(file));
    }
    if let Some((file, fork)) = former
        && p.swap_holders(file) == 1
        && p.with(|segment, _| segment.swap.resume(fork)) == Some(true)
    {
        p.retain_swap(file);
        return Ok(Some(file));
    }
    fresh(p)
}

/// The same for a fresh file.
fn fresh<P: Pager>(p: &mut P) -> Result<Option<SwapId>, Errno> {
    let file = p.new_swap()?;
    p.retain_swap(file);
    let adopted = p.with(|segment, _| segment.swap.adopt(file));
    if adopted == Some(Ok(true)) {
        return Ok(Some(file));
    }
    p.release_swap(file);
    p.release_swap(file);
    match adopted {
        Some(Err(error)) => Err(error.into()),
        _ => Ok(None),
    }
}

/// Pages on their way to swap.
struct Run {
    file: SwapId,
    first: u64,
    count: usize,
    /// Held, so that nobody else gets them or stores to them before the answer.
    frames: [Frame; OUT_MAX as usize],
    sums: [u32; OUT_MAX as usize],
    ticket: Ticket,
}

impl Run {
    fn frames(&self) -> &[Frame] {
        self.frames.get(..self.count).unwrap_or_default()
    }

    fn pages(&self) -> Range<u64> {
        self.first..self.first + self.count as u64
    }
}

impl Segment {
    /// Pages stay in memory until [`unpin`](Self::unpin), also those of a page-out that
    /// is under way. Nor does any fall asleep: a read that is under way brings the bytes
    /// that it has not tied yet, and a write ties none.
    pub fn pin(&mut self) {
        self.swap.pin();
        self.pinned = true;
    }

    /// Pages may leave and sleep again.
    pub fn unpin(&mut self) {
        self.swap.let_go();
        self.pinned = false;
    }

    /// Takes the frames of backed pages away, at the front of `pages` as many as leave
    /// at once.
    fn evict_all_backed<M: Memory>(&mut self, m: &mut M, pages: Range<u64>) -> u64 {
        if self.swap.pages() == 0 || self.swap.is_held() {
            return 0;
        }
        let end = pages.end.min(pages.start.saturating_add(OUT_MAX));
        let mut gone = 0;
        for page in pages.start..end.min(self.pages()) {
            if let PageState::Backed(..) = self.overlay.get(m, page) {
                gone += u64::from(self.evict(m, page));
            }
        }
        gone
    }

    /// The first run of dirty pages in `pages` that may leave, at most [`OUT_MAX`].
    fn dirty_run<M: Memory>(&self, m: &M, pages: Range<u64>) -> Option<Range<u64>> {
        let pages = pages.start..pages.end.min(self.pages());
        let leaves = |page| self.leaving(m, page).is_some();
        let first = pages.clone().find(|page| leaves(*page))?;
        let most = pages.end.min(first + OUT_MAX);
        let end = (first..most).find(|page| !leaves(*page));
        Some(first..end.unwrap_or(most))
    }

    /// The frame of a dirty page that may leave: no call is about to write it.
    fn leaving<M: Memory>(&self, m: &M, page: u64) -> Option<Frame> {
        match self.overlay.get(m, page) {
            PageState::Dirty(frame) => (!m.is_held(frame)).then_some(frame),
            _ => None,
        }
    }

    /// Takes the dirty pages at the front of `pages` for a page-out to `file`; none
    /// if there are none any more. Fails only for want of a node for the first.
    fn begin_page_out<M: Memory>(
        &mut self,
        m: &mut M,
        pages: Range<u64>,
        file: SwapId,
    ) -> Result<Option<Run>, NoMemory> {
        // A fork may have begun.
        if self.swap.current() != Some(file) {
            return Ok(None);
        }
        self.overlay.open_page(m, pages.start)?;
        let mut run = Run {
            file,
            first: pages.start,
            count: 0,
            frames: [Frame(0); OUT_MAX as usize],
            sums: [0; OUT_MAX as usize],
            ticket: self.new_ticket(),
        };
        // A store from now on is seen: it gets a frame of its own.
        m.protect(pages.clone());
        for ((page, frame), sum) in pages.zip(&mut run.frames).zip(&mut run.sums) {
            let Some(dirty) = self.leaving(m, page) else {
                break;
            };
            if self.overlay.open_page(m, page).is_err() {
                break;
            }
            m.retain(dirty);
            (*frame, *sum) = (dirty, m.sum(dirty));
            self.change(m, page, PageState::Sending(dirty, run.ticket));
            run.count += 1;
        }
        Ok((run.count > 0).then_some(run))
    }

    /// The answer to a page-out has arrived; how many pages are swapped now.
    fn end_page_out<M: Memory>(&mut self, m: &mut M, run: &Run, result: Result<(), Errno>) -> u64 {
        self.swap.end(result);
        // The segment may have become empty and given the file back, or be pinned.
        let leave = result.is_ok() && !self.swap.is_held();
        let file = self.swap.number(run.file).filter(|_| leave);
        if file.is_some() {
            m.unmap(run.pages());
        }
        let mut gone = 0;
        for ((page, frame), sum) in run.pages().zip(run.frames()).zip(run.sums) {
            if self.overlay.get(m, page) != PageState::Sending(*frame, run.ticket) {
                continue;
            }
            let Some(file) = file else {
                self.change(m, page, PageState::Dirty(*frame));
                continue;
            };
            let place = Place { file, sum };
            self.change(m, page, PageState::Swapped(place));
            self.swap.gain(place.file);
            m.release(*frame);
            gone += 1;
        }
        m.count(Count::PageOut, gone);
        gone
    }
}
