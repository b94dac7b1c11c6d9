//! Translations made for read-ahead, before the program asked for their pages.
//!
//! A bit in the entry marks them. It goes when the program is found to have
//! used the page, by the processor's own bit, or when the translation goes. So the
//! pages that are there without having been used are counted exactly enough to limit
//! them.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Translations with the bit.
static UNUSED: AtomicU64 = AtomicU64::new(0);
/// Those that lost it because the page had been used, so far.
static USED: AtomicU64 = AtomicU64::new(0);

/// Pages translated ahead that are not known to have been used.
pub fn unused() -> u64 {
    UNUSED.load(Relaxed)
}

/// Pages translated ahead that were found to have been used, since the start.
pub fn used() -> u64 {
    USED.load(Relaxed)
}

/// So many translations with the bit have been made.
pub(super) fn made(count: u64) {
    UNUSED.fetch_add(count, Relaxed);
}

/// A translation with the bit is given up, or loses the bit; `used`, 0 or 1, of its pages
/// have been used.
#[cold]
pub(super) fn settled(used: u64) {
    UNUSED.fetch_sub(1, Relaxed);
    USED.fetch_add(used, Relaxed);
}
