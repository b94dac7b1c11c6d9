//! The running process, with the memory and descriptors that it has at the moment.
use super::{Process, current};
use crate::file::Descriptors;
use crate::seg::SpaceLock;
use alloc::sync::Arc;
use core::ops::Deref;
use hw::lock::Lock;

/// A process in its own calls and faults. It holds what several processes may share, so
/// that a call need not lock the process to find it. After an exec, or a call that gives
/// the process descriptors of its own, it is made anew before the program goes on.
pub struct Running {
    process: Arc<Process>,
    /// Segments and page tables.
    pub space: Arc<SpaceLock>,
    /// Open descriptors.
    pub descriptors: Arc<Lock<Descriptors>>,
}

impl Running {
    /// The process that runs.
    pub fn new() -> Running {
        let process = current();
        Running {
            space: process.space(),
            descriptors: process.descriptors(),
            process,
        }
    }
}

impl Deref for Running {
    type Target = Process;

    #[inline]
    fn deref(&self) -> &Process {
        &self.process
    }
}
