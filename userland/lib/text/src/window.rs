//! The size of a terminal's window, asked from the terminal.

use alloc::vec::Vec;

/// Saves the cursor, moves it as far as it goes, asks for its place, and restores it.
const ASK: &[u8] = b"\x1b7\x1b[999;999H\x1b[6n\x1b8";
/// Questions in a row without an answer, after which a terminal is not asked again.
const MISSES_MAX: u8 = 2;
/// Longest answer, `ESC [ ROWS ; COLUMNS R`.
const ANSWER_MAX: usize = 16;

/// A size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Lines.
    pub rows: u32,
    /// Characters of a line.
    pub columns: u32,
}

/// Takes answers out of the bytes that a terminal sends.
#[derive(Debug, Default)]
pub struct Question {
    open: bool,
    misses: u8,
    /// The beginning of what may be the answer.
    held: Vec<u8>,
}

impl Question {
    /// The bytes that ask; `None` while a question is open, and for a terminal that
    /// does not answer.
    pub fn ask(&mut self) -> Option<&'static [u8]> {
        if self.open || self.misses >= MISSES_MAX {
            return None;
        }
        self.open = true;
        Some(ASK)
    }

    /// Returns true if an answer may still come.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Takes a byte from the terminal; passes on to `typed` those that are no part of
    /// the answer, in order. Returns the answer when it is complete.
    pub fn take(&mut self, byte: u8, mut typed: impl FnMut(u8)) -> Option<Window> {
        if !self.open {
            typed(byte);
            return None;
        }
        self.held.push(byte);
        match answer(&self.held) {
            Answer::Whole(window) => {
                self.held.clear();
                (self.open, self.misses) = (false, 0);
                return Some(window);
            }
            Answer::Begun => {}
            Answer::None => {
                let again = byte == 0x1b && self.held.len() > 1;
                let end = self.held.len() - usize::from(again);
                self.held.drain(..end).for_each(typed);
            }
        }
        None
    }

    /// The terminal has had time enough: passes on what is held to `typed`.
    pub fn give_up(&mut self, typed: impl FnMut(u8)) {
        if self.open {
            self.open = false;
            self.misses += 1;
        }
        self.held.drain(..).for_each(typed);
    }
}

enum Answer {
    None,
    Begun,
    Whole(Window),
}

/// What the bytes are of an answer.
fn answer(bytes: &[u8]) -> Answer {
    let expected = |begin: &[u8]| bytes.iter().zip(begin).all(|(a, b)| a == b);
    if !expected(b"\x1b[") || bytes.len() > ANSWER_MAX {
        return Answer::None;
    }
    let Some(numbers) = bytes.get(2..) else {
        return Answer::Begun;
    };
    let (numbers, whole) = match numbers.strip_suffix(b"R") {
        Some(numbers) => (numbers, true),
        None => (numbers, false),
    };
    let mut parts = numbers.split(|byte| *byte == b';');
    let mut number = || -> Option<Option<u32>> {
        let part = parts.next()?;
        let digits = part.iter().all(u8::is_ascii_digit);
        let text = core::str::from_utf8(part).ok().filter(|_| digits)?;
        Some(text.parse().ok().filter(|number| *number > 0))
    };
    let (rows, columns) = (number(), number());
    let digits = numbers
        .iter()
        .all(|byte| byte.is_ascii_digit() || *byte == b';');
    match (whole, rows.flatten(), columns.flatten()) {
        _ if !digits || number().is_some() => Answer::None,
        (true, Some(rows), Some(columns)) => Answer::Whole(Window { rows, columns }),
        (true, ..) => Answer::None,
        (false, ..) => Answer::Begun,
    }
}
