//! The kernel's counters: one table, by the numbers of `KStat`.
use abi::Stat64;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

static TABLE: [AtomicU64; Stat64::COUNT] = [const { AtomicU64::new(0) }; Stat64::COUNT];

/// Adds to a counter.
#[inline]
pub fn add(what: Stat64, n: u64) {
    TABLE[what as usize].fetch_add(n, Relaxed);
}

/// One thing less of those that a counter counts while they are in use.
#[inline]
pub fn subtract_one(what: Stat64) {
    TABLE[what as usize].fetch_sub(1, Relaxed);
}

/// What a counter has. Figures that are computed when they are asked for are 0.
pub fn get(what: Stat64) -> u64 {
    TABLE[what as usize].load(Relaxed)
}
