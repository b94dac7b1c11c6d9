//! Idle frames: nobody has them, and the frame cache still names them, so that the next
//! process that runs a program, or reads a file again, finds the pages of the one before.
//!
//! They are charged to nobody and count as free: the oldest are freed before anybody is
//! refused a frame, and before a page in use leaves memory.

use vm::Frame;

use super::super::words::{self, IdleWords};
use super::{Held, TABLE, Table, forget, payer};

/// Frames that are freed at once: few enough for one step, many enough for some time.
const STEP: u32 = 64;

/// The last holder of a cached frame is gone. Returns false if it is to be freed.
pub(super) fn lay_down(frame: Frame) -> bool {
    let mut table = TABLE.lock();
    if !table.keeps_idle() {
        return false;
    }
    let owner = table.owner_of(frame);
    table.uncharge(owner, 1);
    table.idle.add(&mut IdleWords, frame);
    true
}

impl Table {
    /// Returns true unless memory is low, or allocations are to fail.
    fn keeps_idle(&self) -> bool {
        u64::from(self.free) + u64::from(self.idle.count()) > u64::from(self.brake)
    }
}

/// Adds a holder to a frame that the frame cache names.
#[inline]
pub(in super::super) fn take_up(frame: Frame) {
    match words::is_idle(frame) {
        true => was_idle(frame),
        false => words::retain(frame),
    }
}

#[cold]
fn was_idle(frame: Frame) {
    let mut table = TABLE.lock();
    table.idle.remove(&mut IdleWords, frame);
    words::begin_cached(frame);
    table.charge(frame, payer::account());
}

/// Frees an idle frame that the frame cache has forgotten.
pub(in super::super) fn free_forgotten(frame: Frame) {
    {
        let mut table = TABLE.lock();
        table.idle.remove(&mut IdleWords, frame);
        table.list(frame, Held::Any);
    }
    super::emptied(frame);
}

/// Frees some of the frames that have been idle for the longest time, and more where memory
/// would be low still: a few thousand at most, if kernel objects have taken all that was
/// free. The frame cache is not locked. Returns false if there were none.
pub(super) fn free_some() -> bool {
    let mut freed = 0;
    while freed < STEP || TABLE.lock().is_low() {
        let Some(oldest) = TABLE.lock().idle.oldest() else {
            break;
        };
        forget(oldest);
        free_forgotten(oldest);
        freed += 1;
    }
    freed > 0
}
