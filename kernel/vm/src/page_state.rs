//! The state of one page, as a word in an overlay node.

use crate::{Frame, Place};

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

    /// The part of it that fits beside a place ([`PageState::Loading`]); reused
    /// after 262,144 others, and so is only one of the things that must agree.
    pub(crate) const fn short(self) -> Ticket {
        Ticket(self.0 & ((1 << SHORT_BITS) - 1))
    }

    /// The number, for a host that keys its waiters by it.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// The place of a page's content. Transitions: `Absent -> Filling` the first
/// touch of a sleeping page; `Filling -> Resident` the end of its fill; `Absent
/// | Resident | Sending -> Dirty` a store; `Dirty -> Sending` a write or a
/// page-out; `Sending -> Resident | Dirty` the answer to that write; `Sending ->
/// Swapped | Dirty` the answer to that page-out; `Swapped -> Loading` a touch;
/// `Loading -> Backed` its content has arrived and its checksum is right, else
/// `Loading -> Swapped`; `Backed -> Dirty` a store, `Backed -> Sending` a write;
/// `Resident -> Absent` and `Backed -> Swapped` eviction, or `-> Dirty` if that would
/// lose it; any state `-> Absent` a read or free over it, any state `-> Dirty` a
/// store to all of it.
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
    /// The segment's own content, being written to a file or to swap.
    Sending(Frame, Ticket),
    /// The segment's own content, in a swap file alone.
    Swapped(Place),
    /// The same, on its way back. The place is kept until the content has arrived.
    Loading(Place, Ticket),
    /// The segment's own content, in a frame, and the same in the swap file with that
    /// number among those of the segment: the page leaves without being written.
    Backed(Frame, u16),
}

const TAG_BITS: u32 = 4;
const FRAME_SHIFT: u32 = 4;
const TICKET_SHIFT: u32 = 36;
/// A place: the checksum where frames have their number, then the file.
const FILE_SHIFT: u32 = 36;
const SHORT_SHIFT: u32 = FILE_SHIFT + Place::FILE_BITS;
const SHORT_BITS: u32 = u64::BITS - SHORT_SHIFT;

/// The states with the segment's own content have this tag and those after it.
const FIRST_OWN: u64 = 3;

impl PageState {
    /// As a word; `Absent` is 0.
    #[inline(always)]
    pub(crate) const fn encode(self) -> u64 {
        match self {
            PageState::Absent => 0,
            PageState::Filling(ticket) => 1 | (ticket.0 as u64) << TICKET_SHIFT,
            PageState::Resident(frame) => 2 | (frame.0 as u64) << FRAME_SHIFT,
            PageState::Dirty(frame) => 3 | (frame.0 as u64) << FRAME_SHIFT,
            PageState::Sending(frame, ticket) => {
                4 | (frame.0 as u64) << FRAME_SHIFT | (ticket.0 as u64) << TICKET_SHIFT
            }
            PageState::Swapped(place) => 5 | place_bits(place),
            PageState::Loading(place, ticket) => {
                6 | place_bits(place) | (ticket.0 as u64) << SHORT_SHIFT
            }
            PageState::Backed(frame, file) => {
                7 | (frame.0 as u64) << FRAME_SHIFT | (file as u64) << FILE_SHIFT
            }
        }
    }

    /// The inverse of [`PageState::encode`], for words it made.
    #[inline(always)]
    pub(crate) const fn decode(word: u64) -> PageState {
        let frame = Frame((word >> FRAME_SHIFT) as u32);
        let ticket = Ticket((word >> TICKET_SHIFT) as u32);
        match word & ((1 << TAG_BITS) - 1) {
            1 => PageState::Filling(ticket),
            2 => PageState::Resident(frame),
            3 => PageState::Dirty(frame),
            4 => PageState::Sending(frame, ticket),
            5 => PageState::Swapped(place_of(word)),
            6 => PageState::Loading(place_of(word), Ticket((word >> SHORT_SHIFT) as u32)),
            7 => PageState::Backed(frame, place_of(word).file),
            _ => PageState::Absent,
        }
    }

    /// The number of the kind of state.
    pub const fn tag(self) -> u16 {
        (self.encode() & ((1 << TAG_BITS) - 1)) as u16
    }

    /// As [`PageState::is_own`], of a word that [`PageState::encode`] made.
    #[inline]
    pub(crate) const fn is_own_word(word: u64) -> bool {
        word & ((1 << TAG_BITS) - 1) >= FIRST_OWN
    }

    /// Returns true for a word of a state with a ticket.
    #[inline(always)]
    pub(crate) const fn has_ticket(word: u64) -> bool {
        const TICKETS: u64 = 1 << 1 | 1 << 4 | 1 << 6;
        TICKETS >> (word & ((1 << TAG_BITS) - 1)) & 1 != 0
    }

    /// The frame, if the page has one.
    #[inline]
    pub const fn frame(self) -> Option<Frame> {
        match self {
            PageState::Resident(frame)
            | PageState::Dirty(frame)
            | PageState::Sending(frame, _)
            | PageState::Backed(frame, _) => Some(frame),
            _ => None,
        }
    }

    /// What is left to a segment of a page whose frame others count.
    pub(crate) const fn without_frame(self) -> PageState {
        match self {
            PageState::Swapped(place) | PageState::Loading(place, _) => PageState::Swapped(place),
            PageState::Backed(_, file) => PageState::Swapped(Place { file, sum: 0 }),
            _ => PageState::Absent,
        }
    }

    /// The place in swap, if the page's content is there alone.
    #[inline]
    pub const fn place(self) -> Option<Place> {
        match self {
            PageState::Swapped(place) | PageState::Loading(place, _) => Some(place),
            _ => None,
        }
    }

    /// The number of the swap file that has the page's content, whether a frame has it
    /// too or not.
    #[inline]
    pub const fn swap_file(self) -> Option<u16> {
        match self {
            PageState::Swapped(place) | PageState::Loading(place, _) => Some(place.file),
            PageState::Backed(_, file) => Some(file),
            _ => None,
        }
    }

    /// Returns true if the content is the segment's own, whatever the extents say.
    #[inline(always)]
    pub(crate) const fn is_own(self) -> bool {
        match self {
            PageState::Absent | PageState::Filling(_) | PageState::Resident(_) => false,
            PageState::Dirty(_)
            | PageState::Sending(..)
            | PageState::Swapped(_)
            | PageState::Loading(..)
            | PageState::Backed(..) => true,
        }
    }
}

const fn place_bits(place: Place) -> u64 {
    (place.sum as u64) << FRAME_SHIFT | (place.file as u64) << FILE_SHIFT
}

const fn place_of(word: u64) -> Place {
    Place {
        file: (word >> FILE_SHIFT) as u16 & ((1 << Place::FILE_BITS) - 1),
        sum: (word >> FRAME_SHIFT) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_encoding() {
        let (frame, ticket) = (Frame(u32::MAX), Ticket((1 << Ticket::BITS) - 1));
        let full = Place {
            file: (1 << Place::FILE_BITS) - 1,
            sum: u32::MAX,
        };
        for state in [
            PageState::Absent,
            PageState::Filling(ticket),
            PageState::Resident(frame),
            PageState::Dirty(frame),
            PageState::Sending(frame, ticket),
            PageState::Sending(Frame(0), Ticket(0)),
            PageState::Swapped(full),
            PageState::Swapped(Place { file: 0, sum: 0 }),
            PageState::Loading(full, ticket.short()),
            PageState::Loading(Place { file: 0, sum: 0 }, ticket.short()),
            PageState::Loading(full, Ticket(0)),
            PageState::Backed(frame, full.file),
            PageState::Backed(Frame(0), 0),
        ] {
            assert_eq!(PageState::decode(state.encode()), state);
            assert_eq!(PageState::is_own_word(state.encode()), state.is_own());
            let ticket = matches!(
                state,
                PageState::Filling(_) | PageState::Sending(..) | PageState::Loading(..)
            );
            assert_eq!(PageState::has_ticket(state.encode()), ticket);
        }
        assert_eq!(ticket.next(), Ticket(0));
    }
}
