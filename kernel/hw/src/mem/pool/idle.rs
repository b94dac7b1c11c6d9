//! Idle frames: nobody has them, and the frame cache still names them, so that the next
//! process that runs a program finds the pages of the one before.
//!
//! They are charged to nobody and count as free: they are freed before anybody is refused a
//! frame. The oldest of them is freed when there are too many.

use spin::Once;
use vm::Frame;

use super::super::words;
use super::{END, Held, TABLE, forget, payer};

/// Idle frames at most: a few programs.
const MOST: usize = 64;

/// In the order in which they became idle. One that was taken up since stays in its place,
/// also if it became idle again, so a place is looked at before its frame is freed.
pub(super) struct Idle {
    ring: [u32; MOST],
    next: usize,
    count: u32,
}

impl Idle {
    /// No frame.
    pub(super) const NONE: Idle = Idle {
        ring: [END; MOST],
        next: 0,
        count: 0,
    };

    /// Returns true if there are any.
    pub(super) fn any(&self) -> bool {
        self.count > 0
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Puts a frame into the place of another.
    fn replace(&mut self, frame: u32) -> Frame {
        let place = &mut self.ring[self.next % MOST];
        self.next = (self.next + 1) % MOST;
        Frame(core::mem::replace(place, frame))
    }
}

/// The function that takes a frame out of the frame cache, unless it may stay and is worth
/// keeping; returns true if it stays.
static LEAVE: Once<fn(Frame, bool) -> bool> = Once::new();

/// Sets it.
pub(super) fn on_leave(leave: fn(Frame, bool) -> bool) {
    LEAVE.call_once(|| leave);
}

/// The last holder of a cached frame is gone. Returns false if it is to be freed, and the
/// frame cache has forgotten it then.
pub(super) fn lay_down(frame: Frame) -> bool {
    let may_stay = TABLE.lock().has_plenty();
    if !LEAVE.get().is_some_and(|leave| leave(frame, may_stay)) {
        return false;
    }
    let before = {
        let mut table = TABLE.lock();
        let owner = table.owner_of(frame);
        table.uncharge(owner, 1);
        table.idle.count += 1;
        table.idle.replace(frame.0)
    };
    free(before);
    true
}

/// Adds a holder to a frame that the frame cache names.
#[inline]
pub(in super::super) fn take_up(frame: Frame) {
    if words::retain(frame) {
        was_idle(frame);
    }
}

#[cold]
fn was_idle(frame: Frame) {
    let mut table = TABLE.lock();
    table.idle.count -= 1;
    table.charge(frame, payer::account());
}

/// Frees a frame if it is idle.
fn free(frame: Frame) {
    if !words::is_idle(frame) {
        return;
    }
    forget(frame);
    words::set_cached(frame, false);
    {
        let mut table = TABLE.lock();
        table.idle.count -= 1;
        table.list(frame, Held::Any);
    }
    super::emptied(frame);
}

/// Frees all idle frames. The frame cache is not locked.
pub(super) fn free_all() {
    for _ in 0..MOST {
        let frame = {
            let mut table = TABLE.lock();
            if !table.idle.any() {
                return;
            }
            table.idle.replace(END)
        };
        free(frame);
    }
}
