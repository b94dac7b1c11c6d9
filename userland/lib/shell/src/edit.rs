//! Editing a line on a terminal: bytes typed in, bytes to show out.
//!
//! The line stays on one row of the terminal; one that is longer is shown in
//! part. Only `\r`, `\x08`, `ESC [ K` and `ESC [ n C` are asked of the
//! terminal, and a newline that begins the next line.

use crate::history::History;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

const ESCAPE: u8 = 0x1b;

/// The effect of a typed byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The line goes on.
    Nothing,
    /// The line is finished.
    Line(String),
    /// Ctrl-D on an empty line.
    End,
    /// Ctrl-C: the line is given up.
    Interrupt,
}

/// Where in an escape sequence the input is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sequence {
    None,
    /// After ESC.
    Begun,
    /// After `ESC [` or `ESC O`, with the number so far.
    Open(u32),
}

/// The state of one line.
pub struct Editor<'a> {
    history: &'a History,
    prompt: &'a str,
    columns: usize,
    line: Vec<char>,
    /// Index into `line`.
    cursor: usize,
    /// Index of the first character shown.
    shown_from: usize,
    /// Lines back in the history; 0: the line being typed.
    back: usize,
    /// The line being typed, while one of the history is shown.
    typed: Vec<char>,
    sequence: Sequence,
    /// Bytes of a character that is not complete.
    partial: Vec<u8>,
    /// The text cut by Ctrl-K, Ctrl-U and Ctrl-W.
    cut: Vec<char>,
}

impl<'a> Editor<'a> {
    /// An empty line after `prompt` on a terminal with that many columns, and
    /// the bytes to print first.
    pub fn new(prompt: &'a str, columns: usize, history: &'a History) -> (Self, Vec<u8>) {
        let editor = Editor {
            history,
            prompt,
            // Leave room for the prompt and some characters even if the
            // terminal claims fewer columns.
            columns: columns.max(prompt.chars().count() + 8),
            line: Vec::new(),
            cursor: 0,
            shown_from: 0,
            back: 0,
            typed: Vec::new(),
            sequence: Sequence::None,
            partial: Vec::new(),
            cut: Vec::new(),
        };
        (editor, prompt.as_bytes().to_vec())
    }

    /// Processes a typed byte; appends the bytes to print to `out`.
    pub fn byte(&mut self, byte: u8, out: &mut Vec<u8>) -> Event {
        match self.sequence {
            Sequence::None => self.key(byte, out),
            Sequence::Begun => {
                self.sequence = match byte {
                    b'[' | b'O' => Sequence::Open(0),
                    _ => Sequence::None,
                };
                Event::Nothing
            }
            Sequence::Open(number) => {
                self.sequence = Sequence::None;
                match byte {
                    b'0'..=b'9' => {
                        let digit = u32::from(byte - b'0');
                        self.sequence =
                            Sequence::Open(number.saturating_mul(10).saturating_add(digit));
                    }
                    // A modifier follows; the key means the same with it.
                    b';' => self.sequence = Sequence::Open(0),
                    _ => self.special(byte, number, out),
                }
                Event::Nothing
            }
        }
    }

    fn special(&mut self, last: u8, number: u32, out: &mut Vec<u8>) {
        match (last, number) {
            (b'A', _) => self.older(out),
            (b'B', _) => self.newer(out),
            (b'C', _) => self.move_to(self.cursor + 1, out),
            (b'D', _) => self.move_to(self.cursor.saturating_sub(1), out),
            (b'H', _) | (b'~', 1 | 7) => self.move_to(0, out),
            (b'F', _) | (b'~', 4 | 8) => self.move_to(self.line.len(), out),
            (b'~', 3) => self.delete(out),
            _ => {}
        }
    }

    fn key(&mut self, byte: u8, out: &mut Vec<u8>) -> Event {
        match byte {
            b'\r' | b'\n' => {
                self.move_to(self.line.len(), out);
                out.push(b'\n');
                return Event::Line(self.line.iter().collect());
            }
            // Ctrl-D
            4 if self.line.is_empty() => {
                out.push(b'\n');
                return Event::End;
            }
            4 => self.delete(out),
            // Ctrl-C
            3 => {
                out.extend_from_slice(b"^C\n");
                return Event::Interrupt;
            }
            // Ctrl-A, E, B, F
            1 => self.move_to(0, out),
            5 => self.move_to(self.line.len(), out),
            2 => self.move_to(self.cursor.saturating_sub(1), out),
            6 => self.move_to(self.cursor + 1, out),
            8 | 0x7f => self.backspace(out),
            // Ctrl-K, U, W, Y
            11 => self.take(self.cursor, self.line.len(), out),
            0x15 => self.take(0, self.cursor, out),
            0x17 => self.take(self.word_start(), self.cursor, out),
            0x19 => {
                let cut = self.cut.clone();
                self.line.splice(self.cursor..self.cursor, cut);
                self.cursor += self.cut.len();
                self.redraw(out);
            }
            // Ctrl-L: a clean screen.
            12 => {
                out.extend_from_slice(b"\x1b[H\x1b[2J");
                self.redraw(out);
            }
            // Ctrl-P, N
            16 => self.older(out),
            14 => self.newer(out),
            ESCAPE => self.sequence = Sequence::Begun,
            b'\t' => self.insert(' ', out),
            b' '.. => self.printable(byte, out),
            _ => {}
        }
        Event::Nothing
    }

    /// A byte of a character, in UTF-8.
    fn printable(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.partial.push(byte);
        match core::str::from_utf8(&self.partial) {
            Ok(text) => {
                let c = text.chars().next();
                self.partial.clear();
                if let Some(c) = c {
                    self.insert(c, out);
                }
            }
            Err(error) if error.error_len().is_some() => self.partial.clear(),
            Err(_) => {}
        }
    }

    fn insert(&mut self, c: char, out: &mut Vec<u8>) {
        self.line.insert(self.cursor, c);
        self.cursor += 1;
        let at_end = self.cursor == self.line.len();
        if at_end && self.cursor - self.shown_from < self.room() {
            let mut utf8 = [0; 4];
            out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
        } else {
            self.redraw(out);
        }
    }

    fn backspace(&mut self, out: &mut Vec<u8>) {
        if self.cursor > 0 {
            self.cursor -= 1;
            self.line.remove(self.cursor);
            if self.cursor == self.line.len() && self.cursor > self.shown_from {
                out.extend_from_slice(b"\x08 \x08");
            } else {
                self.redraw(out);
            }
        }
    }

    fn delete(&mut self, out: &mut Vec<u8>) {
        if self.cursor < self.line.len() {
            self.line.remove(self.cursor);
            self.redraw(out);
        }
    }

    /// Cuts characters out of the line.
    fn take(&mut self, from: usize, to: usize, out: &mut Vec<u8>) {
        if from < to {
            self.cut = self.line.drain(from..to).collect();
            self.cursor = from;
            self.redraw(out);
        }
    }

    /// Where the word before the cursor begins.
    fn word_start(&self) -> usize {
        let before = self.line.get(..self.cursor).unwrap_or(&[]);
        let word = before.iter().rposition(|c| !c.is_whitespace());
        let blank = word.and_then(|end| before[..end].iter().rposition(|c| c.is_whitespace()));
        match (word, blank) {
            (None, _) => 0,
            (Some(_), None) => 0,
            (Some(_), Some(blank)) => blank + 1,
        }
    }

    fn older(&mut self, out: &mut Vec<u8>) {
        if let Some(line) = self.history.back(self.back + 1) {
            if self.back == 0 {
                self.typed = core::mem::take(&mut self.line);
            }
            self.back += 1;
            self.line = line.chars().collect();
            self.cursor = self.line.len();
            self.redraw(out);
        }
    }

    fn newer(&mut self, out: &mut Vec<u8>) {
        if self.back > 0 {
            self.back -= 1;
            self.line = match self.history.back(self.back) {
                Some(line) if self.back > 0 => line.chars().collect(),
                _ => core::mem::take(&mut self.typed),
            };
            self.cursor = self.line.len();
            self.redraw(out);
        }
    }

    /// Columns for the line; one is left for the cursor at its end.
    fn room(&self) -> usize {
        self.columns - self.prompt.chars().count() - 1
    }

    fn move_to(&mut self, to: usize, out: &mut Vec<u8>) {
        let to = to.min(self.line.len());
        if to != self.cursor {
            self.cursor = to;
            self.redraw(out);
        }
    }

    fn redraw(&mut self, out: &mut Vec<u8>) {
        let room = self.room();
        if self.cursor < self.shown_from {
            self.shown_from = self.cursor;
        } else if self.cursor - self.shown_from > room {
            self.shown_from = self.cursor - room;
        }
        let shown = self.line.iter().skip(self.shown_from).take(room);
        let shown: String = shown.collect();
        let column = self.prompt.chars().count() + self.cursor - self.shown_from;
        let prompt = self.prompt;
        out.extend_from_slice(format!("\r{prompt}{shown}\x1b[K\r").as_bytes());
        if column > 0 {
            out.extend_from_slice(format!("\x1b[{column}C").as_bytes());
        }
    }
}
