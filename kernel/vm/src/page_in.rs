//! Swapped pages come back.

use abi::Errno;

use crate::{Count, Frame, Host, Memory, PageState, Place, Segment, Ticket};

impl Segment {
    /// Completes the load of a page from swap: if the page still waits for it and
    /// the bytes are those that left, the frame becomes the page. Otherwise the page
    /// keeps its place.
    fn loaded<M: Memory>(
        &mut self,
        m: &mut M,
        page: u64,
        (place, ticket): (Place, Ticket),
        outcome: Result<Frame, Errno>,
    ) -> Result<(), Errno> {
        let wanted = self.overlay.get(m, page) == PageState::Loading(place, ticket);
        let error = match outcome {
            Ok(frame) if wanted && m.sum(frame) == place.sum => {
                self.change(m, page, PageState::Dirty(frame));
                self.swap.give_up(page, place);
                m.count(Count::PageIn, 1);
                return Ok(());
            }
            Ok(frame) => {
                m.release(frame);
                Errno::EBADMSG
            }
            Err(error) => error,
        };
        if wanted {
            self.change(m, page, PageState::Swapped(place));
            return Err(error);
        }
        m.count(Count::Stale, 1);
        // Even a stale load reports EINTR: its own process was told to exit.
        match error {
            Errno::EINTR => Err(error),
            _ => Ok(()),
        }
    }
}

/// Brings back a page that this caller has marked as *loading*.
///
/// # Errors
/// `EBADMSG` if the bytes are not those that left, `ENOMEM`, `EINTR`, and the swap
/// server's; the page is swapped then, as it was.
pub(crate) fn load<H: Host>(
    h: &mut H,
    page: u64,
    place: Place,
    ticket: Ticket,
) -> Result<(), Errno> {
    let outcome = fetch(h, page, place);
    let result = h.with(|segment, m| segment.loaded(m, page, (place, ticket), outcome));
    h.wake_fill(page, ticket);
    result
}

/// A frame with the bytes of a place.
fn fetch<H: Host>(h: &mut H, page: u64, place: Place) -> Result<Frame, Errno> {
    let (file, frame) = h.with(|segment, m| (segment.swap.id(place.file), m.alloc()));
    let frame = frame.ok_or(Errno::ENOMEM)?;
    let read = match file {
        Some(file) => h.swap_in(file, page, &[frame]),
        // Something was stored to all of the page meanwhile.
        None => Err(Errno::ESTALE),
    };
    read.map(|()| frame)
        .inspect_err(|_| h.with(|_, m| m.release(frame)))
}
