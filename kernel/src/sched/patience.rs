//! Waits for pages, and notes that come faster than pages do.
//!
//! A note ends a wait so that its handler can run, and what was waited for begins
//! anew after it. A page that takes longer than the next note would never come. So a
//! note ends the wait for a page only after some time: at first a short one, which
//! doubles each time that a wait was ended in vain. A note is held off no longer than its
//! process has waited for pages in vain before, so a server that never answers holds
//! off no note for ever.
//!
//! A call that has taken something away, the bytes of a device for one, cannot begin anew.
//! Notes wait until it is over ([`without_notes`]), an order to end does not.
use super::{ENDING, ENTRIES, Entry, NOTED, current_slot};
use abi::Errno;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use hw::time::now_ns;

/// How long notes are held off at first: several messages and answers of a local
/// server take less.
const FIRST_NS: u64 = 10_000_000;

/// A process's, in nanoseconds.
pub(super) struct Patience {
    /// How long the wait for a page goes on after its beginning.
    time: AtomicU64,
    /// Notes end no wait until then.
    until: AtomicU64,
}

impl Patience {
    pub(super) const fn new() -> Patience {
        Patience {
            time: AtomicU64::new(FIRST_NS),
            until: AtomicU64::new(0),
        }
    }

    /// That of a new process.
    pub(super) fn begin(&self) {
        self.time.store(FIRST_NS, Relaxed);
        self.until.store(0, Relaxed);
    }

    /// Until when a note that has come is held off.
    pub(super) fn holds_off(&self) -> Option<u64> {
        let until = self.until.load(Relaxed);
        (until != 0 && now_ns() < until).then_some(until)
    }
}

/// Runs a request for pages, for the running process; a note ends its waits late.
///
/// # Errors
/// Those of `request`.
pub fn patiently<R>(request: impl FnOnce() -> Result<R, Errno>) -> Result<R, Errno> {
    // Before the first process nothing waits.
    let Some(Entry {
        patience, called, ..
    }) = ENTRIES.get(usize::from(current_slot()))
    else {
        return request();
    };
    let time = patience.time.load(Relaxed);
    let until = now_ns().saturating_add(time);
    let outer = patience.until.fetch_max(until, Relaxed);
    let result = request();
    patience.until.store(outer, Relaxed);
    let noted = called.load(Relaxed) & (NOTED | ENDING) == NOTED;
    if noted && matches!(result, Err(Errno::EINTR)) {
        patience.time.store(time.saturating_mul(2), Relaxed);
    }
    result
}

/// Runs what must not be left half done, for the running process: no note ends its waits.
pub fn without_notes<R>(run: impl FnOnce() -> R) -> R {
    let Some(Entry { patience, .. }) = ENTRIES.get(usize::from(current_slot())) else {
        return run();
    };
    let outer = patience.until.swap(u64::MAX, Relaxed);
    let result = run();
    patience.until.store(outer, Relaxed);
    result
}
