//! Processes that others must not end, because the system depends on them.
//!
//! Who is ended takes along all that share its memory (decision 55). So what protects one
//! of them protects each: a driver's thread that has given up its privileges stands and
//! falls with the driver, and so does a thread that has kept them with a driver that has
//! not.
use super::wait::INIT;
use super::{Process, table};
use crate::sched::Slots;
use abi::{Errno, privilege};

impl Process {
    /// The slots of those that end when the process is ended: it and all that share its
    /// memory.
    pub(super) fn bound(&self) -> Slots {
        let me = usize::from(self.slot());
        let members = self.space().lock().members;
        match members.contains(me) {
            true => members,
            // It has left the memory by itself.
            false => Slots::only(me),
        }
    }

    /// Returns true if init ends with the process.
    fn takes_init(&self) -> bool {
        self.pid == INIT || table::any(&self.bound(), |process| process.pid == INIT)
    }

    /// Returns true if one that ends with the process has one of these privileges.
    fn takes_any(&self, privileges: u64) -> bool {
        let has = |process: &Process| process.has_any(privileges);
        has(self) || table::any(&self.bound(), has)
    }

    /// Returns true if the process ends before the machine stops, and its servers after it.
    pub fn is_program(&self) -> bool {
        !self.takes_init() && !self.takes_any(privilege::SERVICE)
    }

    /// Returns true if the process may be ended when memory is out.
    pub fn is_dispensable(&self) -> bool {
        !self.takes_any(privilege::DEVICE | privilege::SERVICE)
    }
}

/// Checks that `process` may interrupt or end `victim`. Nobody may end init, and only
/// holders of DEVICE a driver, because the system depends on them.
pub fn check_may_end(process: &Process, victim: &Process) -> Result<(), Errno> {
    let driver = !process.may(privilege::DEVICE) && victim.takes_any(privilege::DEVICE);
    if driver || victim.takes_init() {
        return Err(Errno::EPERM);
    }
    Ok(())
}
