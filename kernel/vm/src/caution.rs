//! The policy of a `write` after its server has lost bytes that a message
//! named.
//!
//! First the resident pages among them are sent instead of named. Unless a byte
//! is lost everywhere, the write then still takes effect as a whole. If that
//! fails, pieces of half the length, down to a page, show how far the write
//! gets. The page at which it ends is filled, and the error is that of a touch.

use core::ops::Range;

use abi::Errno;

use crate::PAGE;

/// The attempts of a write so far.
#[derive(Debug)]
pub(crate) struct Caution {
    /// Pages that are in memory are sent, not named.
    sends: bool,
    wakes: bool,
    /// Most bytes of the next piece.
    reach: u64,
    /// Length of the last one, if it named anything.
    named: Option<u64>,
}

impl Caution {
    pub(crate) const fn new() -> Caution {
        Caution {
            sends: false,
            wakes: false,
            reach: u64::MAX,
            named: None,
        }
    }

    /// Returns true if something has been lost.
    pub(crate) const fn used(&self) -> bool {
        self.sends
    }

    /// Nothing is named.
    pub(crate) const fn wakes(&self) -> bool {
        self.wakes
    }

    /// The end of the next piece of `left`.
    pub(crate) fn end(&self, left: &Range<u64>) -> u64 {
        left.end.min(left.start.saturating_add(self.reach))
    }

    /// Records a piece that was sent; `names`: it named snapshots.
    pub(crate) fn sent(&mut self, piece: &Range<u64>, names: bool) {
        self.named = names.then_some(piece.end - piece.start);
    }

    /// Records a piece that was done.
    pub(crate) const fn relax(&mut self) {
        self.reach = self.reach.saturating_mul(2);
        self.wakes = false;
    }

    /// Records a failure; returns true if there is another attempt, for which
    /// resident pages of the rest are no longer clean.
    pub(crate) fn try_again(&mut self, error: Errno) -> bool {
        let lost = matches!(error, Errno::ESTALE | Errno::EBADF);
        let Some(len) = self.named.take().filter(|_| lost) else {
            return false;
        };
        if !self.sends {
            self.sends = true;
        } else if len > PAGE {
            self.reach = len / 2;
        } else {
            self.wakes = true;
        }
        true
    }
}

/// The error of a system call for lost bytes.
pub fn in_a_call(error: Errno) -> Errno {
    match error {
        Errno::ESTALE | Errno::EBADMSG => Errno::EIO,
        other => other,
    }
}
