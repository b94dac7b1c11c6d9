//! Long work in steps. A kernel that does not preempt itself lets others run
//! between two of them ([`Host::pause`]); none takes more than a fraction of a
//! millisecond, for any segment.

use core::ops::Range;

use abi::Errno;

use crate::Host;

/// Snapshots that are released in one step.
pub(crate) const SNAPS: usize = 16;
/// Extents that are replaced or removed in one step.
pub(crate) const EXTENTS: usize = 256;
/// Extents that are looked at in one step.
pub(crate) const LOOKS: usize = 2048;
/// Turns of a loop that are one step.
const TURNS: u32 = 256;
/// Messages of a write that are sent in one step.
pub(crate) const MESSAGES: u32 = 16;

/// Does the rest of something step by step, with others running before each; `f`
/// tells where its step ended.
///
/// # Errors
/// `EINTR` if the process is to end, and those of `f`.
pub(crate) fn in_steps<H: Host>(
    h: &mut H,
    range: Range<u64>,
    mut f: impl FnMut(&mut H, Range<u64>) -> Result<u64, Errno>,
) -> Result<(), Errno> {
    let mut at = range.start;
    while at < range.end {
        if !h.pause() {
            return Err(Errno::EINTR);
        }
        at = f(h, at..range.end)?;
    }
    Ok(())
}

/// The same for work that cannot fail and is always finished.
pub(crate) fn finish_in_steps<H: Host>(
    h: &mut H,
    range: Range<u64>,
    mut f: impl FnMut(&mut H, Range<u64>) -> u64,
) {
    let mut at = range.start;
    while at < range.end {
        h.pause();
        at = f(h, at..range.end);
    }
}

/// Counts the turns of a loop.
pub(crate) struct Turns {
    done: u32,
    step: u32,
}

impl Turns {
    pub(crate) const fn new() -> Turns {
        Turns::in_steps_of(TURNS)
    }

    /// For dear turns, `step` of which are one step.
    pub(crate) const fn in_steps_of(step: u32) -> Turns {
        Turns { done: 0, step }
    }

    /// One turn is done.
    pub(crate) fn turn<H: Host>(&mut self, h: &mut H) {
        self.done += 1;
        if self.done == self.step {
            self.done = 0;
            h.pause();
        }
    }
}
