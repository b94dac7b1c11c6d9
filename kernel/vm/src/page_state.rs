//! The state of one page, as a word in an overlay node.

use crate::Frame;

/// Tells one fill or one write of a segment from the others. 28 bits, reused
/// only after 268 million others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Ticket(pub(crate) u32);

impl Ticket {
    const BITS: u32 = 28;

    /// The one after, for [`crate::Segment`].
    pub(crate) const fn next(self) -> Ticket {
        Ticket((self.0 + 1) & ((1 << Self::BITS) - 1))
    }

    /// The number, for a host that keys its waiters by it.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// The place of a page's content. Transitions: `Absent -> Filling` the first
/// touch of a sleeping page; `Filling -> Resident` the end of its fill; `Absent
/// | Resident | Sending -> Dirty` a store; `Dirty -> Sending` a write; `Sending
/// -> Resident | Dirty` the answer to that write; `Resident -> Absent`
/// eviction, or `Resident -> Dirty` if that would lose it; any state `->
/// Absent` a read or free over it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageState {
    /// Asleep: the extents name its content, zeros between them.
    Absent,
    /// A fill is on its way.
    Filling(Ticket),
    /// A clean copy of the content that the extents name.
    Resident(Frame),
    /// The segment's own content.
    Dirty(Frame),
    /// The segment's own content, being written back.
    Sending(Frame, Ticket),
}

const TAG_BITS: u32 = 4;
const FRAME_SHIFT: u32 = 4;
const TICKET_SHIFT: u32 = 36;

impl PageState {
    /// As a word; `Absent` is 0.
    #[inline]
    pub(crate) const fn encode(self) -> u64 {
        match self {
            PageState::Absent => 0,
            PageState::Filling(ticket) => 1 | (ticket.0 as u64) << TICKET_SHIFT,
            PageState::Resident(frame) => 2 | (frame.0 as u64) << FRAME_SHIFT,
            PageState::Dirty(frame) => 3 | (frame.0 as u64) << FRAME_SHIFT,
            PageState::Sending(frame, ticket) => {
                4 | (frame.0 as u64) << FRAME_SHIFT | (ticket.0 as u64) << TICKET_SHIFT
            }
        }
    }

    /// The inverse of [`PageState::encode`], for words it made.
    #[inline]
    pub(crate) const fn decode(word: u64) -> PageState {
        let frame = Frame((word >> FRAME_SHIFT) as u32);
        let ticket = Ticket((word >> TICKET_SHIFT) as u32);
        match word & ((1 << TAG_BITS) - 1) {
            1 => PageState::Filling(ticket),
            2 => PageState::Resident(frame),
            3 => PageState::Dirty(frame),
            4 => PageState::Sending(frame, ticket),
            _ => PageState::Absent,
        }
    }

    /// Returns true if the content is the segment's own, whatever the extents say.
    #[inline]
    pub(crate) const fn is_own(self) -> bool {
        match self {
            PageState::Dirty(_) | PageState::Sending(..) => true,
            PageState::Absent | PageState::Filling(_) | PageState::Resident(_) => false,
        }
    }

    /// The frame, if the page has one.
    #[inline]
    pub const fn frame(self) -> Option<Frame> {
        match self {
            PageState::Absent | PageState::Filling(_) => None,
            PageState::Resident(frame) | PageState::Dirty(frame) | PageState::Sending(frame, _) => {
                Some(frame)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_encoding() {
        let (frame, ticket) = (Frame(u32::MAX), Ticket((1 << Ticket::BITS) - 1));
        for state in [
            PageState::Absent,
            PageState::Filling(ticket),
            PageState::Resident(frame),
            PageState::Dirty(frame),
            PageState::Sending(frame, ticket),
            PageState::Sending(Frame(0), Ticket(0)),
        ] {
            assert_eq!(PageState::decode(state.encode()), state);
        }
        assert_eq!(ticket.next(), Ticket(0));
    }
}
