//! Swapped pages come back, one at a touch, or a run of them for a `write`.

use core::ops::Range;

use abi::Errno;

use crate::{Count, Frame, Host, Memory, PageState, Place, RUN_MAX, Segment, SwapId, Ticket};

/// Pages on their way back from one swap file.
struct Run {
    file: SwapId,
    first: u64,
    count: usize,
    places: [Place; RUN_MAX],
    /// Mapped nowhere yet.
    frames: [Frame; RUN_MAX],
    ticket: Ticket,
}

impl Run {
    fn pages(&self) -> Range<u64> {
        self.first..self.first + self.count as u64
    }

    fn frames(&self) -> &[Frame] {
        self.frames.get(..self.count).unwrap_or_default()
    }
}

impl Segment {
    /// Marks the swapped pages at the front of `pages` as *loading*, as many as are
    /// in one file and get a frame; none if the first page is not swapped any more.
    fn begin_load<M: Memory>(
        &mut self,
        m: &mut M,
        pages: Range<u64>,
    ) -> Result<Option<Run>, Errno> {
        let PageState::Swapped(first) = self.overlay.get(m, pages.start) else {
            return Ok(None);
        };
        let mut run = Run {
            file: self.swap.id(first.file).ok_or(Errno::EIO)?,
            first: pages.start,
            count: 0,
            places: [first; RUN_MAX],
            frames: [Frame(0); RUN_MAX],
            ticket: self.new_ticket().short(),
        };
        for ((page, frame), kept) in pages.zip(&mut run.frames).zip(&mut run.places) {
            let place = match self.overlay.get(m, page) {
                PageState::Swapped(place) if place.file == first.file => place,
                _ => break,
            };
            let Some(taken) = m.alloc() else { break };
            (*frame, *kept) = (taken, place);
            self.change(m, page, PageState::Loading(place, run.ticket));
            run.count += 1;
        }
        match run.count {
            0 => Err(Errno::ENOMEM),
            _ => Ok(Some(run)),
        }
    }

    /// The answer has arrived. Where a page still waits for it and the bytes are
    /// those that left, the frame becomes the page; otherwise the page keeps its
    /// place. The error is that of the first page.
    fn end_load<M: Memory>(
        &mut self,
        m: &mut M,
        run: &Run,
        result: Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut first = Ok(());
        for ((page, frame), place) in run.pages().zip(run.frames()).zip(run.places) {
            let loaded = self.loaded(m, page, (place, run.ticket), result.map(|()| *frame));
            if loaded.is_err() {
                m.release(*frame);
            }
            if page == run.first {
                first = loaded.or_else(|stale| stale.map_or(Ok(()), Err));
            }
        }
        first
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
                self.change(m, page, PageState::Dirty(frame));
                self.swap.give_up(page, place);
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

/// Brings back the swapped pages at the front of `pages`, in one request: the first,
/// and those that follow it in the same file.
///
/// # Errors
/// `EBADMSG` if the bytes of the first are not those that left, `ENOMEM`, `EINTR`,
/// and the swap server's; the page is swapped then, as it was.
pub(crate) fn load<H: Host>(h: &mut H, pages: Range<u64>) -> Result<(), Errno> {
    let begun = h.with(|segment, m| segment.begin_load(m, pages))?;
    let Some(run) = begun else {
        return Ok(());
    };
    let read = h.swap_in(run.file, run.first, run.frames());
    let result = h.with(|segment, m| segment.end_load(m, &run, read));
    for page in run.pages() {
        h.wake_fill(page, run.ticket);
    }
    result
}
