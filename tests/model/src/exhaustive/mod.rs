//! A tiny world, two files of two pages and two processes, in which *every*
//! sequence of a written list of operations is tried, to a length.
//!
//! The VM core and snapfs are the real ones. After each step the result, all
//! bytes of both processes and both files, names and sizes are compared with
//! the [eager model](crate::eager), and all books are checked. Sequences share
//! their beginnings: at every step the world is copied, for each operation to
//! go its own way.
//!
//! - [`ops`]: the list. [`search`]: all sequences of it.

pub mod ops;
pub mod search;

use std::ops::Range;

use abi::Errno;

use crate::PAGE;
use crate::eager::{Eager, read_of};
use crate::real::{Real, RealFile};
use crate::server::{File, Servers};
use crate::world::{Config, World};
use ops::{A, B, Op, SIZE_0, SIZE_1};

/// Pages in each segment.
const PAGES: usize = 3;

/// The bytes that another client overwrites while the kernel has not
/// reconnected.
const LATE: Range<usize> = 20..120;

/// How the world is made.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The kernel.
    pub config: Config,
    /// The server logs enough to be restarted.
    pub leases: bool,
}

/// Small messages, so that a write of two pages takes several; each page comes alone; a server that
/// can be restarted.
pub const SMALL_MESSAGES: Kind = Kind {
    leases: true,
    config: Config {
        iounit: vm::PAGE,
        ops: 2,
        wmax: 1 << 20,
        pages: PAGES as u64,
        keeps_frames: false,
        run: 1,
        trim_worth: 1,
    },
};

/// Small commits, so that it takes several, whose data stays in the frames; two pages come
/// at once; a
/// server that cannot be restarted.
pub const SMALL_COMMITS: Kind = Kind {
    leases: false,
    config: Config {
        iounit: 3000,
        ops: 8,
        wmax: vm::PAGE,
        pages: PAGES as u64,
        keeps_frames: true,
        run: 2,
        trim_worth: vm::PAGE + 1,
    },
};

/// The outcome of an operation of the implementation.
enum Outcome {
    /// The byte count, then perhaps an error.
    Done(usize, Option<Errno>),
    /// The loaded bytes.
    Loaded(Vec<u8>),
    /// The file opened.
    Opened(Option<File>),
}

/// The implementation beside the model.
pub struct Tiny {
    world: World<Real>,
    model: Eager,
    /// The file of each descriptor, `None` if it is closed.
    open: [Option<File>; 2],
    /// The server can be restarted.
    leases: bool,
    /// There is no room for temporary files.
    full: bool,
    /// There is no room for more than a page of a file.
    disk_full: bool,
    /// Steps so far; no two store the same bytes.
    steps: u8,
}

/// Bytes that differ from step to step and from byte to byte.
fn pattern(step: u8, n: usize) -> Vec<u8> {
    let first = step.wrapping_mul(37).wrapping_add(1);
    (0..n)
        .map(|i| first.wrapping_add((i % 251) as u8))
        .collect()
}

fn done(result: Result<u64, Errno>) -> Outcome {
    match result {
        Ok(n) => Outcome::Done(n as usize, None),
        Err(error) => Outcome::Done(0, Some(error)),
    }
}

impl Tiny {
    /// Two files, two processes with zeros.
    pub fn new(kind: Kind) -> Tiny {
        let content = |seed: usize, size: usize| -> Vec<u8> {
            (0..size).map(|i| (i * 7 + i / 256 + seed) as u8).collect()
        };
        let files = [content(1, SIZE_0), content(101, SIZE_1)];
        let made = files.clone().map(|content| RealFile {
            server: 0,
            snapshots: true,
            write_only: false,
            content,
        });
        let servers = match kind.leases {
            true => Real::with_leases(&made),
            false => Real::new(&made),
        };
        let mut tiny = Tiny {
            world: World::new(servers, kind.config),
            leases: kind.leases,
            model: Eager::new(files.into(), PAGES * PAGE),
            open: [Some(0), Some(1)],
            full: false,
            disk_full: false,
            steps: 0,
        };
        // Unrelated to the first: it has nothing yet.
        tiny.world.fork(A, B).expect("nothing fails");
        tiny.model.fork(A, B);
        tiny
    }

    /// A copy that goes its own way.
    pub fn duplicate(&self) -> Tiny {
        Tiny {
            world: self.world.duplicate(self.world.servers.duplicate()),
            model: self.model.clone(),
            ..*self
        }
    }

    fn lives(&self, space: usize) -> bool {
        matches!(self.world.spaces.get(space), Some(Some(_)))
    }

    /// Returns true if the operation has its objects. Otherwise the sequence
    /// equals a shorter one with a step that does nothing.
    pub fn can(&self, op: &Op) -> bool {
        match *op {
            Op::Read { space, file, .. } | Op::Write { space, file, .. } => {
                self.lives(space) && self.open[file].is_some()
            }
            Op::Store(space, ..)
            | Op::Load(space, ..)
            | Op::Free(space, ..)
            | Op::Evict(space)
            | Op::PageOut(space)
            | Op::Fork(space)
            | Op::Exit(space) => self.lives(space),
            Op::Remove(name) | Op::Rename(name, _) => self.model.names[name].is_some(),
            Op::FailMessage(_) => !self.world.lost.is_set(),
            Op::FailSwap(_) => !self.world.swap.failures.is_set(),
            Op::Foreign(file, ..) | Op::Truncate(file, _) => !self.world.servers.gone(file),
            // Without room for its notes it does not start.
            Op::Restart { .. } => {
                let servers = &self.world.servers;
                self.leases && !self.full && [0, 1].iter().all(|file| servers.survives(*file))
            }
            Op::Reopen(_) | Op::ToggleFull | Op::ToggleDiskFull | Op::ToggleRoom => true,
        }
    }

    /// Does an operation on both and compares everything. Panics where they
    /// differ.
    pub fn step(&mut self, op: &Op) {
        self.steps += 1;
        let armed = |world: &World<Real>| [world.lost.is_set(), world.swap.failures.is_set()];
        let before = armed(&self.world);
        let snapshots = self.world.servers.snapshots();
        let outcome = self.perform(op);
        let after = armed(&self.world);
        let failed = before
            .iter()
            .zip(after)
            .any(|(before, after)| *before && !after);
        if let Outcome::Done(_, Some(error)) = outcome {
            // A server that can be restarted logs its actions.
            let store = self.full && (snapshots > 0 || self.leases);
            let full = store || self.disk_full;
            assert!(
                failed || full && error == Errno::ENOSPC,
                "{error:?} out of nothing"
            );
        }
        self.apply(op, &outcome, failed || self.full || self.disk_full);
        self.compare();
        self.world.check();
    }

    /// Performs the operation on the implementation.
    fn perform(&mut self, op: &Op) -> Outcome {
        let bytes = |n| pattern(self.steps, n);
        let world = &mut self.world;
        let file = |file: File| self.open[file].expect("an open file");
        match *op {
            Op::Read {
                space,
                at,
                n,
                file: from,
                off,
                eager,
            } => {
                let mut process = world.process(space);
                process.eager = eager;
                let (at, n, off) = (at as u64, n as u64, off as u64);
                done(vm::read(&mut process, at, n, file(from), off))
            }
            Op::Write {
                space,
                at,
                n,
                file: to,
                off,
            } => {
                let place = off.map_or(vm::WriteTo::End, |off| vm::WriteTo::At(off as u64));
                let (at, n) = (at as u64, n as u64);
                done(vm::write(&mut world.process(space), at, n, file(to), place))
            }
            Op::Store(space, at, n) => {
                let (stored, result) = world.store(space, at, &bytes(n));
                Outcome::Done(stored, result.err())
            }
            Op::Load(space, at, n) => match world.load(space, at, n) {
                Ok(bytes) => Outcome::Loaded(bytes),
                Err(error) => Outcome::Done(0, Some(error)),
            },
            Op::Free(space, at, n) => {
                let freed = vm::free(&mut world.process(space), at as u64, n as u64);
                done(freed.map(|()| n as u64))
            }
            Op::Evict(space) => {
                let space = world.space(space);
                for page in 0..PAGES as u64 {
                    space.segment.evict(&mut space.memory, page);
                }
                Outcome::Done(0, None)
            }
            Op::PageOut(space) => done(world.process(space).page_out(0, PAGES as u64).map(|_| 0)),
            Op::Fork(space) => {
                if matches!(world.spaces.get(A + B - space), Some(Some(_))) {
                    world.exit(A + B - space);
                }
                done(world.fork(space, A + B - space).map(|()| 0))
            }
            Op::Exit(space) => {
                world.exit(space);
                Outcome::Done(0, None)
            }
            _ => self.perform_elsewhere(op),
        }
    }

    /// As `perform`, for operations of no process.
    fn perform_elsewhere(&mut self, op: &Op) -> Outcome {
        let servers = &mut self.world.servers;
        match *op {
            Op::Foreign(file, off, n) => {
                let written = servers.foreign_write(file, off as u64, &pattern(self.steps, n));
                done(written.map(|n| n as u64))
            }
            Op::Truncate(file, size) => {
                done(servers.truncate(file, size as u64).map(|()| size as u64))
            }
            Op::Remove(name) => done(servers.remove(name).map(|()| 0)),
            Op::Rename(from, to) => done(servers.rename(from, to).map(|()| 0)),
            Op::Reopen(name) => {
                if let Some(file) = self.open[name].take() {
                    servers.close(file);
                }
                Outcome::Opened(match servers.open(name) {
                    Err(Errno::ENOENT) => None,
                    opened => Some(opened.expect("no other error")),
                })
            }
            Op::FailMessage(after) => {
                self.world.lost.once(after, ());
                Outcome::Done(0, None)
            }
            Op::FailSwap(harm) => {
                self.world.swap.failures.once(0, harm);
                Outcome::Done(0, None)
            }
            Op::ToggleFull => {
                self.full = !self.full;
                servers.set_full(self.full);
                Outcome::Done(0, None)
            }
            Op::ToggleDiskFull => {
                self.disk_full = !self.disk_full;
                servers.set_disk_full(self.disk_full);
                Outcome::Done(0, None)
            }
            Op::ToggleRoom => {
                match self.world.refused.is_set() {
                    true => self.world.refused.heal(),
                    false => self.world.refused.all(0, ()),
                }
                Outcome::Done(0, None)
            }
            Op::Restart { late } => {
                let bytes = late.then(|| pattern(self.steps, LATE.len()));
                let mut written = 0;
                servers.restart(|servers| {
                    if let Some(bytes) = bytes.filter(|_| !servers.gone(0)) {
                        let result = servers.foreign_write(0, LATE.start as u64, &bytes);
                        written = result.unwrap_or(0);
                    }
                });
                Outcome::Done(written, None)
            }
            _ => unreachable!("done by a process"),
        }
    }

    /// Performs the operation on the model and compares the outcomes. It may
    /// have done less only if it `may_fail`.
    fn apply(&mut self, op: &Op, outcome: &Outcome, may_fail: bool) {
        let (count, failed) = match outcome {
            Outcome::Done(count, error) => (*count, error.is_some()),
            Outcome::Loaded(bytes) => return self.check_load(op, bytes),
            Outcome::Opened(file) => return self.check_open(op, *file),
        };
        let right = |want: usize| {
            let short = may_fail && count < want;
            assert!(count == want || short, "{count} bytes of {want}");
        };
        let model = &mut self.model;
        let open = |file: File| self.open[file].expect("an open file");
        match *op {
            Op::Read {
                space,
                at,
                n,
                file,
                off,
                ..
            } => {
                let bytes = read_of(&model.files[open(file)], off, n).to_vec();
                right(bytes.len());
                model.store(space, at, &bytes[..count]);
            }
            Op::Write {
                space,
                at,
                n,
                file,
                off,
            } => {
                right(n);
                let off = off.unwrap_or(model.files[open(file)].len());
                model.write(space, at, count, open(file), off);
            }
            Op::Store(space, at, n) => {
                model.store(space, at, &pattern(self.steps, n)[..count]);
            }
            Op::Free(space, at, _) => model.store(space, at, &vec![0; count]),
            Op::Fork(space) => model.fork(space, A + B - space),
            Op::Exit(space) => model.spaces[space] = None,
            _ if failed => {}
            Op::Foreign(file, off, n) => {
                right(n);
                model.change(file, off, &pattern(self.steps, n)[..count]);
            }
            Op::Truncate(file, size) => model.files[file].resize(size, 0),
            Op::Remove(name) => assert!(model.remove(name)),
            Op::Rename(from, to) => assert!(model.rename(from, to)),
            Op::Restart { late } => {
                if late && !self.world.servers.gone(0) {
                    right(LATE.len());
                    model.change(0, LATE.start, &pattern(self.steps, count));
                }
                for open in &mut self.open {
                    *open = open.filter(|file| !self.world.servers.gone(*file));
                }
            }
            Op::Load(..)
            | Op::Evict(_)
            | Op::PageOut(_)
            | Op::Reopen(_)
            | Op::FailMessage(_)
            | Op::FailSwap(_)
            | Op::ToggleFull
            | Op::ToggleDiskFull
            | Op::ToggleRoom => {}
        }
    }

    /// Checks the loaded bytes.
    fn check_load(&mut self, op: &Op, bytes: &[u8]) {
        if let Op::Load(space, at, n) = *op {
            let want = &self.model.space(space)[at..at + n];
            assert!(want == bytes, "wrong bytes loaded");
        }
    }

    /// Checks which file was opened.
    fn check_open(&mut self, op: &Op, file: Option<File>) {
        if let Op::Reopen(name) = *op {
            assert_eq!(file, self.model.names[name], "another file opened");
            self.open[name] = file;
        }
    }

    fn compare(&mut self) {
        for (file, content) in self.model.files.iter().enumerate() {
            if self.world.servers.gone(file) {
                continue;
            }
            let real = self.world.servers.content(file);
            assert_eq!(real.len(), content.len(), "size of file {file}");
            assert!(real == *content, "file {file} differs");
        }
        for (name, file) in self.model.names.iter().enumerate() {
            assert_eq!(self.world.servers.named(name), *file, "name {name}");
        }
        for space in [A, B] {
            let model = self.model.spaces[space].as_ref();
            assert_eq!(self.lives(space), model.is_some(), "process {space}");
            if let Some(bytes) = &self.model.spaces[space] {
                let (mut real, lost) = self.world.peek_left(space, 0, PAGES as u64);
                for range in lost {
                    real[range.clone()].copy_from_slice(&bytes[range]);
                }
                if real != *bytes {
                    let differs = real.iter().zip(bytes).position(|(a, b)| a != b);
                    panic!("process {space} differs at {differs:?}");
                }
            }
        }
    }

    /// Everything ends; panics unless everything is given back.
    pub fn end(mut self) {
        for space in [A, B] {
            if self.lives(space) {
                self.world.exit(space);
            }
        }
        assert_eq!(self.world.frames.borrow().used(), 0, "frames left");
        assert_eq!(self.world.swap.handles().count(), 0, "swap files left");
        self.world.servers.check_idle();
        self.world.servers.check_empty();
    }
}
