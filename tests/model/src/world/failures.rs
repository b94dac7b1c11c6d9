//! What is made to fail.

use super::World;
use crate::run::{Failure, FailureKind};
use crate::server::Servers;
use abi::Errno;

impl<S: Servers> World<S> {
    /// Injects a failure.
    pub fn fail(&mut self, failure: Failure) {
        match failure.kind {
            FailureKind::Message => self.lost.begin(failure, ()),
            FailureKind::Snapshot => self.refused.begin(failure, ()),
            FailureKind::Frame => self.frames.borrow_mut().denied.begin(failure, ()),
            FailureKind::Swap(harm) => self.swap.fail(failure, harm),
            FailureKind::Store => self.servers.fail_store(Some(failure)),
        }
    }

    /// Nothing fails any more.
    pub fn heal(&mut self) {
        self.lost.heal();
        self.refused.heal();
        self.frames.borrow_mut().denied.heal();
        self.swap.heal();
        self.servers.fail_store(None);
        self.servers.set_full(false);
    }

    /// How much was made to fail, refused snapshots apart: no operation fails by those.
    pub fn failures(&self) -> u64 {
        let frames = self.frames.borrow().denied.failed;
        self.lost.failed + frames + self.swap.failures.failed + self.servers.store_failures()
    }

    /// Counts a message; fails it if its time has come.
    pub(super) fn message(&mut self) -> Result<(), Errno> {
        self.messages += 1;
        self.lost.event().map_or(Ok(()), |()| Err(Errno::EIO))
    }

    /// Counts a request for a snapshot; refuses it if its time has come.
    pub(super) fn room_for_snapshot(&mut self) -> Result<(), Errno> {
        self.refused.event().map_or(Ok(()), |()| Err(Errno::EMFILE))
    }
}
