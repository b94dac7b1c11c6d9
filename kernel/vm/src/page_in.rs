//! Swapped pages come back: at a touch, with the neighbours that the faults show
//! will be used, or a run of them for a `write`.
//!
//! As in a fill, the neighbours of the touched page are a bonus: what is wrong with
//! one of them is nobody's error, and it stays in swap. A page that has come back
//! keeps its place until a store, so it can leave again without being written.

use core::ops::Range;

use abi::Errno;

use crate::ahead::{Near, WINDOW_MAX};
use crate::{Count, Frame, Host, Memory, PageState, Place, RUN_MAX, Segment, SwapId, Ticket};

/// Pages of a block that are in frames, from which on the rest of it comes along: so
/// many alone cost as much as the block.
const DENSE: u32 = 4;
/// The same where blocks that came earlier were hardly used.
const DENSE_WASTED: u32 = 24;

/// Pages on their way back from one swap file.
struct Run {
    file: SwapId,
    /// The page for whose sake they come.
    touched: u64,
    pages: Range<u64>,
    /// Place and frame `i` are those of page `first + i`. The frames are mapped
    /// nowhere yet.
    first: u64,
    places: [Place; RUN_MAX],
    frames: [Frame; RUN_MAX],
    ticket: Ticket,
}

impl Run {
    fn put(&mut self, page: u64, place: Place, frame: Frame) {
        let at = (page - self.first) as usize;
        if let (Some(places), Some(frames)) = (self.places.get_mut(at), self.frames.get_mut(at)) {
            (*places, *frames) = (place, frame);
        }
    }

    fn get(&self, page: u64) -> (Place, Frame) {
        let at = (page - self.first) as usize;
        let (place, frame) = (self.places.get(at), self.frames.get(at));
        // A run is within its window, which is not longer than the arrays.
        let none = (Place { file: 0, sum: 0 }, Frame(u32::MAX));
        place.copied().zip(frame.copied()).unwrap_or(none)
    }

    fn frames(&self, pages: &Range<u64>) -> &[Frame] {
        let range = (pages.start - self.first) as usize..(pages.end - self.first) as usize;
        self.frames.get(range).unwrap_or_default()
    }
}

impl Segment {
    /// The pages that should come back together with this one.
    fn swap_window<M: Memory>(&mut self, m: &mut M, page: u64) -> Range<u64> {
        let enough = match self.ahead.is_wasteful() {
            true => DENSE_WASTED,
            false => DENSE,
        };
        self.window(m, page, |overlay, m| {
            let first = page / WINDOW_MAX * WINDOW_MAX;
            let here = |page: &u64| overlay.get(m, *page).frame().is_some();
            let block = (first..first + WINDOW_MAX).filter(here).count() as u32;
            Near {
                blocks: 0,
                block: match block < enough {
                    true => 0,
                    false => WINDOW_MAX as u32,
                },
            }
        })
    }

    /// Marks swapped pages of `window` around `touched` as *loading*, as many as adjoin
    /// it, are in the same file and get a frame; none if it is not swapped any more.
    fn begin_load<M: Memory>(
        &mut self,
        m: &mut M,
        touched: u64,
        window: Range<u64>,
    ) -> Result<Option<Run>, Errno> {
        let PageState::Swapped(place) = self.overlay.get(m, touched) else {
            return Ok(None);
        };
        let file = self.swap.id(place.file).ok_or(Errno::EIO)?;
        self.overlay.open_page(m, touched)?;
        let frame = m.alloc().ok_or(Errno::ENOMEM)?;
        let mut run = Run {
            file,
            touched,
            pages: touched..touched + 1,
            first: window.start,
            places: [place; RUN_MAX],
            frames: [frame; RUN_MAX],
            ticket: self.new_ticket().short(),
        };
        self.change(m, touched, PageState::Loading(place, run.ticket));
        let most = m.ahead_max().min(RUN_MAX as u64 - 1);
        let mut joins = |page: &u64| self.join(m, &mut run, *page, place.file);
        let up = (touched + 1..window.end).take(most as usize);
        let up = up.take_while(&mut joins).count() as u64;
        let down = (window.start..touched).rev().take((most - up) as usize);
        let down = down.take_while(&mut joins).count() as u64;
        run.pages = touched - down..touched + 1 + up;
        Ok(Some(run))
    }

    /// Marks a neighbour as *loading* if it can come along.
    fn join<M: Memory>(&mut self, m: &mut M, run: &mut Run, page: u64, file: u16) -> bool {
        if let PageState::Swapped(place) = self.overlay.get(m, page)
            && place.file == file
            && self.overlay.open_page(m, page).is_ok()
            && let Some(frame) = m.alloc()
        {
            run.put(page, place, frame);
            self.change(m, page, PageState::Loading(place, run.ticket));
            return true;
        }
        false
    }

    /// The answer has arrived. Where a page still waits for it and the bytes are
    /// those that left, the frame becomes the page; otherwise the page keeps its
    /// place. The error is that of the touched page.
    fn end_load<M: Memory>(
        &mut self,
        m: &mut M,
        run: &Run,
        result: Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut touched = Ok(());
        let mut come = run.pages.start..run.pages.start;
        for page in run.pages.clone() {
            let (place, frame) = run.get(page);
            let loaded = self.loaded(m, page, (place, run.ticket), result.map(|()| frame));
            let ahead = loaded.is_ok() && page != run.touched;
            if loaded.is_err() {
                m.release(frame);
            }
            if page == run.touched {
                touched = loaded.or_else(|stale| stale.map_or(Ok(()), Err));
            }
            if ahead {
                m.count(Count::Ahead, 1);
                come.end = page + 1;
            } else {
                m.map_ahead(come.start, run.frames(&come));
                come = page + 1..page + 1;
            }
        }
        m.map_ahead(come.start, run.frames(&come));
        touched
    }

    /// The same for one page: `Err` if the frame is not used, with the error unless
    /// the page had become something else.
    fn loaded<M: Memory>(
        &mut self,
        m: &mut M,
        page: u64,
        (place, ticket): (Place, Ticket),
        outcome: Result<Frame, Errno>,
    ) -> Result<(), Option<Errno>> {
        if self.overlay.get(m, page) != PageState::Loading(place, ticket) {
            m.count(Count::Stale, 1);
            // Even a stale load reports EINTR: its own process was told to exit.
            return Err(outcome.err().filter(|error| *error == Errno::EINTR));
        }
        let error = match outcome {
            Ok(frame) if m.sum(frame) == place.sum => {
                self.change(m, page, PageState::Backed(frame, place.file));
                m.count(Count::PageIn, 1);
                return Ok(());
            }
            Ok(_) => Errno::EBADMSG,
            Err(error) => error,
        };
        self.change(m, page, PageState::Swapped(place));
        Err(Some(error))
    }
}

/// Brings a swapped page back, in one request with the neighbours that should come
/// along.
///
/// # Errors
/// `EBADMSG` if its bytes are not those that left, `ENOMEM`, `EINTR`, and the swap
/// server's; the page is swapped then, as it was.
pub(crate) fn load_around<H: Host>(h: &mut H, page: u64) -> Result<(), Errno> {
    let begun = h.with(|segment, m| {
        let window = segment.swap_window(m, page);
        segment.begin_load(m, page, window)
    })?;
    finish(h, begun)
}

/// Brings back the swapped pages at the front of `pages`, in one request: the first,
/// and those that follow it in the same file.
///
/// # Errors
/// As [`load_around`], about the first.
pub(crate) fn load<H: Host>(h: &mut H, pages: Range<u64>) -> Result<(), Errno> {
    let window = pages.start..pages.end.min(pages.start + RUN_MAX as u64);
    let begun = h.with(|segment, m| segment.begin_load(m, pages.start, window))?;
    finish(h, begun)
}

fn finish<H: Host>(h: &mut H, mut begun: Option<Run>) -> Result<(), Errno> {
    while let Some(run) = begun {
        let read = h.swap_in(run.file, run.pages.start, run.frames(&run.pages));
        let result = h.with(|segment, m| segment.end_load(m, &run, read));
        h.wake_fill(run.touched, run.ticket);
        let alone = run.pages.end - run.pages.start == 1;
        if alone || read.is_ok() || read == Err(Errno::EINTR) {
            return result;
        }
        // A neighbour's error is not the touched page's.
        let page = run.touched;
        begun = h.with(|segment, m| segment.begin_load(m, page, page..page + 1))?;
    }
    Ok(())
}
