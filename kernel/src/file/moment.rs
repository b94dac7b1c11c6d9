//! The eager path: a file's bytes copied to any memory, all of one moment where the
//! server can give them so.
use crate::bundle;
use crate::chan::Piece;
use crate::client::remote::Remote;
use crate::client::snapshots;
use crate::sched;
use crate::seg::SpaceLock;
use crate::seg::host::read_remote;
use crate::seg::user::Sink;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use vm::{SnapId, Snapped};

/// The bytes of a file at one moment.
pub enum Moment<'a> {
    /// A file at a server: each message sees it as it is then.
    Live(&'a Remote),
    /// A snapshot of a file.
    Snapshot(Taken),
}

/// A snapshot that is released with this value.
pub struct Taken {
    snap: SnapId,
    /// Offset of the first byte that it does not have.
    end: u64,
}

impl Taken {
    /// The snapshot.
    pub fn snap(&self) -> SnapId {
        self.snap
    }

    /// Offset of the first byte that it does not have.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Another reference to it.
    pub fn again(&self) -> Taken {
        snapshots::retain(self.snap);
        Taken { ..*self }
    }

    /// Another has the reference from now on, and releases it.
    pub fn hand_over(self) {
        core::mem::forget(self);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        snapshots::release(self.snap);
    }
}

impl<'a> Moment<'a> {
    /// `n` bytes of a file from `offset` on: a snapshot, or the file as it is where the
    /// server has none of this file or no room for one.
    ///
    /// # Errors
    /// `ENOMEM`, and the server's.
    pub fn take(
        remote: &'a Remote,
        path: &Arc<str>,
        offset: u64,
        n: u64,
    ) -> Result<Moment<'a>, Errno> {
        if !remote.mount.has_snapshots() {
            return Ok(Moment::Live(remote));
        }
        match snapshots::take(remote, path, offset, n, None) {
            Ok(Snapped { snap, count }) => {
                let end = offset.saturating_add(count);
                Ok(Moment::Snapshot(Taken { snap, end }))
            }
            Err(Errno::EOPNOTSUPP | Errno::EMFILE) => Ok(Moment::Live(remote)),
            Err(errno) => Err(errno),
        }
    }

    /// A file of the bundle.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn of_bundle(file: &'static bundle::File) -> Result<Moment<'a>, Errno> {
        let snap = snapshots::of_bundle(file)?;
        let end = file.content.len() as u64;
        Ok(Moment::Snapshot(Taken { snap, end }))
    }

    /// Fills pieces with the bytes from `offset` on, in one message of at most so
    /// many bytes as the server's messages have; how many came, 0 at the end.
    pub fn read(&self, offset: u64, sink: Vec<Piece>) -> Result<usize, Errno> {
        match self {
            Moment::Live(remote) => read_remote(remote, offset, sink),
            Moment::Snapshot(taken) if offset >= taken.end => Ok(0),
            Moment::Snapshot(taken) => {
                snapshots::read(taken.snap, offset, sink).map_err(vm::in_a_call)
            }
        }
    }

    /// Runs a copy of bytes that have come. A server may not have those of a live file any
    /// more, so that no note ends it.
    fn keep<R>(&self, copy: impl FnOnce() -> R) -> R {
        match self {
            Moment::Live(_) => sched::without_notes(copy),
            Moment::Snapshot(_) => copy(),
        }
    }

    /// Copies up to `n` bytes from `offset` on to `va`, message by message; how many,
    /// fewer at the end of the file, and after an error once some have been copied.
    pub fn copy(&self, space: &SpaceLock, va: u64, n: u64, offset: u64) -> Result<u64, Errno> {
        let (iounit, n) = match self {
            Moment::Live(remote) => (remote.mount.iounit(), n),
            Moment::Snapshot(taken) => {
                let left = taken.end.saturating_sub(offset);
                (snapshots::iounit(taken.snap), n.min(left))
            }
        };
        let iounit = u64::from(iounit);
        let mut done = 0;
        while done < n {
            if done > 0 {
                sched::breathe();
            }
            let want = iounit.min(n - done) as usize;
            let step = Sink::new(space, va + done, want).and_then(|(sink, pieces)| {
                let got = self.read(offset + done, pieces)?.min(want);
                self.keep(|| sink.filled(space, got)).map(|()| got as u64)
            });
            match step {
                Ok(got) => {
                    done += got;
                    if got < want as u64 {
                        break;
                    }
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}
