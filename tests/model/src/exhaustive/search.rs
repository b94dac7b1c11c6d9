//! All sequences, depth first, on all processors.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use super::ops::{OPS, STARTS, named};
use super::{Kind, Tiny};

/// Sequences of this length take long enough to say how far they are.
const LONG: usize = 5;
/// Pairs of first operations after each of which that is said.
const STRIDE: usize = 48;

/// One sequence in this many ends with the release of everything.
const ENDS: u64 = 16;

/// The counts of a search.
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

/// The state shared by all threads.
struct Shared {
    /// The next pair of first operations.
    next: AtomicUsize,
    /// Something went wrong: enough.
    stop: AtomicBool,
    /// The sequence that did.
    failure: Mutex<Option<Vec<usize>>>,
}

/// One thread's search.
struct Search<'a> {
    shared: &'a Shared,
    counts: Counts,
    path: Vec<usize>,
    length: usize,
}

impl Search<'_> {
    /// All sequences with these two first steps. The first is counted once.
    fn subtree(&mut self, tiny: &Tiny, first: usize, second: usize) {
        let before = self.counts.steps;
        let Some(one) = self.go(tiny, first) else {
            return;
        };
        if second > 0 {
            self.counts.steps = before;
        }
        if self.length > 1 {
            self.follow(&one, second);
        } else if second == 0 {
            self.leaf(one);
        }
        self.path.pop();
    }

    /// Goes on from `tiny`, which is where the path leads, in every way.
    fn descend(&mut self, tiny: &Tiny) {
        for op in 0..OPS.len() {
            self.follow(tiny, op);
        }
    }

    /// All sequences that go on with `op`.
    fn follow(&mut self, tiny: &Tiny, op: usize) {
        let Some(next) = self.go(tiny, op) else {
            return;
        };
        if self.path.len() < self.length {
            self.descend(&next);
        } else {
            self.leaf(next);
        }
        self.path.pop();
    }

    /// One step more, in a copy, and on the path; `None` if it cannot be done
    /// or went wrong.
    fn go(&mut self, tiny: &Tiny, op: usize) -> Option<Tiny> {
        if !tiny.can(&OPS[op].1) || self.shared.stop.load(Ordering::Relaxed) {
            return None;
        }
        self.path.push(op);
        self.counts.steps += 1;
        let next = self.watch(|| {
            let mut next = tiny.duplicate();
            next.step(&OPS[op].1);
            next
        });
        if next.is_none() {
            self.path.pop();
        }
        next
    }

    /// The end of a sequence.
    fn leaf(&mut self, tiny: Tiny) {
        self.counts.sequences += 1;
        if self.counts.sequences.is_multiple_of(ENDS) {
            self.counts.ended += 1;
            self.watch(|| tiny.end());
        }
    }

    /// Does something on the path; if it panics, that is noted.
    fn watch<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let result = catch_unwind(AssertUnwindSafe(work));
        if result.is_err() && !self.shared.stop.swap(true, Ordering::Relaxed) {
            let failure = self.shared.failure.lock();
            *failure.unwrap_or_else(|e| e.into_inner()) = Some(self.path.clone());
        }
        result.ok()
    }
}

/// One thread's share of the work.
fn work(from: &str, kind: Kind, length: usize, part: Part, shared: &Shared) -> Counts {
    let mut search = Search {
        shared,
        counts: Counts::default(),
        path: Vec::new(),
        length,
    };
    let Some(tiny) = search.watch(|| start(from, kind)) else {
        return search.counts;
    };
    loop {
        let begun = shared.next.fetch_add(1, Ordering::Relaxed);
        let pair = begun * part.of + part.number;
        if length >= LONG && begun > 0 && begun.is_multiple_of(STRIDE) {
            let all = (OPS.len() * OPS.len()).div_ceil(part.of);
            println!("from {from}: {begun} of {all} pairs of first operations begun");
        }
        let (first, second) = (pair / OPS.len(), pair % OPS.len());
        if first >= OPS.len() {
            return search.counts;
        }
        search.subtree(&tiny, first, second);
    }
}

/// Tries every sequence of `length` operations from a start, or a part of them.
/// Panics at one that goes wrong, after showing it.
pub fn all(from: &str, kind: Kind, length: usize, part: Part) -> Counts {
    let shared = Shared {
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        failure: Mutex::new(None),
    };
    let began = Instant::now();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let parts: Vec<Counts> = thread::scope(|scope| {
        let work = || work(from, kind, length, part, &shared);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined.map(|counts| counts.expect("a worker")).collect()
    });
    let failure = shared.failure.into_inner();
    if let Some(path) = failure.unwrap_or_else(|e| e.into_inner()) {
        let names: Vec<&str> = path.iter().map(|op| OPS[*op].0).collect();
        panic!("DORMOUSE_SEQUENCE=\"{from} {}\"", names.join(" "));
    }
    let sum = |of: fn(&Counts) -> u64| parts.iter().map(of).sum();
    let counts = Counts {
        sequences: sum(|c| c.sequences),
        steps: sum(|c| c.steps),
        ended: sum(|c| c.ended),
    };
    println!(
        "from {from}: {} sequences of {length} of {} operations, {} steps compared, \
         {} ended, {:.1} s on {threads} threads",
        counts.sequences,
        OPS.len(),
        counts.steps,
        counts.ended,
        began.elapsed().as_secs_f64(),
    );
    counts
}

/// The world of a start; panics if there is no such start.
fn start(name: &str, kind: Kind) -> Tiny {
    let start = STARTS.iter().find(|(known, _)| *known == name);
    let (_, before) = start.expect("a known start");
    let mut tiny = Tiny::new(kind);
    for op in *before {
        tiny.step(&OPS[named(op).expect("a known operation")].1);
    }
    tiny
}

/// Does one sequence, given as the name of a start and names of operations.
pub fn replay(text: &str, kind: Kind) {
    let mut words = text.split_whitespace();
    let mut tiny = start(words.next().unwrap_or("fresh"), kind);
    for word in words {
        let op = &OPS[named(word).expect("a known operation")].1;
        println!("{word}: {op:?}");
        if tiny.can(op) {
            tiny.step(op);
        }
    }
    tiny.end();
}
