//! The eager path: a file's bytes copied to any memory, all of one moment where the
//! server can give them so.
use crate::chan::Piece;
use crate::client::remote::Remote;
use crate::client::snapshots;
use crate::sched;
use crate::seg::SpaceLock;
use crate::seg::host::{read_remote, read_snapshot};
use crate::seg::user::Sink;
use crate::text;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use vm::{SnapId, Snapped};

/// The bytes of a file at one moment.
pub enum Moment<'a> {
    /// A file of the bundle, which never changes.
    Bundle(&'static [u8]),
    /// A file at a server: each message sees it as it is then.
    Live(&'a Remote),
    /// A snapshot of a file at a server.
    Snapshot(Taken),
}

/// A snapshot that is released with this value.
pub struct Taken {
    snap: SnapId,
    /// Offset of the first byte that it does not have.
    end: u64,
    /// Most bytes in a message of its server.
    iounit: u64,
}

/// Bytes of a bundle copied in one step.
const STEP: u64 = 64 << 10;

impl Drop for Taken {
    fn drop(&mut self) {
        snapshots::release(self.snap);
    }
}

/// Fills pieces with bytes, as far as there are some; how many.
pub fn fill(sink: &[Piece], mut bytes: &[u8]) -> usize {
    let mut done = 0;
    for piece in sink {
        let (now, later) = bytes.split_at(piece.len.min(bytes.len()));
        piece.frame.write(piece.at, now);
        done += now.len();
        bytes = later;
    }
    done
}

impl<'a> Moment<'a> {
    /// A snapshot of `n` bytes from `offset` on.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the server has none of this file, and the server's.
    pub fn take(
        remote: &Remote,
        path: &Arc<str>,
        offset: u64,
        n: u64,
    ) -> Result<Moment<'a>, Errno> {
        if !remote.mount.has_snapshots() {
            return Err(Errno::EOPNOTSUPP);
        }
        let Snapped { snap, count } = snapshots::take(remote, path, offset, n, None)?;
        Ok(Moment::Snapshot(Taken {
            snap,
            end: offset.saturating_add(count),
            iounit: u64::from(remote.mount.iounit()),
        }))
    }

    /// Fills pieces with the bytes from `offset` on, in one message of at most so
    /// many bytes as the server's messages have; how many came, 0 at the end.
    pub fn read(&self, offset: u64, sink: Vec<Piece>) -> Result<usize, Errno> {
        match self {
            Moment::Bundle(bytes) => Ok(fill(&sink, text::part(bytes, offset, u64::MAX))),
            Moment::Live(remote) => read_remote(remote, offset, sink),
            Moment::Snapshot(taken) if offset >= taken.end => Ok(0),
            Moment::Snapshot(taken) => {
                read_snapshot(taken.snap, offset, sink.into()).map_err(vm::in_a_call)
            }
        }
    }

    /// Copies up to `n` bytes from `offset` on to `va`, message by message; how many,
    /// fewer at the end of the file, and after an error once some have been copied.
    pub fn copy(&self, space: &SpaceLock, va: u64, n: u64, offset: u64) -> Result<u64, Errno> {
        let (iounit, n) = match self {
            Moment::Bundle(_) => (STEP, n),
            Moment::Live(remote) => (u64::from(remote.mount.iounit()), n),
            Moment::Snapshot(taken) => (taken.iounit, n.min(taken.end.saturating_sub(offset))),
        };
        let mut done = 0;
        while done < n {
            if done > 0 && matches!(self, Moment::Bundle(_)) {
                sched::breathe();
            }
            let want = iounit.min(n - done) as usize;
            let step = Sink::new(space, va + done, want).and_then(|(sink, pieces)| {
                let got = self.read(offset + done, pieces)?.min(want);
                sink.filled(space, got).map(|()| got as u64)
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
