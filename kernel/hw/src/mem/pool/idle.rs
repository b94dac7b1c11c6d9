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

/// The function that tells whether a frame of the frame cache is worth keeping.
static KEEPS: Once<fn(Frame) -> bool> = Once::new();

/// Sets it.
pub(super) fn set_keeps(keeps: fn(Frame) -> bool) {
    KEEPS.call_once(|| keeps);
}

/// The last holder of a cached frame is gone. Returns false if it is to be freed.
pub(super) fn lay_down(frame: Frame) -> bool {
    let keeps = KEEPS.get().is_some_and(|keeps| keeps(frame));
    let before = {
        let mut table = TABLE.lock();
        if !keeps || !table.has_plenty() {
            return false;
        }
        let owner = table.owner_of(frame);
        table.uncharge(owner, 1);
        table.idle.count += 1;
        table.idle.replace(frame.0)
    };
    free(before);
    true
}

/// A frame that the frame cache names is about to have one holder more.
#[inline]
pub(in super::super) fn take_up(frame: Frame) {
    if words::is_idle(frame) {
        let mut table = TABLE.lock();
        table.idle.count -= 1;
        table.charge(frame, payer::account());
    }
    words::retain(frame);
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
