//! The operations of a program.

use alloc::vec;
use alloc::vec::Vec;

use crate::SPACES;
use crate::eager::{Eager, read_of};

/// An operation. Positions are in the used part of the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields say what they are
pub enum Op {
    /// `read`, perhaps with deferral off.
    Read {
        space: usize,
        at: usize,
        n: usize,
        file: usize,
        off: usize,
        eager: bool,
    },
    /// `write` at an offset, or to the end.
    Write {
        space: usize,
        at: usize,
        n: usize,
        file: usize,
        off: Option<usize>,
        eager: bool,
    },
    /// The program stores `n` bytes.
    Store {
        space: usize,
        at: usize,
        n: usize,
        value: u8,
    },
    /// The program loads.
    Load { space: usize, at: usize, n: usize },
    /// `segfree`.
    Free { space: usize, at: usize, n: usize },
    /// Another client overwrites bytes.
    Foreign {
        file: usize,
        off: usize,
        n: usize,
        value: u8,
    },
    /// Another client sets the size.
    Truncate { file: usize, size: usize },
    /// Another client removes a name; the file stays open.
    Remove { name: usize },
    /// Another client renames a file, replacing the one of that name.
    Rename { from: usize, to: usize },
    /// The room for temporary files is exhausted, or there again.
    Full { on: bool },
    /// A new process.
    Fork { space: usize },
    /// The end of one.
    Exit { space: usize },
    /// Memory is short: a clean page goes.
    Evict { space: usize, page: usize },
    /// Memory is short: changed pages go to swap.
    PageOut { space: usize, page: usize, n: usize },
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// There is no such process (or no room for one, or no such name).
    Skipped,
    /// The byte count.
    Done(usize),
    /// The loaded bytes.
    Loaded(Vec<u8>),
    /// The new process.
    Forked(usize),
}

/// The bytes that a store or foreign write of `value` leaves.
pub fn pattern(value: u8, n: usize) -> Vec<u8> {
    (0..n)
        .map(|i| value.wrapping_add((i % 251) as u8))
        .collect()
}

impl Op {
    /// The process it is of.
    pub const fn space(&self) -> Option<usize> {
        match self {
            Op::Read { space, .. }
            | Op::Write { space, .. }
            | Op::Store { space, .. }
            | Op::Load { space, .. }
            | Op::Free { space, .. }
            | Op::Fork { space }
            | Op::Exit { space }
            | Op::Evict { space, .. }
            | Op::PageOut { space, .. } => Some(*space),
            Op::Foreign { .. }
            | Op::Truncate { .. }
            | Op::Remove { .. }
            | Op::Rename { .. }
            | Op::Full { .. } => None,
        }
    }
}

impl Eager {
    /// Returns true if the process exists.
    pub fn exists(&self, space: usize) -> bool {
        self.spaces.get(space).is_some_and(Option::is_some)
    }

    /// The place for a new process.
    pub fn free_place(&self) -> Option<usize> {
        (0..SPACES).find(|space| !self.exists(*space))
    }

    /// Does an operation as an eager kernel does.
    pub fn apply(&mut self, op: &Op) -> Outcome {
        if op.space().is_some_and(|space| !self.exists(space)) {
            return Outcome::Skipped;
        }
        let when = |is: bool| match is {
            true => Outcome::Done(0),
            false => Outcome::Skipped,
        };
        match *op {
            Op::Read {
                space,
                at,
                n,
                file,
                off,
                ..
            } => {
                let bytes = read_of(&self.files[file], off, n).to_vec();
                self.store(space, at, &bytes);
                Outcome::Done(bytes.len())
            }
            Op::Write {
                space,
                at,
                n,
                file,
                off,
                ..
            } => {
                let off = off.unwrap_or(self.files[file].len());
                self.write(space, at, n, file, off);
                Outcome::Done(n)
            }
            Op::Store {
                space,
                at,
                n,
                value,
            } => {
                self.store(space, at, &pattern(value, n));
                Outcome::Done(n)
            }
            Op::Load { space, at, n } => Outcome::Loaded(self.space(space)[at..at + n].to_vec()),
            Op::Free { space, at, n } => {
                self.store(space, at, &vec![0; n]);
                Outcome::Done(n)
            }
            Op::Foreign {
                file,
                off,
                n,
                value,
            } => {
                self.change(file, off, &pattern(value, n));
                Outcome::Done(n)
            }
            Op::Truncate { file, size } => {
                self.files[file].resize(size, 0);
                Outcome::Done(size)
            }
            Op::Remove { name } => when(self.remove(name)),
            Op::Rename { from, to } => when(self.rename(from, to)),
            Op::Fork { space } => match self.free_place() {
                Some(child) => {
                    self.fork(space, child);
                    Outcome::Forked(child)
                }
                None => Outcome::Skipped,
            },
            Op::Exit { space } => {
                self.spaces[space] = None;
                Outcome::Done(0)
            }
            Op::Full { .. } | Op::Evict { .. } | Op::PageOut { .. } => Outcome::Done(0),
        }
    }
}
