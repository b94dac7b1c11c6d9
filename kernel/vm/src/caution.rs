//! How a `write` goes on when its server has lost what a message named.
//!
//! First what is in memory of it is sent instead of named: unless a byte that
//! is nowhere any more is among them, the write then still takes effect as a
//! whole. If that does not help, pieces of half the length, down to a page,
//! show how far it gets; the page at which it ends is woken, and the error is
//! that of a touch.

use core::ops::Range;

use abi::Errno;

use crate::PAGE;

/// What a write has tried.
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

    /// Has something been lost?
    pub(crate) const fn used(&self) -> bool {
        self.sends
    }

    /// Nothing is named.
    pub(crate) const fn wakes(&self) -> bool {
        self.wakes
    }

    /// Where a piece of what is `left` has to end.
    pub(crate) fn end(&self, left: &Range<u64>) -> u64 {
        left.end.min(left.start.saturating_add(self.reach))
    }

    /// A piece was sent; did it name anything?
    pub(crate) fn sent(&mut self, piece: &Range<u64>, names: bool) {
        self.named = names.then_some(piece.end - piece.start);
    }

    /// It was done.
    pub(crate) const fn relax(&mut self) {
        self.reach = self.reach.saturating_mul(2);
        self.wakes = false;
    }

    /// It failed; is there something else to try? What is in memory of the rest
    /// is not clean any more then.
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

/// What a system call says of bytes that are lost.
pub fn in_a_call(error: Errno) -> Errno {
    match error {
        Errno::ESTALE => Errno::EIO,
        other => other,
    }
}
