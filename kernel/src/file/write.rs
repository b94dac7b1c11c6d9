//! `pwrite`: sends only the changes of a snapshot segment.
use super::{Node, OpenFile, channel};
use crate::chan::{Piece, room};
use crate::client::put::{Stage, Target, Write};
use crate::client::remote::Remote;
use crate::name::root::Entry;
use crate::sched::{self, relief};
use crate::seg::host::{File, Operation};
use crate::seg::iovec::IoVec;
use crate::seg::{SpaceLock, snapshot_range, user};
use crate::trace;
use abi::trace::Event;
use abi::{Errno, Slice, mode};
use alloc::vec::Vec;
use ninep::{PutKind, PutOp};
use vm::{Access, WriteTo};

/// Writes `n` bytes from `va` at `offset`; bytes written.
pub fn pwrite(
    space: &SpaceLock,
    file: &OpenFile,
    va: u64,
    n: u64,
    offset: u64,
) -> Result<u64, Errno> {
    file.check_writable()?;
    user::within(space, va, n, Access::Load)?;
    match &file.node {
        Node::Root(Entry::Null | Entry::Zero) => file.transfer(offset, n, |_| Ok(n)),
        Node::Root(_) => Err(Errno::EBADF),
        Node::Remote(remote) if file.mode & mode::OAPPEND != 0 => {
            file.append(offset, || append(space, file, remote, va, n))
        }
        Node::Remote(remote) => file.transfer(offset, n, |at| {
            self::remote(space, file, remote, va, n, WriteTo::At(at)).map(|(bytes, _)| bytes)
        }),
        Node::Channel(end) => {
            let part = [Slice {
                address: va,
                len: n,
            }];
            channel::send(space, end, &IoVec::new(&part)?)
        }
        Node::Port(_) => Err(Errno::EINVAL),
    }
}

/// Writes at the end of the file; bytes written, and where that is, if known.
fn append(
    space: &SpaceLock,
    file: &OpenFile,
    remote: &Remote,
    va: u64,
    n: u64,
) -> Result<(u64, Option<u64>), Errno> {
    let (bytes, end) = self::remote(space, file, remote, va, n, WriteTo::End)?;
    // A plain server does not tell where it wrote. The bytes are written,
    // whatever this request returns.
    let end = end.or_else(|| remote.stat().ok().map(|stat| stat.size));
    Ok((bytes, end))
}

/// Writes to a file at a server; bytes written, and where the last of them is if
/// the server says so.
fn remote(
    space: &SpaceLock,
    file: &OpenFile,
    remote: &Remote,
    va: u64,
    n: u64,
    to: WriteTo,
) -> Result<(u64, Option<u64>), Errno> {
    let at = match to {
        WriteTo::At(at) => at,
        WriteTo::End => 0,
    };
    if at.checked_add(n).is_none() {
        return Err(Errno::EFBIG);
    }
    let snapshots = remote.mount.has_snapshots() && n > 0;
    let within = snapshot_range(space, va, n).filter(|_| snapshots);
    let written = match within {
        Some(within) => changes(space, within, file, remote, n, to),
        None => eagerly(space, (va, n), remote, (to, at), snapshots),
    };
    if let Ok((bytes, _)) = written {
        let (path, at_end) = (file.path.as_bytes(), to == WriteTo::End);
        trace::note_about(path, Event::Write, at_end.into(), [va, bytes, at]);
    }
    written
}

/// Writes from byte `start` of a snapshot segment: sends what has changed.
fn changes(
    space: &SpaceLock,
    (segment, start): (u64, u64),
    file: &OpenFile,
    remote: &Remote,
    n: u64,
    to: WriteTo,
) -> Result<(u64, Option<u64>), Errno> {
    let write = || {
        let (mut operation, path) = (Operation::begin(space, segment)?, &file.path);
        let bytes = vm::write(&mut operation, start, n, File { remote, path }, to)?;
        Ok((bytes, operation.written_to()))
    };
    match to {
        // Nothing of it has happened where it fails, or the same happens again.
        WriteTo::At(_) => relief::again(write),
        WriteTo::End => write(),
    }
}

/// Writes from any other memory: sends all.
fn eagerly(
    space: &SpaceLock,
    (va, n): (u64, u64),
    remote: &Remote,
    (to, at): (WriteTo, u64),
    snapshots: bool,
) -> Result<(u64, Option<u64>), Errno> {
    let iounit = u64::from(remote.mount.iounit());
    let commits = snapshots && (n > iounit || to == WriteTo::End);
    let most = if commits {
        u64::from(remote.mount.wmax())
    } else {
        iounit
    };
    let (mut done, mut end) = (0, None);
    loop {
        let want = most.min(n - done);
        let from = va + done;
        let step = if commits {
            commit(space, remote, from, want, to, at + done)
        } else {
            user::pin(space, from, want as usize, Access::Load)
                .and_then(|body| remote.write(at + done, body))
                .map(|put| (put as u64, None))
        };
        match step {
            Ok((put, put_end)) => {
                done += put;
                end = put_end;
                if put < want || done == n {
                    return Ok((done, end));
                }
            }
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => return Ok((done, end)),
        }
    }
}

/// Writes `n` bytes atomically, at most as many as one commit takes. It ends
/// early where the buffer does.
fn commit(
    space: &SpaceLock,
    remote: &Remote,
    va: u64,
    n: u64,
    to: WriteTo,
    off: u64,
) -> Result<(u64, Option<u64>), Errno> {
    let mount = &remote.mount;
    let target = Target {
        fid: remote.fid,
        path: remote.qid.path,
        off,
        append: to == WriteTo::End,
        into: None,
    };
    let bodies = load(space, va, n, u64::from(mount.iounit()))?;
    let mut write = Write::begin(mount)?;
    let (mut done, mut result) = (0, Ok(()));
    let mut left = bodies.len();
    for body in bodies {
        left -= 1;
        let stage = match left {
            0 => Stage::Commit,
            _ => Stage::Staged,
        };
        let op = PutOp {
            kind: PutKind::Data,
            off: done,
            len: body.iter().map(|piece| piece.len as u64).sum(),
        };
        done += op.len;
        result = result.and_then(|()| write.put(mount, target, stage, &[op], body));
    }
    match result {
        Ok(()) => write.wait(mount, remote.fid).map(|reply| {
            let count = reply.count.min(done);
            (count, Some(reply.off.saturating_add(count)))
        }),
        Err(errno) => {
            write.abort(mount, remote.fid);
            Err(errno)
        }
    }
}

/// Parts of a buffer that are read in one step.
const STEP: usize = 64;

/// Reads the whole buffer, up to `most` bytes a message, before the first
/// message is sent, so that no other write waits while pages of it come from
/// other servers. It ends early where the buffer does.
fn load(space: &SpaceLock, va: u64, n: u64, most: u64) -> Result<Vec<Vec<Piece>>, Errno> {
    let mut bodies = room(n.div_ceil(most) as usize)?;
    let mut at = 0;
    while at < n {
        let len = most.min(n - at);
        match user::pin(space, va + at, len as usize, Access::Load) {
            Ok(body) => bodies.push(body),
            Err(errno) if at == 0 => return Err(errno),
            Err(_) => break,
        }
        at += len;
        if bodies.len().is_multiple_of(STEP) {
            sched::breathe();
            if sched::ending() {
                return Err(Errno::EINTR);
            }
        }
    }
    Ok(bodies)
}
