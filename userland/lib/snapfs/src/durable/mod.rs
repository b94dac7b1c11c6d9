//! State that outlives a connection, or this server: sessions with leases, and a
//! log from which the next instance restores the basis of snapshots.
//!
//! The rest of snapfs reads without it. It calls these, which do nothing without
//! a lease or a log:
//!
//! | function | when |
//! |---|---|
//! | [`Snapfs::take_up`] | the server starts |
//! | [`Snapfs::session`], [`Snapfs::leave`] | a client identifies itself; its connection ends |
//! | [`Snapfs::promise_epochs`] | before epochs are told |
//! | [`Snapfs::log_known`] | before a file has its first snapshot |
//! | [`Snapfs::log_begin`], [`Snapfs::log_names`], [`Snapfs::log_done`] | before and after a file with snapshots is changed |
//! | [`Snapfs::log_news`] | in the middle of a long rescue |
//! | [`Snapfs::reclaim`], [`Snapfs::need_reader`] | in the grace period after a restart |

mod grace;
mod log;
mod record;
mod rewrite;
mod session;

use crate::Options;
use crate::file::File;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

pub use log::Logged;
pub use record::check_of;
pub use session::Session;
#[cfg(feature = "duplicate")]
pub use session::{Kept, Sessions};

/// The persistent state of a server.
#[derive(Default)]
pub struct Durable {
    pub(crate) sessions: session::Sessions,
    pub(crate) log: log::Log,
    /// See [`Options::boot`].
    pub(crate) boot: [u64; 2],
    /// Files of an earlier instance, in their grace period.
    pub(crate) old_files: RefCell<Vec<Rc<File>>>,
}

impl Durable {
    pub fn new(options: &Options) -> Durable {
        Durable {
            sessions: session::Sessions::new(options.lease),
            boot: options.boot,
            ..Durable::default()
        }
    }

    /// Returns true if sessions outlive their connections.
    pub fn has_leases(&self) -> bool {
        self.sessions.lease > 0
    }

    /// Returns true if anything about files outlives this server.
    pub fn is_kept(&self) -> bool {
        self.has_leases() || self.log.is_open()
    }

    /// Sessions with a lease.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Returns true during a grace period.
    pub fn in_grace(&self) -> bool {
        !self.old_files.borrow().is_empty()
    }
}
