//! Processes that others must not end, because the system depends on them.
//!
//! Who is ended takes along all that share its memory (decision 55). So what protects one
//! of them protects each: a driver's thread that has given up its privileges stands and
//! falls with the driver, and so does a thread that has kept them with a driver that has
//! not.
use super::wait::INIT;
use super::{Process, table};
use crate::seg::Protection;
use abi::{Errno, privilege};
use core::sync::atomic::Ordering::Relaxed;

impl Process {
    /// What protects it and those that end when it is ended: all that share its memory.
    fn protection(&self) -> Protection {
        let space = self.space();
        let mut space = space.lock();
        if !space.members.contains(self.slot().into()) {
            // It has left the memory by itself.
            return with(Protection::default(), self);
        }
        let members = space.members;
        let known = space.protection.get_or_insert_with(|| {
            let mut all = Protection::default();
            table::each(&members, |member| all = with(all, member));
            all
        });
        // It may not be in the table yet.
        with(*known, self)
    }

    /// Returns true if init ends with the process.
    fn takes_init(&self) -> bool {
        self.protection().init
    }

    /// Returns true if one that ends with the process has one of these privileges.
    fn takes_any(&self, privileges: u64) -> bool {
        self.protection().privileges & privileges != 0
    }

    /// The process has only those of its privileges from now on.
    pub fn keep_privileges(&self, kept: u64) {
        self.privileges.store(kept, Relaxed);
        self.space().lock().protection = None;
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

/// The same with one more.
fn with(all: Protection, process: &Process) -> Protection {
    Protection {
        privileges: all.privileges | process.privileges.load(Relaxed),
        init: all.init || process.pid == INIT,
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
