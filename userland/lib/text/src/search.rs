//! The run of a [`Pattern`] over lines of text, one table look-up a byte.
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

/// Most states that are remembered.
const STATES_MAX: usize = 128;
/// The bytes, and the next rows in a row of the table.
const BYTES: usize = 256;
/// The entries of the table: any row and byte is the number of one.
const ENTRIES: usize = 1 << 16;
/// Bytes that are followed before the row is looked at.
const STRIDE: usize = 8;

/// The table's row of a state, by the number of its first entry. State 0 has the second
/// row.
type Row = u16;

/// The row, and the entry for it, where nothing was computed yet: all of it.
const UNKNOWN: Row = 0;
/// The row, and the entry for it, where the pattern has matched: each byte leads there
/// again.
const FOUND: Row = 0xff00;
/// The row before the first byte of a line.
const FIRST: Row = row(0);
/// The row of the state in which no match has begun.
const IDLE: Row = row(1);

const fn row(state: usize) -> Row {
    ((state + 1) * BYTES) as Row
}

/// The number of the state with that row.
const fn state(row: Row) -> usize {
    row as usize / BYTES - 1
}

/// The steps that a text has led to, in ascending order: those that wait for a
/// byte or for the end of the text.
type Steps = Box<[u32]>;

/// Searches texts for a pattern, and remembers the states that they led to.
#[derive(Debug)]
pub struct Search<'p> {
    pattern: &'p Pattern,
    /// The next row for each row and byte.
    table: Box<[Row; ENTRIES]>,
    states: Vec<State>,
    /// The rows of the states by their steps. [`FIRST`] is not among them: it differs from
    /// another state with the same steps, because `^` holds there.
    numbers: BTreeMap<Steps, Row>,
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

/// A table in which nothing is known.
fn empty() -> Box<[Row; ENTRIES]> {
    match vec![UNKNOWN; ENTRIES].into_boxed_slice().try_into() {
        Ok(table) => table,
        Err(_) => unreachable!("it has that length"),
    }
}

/// The entry for a row and a byte.
#[inline]
fn entry(row: Row, byte: u8) -> usize {
    usize::from(row | Row::from(byte))
}

impl<'p> Search<'p> {
    /// A search for `pattern`.
    pub fn new(pattern: &'p Pattern) -> Search<'p> {
        let mut search = Search {
            pattern,
            table: empty(),
            states: Vec::new(),
            numbers: BTreeMap::new(),
            begins: None,
            seen: vec![false; pattern.steps.len()],
        };
        search.forget();
        search.begins = search.only_beginning();
        search
    }

    /// Returns true if the pattern matches anywhere in a line of `text`.
    pub fn is_in(&mut self, text: &[u8]) -> bool {
        self.find(text).is_some()
    }

    /// The first line of `text` in which the pattern matches: the position of a byte of
    /// it, of its newline, or of the end of the text.
    pub fn find(&mut self, text: &[u8]) -> Option<usize> {
        // An empty line is enough for a pattern without these states.
        if self.states.len() <= state(IDLE) {
            return Some(0);
        }
        let (mut at, mut row) = (0, FIRST);
        loop {
            match self.begins {
                None => (at, row) = self.follow_known(text, at, row),
                Some(byte) if row == FIRST || row == IDLE => {
                    at += memchr::memchr(byte, text.get(at..)?)?;
                }
                Some(_) => {}
            }
            for _ in 0..STRIDE {
                let Some(byte) = text.get(at) else {
                    // A newline at the end begins no further line.
                    let line = at == 0 || text.get(at - 1) != Some(&b'\n');
                    return (line && self.states[state(row)].at_end).then_some(at);
                };
                let mut next = self.table[entry(row, *byte)];
                if next == UNKNOWN {
                    next = self.learn(row, *byte);
                }
                if next == FOUND {
                    return Some(at);
                }
                (at, row) = (at + 1, next);
            }
        }
    }

    /// Follows the text from a position and row, several bytes at a time, as far as the
    /// rows are known and the pattern has not matched.
    #[inline]
    fn follow_known(&self, text: &[u8], mut at: usize, mut row: Row) -> (usize, Row) {
        let chunks = text.get(at..).unwrap_or(&[]).as_chunks::<STRIDE>().0;
        for chunk in chunks {
            // Two rows lead only to themselves, so that one look is enough.
            let next = |row, byte: &u8| self.table[entry(row, *byte)];
            let after = chunk.iter().fold(row, next);
            if after == UNKNOWN || after == FOUND {
                break;
            }
            (at, row) = (at + STRIDE, after);
        }
        (at, row)
    }

    /// Computes the row after `byte` and remembers it. Before there are too
    /// many states, all are forgotten.
    #[cold]
    fn learn(&mut self, from: Row, byte: u8) -> Row {
        if byte == b'\n' {
            let next = match self.states[state(from)].at_end {
                true => FOUND,
                false => FIRST,
            };
            self.table[entry(from, byte)] = next;
            return next;
        }
        let Some(steps) = self.after(from, byte) else {
            self.table[entry(from, byte)] = FOUND;
            return FOUND;
        };
        if let Some(row) = self.numbers.get(&steps) {
            self.table[entry(from, byte)] = *row;
            return *row;
        }
        if self.states.len() >= STATES_MAX {
            self.forget();
            return self.number(steps);
        }
        let row = self.number(steps);
        self.table[entry(from, byte)] = row;
        row
    }

    /// Returns to the two states that every text begins with.
    fn forget(&mut self) {
        let used = (self.states.len() + 1) * BYTES;
        self.table[..used].fill(UNKNOWN);
        self.table[usize::from(FOUND)..].fill(FOUND);
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
    fn after(&mut self, from: Row, byte: u8) -> Option<Steps> {
        let byte = match self.pattern.case {
            Case::Differs => byte,
            Case::Ignored => byte.to_ascii_lowercase(),
        };
        let steps = &self.states[state(from)].steps;
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

    /// The row of the state with these steps, which is added if it is new.
    fn number(&mut self, steps: Steps) -> Row {
        if let Some(row) = self.numbers.get(&steps) {
            return *row;
        }
        let row = row(self.states.len());
        self.numbers.insert(steps.clone(), row);
        self.add(steps, WITHIN);
        row
    }

    fn add(&mut self, steps: Steps, position: Position) {
        let position = Position {
            end: true,
            ..position
        };
        let ends = |step: &&u32| matches!(self.pattern.steps[**step as usize], Step::End);
        let open = steps.iter().filter(ends).map(|step| step + 1).collect();
        let at_end = self.follow(open, position);
        self.states.push(State { steps, at_end });
    }

    /// The byte that every match begins with, if the pattern says just one.
    fn only_beginning(&self) -> Option<u8> {
        let (first, idle) = (self.states.first()?, self.states.get(state(IDLE))?);
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
