//! Translations made for read-ahead, before the program asked for their pages.
//!
//! A bit in the entry marks them. It goes when the program is found to have
//! used the page, by the processor's own bit, or when the translation goes. So the
//! pages that are there without having been used are counted exactly enough to limit
//! them.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::table::{ACCESSED, AHEAD};

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

/// An entry with the bit is given up, or loses it.
#[cold]
pub(super) fn settled(entry: u64) {
    debug_assert!(entry & AHEAD != 0);
    UNUSED.fetch_sub(1, Relaxed);
    if entry & ACCESSED != 0 {
        USED.fetch_add(1, Relaxed);
    }
}
