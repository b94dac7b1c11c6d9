//! Operations of a program, performed on the implementation.

use abi::Errno;
use vm::Host;

use program::{FIRST_PAGE, Op, SPACES, pattern};

use crate::PAGE;
use crate::footprint::Object;
use crate::process::{Process, Reach};
use crate::server::Servers;
use crate::world::Point;

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// There is no such process (or no room for one).
    Skipped,
    /// The byte count, then perhaps an error.
    Done(usize, Option<Errno>),
    /// The loaded bytes.
    Loaded(Vec<u8>),
    /// The new process.
    Forked(usize),
}

fn done(result: Result<u64, Errno>) -> Outcome {
    match result {
        Ok(n) => Outcome::Done(n as usize, None),
        Err(error) => Outcome::Done(0, Some(error)),
    }
}

/// Performs the operation.
pub fn perform<R: Reach>(mut reach: R, op: &Op) -> Outcome {
    let Some(space) = op.space() else {
        reach.pause(Point::Deliver);
        return reach.with(|world| {
            world.trace(|t| t.changes(Object::Server));
            elsewhere(&mut world.servers, op)
        });
    };
    if !reach.look(|world| matches!(world.spaces.get(space), Some(Some(_)))) {
        return Outcome::Skipped;
    }
    let process = Process {
        reach,
        space,
        eager: false,
    };
    of_process(process, op)
}

/// Operations of another client, and events at a server.
fn elsewhere<S: Servers>(servers: &mut S, op: &Op) -> Outcome {
    let named = |result: Result<(), Errno>| match result {
        Err(Errno::ENOENT) => Outcome::Skipped,
        result => done(result.map(|()| 0)),
    };
    match *op {
        Op::Foreign {
            file,
            off,
            n,
            value,
        } => {
            let written = servers.foreign_write(file, off as u64, &pattern(value, n));
            done(written.map(|n| n as u64))
        }
        Op::Truncate { file, size } => {
            let truncated = servers.truncate(file, size as u64);
            done(truncated.map(|()| size as u64))
        }
        Op::Remove { name } => named(servers.remove(name)),
        Op::Rename { from, to } => named(servers.rename(from, to)),
        Op::Full { on } => {
            servers.set_full(on);
            Outcome::Done(0, None)
        }
        _ => Outcome::Skipped,
    }
}

/// Operations of a process.
fn of_process<R: Reach>(mut process: Process<R>, op: &Op) -> Outcome {
    let address = |at: usize| (FIRST_PAGE * PAGE + at) as u64;
    match *op {
        Op::Read {
            at,
            n,
            file,
            off,
            eager,
            ..
        } => {
            process.eager = eager;
            let read = vm::read(&mut process, address(at), n as u64, file, off as u64);
            done(read)
        }
        Op::Write {
            at,
            n,
            file,
            off,
            eager,
            ..
        } => {
            process.eager = eager;
            let to = off.map_or(vm::WriteTo::End, |off| vm::WriteTo::At(off as u64));
            done(vm::write(&mut process, address(at), n as u64, file, to))
        }
        Op::Store { at, n, value, .. } => {
            let (stored, result) = process.store(address(at) as usize, &pattern(value, n));
            Outcome::Done(stored, result.err())
        }
        Op::Load { at, n, .. } => match process.load(address(at) as usize, n) {
            Ok(bytes) => Outcome::Loaded(bytes),
            Err(error) => Outcome::Done(0, Some(error)),
        },
        Op::Free { at, n, .. } => {
            let freed = vm::free(&mut process, address(at), n as u64);
            done(freed.map(|()| n as u64))
        }
        Op::Fork { .. } => {
            let exists = |world: &crate::world::World<_>, i: usize| {
                matches!(world.spaces.get(i), Some(Some(_)))
            };
            let free = process
                .reach
                .look(|world| (0..SPACES).find(|i| !exists(world, *i)));
            match free.map(|child| (child, process.fork(child))) {
                None => Outcome::Skipped,
                Some((child, Ok(()))) => Outcome::Forked(child),
                Some((_, Err(error))) => Outcome::Done(0, Some(error)),
            }
        }
        Op::Exit { .. } => {
            process.exit();
            Outcome::Done(0, None)
        }
        Op::Evict { page, .. } => {
            process.with(|segment, m| segment.evict(m, (FIRST_PAGE + page) as u64));
            Outcome::Done(0, None)
        }
        // It says nothing about how many there were.
        Op::PageOut { page, n, .. } => {
            let gone = process.page_out((FIRST_PAGE + page) as u64, n as u64);
            done(gone.map(|_| 0))
        }
        Op::Foreign { .. }
        | Op::Truncate { .. }
        | Op::Remove { .. }
        | Op::Rename { .. }
        | Op::Full { .. } => Outcome::Skipped,
    }
}
