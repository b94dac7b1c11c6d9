//! The requests of the simulated kernel to file servers.

use std::ops::Range;

use abi::Errno;
use vm::{Changes, PutReply};

use crate::run::Failure;

/// An open file, by number; the files of all servers are numbered together.
pub type File = usize;

/// A staged message of a write, as the server gets it.
#[derive(Clone, Debug)]
pub struct Staged {
    /// The open file.
    pub file: File,
    /// Which write.
    pub wid: u64,
    /// Base offset.
    pub off: u64,
    /// The base is the end of the file.
    pub append: bool,
    /// Everything staged takes effect.
    pub commit: bool,
    /// The snapshot that the written ranges are associated with.
    pub into: Option<u32>,
    /// The epoch from which the answer is to count changes.
    pub known: u64,
    /// Kind, offset from the base, length.
    pub ops: Vec<(StagedKind, u64, u64)>,
    /// The bytes of DATA operations.
    pub data: Vec<u8>,
}

/// The kind of an operation on its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StagedKind {
    /// The next bytes of the data.
    Data,
    /// Bytes of a snapshot.
    Keep {
        /// Its handle.
        snap: u32,
        /// Offset in its file.
        soff: u64,
    },
    /// Zeros.
    Zero,
}

/// The statement of an answer about the file's past.
#[derive(Clone, Debug)]
pub struct News {
    /// The epoch that the request named.
    pub known: u64,
    /// The file's now; 0: none is said.
    pub epoch: u64,
    /// The changes between them; `None`: any byte may have changed.
    pub changes: Option<Changes>,
}

impl News {
    /// Nothing is said.
    pub const NONE: News = News {
        known: 0,
        epoch: 0,
        changes: None,
    };
}

/// File servers, seen as one, and the means to play another client and to look
/// inside. Handles of snapshots are chosen by the caller.
pub trait Servers {
    /// How many files there are.
    fn files(&self) -> usize;
    /// Which server a file is on.
    fn server_of(&self, file: File) -> usize;
    /// Returns true if the server has snapshots.
    fn has_snapshots(&self, file: File) -> bool;

    /// Adds a range of the file, as it is, to the snapshot. Returns its length,
    /// and the changes of the file since the epoch `known`.
    fn snap(
        &mut self,
        file: File,
        snap: u32,
        range: Range<u64>,
        known: u64,
    ) -> Result<(u64, News), Errno>;
    /// Bytes of a snapshot.
    fn read_snap(&mut self, snap: u32, off: u64, into: &mut [u8]) -> Result<usize, Errno>;
    /// Bytes of the live file.
    fn read_live(&mut self, file: File, off: u64, into: &mut [u8]) -> Result<usize, Errno>;
    /// Stages, and commits if it says so.
    fn put(&mut self, staged: &Staged) -> Result<(PutReply, News), Errno>;
    /// Forgets what was staged.
    fn abort(&mut self, file: File, wid: u64);
    /// The snapshot gives up these offsets of its file.
    fn trim(&mut self, snap: u32, ranges: &[Range<u64>]);
    /// The handle is free again (it may have nothing).
    fn clunk(&mut self, snap: u32);

    /// Another client overwrites; how many bytes. An error means that nothing
    /// has changed.
    fn foreign_write(&mut self, file: File, off: u64, data: &[u8]) -> Result<usize, Errno>;
    /// Another client truncates or extends. An error means the same.
    fn truncate(&mut self, file: File, size: u64) -> Result<(), Errno>;
    /// Another client takes a name away, wherever it is now. Names have the
    /// numbers of the files they were first of, which stay open.
    fn remove(&mut self, name: File) -> Result<(), Errno>;
    /// Another client gives the file of one name another name, which its file
    /// loses, if there is one.
    fn rename(&mut self, from: File, to: File) -> Result<(), Errno>;
    /// The file of a name, if there is one.
    fn named(&mut self, name: File) -> Option<File>;
    /// The kernel has one more descriptor of the file of `name`; which file
    /// that is.
    fn open(&mut self, name: File) -> Result<File, Errno>;
    /// The kernel has one less of `file`, which had one.
    fn close(&mut self, file: File);
    /// Removes or restores the space for temporary files, in servers that have
    /// any.
    fn set_full(&mut self, _full: bool) {}
    /// Removes or restores the space for other files beyond their first page.
    fn set_disk_full(&mut self, _full: bool) {}
    /// Makes exchanges with temporary files fail, for servers that have any.
    fn fail_store(&mut self, _failure: Option<Failure>) {}
    /// Exchanges that were made to fail.
    fn store_failures(&self) -> u64 {
        0
    }
    /// All bytes of the file, also if it has no name any more.
    fn content(&mut self, file: File) -> Vec<u8>;
    /// An external writer overwrites bytes of the file, and the server finds
    /// out: snapshots lose their content there, or more.
    fn lose(&mut self, file: File, off: u64, data: &[u8]);
    /// Snapshots alive.
    fn snapshots(&self) -> usize;
    /// Limits the bytes of a commit from now on, if the server supports it.
    fn limit_commits(&mut self, _bytes: Option<u64>) {}
    /// Called with nothing in use; panics if something is left behind.
    fn check_idle(&mut self) {
        assert_eq!(self.snapshots(), 0, "snapshots left");
    }
}
