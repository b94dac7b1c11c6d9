//! Allocations that fail on purpose, and frames left unwritten, for tests.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use vm::AccountId;

/// The kind of failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// A block of the heap.
    Block,
    /// A frame.
    Frame,
    /// The writing of a frame before a program sees it. Has an effect only while
    /// frames are poisoned.
    Content,
}

/// By [`What`], the number of allocations until the one that fails; 0: none.
static LEFT: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];
/// The account whose allocation fails.
static ACCOUNT: AtomicU32 = AtomicU32::new(0);

/// In place of a number: every allocation fails.
const EVERY: u32 = u32::MAX;

/// Makes the `count`th allocation of `account` from now on fail; 0: none; `u32::MAX`: all
/// of them, until this is called again. For frames,
/// [`super::frames::brake`] must follow.
/// Returns the rest of the previous count.
pub fn fail(account: AccountId, what: What, count: u32) -> u32 {
    ACCOUNT.store(u32::from(account.0), Relaxed);
    LEFT[what as usize].swap(count, Relaxed)
}

/// Returns true if some allocation of that kind is to fail.
#[inline]
pub(super) fn is_near(what: What) -> bool {
    LEFT[what as usize].load(Relaxed) != 0
}

/// Returns true if this allocation must fail. `payer` names its account.
#[inline]
pub(super) fn fails(what: What, payer: fn() -> AccountId) -> bool {
    is_near(what) && counts_down(what, payer())
}

#[cold]
fn counts_down(what: What, payer: AccountId) -> bool {
    if u32::from(payer.0) != ACCOUNT.load(Relaxed) {
        return false;
    }
    let left = &LEFT[what as usize];
    left.load(Relaxed) == EVERY || left.fetch_sub(1, Relaxed) == 1
}

/// Runs `f`, in which nothing fails.
pub(super) fn suspended<T>(f: impl FnOnce() -> T) -> T {
    let left = LEFT.each_ref().map(|left| left.swap(0, Relaxed));
    let made = f();
    for (counter, left) in LEFT.iter().zip(left) {
        counter.store(left, Relaxed);
    }
    made
}
