//! The kernel's counters: one table, by the numbers of `KStat`.
use abi::{PROCESSES_MAX, Stat64};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use hw::task::Slot;

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

/// The traffic with file servers while a process ran: messages, and data bytes to and
/// from them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Traffic {
    pub messages: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// The same of the process in each slot.
struct Counted {
    messages: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

static TRAFFIC: [Counted; PROCESSES_MAX] = [const {
    Counted {
        messages: AtomicU64::new(0),
        bytes_in: AtomicU64::new(0),
        bytes_out: AtomicU64::new(0),
    }
}; PROCESSES_MAX];

/// Counts a message that the process in a slot has sent.
#[inline]
pub fn sent(slot: Slot, bytes: u64) {
    let counted = &TRAFFIC[usize::from(slot)];
    counted.messages.fetch_add(1, Relaxed);
    counted.bytes_out.fetch_add(bytes, Relaxed);
}

/// Counts the data of a reply to it.
#[inline]
pub fn received(slot: Slot, bytes: u64) {
    TRAFFIC[usize::from(slot)]
        .bytes_in
        .fetch_add(bytes, Relaxed);
}

/// The traffic of the process in a slot.
pub fn traffic(slot: Slot) -> Traffic {
    let counted = &TRAFFIC[usize::from(slot)];
    Traffic {
        messages: counted.messages.load(Relaxed),
        bytes_in: counted.bytes_in.load(Relaxed),
        bytes_out: counted.bytes_out.load(Relaxed),
    }
}

/// A new process is in the slot.
pub fn begin(slot: Slot) {
    let counted = &TRAFFIC[usize::from(slot)];
    counted.messages.store(0, Relaxed);
    counted.bytes_in.store(0, Relaxed);
    counted.bytes_out.store(0, Relaxed);
}
