//! All sequences, depth first, on all processors.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use super::Tiny;
use super::ops::{OPS, STARTS, named};
use crate::world::Config;

/// One sequence in so many ends with everything being given back.
const ENDS: u64 = 16;

/// What was done.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    /// Sequences of the full length.
    pub sequences: u64,
    /// Steps done and compared.
    pub steps: u64,
    /// Sequences after which everything was given back.
    pub ended: u64,
}

/// Which sequences: those of every `of`th pair of first operations.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    number: usize,
    of: usize,
}

impl Part {
    /// All of them.
    pub const ALL: Part = Part { number: 0, of: 1 };
}

impl FromStr for Part {
    type Err = &'static str;

    /// `3/50`: the third of fifty parts.
    fn from_str(text: &str) -> Result<Part, &'static str> {
        let (number, of) = text.split_once('/').ok_or("not n/m")?;
        let number: usize = number.parse().map_err(|_| "no number")?;
        let of: usize = of.parse().map_err(|_| "no number")?;
        let number = number.checked_sub(1).filter(|n| *n < of);
        Ok(Part {
            number: number.ok_or("no such part")?,
            of,
        })
    }
}

/// The sequence in which the two differ.
type Failure = Mutex<Option<Vec<usize>>>;

struct Search<'a> {
    counts: Counts,
    path: Vec<usize>,
    length: usize,
    failure: &'a Failure,
    stop: &'a AtomicBool,
}

/// The world of a start; panics if that does not exist.
pub fn start(name: &str, config: Config) -> Tiny {
    let (_, before) = STARTS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a known start");
    let mut tiny = Tiny::new(config);
    for op in *before {
        tiny.step(&OPS[named(op).expect("a known operation")].1);
    }
    tiny
}

impl Search<'_> {
    /// Goes on from `tiny`, which is where the path leads.
    fn descend(&mut self, tiny: &Tiny) {
        for op in 0..OPS.len() {
            if let Some(next) = self.go(tiny, op) {
                if self.path.len() < self.length {
                    self.descend(&next);
                } else {
                    self.leaf(next);
                }
                self.path.pop();
            }
        }
    }

    /// One step more, in a copy; `None` if it cannot be done or went wrong.
    fn go(&mut self, tiny: &Tiny, op: usize) -> Option<Tiny> {
        if !tiny.can(&OPS[op].1) || self.stop.load(Ordering::Relaxed) {
            return None;
        }
        self.path.push(op);
        self.counts.steps += 1;
        let step = catch_unwind(AssertUnwindSafe(|| {
            let mut next = tiny.duplicate();
            next.step(&OPS[op].1);
            next
        }));
        self.note(step.ok())
    }

    fn leaf(&mut self, tiny: Tiny) {
        self.counts.sequences += 1;
        if self.counts.sequences.is_multiple_of(ENDS) {
            self.counts.ended += 1;
            let ended = catch_unwind(AssertUnwindSafe(|| tiny.end()));
            if self.note(ended.ok()).is_none() {
                self.path.push(0);
            }
        }
    }

    /// Notes the path as a failure if there is nothing.
    fn note<T>(&mut self, result: Option<T>) -> Option<T> {
        if result.is_none() {
            self.stop.store(true, Ordering::Relaxed);
            let mut failure = self.failure.lock().unwrap_or_else(|e| e.into_inner());
            failure.get_or_insert(self.path.clone());
            self.path.pop();
        }
        result
    }
}

/// Tries every sequence of `length` operations from a start, or a part of them.
/// Panics at one that goes wrong, after showing it.
pub fn all(from: &str, config: Config, length: usize, part: Part) -> Counts {
    let (failure, stop, next) = (
        Mutex::new(None),
        AtomicBool::new(false),
        AtomicUsize::new(0),
    );
    let began = Instant::now();
    let worker = || {
        let tiny = start(from, config);
        let mut search = Search {
            counts: Counts::default(),
            path: Vec::new(),
            length,
            failure: &failure,
            stop: &stop,
        };
        // Work is handed out by the first two steps.
        loop {
            let work = next.fetch_add(1, Ordering::Relaxed) * part.of + part.number;
            let (first, second) = (work / OPS.len(), work % OPS.len());
            if first >= OPS.len() {
                return search.counts;
            }
            search.subtree(&tiny, first, second);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let parts: Vec<Counts> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().filter_map(|w| w.join().ok()).collect()
    });
    let mut counts = Counts::default();
    for part in parts {
        counts.sequences += part.sequences;
        counts.steps += part.steps;
        counts.ended += part.ended;
    }
    if let Some(path) = failure.into_inner().unwrap_or_else(|e| e.into_inner()) {
        let names: Vec<&str> = path.iter().map(|op| OPS[*op].0).collect();
        panic!("DORMOUSE_SEQUENCE=\"{from} {}\"", names.join(" "));
    }
    let seconds = began.elapsed().as_secs_f64();
    let Counts {
        sequences,
        steps,
        ended,
    } = counts;
    println!(
        "from {from}: {sequences} sequences of {length} of {} operations, {steps} steps \
         compared, {ended} ends, {seconds:.1} s on {threads} threads",
        OPS.len()
    );
    counts
}

impl Search<'_> {
    /// All sequences with these first two steps. The first is counted once.
    fn subtree(&mut self, tiny: &Tiny, first: usize, second: usize) {
        let before = self.counts.steps;
        let Some(one) = self.go(tiny, first) else {
            return;
        };
        if second > 0 {
            self.counts.steps = before;
        }
        if self.length == 1 {
            if second == 0 {
                self.leaf(one);
            }
        } else if let Some(two) = self.go(&one, second) {
            match self.length {
                2 => self.leaf(two),
                _ => self.descend(&two),
            }
            self.path.pop();
        }
        self.path.pop();
    }
}

/// Does one sequence, given as the name of a start and names of operations.
pub fn replay(text: &str, config: Config) {
    let mut words = text.split_whitespace();
    let mut tiny = start(words.next().unwrap_or("fresh"), config);
    for word in words {
        let op = &OPS[named(word).expect("a known operation")].1;
        println!("{word}: {op:?}");
        if tiny.can(op) {
            tiny.step(op);
        }
    }
    tiny.end();
}
