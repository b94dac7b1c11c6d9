//! What is made to fail.

use super::World;
use crate::run::{Failure, FailureKind};
use crate::server::Servers;
use abi::Errno;

impl<S: Servers> World<S> {
    /// Injects a failure.
    pub fn fail(&mut self, failure: Failure) {
        match failure.kind {
            FailureKind::Message => {
                (self.fail_after, self.fail_for_good) = (Some(failure.at), failure.for_good);
            }
            FailureKind::Snapshot => {
                (self.refuse_after, self.refuse_for_good) = (Some(failure.at), failure.for_good);
            }
            FailureKind::Frame => {
                let mut frames = self.frames.borrow_mut();
                (frames.fail_after, frames.fail_for_good) = (Some(failure.at), failure.for_good);
            }
            FailureKind::Swap(harm) => self.swap.fail(failure, harm),
            FailureKind::Store => self.servers.fail_store(Some(failure)),
        }
    }

    /// Nothing fails any more.
    pub fn heal(&mut self) {
        self.fail_after = None;
        self.refuse_after = None;
        self.frames.borrow_mut().fail_after = None;
        self.swap.heal();
        self.servers.fail_store(None);
        self.servers.set_full(false);
    }

    /// How much was made to fail, refused snapshots apart: no operation fails by those.
    pub fn failures(&self) -> u64 {
        self.failed + self.frames.borrow().failed + self.swap.failed + self.servers.store_failures()
    }

    /// Counts a message; fails it if its time has come.
    pub(super) fn message(&mut self) -> Result<(), Errno> {
        self.messages += 1;
        match &mut self.fail_after {
            Some(0) => {
                if !self.fail_for_good {
                    self.fail_after = None;
                }
                self.failed += 1;
                Err(Errno::EIO)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Counts a request for a snapshot; refuses it if its time has come.
    pub(super) fn room_for_snapshot(&mut self) -> Result<(), Errno> {
        match &mut self.refuse_after {
            Some(0) => {
                if !self.refuse_for_good {
                    self.refuse_after = None;
                }
                self.refused += 1;
                Err(Errno::EMFILE)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}
