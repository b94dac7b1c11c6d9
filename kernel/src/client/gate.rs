//! Gates: so many at a time, the others wait in the order they came.

use super::{Mount, State};
use crate::sched::{self, Reason, WaitQueue};
use abi::Errno;

/// Room for so many at a time.
pub struct Gate {
    inside: usize,
    most: usize,
    waiting: WaitQueue,
}

impl Gate {
    /// One with room for `most`, and nobody inside.
    pub const fn new(most: usize) -> Gate {
        Gate {
            inside: 0,
            most,
            waiting: WaitQueue::new(),
        }
    }

    /// Is there room for another?
    pub const fn has_room(&self) -> bool {
        self.inside < self.most
    }

    /// One less is inside.
    pub fn leave(&mut self) {
        self.inside -= 1;
        self.waiting.wake_one();
    }

    /// Everybody who waits is to look again.
    pub fn wake_all(&mut self) {
        self.waiting.wake_all();
    }
}

impl Mount {
    /// Goes in, as soon as there is room.
    ///
    /// # Errors
    /// `EINTR`; `EIO` if the server is gone.
    pub(super) fn enter(&self, of: impl Fn(&mut State) -> &mut Gate) -> Result<(), Errno> {
        loop {
            {
                let mut state = self.state.lock();
                if state.down {
                    return Err(Errno::EIO);
                }
                let gate = of(&mut state);
                if gate.has_room() {
                    gate.inside += 1;
                    return Ok(());
                }
                gate.waiting.join();
            }
            let wake = sched::park(Reason::Tag, None);
            let mut state = self.state.lock();
            let waiting = &mut of(&mut state).waiting;
            if wake.interrupted() {
                waiting.give_up();
                return Err(Errno::EINTR);
            }
            waiting.leave();
        }
    }
}
