//! `pread`: deferred where it can be, eager everywhere else.
use super::moment::Moment;
use super::{Node, OpenFile, channel};
use crate::chan::{Piece, Source};
use crate::client::remote::Remote;
use crate::name::root::Entry;
use crate::sched::relief;
use crate::seg::host::{File, Operation};
use crate::seg::user;
use crate::seg::{SpaceLock, attach, snapshot_range};
use crate::text;
use crate::trace;
use abi::trace::Event;
use abi::{Errno, PAGE};
use alloc::string::String;
use hw::time;
use vm::Access;

/// Reads up to `n` bytes at `offset` to `va`; bytes read, 0 at the end.
pub fn pread(
    space: &SpaceLock,
    file: &OpenFile,
    va: u64,
    n: u64,
    offset: u64,
) -> Result<u64, Errno> {
    file.check_readable()?;
    user::within(space, va, n, Access::Store)?;
    match &file.node {
        Node::Root(entry) => file.transfer(offset, n, |at| root(space, *entry, va, n, at)),
        Node::Remote(remote) if remote.is_directory() => Err(Errno::EISDIR),
        Node::Remote(remote) => {
            file.transfer(offset, n, |at| self::remote(space, file, remote, va, n, at))
        }
        Node::Channel(end) => channel::read(space, end, va, n),
        Node::Port(_) => Err(Errno::EINVAL),
    }
}

fn root(space: &SpaceLock, entry: Entry, va: u64, n: u64, at: u64) -> Result<u64, Errno> {
    match entry {
        Entry::Null | Entry::Placeholder => Ok(0),
        Entry::Directory(_) => Err(Errno::EISDIR),
        // Zeros need not be stored: the range holds nothing (rule 6).
        Entry::Zero => attach::free(space, va, n).map(|()| n),
        Entry::Random => random(space, va, n),
        Entry::Time => {
            let line = time_line();
            let part = text::part(line.as_bytes(), at, n);
            user::write(space, va, part)?;
            Ok(part.len() as u64)
        }
        Entry::Program(file) => Moment::of_bundle(file)?.copy(space, va, n, at),
    }
}

/// Bytes of `/dev/random` that one call gives; the kernel is not preempted.
const RANDOM_MAX: u64 = 16 * 1024;

fn random(space: &SpaceLock, va: u64, n: u64) -> Result<u64, Errno> {
    let n = n.min(RANDOM_MAX);
    let mut done = 0;
    while done < n {
        // As far as a page of the buffer goes.
        let at = va + done;
        let page = Piece::alloc((PAGE - at % PAGE).min(n - done) as usize)?;
        fill(&page)?;
        let source = Source::Frame(&page.frame, page.at, page.len);
        user::write_source(space, at, source, &(va..va + n))?;
        done += page.len as u64;
    }
    Ok(n)
}

/// Fills a piece with random bytes.
fn fill(piece: &Piece) -> Result<(), Errno> {
    let mut bytes = [0; 256];
    let mut at = 0;
    while at < piece.len {
        let len = bytes.len().min(piece.len - at);
        let part = &mut bytes[..len];
        if !hw::random::fill(part) {
            return Err(Errno::EIO);
        }
        piece.frame.write(piece.at + at, part);
        at += part.len();
    }
    Ok(())
}

/// The content of `/dev/time`, always as long: seconds and nanoseconds since
/// 1970, ticks of the time stamp counter, ticks in a second.
fn time_line() -> String {
    let now = hw::clock::now_ns();
    let (ticks, rate) = (time::ticks(), time::ticks_per_second());
    text::format(format_args!(
        "{:>11} {now:>21} {ticks:>21} {rate:>21}\n",
        now / 1_000_000_000
    ))
}

/// A file at a server. The VM core reads into a snapshot segment, deferred or
/// not as configured. Other memory, and parts that cannot be deferred, are read
/// eagerly, from one snapshot if that takes more than one message.
fn remote(
    space: &SpaceLock,
    file: &OpenFile,
    remote: &Remote,
    va: u64,
    n: u64,
    at: u64,
) -> Result<u64, Errno> {
    if n == 0 {
        return Ok(0);
    }
    let n = n.min(u64::MAX - at);
    if let Some((segment, start)) = snapshot_range(space, va, n)
        && remote.mount.has_snapshots()
    {
        // A read of a snapshot can be repeated. A read of a device cannot,
        // because the bytes taken from it would be lost.
        let read = || {
            let (mut operation, path) = (Operation::begin(space, segment)?, &file.path);
            vm::read(&mut operation, start, n, File { remote, path }, at)
        };
        match relief::again(read) {
            // Devices and such have no snapshots: the ordinary path.
            Err(Errno::EOPNOTSUPP) => {}
            result => {
                if let Ok(bytes) = result {
                    let path = file.path.as_bytes();
                    trace::note_about(path, Event::Read, 0, [va, bytes, at]);
                }
                return result;
            }
        }
    }
    // What takes one message is of one moment without a snapshot.
    let moment = match n <= u64::from(remote.mount.iounit()) {
        true => Moment::Live(remote),
        false => Moment::take(remote, &file.path, at, n)?,
    };
    moment.copy(space, va, n, at)
}
