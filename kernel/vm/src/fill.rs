//! Fills: sleeping pages get their content from the snapshots that their extents
//! name, with nothing locked while a message is under way.
//!
//! A page comes alone, or in a *run*: neighbours that are asleep on the same extent,
//! with one message and one ticket. The pages of a run beside the touched one are a
//! bonus. Those that did not come sleep on, their error is nobody's, and the touched
//! page is asked for again by itself.

use core::ops::Range;

use abi::Errno;

use crate::extents::{Extent, Source};
use crate::fork::release_snaps;
use crate::overlay::{Overlay, Pages};
use crate::steps::Turns;
use crate::{
    Count, Frame, Host, Memory, NoMemory, Origin, PAGE, PageState, RUN_MAX, Segment, Ticket,
};

/// A fill that begins.
pub(crate) struct Filling {
    /// The page that was touched; it is marked with the ticket.
    pub page: u64,
    pub ticket: Ticket,
    /// Its first extent.
    pub first: Extent,
    /// The extents' when it began.
    pub generation: u64,
    /// The page and the neighbours that should come with it, if they are asleep: at most
    /// [`RUN_MAX`].
    pub window: Range<u64>,
}

/// The pages that come with one message, each marked with the ticket, and their
/// frames.
struct Run {
    pages: Range<u64>,
    /// Frame `i` is for page `first + i`.
    frames: [Frame; RUN_MAX],
    first: u64,
}

impl Run {
    /// The touched page alone, without its frame.
    fn new(filling: &Filling) -> Run {
        Run {
            pages: filling.page..filling.page + 1,
            frames: [Frame(0); RUN_MAX],
            first: filling.window.start,
        }
    }

    /// Notes the frame of a page of the window; `false` for any other page.
    fn put(&mut self, page: u64, frame: Frame) -> bool {
        let place = self.frames.get_mut((page - self.first) as usize);
        place.map(|place| *place = frame).is_some()
    }

    fn frame(&self, page: u64) -> Frame {
        let at = (page - self.first) as usize;
        // A window is not longer than the array.
        self.frames.get(at).copied().unwrap_or(Frame(u32::MAX))
    }

    /// The frames of some of its pages.
    fn frames_of(&mut self, pages: &Range<u64>) -> &mut [Frame] {
        let range = (pages.start - self.first) as usize..(pages.end - self.first) as usize;
        self.frames.get_mut(range).unwrap_or(&mut [])
    }

    const fn bit(&self, page: u64) -> u64 {
        1 << (page - self.first)
    }

    fn len(&self) -> u64 {
        self.pages.end - self.pages.start
    }
}

/// Returns true if the extent is all of a page.
#[inline]
pub(crate) const fn whole(first: &Extent) -> bool {
    first.len() == PAGE
}

/// The page of a file that all of a page is, if it is one: only such pages are
/// shared, because a frame of parts would have to be found by all of them.
#[inline]
pub(crate) const fn one_page(first: &Extent) -> Option<Source> {
    let one = whole(first) && first.source.soff.is_multiple_of(PAGE);
    if one { Some(first.source) } else { None }
}

/// Fills a page that this caller has marked as *filling*, and neighbours.
pub(crate) fn fill<H: Host>(h: &mut H, filling: &Filling) -> Result<(), Errno> {
    let outcome = match whole(&filling.first) {
        true => fetch_run(h, filling),
        false => gather(h, filling),
    };
    let (result, dropped) = h.with(|segment, m| {
        let result = segment.filled(m, filling, outcome);
        (
            result,
            segment.extents.uses.let_go(filling.first.source.snap),
        )
    });
    h.wake_fill(filling.page, filling.ticket);
    if dropped {
        // An operation of another process has let go of it meanwhile.
        release_snaps(h);
    }
    result
}

/// The content of a page that is one piece of a snapshot, in a frame that is not
/// shared yet. Neighbours that came with it are resident.
fn fetch_run<H: Host>(h: &mut H, filling: &Filling) -> Result<Frame, Errno> {
    let &Filling { page, ticket, .. } = filling;
    let most = match filling.window.end - filling.window.start {
        1 => 1,
        wanted => wanted.min(h.run_max(filling.first.source.snap) as u64),
    };
    let mut run = h.with(|segment, m| segment.begin_run(m, filling, most))?;
    let source = filling.first.source;
    let came = match run.len() {
        1 => false,
        pages => {
            let start = source.at_page(run.pages.start, page);
            let len = (pages * PAGE) as usize;
            let frames = run.frames_of(&run.pages.clone());
            let got = h.read_run(Origin::Snap(source.snap), start.soff, frames, 0, len);
            let end = run.pages.start + got.unwrap_or(0).min(len) as u64 / PAGE;
            h.with(|segment, m| segment.neighbours_filled(m, filling, &mut run, end));
            h.wake_fill(page, ticket);
            if let Err(error @ Errno::EINTR) = got {
                h.with(|_, m| m.release(run.frame(page)));
                return Err(error);
            }
            page < end
        }
    };
    let frame = run.frame(page);
    if !came && let Err(error) = read_exactly(h, source, frame, 0, PAGE as usize) {
        h.with(|_, m| m.release(frame));
        return Err(error);
    }
    Ok(frame)
}

/// Reads `len` bytes of a snapshot to byte `at` of a frame. A server may give
/// them in parts, but a snapshot is as long as it said.
pub(crate) fn read_exactly<H: Host>(
    h: &mut H,
    source: Source,
    frame: Frame,
    at: usize,
    len: usize,
) -> Result<(), Errno> {
    let mut done = 0;
    while done < len {
        let soff = source.advance(done as u64).soff;
        match h.read_snap(source.snap, soff, frame, at + done, len - done)? {
            0 => return Err(Errno::EIO),
            got => done += got.min(len - done),
        }
    }
    Ok(())
}

/// A frame with the content of a page of pieces, gathered from all extents over it.
/// The frame is not shared yet.
fn gather<H: Host>(h: &mut H, filling: &Filling) -> Result<Frame, Errno> {
    let frame = h.with(|_, m| m.alloc_zeroed()).ok_or(Errno::ENOMEM)?;
    match gather_into(h, filling, frame) {
        Ok(()) => Ok(frame),
        Err(error) => {
            h.with(|_, m| m.release(frame));
            Err(error)
        }
    }
}

fn gather_into<H: Host>(h: &mut H, filling: &Filling, frame: Frame) -> Result<(), Errno> {
    let start = filling.page * PAGE;
    let (mut piece, mut turns) = (filling.first, Turns::new());
    loop {
        // Bytes of the kernel's own files come without a wait.
        turns.turn(h);
        let (at, len) = ((piece.start - start) as usize, piece.len() as usize);
        let read = read_exactly(h, piece.source, frame, at, len);
        let (next, dropped) = h.with(|segment, m| {
            let next = read.is_ok().then(|| segment.next_piece(m, filling, &piece));
            // The first piece is held by the fill.
            let held = piece.start != filling.first.start;
            let dropped = held && segment.extents.uses.let_go(piece.source.snap);
            (next.flatten(), dropped)
        });
        if dropped {
            release_snaps(h);
        }
        match next {
            Some(next) => piece = next,
            None => return read,
        }
    }
}

impl Segment {
    /// What follows a piece of the page, its snapshot held. `None`: nothing, or nobody
    /// waits for the page any more, so that its extents may have changed.
    fn next_piece<M: Memory>(
        &mut self,
        m: &mut M,
        filling: &Filling,
        piece: &Extent,
    ) -> Option<Extent> {
        let &Filling { page, ticket, .. } = filling;
        if self.overlay.get(m, page) != PageState::Filling(ticket) {
            return None;
        }
        let next = self.extents.first(piece.end..(page + 1) * PAGE)?;
        self.extents.uses.pin(next.source.snap);
        Some(next)
    }

    /// Takes a frame for the page, and marks and takes frames for its neighbours that
    /// can come with it: at most `most` pages in all, and fewer where frames are out.
    fn begin_run<M: Memory>(
        &mut self,
        m: &mut M,
        filling: &Filling,
        most: u64,
    ) -> Result<Run, NoMemory> {
        let &Filling { page, ticket, .. } = filling;
        let mut run = Run::new(filling);
        run.put(page, m.alloc().ok_or(NoMemory)?);
        let wanted = self.overlay.get(m, page) == PageState::Filling(ticket);
        if most == 1 || !wanted || filling.generation != self.extents.generation() {
            return Ok(run);
        }
        let most = most.min(m.ahead_max().saturating_add(1));
        let Range { start, end } = self.same_extent(page, &filling.window);
        let source = filling.first.source.advance(PAGE);
        let new = m.uncached(source.snap, source.soff, end - (page + 1));
        let end = end.min(page + 1 + new);
        let state = PageState::Filling(ticket);
        let mut join = |m: &mut M, page| m.alloc().is_some_and(|frame| run.put(page, frame));
        let up = (page + 1..end).take(most as usize - 1);
        let above = self.overlay.claim(m, up, state, &mut join);
        let down = (start..page).rev().take((most - 1 - above) as usize);
        let below = self.overlay.claim(m, down, state, &mut join);
        run.pages = page - below..page + 1 + above;
        Ok(run)
    }

    /// The pages of the window that lie on the same extent as the touched one, and in the
    /// same leaf of the overlay.
    pub(crate) fn same_extent(&self, page: u64, window: &Range<u64>) -> Range<u64> {
        let leaf = Overlay::leaf_of(page);
        let window = window.start.max(leaf.start)..window.end.min(leaf.end);
        let (at, after) = (page * PAGE, (page + 1) * PAGE);
        let up = self.extents.first(at..window.end * PAGE);
        let end = up.map_or(page + 1, |extent| extent.end / PAGE);
        let down = self.extents.first(window.start * PAGE..after);
        let down = down.filter(|extent| extent.end == after);
        let start = down.map_or(page, |extent| extent.start.div_ceil(PAGE));
        start..end
    }

    /// Completes the fills of a run, except of the touched page: pages below `end` have
    /// come. They are mapped at once; the others sleep on.
    fn neighbours_filled<M: Memory>(
        &mut self,
        m: &mut M,
        filling: &Filling,
        run: &mut Run,
        end: u64,
    ) {
        let &Filling {
            page: touched,
            ticket,
            first,
            ..
        } = filling;
        if filling.generation == self.extents.generation()
            && let Some(source) = one_page(&first)
        {
            let start = source.at_page(run.pages.start, touched);
            let come = run.pages.start..end.max(run.pages.start);
            m.publish_run(start.snap, start.soff, run.frames_of(&come));
        }
        // By place in the run: pages that are resident now, and that sleep on.
        let (mut here, mut left) = (0_u64, 0_u64);
        let filling = PageState::Filling(ticket);
        let came = run.pages.start..end.clamp(run.pages.start, run.pages.end);
        self.overlay.turn(m, came.clone(), filling, |page| {
            (page != touched).then(|| {
                here |= run.bit(page);
                PageState::Resident(run.frame(page))
            })
        });
        let asleep = came.end..run.pages.end;
        if !asleep.is_empty() {
            self.overlay
                .update(m, Pages::Present, asleep, |_, page, state| {
                    if page == touched || state != filling {
                        return state;
                    }
                    left |= run.bit(page);
                    PageState::Absent
                });
        }
        for page in run.pages.clone().filter(|page| *page != touched) {
            if here & run.bit(page) != 0 {
                continue;
            }
            m.release(run.frame(page));
            m.count(Count::Stale, u64::from(left & run.bit(page) == 0));
        }
        m.count(Count::Fill, u64::from(here.count_ones()));
        map_ahead(m, run.first, here, &run.frames);
    }

    /// Handles a page whose bytes the server cannot provide: resident pages of
    /// the snapshot are kept from now on, because an evicted one could not be read
    /// again. A kill or a lack of memory says nothing about the server.
    fn not_to_be_had(&mut self, page: u64, error: Errno) {
        if !matches!(error, Errno::EINTR | Errno::ENOMEM) {
            self.extents.mark_lost(page * PAGE..(page + 1) * PAGE);
        }
    }

    /// Completes a fill: the frame becomes the page if the page still waits for
    /// it, and enters the cache. Otherwise the result is discarded.
    ///
    /// A write may have tied the page to another snapshot with the same bytes
    /// meanwhile. The former one may be gone since: that is no error of the page, and
    /// its name may mean another snapshot, so that nothing is cached by it.
    pub(crate) fn filled<M: Memory>(
        &mut self,
        m: &mut M,
        filling: &Filling,
        outcome: Result<Frame, Errno>,
    ) -> Result<(), Errno> {
        let page = filling.page;
        let wanted = self.overlay.get(m, page) == PageState::Filling(filling.ticket);
        let same = filling.generation == self.extents.generation();
        match outcome {
            Ok(frame) if wanted => {
                let source = one_page(&filling.first).filter(|_| same);
                let frame = publish(m, source, frame);
                self.change(m, page, PageState::Resident(frame));
                m.count(Count::Fill, 1);
            }
            Ok(frame) => {
                m.release(frame);
                m.count(Count::Stale, 1);
            }
            Err(error) => {
                if wanted {
                    self.clear(m, page);
                }
                if wanted && same {
                    self.not_to_be_had(page, error);
                }
                // Even a stale fill reports EINTR: its own process was told to exit.
                if wanted && same || error == Errno::EINTR {
                    return Err(error);
                }
                m.count(Count::Stale, 1);
            }
        }
        Ok(())
    }
}

/// Maps pages from `first` on that nobody has touched, for each bit one, to the frame
/// at its place.
pub(crate) fn map_ahead<M: Memory>(m: &mut M, first: u64, mut bits: u64, frames: &[Frame]) {
    m.count(Count::Ahead, u64::from(bits.count_ones()));
    let mut passed = 0;
    while bits != 0 {
        let gap = bits.trailing_zeros();
        let run = (bits >> gap).trailing_ones();
        let start = passed + gap as usize;
        let end = start + run as usize;
        m.map_ahead(first + start as u64, frames.get(start..end).unwrap_or(&[]));
        bits = bits.checked_shr(gap + run).unwrap_or(0);
        passed = end;
    }
}

/// Offers a frame that is not mapped to the cache as the page at `source`;
/// returns the frame to use, which may be an earlier one from the cache.
fn publish<M: Memory>(m: &mut M, source: Option<Source>, frame: Frame) -> Frame {
    match source.and_then(|Source { snap, soff }| m.publish(snap, soff, frame)) {
        Some(first) => {
            m.release(frame);
            first
        }
        None => frame,
    }
}
