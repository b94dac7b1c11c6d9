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

/// Where the content of a page is. Who may move it where:
/// `Absent -> Filling` the first touch of a sleeping page; `Filling ->
/// Resident` its fill; `Absent | Resident | Sending -> Dirty` a store; `Dirty ->
/// Sending` a write; `Sending -> Resident | Dirty` that write's answer;
/// `Resident -> Absent` eviction, or `Resident -> Dirty` where that would lose
/// it; anything `-> Absent` a read or free over it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// Nothing here: the extents say what it holds, zeros between them.
    Absent,
    /// A fill is on its way.
    Filling(Ticket),
    /// A clean copy of what the extents say.
    Resident(Frame),
    /// The segment's own content.
    Dirty(Frame),
    /// The segment's own content, being written back.
    Sending(Frame, Ticket),
}

const TAG_BITS: u32 = 4;
const FRAME_SHIFT: u32 = 4;
const TICKET_SHIFT: u32 = 36;

impl Slot {
    /// As a word; `Absent` is 0.
    #[inline]
    pub(crate) const fn encode(self) -> u64 {
        match self {
            Slot::Absent => 0,
            Slot::Filling(ticket) => 1 | (ticket.0 as u64) << TICKET_SHIFT,
            Slot::Resident(frame) => 2 | (frame.0 as u64) << FRAME_SHIFT,
            Slot::Dirty(frame) => 3 | (frame.0 as u64) << FRAME_SHIFT,
            Slot::Sending(frame, ticket) => {
                4 | (frame.0 as u64) << FRAME_SHIFT | (ticket.0 as u64) << TICKET_SHIFT
            }
        }
    }

    /// The inverse of [`Slot::encode`], for words it made.
    #[inline]
    pub(crate) const fn decode(word: u64) -> Slot {
        let frame = Frame((word >> FRAME_SHIFT) as u32);
        let ticket = Ticket((word >> TICKET_SHIFT) as u32);
        match word & ((1 << TAG_BITS) - 1) {
            1 => Slot::Filling(ticket),
            2 => Slot::Resident(frame),
            3 => Slot::Dirty(frame),
            4 => Slot::Sending(frame, ticket),
            _ => Slot::Absent,
        }
    }

    /// The frame, if the page has one.
    #[inline]
    pub const fn frame(self) -> Option<Frame> {
        match self {
            Slot::Absent | Slot::Filling(_) => None,
            Slot::Resident(frame) | Slot::Dirty(frame) | Slot::Sending(frame, _) => Some(frame),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_encoding() {
        let (frame, ticket) = (Frame(u32::MAX), Ticket((1 << Ticket::BITS) - 1));
        for slot in [
            Slot::Absent,
            Slot::Filling(ticket),
            Slot::Resident(frame),
            Slot::Dirty(frame),
            Slot::Sending(frame, ticket),
            Slot::Sending(Frame(0), Ticket(0)),
        ] {
            assert_eq!(Slot::decode(slot.encode()), slot);
        }
        assert_eq!(ticket.next(), Ticket(0));
    }
}
