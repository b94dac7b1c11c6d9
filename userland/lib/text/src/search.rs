//! The run of a [`Pattern`] over texts, one table look-up a byte.
//!
//! The set of steps that a text has led to is a *state*. For each state the
//! next one is computed once for each byte and remembered (the lazy subset
//! construction; Thompson 1968, as in RE2), so that common texts cost a few
//! instructions a byte. The states are bounded: beyond [`STATES_MAX`] all are
//! forgotten and made again as they are needed.

use crate::Case;
use crate::pattern::{Pattern, Step};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

/// Most states that are remembered: 128 KiB of tables.
const STATES_MAX: usize = 128;
/// The bytes, and the next states in a row of the table.
const BYTES: usize = 256;

/// An entry of the table: nothing was computed yet.
const UNKNOWN: u32 = u32::MAX;
/// An entry of the table: the pattern has matched.
const FOUND: u32 = u32::MAX - 1;

/// The state before the first byte of a text.
const FIRST: u32 = 0;
/// The state in which no match has begun.
const IDLE: u32 = 1;

/// The steps that a text has led to, in ascending order: those that wait for a
/// byte or for the end of the text.
type Steps = Box<[u32]>;

/// Searches texts for a pattern, and remembers the states that they led to.
#[derive(Debug)]
pub struct Search<'p> {
    pattern: &'p Pattern,
    /// A row of [`BYTES`] next states for each state.
    table: Vec<u32>,
    states: Vec<State>,
    /// The states by their steps. [`FIRST`] is not among them: it differs from
    /// another state with the same steps, because `^` holds there.
    numbers: BTreeMap<Steps, u32>,
    /// The only byte with which a match can begin, if there is just one.
    begins: Option<u8>,
    /// Set while steps are followed: the steps that were reached.
    seen: Vec<bool>,
}

#[derive(Debug)]
struct State {
    steps: Steps,
    /// The pattern matches if the text ends here.
    at_end: bool,
}

/// A position in a text, for `^` and `$`.
#[derive(Clone, Copy)]
struct Position {
    start: bool,
    end: bool,
}

/// Somewhere in a text.
const WITHIN: Position = Position {
    start: false,
    end: false,
};

impl<'p> Search<'p> {
    /// A search for `pattern`.
    pub fn new(pattern: &'p Pattern) -> Search<'p> {
        let mut search = Search {
            pattern,
            table: Vec::new(),
            states: Vec::new(),
            numbers: BTreeMap::new(),
            begins: None,
            seen: vec![false; pattern.steps.len()],
        };
        search.forget();
        search.begins = search.only_beginning();
        search
    }

    /// Returns true if the pattern matches anywhere in `text`.
    pub fn is_in(&mut self, text: &[u8]) -> bool {
        // An empty text is enough for a pattern without these states.
        if self.states.len() <= IDLE as usize {
            return true;
        }
        let (mut state, mut rest) = (FIRST, text);
        if self.begins.is_some() {
            state = IDLE;
        }
        loop {
            if state == IDLE && self.begins.is_some() {
                match self.candidate(rest) {
                    Some(at) => rest = &rest[at..],
                    None => return false,
                }
            }
            let Some((byte, after)) = rest.split_first() else {
                return self.states[state as usize].at_end;
            };
            let mut next = self.table[state as usize * BYTES + usize::from(*byte)];
            if next == UNKNOWN {
                next = self.learn(state, *byte);
            }
            if next == FOUND {
                return true;
            }
            (state, rest) = (next, after);
        }
    }

    /// The first position in `text` at which a match may begin; `None` if there
    /// is no match.
    #[inline]
    pub fn candidate(&self, text: &[u8]) -> Option<usize> {
        match self.begins {
            Some(byte) => memchr::memchr(byte, text),
            None => Some(0),
        }
    }

    /// Computes the state after `byte` and remembers it. Before there are too
    /// many states, all are forgotten.
    #[cold]
    fn learn(&mut self, state: u32, byte: u8) -> u32 {
        let after = self.after(state, byte);
        let Some(steps) = after else {
            self.table[state as usize * BYTES + usize::from(byte)] = FOUND;
            return FOUND;
        };
        if let Some(number) = self.numbers.get(&steps) {
            self.table[state as usize * BYTES + usize::from(byte)] = *number;
            return *number;
        }
        if self.states.len() >= STATES_MAX {
            self.forget();
            return self.number(steps);
        }
        let number = self.number(steps);
        self.table[state as usize * BYTES + usize::from(byte)] = number;
        number
    }

    /// Returns to the two states that every text begins with.
    fn forget(&mut self) {
        self.table.clear();
        self.states.clear();
        self.numbers.clear();
        let start = Position {
            start: true,
            ..WITHIN
        };
        let (first, idle) = (self.close(vec![0], start), self.close(vec![0], WITHIN));
        if let (Some(first), Some(idle)) = (first, idle) {
            self.add(first, start);
            self.number(idle);
        }
    }

    /// The steps after `byte`; `None` if the pattern has matched.
    fn after(&mut self, state: u32, byte: u8) -> Option<Steps> {
        let byte = match self.pattern.case {
            Case::Differs => byte,
            Case::Ignored => byte.to_ascii_lowercase(),
        };
        let steps = &self.states[state as usize].steps;
        let going = steps.iter().filter(|step| self.pattern.takes(**step, byte));
        // A match may begin behind this byte, too.
        let open = going.map(|step| step + 1).chain([0]).collect();
        self.close(open, WITHIN)
    }

    /// The waiting steps among those reachable from `open` without a byte;
    /// `None` if the pattern has matched.
    fn close(&mut self, open: Vec<u32>, position: Position) -> Option<Steps> {
        if self.follow(open, position) {
            return None;
        }
        let waits = |step: &u32| self.seen[*step as usize] && self.pattern.waits(*step);
        let steps = 0..self.pattern.steps.len() as u32;
        Some(steps.filter(waits).collect())
    }

    /// Marks all steps reachable from `open` without a byte as seen; returns
    /// true if the end of the pattern is among them.
    fn follow(&mut self, mut open: Vec<u32>, position: Position) -> bool {
        self.seen.fill(false);
        while let Some(step) = open.pop() {
            if core::mem::replace(&mut self.seen[step as usize], true) {
                continue;
            }
            match self.pattern.steps[step as usize] {
                Step::Match => return true,
                Step::Jump(to) => open.push(to as u32),
                Step::Split(a, b) => open.extend([a as u32, b as u32]),
                Step::Start if position.start => open.push(step + 1),
                Step::End if position.end => open.push(step + 1),
                _ => {}
            }
        }
        false
    }

    /// The number of the state with these steps, which is added if it is new.
    fn number(&mut self, steps: Steps) -> u32 {
        if let Some(number) = self.numbers.get(&steps) {
            return *number;
        }
        let number = self.states.len() as u32;
        self.numbers.insert(steps.clone(), number);
        self.add(steps, WITHIN);
        number
    }

    fn add(&mut self, steps: Steps, position: Position) {
        let position = Position {
            end: true,
            ..position
        };
        let ends = |step: &&u32| matches!(self.pattern.steps[**step as usize], Step::End);
        let open = steps.iter().filter(ends).map(|step| step + 1).collect();
        let at_end = self.follow(open, position);
        self.table.resize(self.table.len() + BYTES, UNKNOWN);
        self.states.push(State { steps, at_end });
    }

    /// The byte that every match begins with, if the pattern says just one.
    fn only_beginning(&self) -> Option<u8> {
        let (first, idle) = (self.states.first()?, self.states.get(IDLE as usize)?);
        let [step] = *idle.steps else { return None };
        let Step::Byte(byte) = self.pattern.steps[step as usize] else {
            return None;
        };
        let two = self.pattern.case == Case::Ignored && byte.is_ascii_alphabetic();
        (first.steps == idle.steps && !two).then_some(byte)
    }
}

impl Pattern {
    /// Whether a step takes this byte.
    fn takes(&self, step: u32, byte: u8) -> bool {
        match &self.steps[step as usize] {
            Step::Byte(wanted) => *wanted == byte,
            Step::Any => true,
            Step::Set(set) => set[usize::from(byte)],
            _ => false,
        }
    }

    /// Whether a step waits for a byte or for the end of the text.
    fn waits(&self, step: u32) -> bool {
        let step = &self.steps[step as usize];
        matches!(step, Step::Byte(_) | Step::Any | Step::Set(_) | Step::End)
    }
}
