//! The frames that the data of a reply goes to.
//!
//! Where nobody else has the frames, a driver that has received the request may have
//! its device write to them (docs/decisions/0033-lent-frames.md). From then on they
//! stay held until the server has answered, whatever becomes of the process that
//! waits for them.
use super::State;
use crate::chan::Piece;
use crate::chan::kept::{self, Driver, Memory};
use alloc::sync::Arc;
use alloc::vec::Vec;
use ninep::client::Tag;

/// May a device write to the frames?
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Loan {
    /// No: a program sees them, and a read that fails leaves them as they are.
    #[default]
    Refused,
    /// It may be allowed to.
    Possible,
    /// Yes.
    Lent,
}

/// Where the data of an Rread goes.
#[derive(Default)]
pub struct Sink {
    pieces: Vec<Piece>,
    loan: Loan,
}

impl From<Vec<Piece>> for Sink {
    fn from(pieces: Vec<Piece>) -> Sink {
        let loan = Loan::Refused;
        Sink { pieces, loan }
    }
}

impl Sink {
    /// Of frames that were taken for this read, so that nobody sees them before it is
    /// over. Any byte of the pieces may be written, whatever the reply says.
    pub fn lendable(pieces: Vec<Piece>) -> Sink {
        let loan = Loan::Possible;
        Sink { pieces, loan }
    }

    /// Its parts.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len).sum()
    }

    /// Copies `bytes` to it, as far as there is room; how many.
    pub fn fill(&self, mut bytes: &[u8]) -> usize {
        let mut done = 0;
        for piece in &self.pieces {
            let (now, later) = bytes.split_at(piece.len.min(bytes.len()));
            piece.frame.write(piece.at, now);
            done += now.len();
            bytes = later;
        }
        done
    }

    /// Returns true if there is nowhere to go.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Returns true if a device may be writing to it.
    pub fn is_lent(&self) -> bool {
        self.loan == Loan::Lent
    }

    /// The addresses of its pages, if it can be lent: all but the first and last are
    /// whole, and the data has no gaps.
    fn addresses(&self, to: &mut [u64]) -> Option<usize> {
        let (count, page) = (self.pieces.len(), abi::PAGE as usize);
        for (index, (piece, to)) in self.pieces.iter().zip(to.get_mut(..count)?).enumerate() {
            let begins = index == 0 || piece.at == 0;
            let ends = index + 1 == count || piece.at + piece.len == page;
            if !begins || !ends {
                return None;
            }
            *to = piece.frame.pa() + piece.at as u64;
        }
        Some(count)
    }
}

impl State {
    /// The sink of a request; empty if it has none.
    pub(super) fn take_sink(&mut self, tag: Tag) -> Sink {
        let sink = self.sinks.get_mut(usize::from(tag.number()));
        let sink = sink.map(core::mem::take).unwrap_or_default();
        if sink.is_lent() {
            self.lent &= !bit(tag);
        }
        sink
    }

    pub(super) fn keep_sink(&mut self, tag: Tag, sink: Sink) {
        if sink.is_lent() {
            self.lent |= bit(tag);
        }
        if let Some(place) = self.sinks.get_mut(usize::from(tag.number())) {
            *place = sink;
        }
    }

    /// The running process waits for the request no longer. A sink that is lent stays.
    pub(super) fn leave_sink(&mut self, tag: Tag) {
        if self.lent & bit(tag) == 0 {
            drop(self.take_sink(tag));
        }
    }

    /// Returns true if the sink of the request with that tag is lent.
    pub(super) fn is_lent(&self, tag: u16) -> bool {
        self.lent.checked_shr(tag.into()).unwrap_or(0) & 1 != 0
    }

    /// See [`crate::chan::Client::lend`].
    pub(super) fn lend(&mut self, tag: u16, to: &mut [u64], borrower: &Arc<Driver>) -> usize {
        let Some(tag) = self.machine.find(tag) else {
            return 0;
        };
        let Some(sink) = self.sinks.get_mut(usize::from(tag.number())) else {
            return 0;
        };
        let pages = match sink.loan {
            Loan::Possible => sink.addresses(to).unwrap_or(0),
            Loan::Refused | Loan::Lent => 0,
        };
        if pages > 0 {
            sink.loan = Loan::Lent;
            self.lent |= bit(tag);
            self.borrower.note(borrower);
        }
        pages
    }

    /// See [`crate::chan::Client::take_back`].
    pub(super) fn take_back(&mut self, tag: u16) {
        if let Some(tag) = self.machine.find(tag) {
            let mut sink = self.take_sink(tag);
            if sink.is_lent() {
                sink.loan = Loan::Possible;
            }
            self.keep_sink(tag, sink);
        }
    }

    /// Drops the sinks of requests that were lent and are over: their server has
    /// answered, and so has their device.
    #[inline]
    pub(super) fn end_loans(&mut self) {
        self.end_data();
        let mut left = self.lent;
        while left != 0 {
            let number = left.trailing_zeros() as u16;
            left &= left - 1;
            if self.machine.find(number).is_none() {
                self.lent &= !(1 << number);
                if let Some(sink) = self.sinks.get_mut(usize::from(number)) {
                    *sink = Sink::default();
                }
            }
        }
    }

    /// The server is gone, and nothing says that its device has finished: what was lent
    /// to it is kept until the device is reset.
    pub(super) fn forget_loans(&mut self) {
        let mut all: Vec<Piece> = Vec::new();
        let lent = self.sinks.iter_mut().filter(|sink| sink.is_lent());
        let lent = lent.map(|sink| core::mem::take(sink).pieces);
        for pieces in lent.chain(self.data.drain()) {
            match all.try_reserve(pieces.len()) {
                Ok(()) => all.extend(pieces),
                Err(_) => core::mem::forget(pieces),
            }
        }
        self.lent = 0;
        if !all.is_empty() {
            let frames = all.len();
            hw::warn!("{frames} frames stay with the device of a server that ended");
            kept::keep(
                Memory::Lent(all),
                core::mem::take(&mut self.borrower).only(),
            );
        }
    }
}

/// Who has borrowed from a client.
#[derive(Default)]
pub(super) enum Borrower {
    #[default]
    Nobody,
    One(Arc<Driver>),
    Several,
}

impl Borrower {
    #[inline]
    pub(super) fn note(&mut self, driver: &Arc<Driver>) {
        match self {
            Borrower::One(before) if Arc::ptr_eq(before, driver) => {}
            Borrower::Nobody => *self = Borrower::One(driver.clone()),
            Borrower::One(_) | Borrower::Several => *self = Borrower::Several,
        }
    }

    /// The only one.
    fn only(self) -> Option<Arc<Driver>> {
        match self {
            Borrower::One(driver) => Some(driver),
            Borrower::Nobody | Borrower::Several => None,
        }
    }
}

const fn bit(tag: Tag) -> u64 {
    1 << (tag.number() % u64::BITS as u16)
}
