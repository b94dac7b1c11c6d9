//! Memory that clients make a server hold: what there is of it, and who holds
//! how much. Nothing here allocates; it is asked before something does.

use abi::Errno;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;

/// A number of bytes for all clients together.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: Cell<usize>,
}

impl Budget {
    pub fn new(limit: usize) -> Rc<Budget> {
        let used = Cell::new(0);
        Rc::new(Budget { limit, used })
    }

    /// Checks that there is room for `more` bytes.
    ///
    /// # Errors
    /// `ENOMEM`: there is not.
    pub fn check(&self, more: usize) -> Result<(), Errno> {
        let free = self.limit.saturating_sub(self.used.get());
        if more <= free {
            Ok(())
        } else {
            Err(Errno::ENOMEM)
        }
    }

    /// Bytes there are.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes held.
    pub fn used(&self) -> usize {
        self.used.get()
    }
}

/// What a share grows for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Growth {
    /// References of snapshots.
    Refer,
    /// Versions, before a write. These leave an eighth of the budget, so that snapshots
    /// of other files can be taken whatever is overwritten under some.
    Save,
}

/// A part of a budget, given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Rc<Budget>,
    bytes: usize,
}

impl Share {
    /// Nothing of it yet.
    pub fn of(budget: &Rc<Budget>) -> Share {
        let budget = budget.clone();
        Share { budget, bytes: 0 }
    }

    /// Returns true if less than a quarter of the budget is left.
    pub fn is_scarce(&self) -> bool {
        self.budget.used.get() > self.budget.limit / 4 * 3
    }

    /// Checks that there is room for `more` bytes, and that it holds no more with them
    /// than is left: however many shares grow, there is something left for others.
    ///
    /// # Errors
    /// `ENOMEM`: one of the two is not so.
    pub fn check(&self, more: usize, growth: Growth) -> Result<(), Errno> {
        let kept = match growth {
            Growth::Refer => 0,
            Growth::Save => self.budget.limit / 8,
        };
        let with = self.bytes.saturating_add(more);
        self.budget
            .check(with.saturating_add(more).saturating_add(kept))
    }

    /// Sets the charge to `bytes`, even beyond the budget: for memory that is
    /// small, or in use already.
    pub fn set(&mut self, bytes: usize) {
        let used = self.budget.used.get() - self.bytes;
        self.budget.used.set(used + bytes);
        self.bytes = bytes;
    }

    /// It grows, if there is room.
    ///
    /// # Errors
    /// `ENOMEM`: there is none.
    pub fn grow(&mut self, more: usize) -> Result<(), Errno> {
        self.budget.check(more)?;
        self.set(self.bytes + more);
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// For copies of a whole server, which share the budget.
#[cfg(feature = "duplicate")]
impl Clone for Share {
    fn clone(&self) -> Share {
        let mut share = Share::of(&self.budget);
        share.set(self.bytes);
        share
    }
}

/// Room in `out` for `more` bytes, and no more than that.
///
/// # Errors
/// `ENOMEM`: there is none.
pub fn reserve(out: &mut Vec<u8>, more: usize) -> Result<(), Errno> {
    out.try_reserve_exact(more).map_err(|_| Errno::ENOMEM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_grows_as_far_as_it_may_leaves_something_for_others() {
        let budget = Budget::new(8000);
        let mut shares: Vec<_> = (0..20).map(|_| Share::of(&budget)).collect();
        let mut grow = |share: usize, growth| {
            while shares[share].check(1, growth).is_ok() {
                shares[share].grow(1).unwrap();
            }
            budget.used()
        };
        assert_eq!(grow(0, Growth::Save), 3500);
        assert_eq!(grow(1, Growth::Save), 3500 + 1750);
        for share in 2..19 {
            assert!(grow(share, Growth::Save) <= 7000);
        }
        assert!((7000..=7000 + 1000 / 2).contains(&grow(19, Growth::Refer)));
    }

    #[test]
    fn what_is_dropped_is_there_for_others() {
        let budget = Budget::new(100);
        let (mut a, mut b) = (Share::of(&budget), Share::of(&budget));
        assert_eq!(a.grow(60), Ok(()));
        assert_eq!(b.grow(60), Err(Errno::ENOMEM));
        b.set(50);
        assert_eq!((budget.used(), budget.check(0)), (110, Ok(())));
        assert_eq!(budget.check(1), Err(Errno::ENOMEM));
        drop(a);
        assert_eq!((budget.used(), b.grow(50)), (50, Ok(())));
        drop(b);
        assert_eq!(budget.used(), 0);
    }
}
