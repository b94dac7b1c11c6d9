//! Work that waits until the running process has done with its event, in one word:
//! the loop of a process tests it after each ([`any`]).

use core::sync::atomic::Ordering::Relaxed;

use crate::cpu::cpu;

/// A kind of such work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Work {
    /// Few frames are left, or were a moment ago.
    FewFrames = 1,
    /// Pages leave after every event, for tests.
    Pressure = 2,
    /// The process has a note, or is to end.
    Called = 4,
    /// Processes have ended that nobody waits for.
    Dead = 8,
    /// Messages are left that nobody receives.
    Unread = 16,
}

/// Returns true if there is work of any kind.
#[inline]
pub fn any() -> bool {
    cpu().pending.load(Relaxed) != 0
}

/// Returns true if pages are to leave memory.
#[inline]
pub fn evicts() -> bool {
    let evict = Work::FewFrames as u8 | Work::Pressure as u8;
    cpu().pending.load(Relaxed) & evict != 0
}

/// Returns true if there is work of that kind.
#[inline]
pub fn is(work: Work) -> bool {
    cpu().pending.load(Relaxed) & work as u8 != 0
}

/// There is work of that kind, or no more.
#[inline]
pub fn set(work: Work, is: bool) {
    let others = cpu().pending.load(Relaxed) & !(work as u8);
    let this = if is { work as u8 } else { 0 };
    cpu().pending.store(others | this, Relaxed);
}
