//! snapfs: a 9P2000.L server over another one, adding snapshots.
//!
//! It owns fids, epochs, the journal of rescued blocks and the temporary store
//! they are in; it does not own the transport to its clients, nor the server
//! beneath ([`Backing`]). One thread: requests are tasks of an [`Executor`]
//! that interleave where they wait for the backing.
//!
//! ```text
//! message -> Snapfs::handle (a future) -> Answer, gathered -> client
//!                  |  Backing::{rpc, read, write}
//!                  v
//!            a plain 9P2000.L server
//! ```
//!
//! Complexity: taking and releasing a snapshot costs O(log n) in the number of
//! snapshots, plus one look-up for each rescued block in the range released;
//! a write costs at most one rescue per block and epoch in use.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod backing;
mod exec;
pub mod sync;

pub use backing::{Answer, Backing, ConnId, Head, Payload};
pub use exec::{Executor, TASKS_MAX};

/// The file server. See [`Backing`] for what it needs.
pub struct Snapfs<B: Backing> {
    backing: B,
}

impl<B: Backing> Snapfs<B> {
    /// A server over `backing`; [`Snapfs::start`] must run before requests.
    pub fn new(backing: B) -> Self {
        Snapfs { backing }
    }

    /// What is beneath.
    pub fn backing(&self) -> &B {
        &self.backing
    }

    /// Attaches to the tree beneath and removes what an earlier, dead
    /// instance may have left in it.
    ///
    /// # Errors
    /// The backing's.
    pub async fn start(&self) -> Result<(), abi::Errno> {
        Ok(())
    }

    /// Serves one message of a connection (one whole 9P message). Messages of
    /// a connection must be first polled in the order they came.
    pub async fn handle(&self, _conn: ConnId, _msg: &[u8]) -> Answer<B::Buf> {
        todo!()
    }

    /// The connection is gone: everything it held is given back.
    pub async fn hangup(&self, _conn: ConnId) {}
}
