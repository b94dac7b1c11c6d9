//! The permitted results of concurrent eager operations: the specification of
//! [`crate::schedule`].
//!
//! An eager kernel does an operation in smaller ones. A `read` takes the file's
//! bytes at one moment and puts them into memory page by page; a `write` takes
//! them from memory page by page and changes the file at one moment; loads and
//! stores go page by page; everything else happens at once. All orders of these
//! are tried on the eager model; each end is one that programs must expect.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use program::eager::{Eager, read_of};
use program::{Op, pattern};

use crate::perform::Outcome;
use crate::world::by_page;

/// The state at the end.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct End {
    /// Files and memory.
    pub model: Eager,
    /// The outcomes of each flow's operations.
    pub outcomes: Vec<Vec<Outcome>>,
}

/// One flow on its way.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Progress {
    /// Operations done.
    done: usize,
    /// Small ones of the next done.
    part: usize,
    /// Bytes under way.
    bytes: Vec<u8>,
}

#[derive(Clone, Hash)]
struct State {
    end: End,
    flows: Vec<Progress>,
}

/// All ends that `flows`, one after the other each, may come to.
pub fn ends(model: &Eager, flows: &[Vec<Op>]) -> HashSet<End> {
    let start = State {
        end: End {
            model: model.clone(),
            outcomes: vec![Vec::new(); flows.len()],
        },
        flows: vec![Progress::default(); flows.len()],
    };
    let (mut seen, mut ends) = (HashSet::new(), HashSet::new());
    let mut todo = vec![start];
    while let Some(state) = todo.pop() {
        let mut over = true;
        for (flow, ops) in flows.iter().enumerate() {
            if let Some(op) = ops.get(state.flows[flow].done) {
                over = false;
                let mut next = state.clone();
                next.advance(flow, op);
                if seen.insert(hash(&next)) {
                    todo.push(next);
                }
            }
        }
        if over {
            ends.insert(state.end);
        }
    }
    ends
}

fn hash(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

impl State {
    /// The next small operation of a flow.
    fn advance(&mut self, flow: usize, op: &Op) {
        let model = &mut self.end.model;
        let progress = &mut self.flows[flow];
        let gone = op.space().is_some_and(|space| !model.exists(space));
        let outcome = match gone {
            true => Some(Outcome::Skipped),
            false => progress.small(model, op),
        };
        match outcome {
            None => progress.part += 1,
            Some(outcome) => {
                let done = progress.done + 1;
                *progress = Progress {
                    done,
                    ..Progress::default()
                };
                self.end.outcomes[flow].push(outcome);
            }
        }
    }
}

/// The page by page parts of a range: start and length.
fn pieces(at: usize, n: usize) -> Vec<(usize, usize)> {
    let mut start = at;
    by_page(at, n)
        .map(|(_, range)| {
            let piece = (start, range.len());
            start += range.len();
            piece
        })
        .collect()
}

impl Progress {
    /// Performs one small operation; returns the outcome of the whole if it was
    /// the last.
    fn small(&mut self, model: &mut Eager, op: &Op) -> Option<Outcome> {
        match *op {
            Op::Read {
                space,
                at,
                n,
                file,
                off,
                ..
            } => self.read(model, (space, at, n), (file, off)),
            Op::Write {
                space,
                at,
                n,
                file,
                off,
                ..
            } => {
                if let Some((at, n)) = pieces(at, n).get(self.part) {
                    let part = &model.space(space)[*at..at + n];
                    self.bytes.extend_from_slice(part);
                    return None;
                }
                let off = off.unwrap_or(model.files[file].len());
                model.change(file, off, &self.bytes);
                Some(Outcome::Done(n, None))
            }
            Op::Store {
                space,
                at,
                n,
                value,
            } => self.put(model, (space, at), &pattern(value, n)),
            Op::Free { space, at, n } => self.put(model, (space, at), &vec![0; n]),
            Op::Load { space, at, n } => {
                let pieces = pieces(at, n);
                let (at, n) = pieces[self.part];
                self.bytes
                    .extend_from_slice(&model.space(space)[at..at + n]);
                let last = self.part + 1 == pieces.len();
                last.then(|| Outcome::Loaded(std::mem::take(&mut self.bytes)))
            }
            _ => Some(match model.apply(op) {
                program::Outcome::Skipped => Outcome::Skipped,
                program::Outcome::Done(count) => Outcome::Done(count, None),
                program::Outcome::Loaded(bytes) => Outcome::Loaded(bytes),
                program::Outcome::Forked(child) => Outcome::Forked(child),
            }),
        }
    }

    fn read(
        &mut self,
        model: &mut Eager,
        (space, at, n): (usize, usize, usize),
        (file, off): (usize, usize),
    ) -> Option<Outcome> {
        if self.part == 0 {
            self.bytes = read_of(&model.files[file], off, n).to_vec();
            return None;
        }
        let pieces = pieces(at, self.bytes.len());
        let Some((to, len)) = pieces.get(self.part - 1) else {
            return Some(Outcome::Done(self.bytes.len(), None));
        };
        model.store(space, *to, &self.bytes[to - at..to - at + len]);
        None
    }

    /// Puts the next page's part of `bytes` into memory.
    fn put(
        &mut self,
        model: &mut Eager,
        (space, at): (usize, usize),
        bytes: &[u8],
    ) -> Option<Outcome> {
        let pieces = pieces(at, bytes.len());
        if let Some((to, len)) = pieces.get(self.part) {
            model.store(space, *to, &bytes[to - at..to - at + len]);
        }
        (self.part + 1 >= pieces.len()).then_some(Outcome::Done(bytes.len(), None))
    }
}
