//! Editing a line on a terminal: bytes typed in, bytes to show out.
//!
//! The line stays on one row of the terminal; one that is longer is shown in
//! part, with `<` and `>` where it goes on. Only `\r`, `\x08`, `ESC [ K` and
//! `ESC [ n C` are asked of the terminal, and a newline that begins the next line.

mod search;
mod view;

use crate::complete::{Commands, complete};
use crate::glob::Names;
use crate::history::History;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytestr::ByteStr;
use bytestr::text::{from_bytes, to_bytes};
use search::Search;
use view::columns;
pub use view::{shown, width};

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 7;
/// Most characters of a line.
const LINE_MAX: usize = 64 << 10;
/// Columns to assume of a terminal that claims fewer.
const COLUMNS_MIN: usize = 12;
/// Columns for the line, at least, next to a long prompt.
const ROOM_MIN: usize = 8;
/// Names that are shown to choose from, at most.
const CHOICES_MAX: usize = 100;

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
    /// Tab: [`Editor::complete`] is wanted.
    Complete,
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
    prompt: String,
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
    /// The text cut by Ctrl-K, Ctrl-U, Ctrl-W and Alt-D.
    cut: Vec<char>,
    /// A search in the history.
    search: Option<Search>,
}

/// Columns for a prompt, at most.
fn prompt_room(columns: usize) -> usize {
    columns - ROOM_MIN - 1
}

impl<'a> Editor<'a> {
    /// An empty line after `prompt` on a terminal with that many columns, and
    /// the bytes to print first.
    pub fn new(prompt: &str, columns: usize, history: &'a History) -> (Self, Vec<u8>) {
        let columns = columns.max(COLUMNS_MIN);
        let prompt = view::fitting(prompt, prompt_room(columns));
        let first = prompt.clone().into_bytes();
        let editor = Editor {
            history,
            prompt,
            columns,
            line: Vec::new(),
            cursor: 0,
            shown_from: 0,
            back: 0,
            typed: Vec::new(),
            sequence: Sequence::None,
            partial: Vec::new(),
            cut: Vec::new(),
            search: None,
        };
        (editor, first)
    }

    /// Processes a typed byte; appends the bytes to print to `out`.
    pub fn byte(&mut self, byte: u8, out: &mut Vec<u8>) -> Event {
        match self.sequence {
            Sequence::None => match self.search_key(byte, out) {
                true => Event::Nothing,
                false => self.key(byte, out),
            },
            Sequence::Begun => {
                self.sequence = Sequence::None;
                match byte {
                    b'[' | b'O' => self.sequence = Sequence::Open(0),
                    _ => self.with_alt(byte, out),
                }
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

    /// A key with Alt, which sends ESC first.
    fn with_alt(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            b'b' => self.move_to(self.word_start(char::is_alphanumeric), out),
            b'f' => self.move_to(self.word_end(), out),
            b'd' => self.take(self.cursor, self.word_end(), out),
            8 | 0x7f => self.take(self.word_start(char::is_alphanumeric), self.cursor, out),
            _ => {}
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
            0x17 => self.take(self.word_start(|c| !c.is_whitespace()), self.cursor, out),
            0x19 => self.replace(self.cursor, self.cut.clone(), out),
            // Ctrl-L: a clean screen.
            12 => {
                out.extend_from_slice(b"\x1b[H\x1b[2J");
                self.redraw(out);
            }
            // Ctrl-P, N
            16 => self.older(out),
            14 => self.newer(out),
            // Ctrl-R
            0x12 => self.begin_search(out),
            ESCAPE => self.sequence = Sequence::Begun,
            b'\t' => return Event::Complete,
            b' '.. => self.printable(byte, out),
            _ => {}
        }
        Event::Nothing
    }

    /// A byte of a character in UTF-8, or one that is not.
    fn printable(&mut self, byte: u8, out: &mut Vec<u8>) {
        let text = self.character(byte).unwrap_or_default();
        for c in text.chars() {
            self.insert(c, out);
        }
    }

    /// The characters that are complete with this byte.
    fn character(&mut self, byte: u8) -> Option<String> {
        self.partial.push(byte);
        let unfinished = |error: core::str::Utf8Error| error.error_len().is_none();
        if core::str::from_utf8(&self.partial).is_err_and(unfinished) {
            return None;
        }
        Some(from_bytes(&core::mem::take(&mut self.partial)))
    }

    fn insert(&mut self, c: char, out: &mut Vec<u8>) {
        let at_end = self.cursor == self.line.len();
        let before = columns(self.line.get(self.shown_from..).unwrap_or(&[]));
        if at_end && width(c) > 0 && before + width(c) <= self.room() {
            self.line.push(c);
            self.cursor += 1;
            out.extend_from_slice(shown(c).encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            self.replace(self.cursor, Vec::from([c]), out);
        }
    }

    /// Puts characters in place of those from `from` up to the cursor.
    fn replace(&mut self, from: usize, by: Vec<char>, out: &mut Vec<u8>) {
        if self.line.len() - (self.cursor - from) + by.len() > LINE_MAX {
            out.push(BELL);
            return;
        }
        let end = from + by.len();
        self.line.splice(from..self.cursor, by);
        self.cursor = end;
        self.redraw(out);
    }

    fn backspace(&mut self, out: &mut Vec<u8>) {
        let Some(before) = self.cursor.checked_sub(1) else {
            return;
        };
        self.cursor = before;
        let c = self.line.remove(before);
        if before == self.line.len() && self.shown_from == 0 && width(c) == 1 {
            out.extend_from_slice(b"\x08 \x08");
        } else {
            self.redraw(out);
        }
    }

    /// After [`Event::Complete`]: completes the word before the cursor with the name
    /// of a file or command, or shows the names that it may become.
    pub fn complete(&mut self, host: &mut (impl Names + Commands), out: &mut Vec<u8>) {
        let before = self.line.get(..self.cursor).unwrap_or(&[]);
        let Some(completion) = complete(before, host) else {
            out.push(BELL);
            return;
        };
        if !completion.choices.is_empty() {
            self.show_choices(&completion.choices, out);
        }
        self.replace(completion.from, completion.text.chars().collect(), out);
    }

    /// Names below the line, in columns.
    fn show_choices(&self, names: &[String], out: &mut Vec<u8>) {
        let cells: Vec<String> = names
            .iter()
            .take(CHOICES_MAX)
            .map(|name| format!("{}", ByteStr(&to_bytes(name))))
            .collect();
        let takes = |cell: &String| cell.chars().map(width).sum::<usize>();
        let column = cells.iter().map(takes).max().unwrap_or(0) + 2;
        let across = (self.columns / column).max(1);
        for (index, cell) in cells.iter().enumerate() {
            match index.is_multiple_of(across) {
                true => out.push(b'\n'),
                false => out.extend((takes(&cells[index - 1])..column).map(|_| b' ')),
            }
            out.extend_from_slice(cell.as_bytes());
        }
        if names.len() > CHOICES_MAX {
            let more = format!("\n... and {} more", names.len() - CHOICES_MAX);
            out.extend_from_slice(more.as_bytes());
        }
        out.push(b'\n');
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

    /// Where the word before the cursor begins; words are of such characters.
    fn word_start(&self, of_word: impl Fn(char) -> bool) -> usize {
        let before = self.line.get(..self.cursor).unwrap_or(&[]);
        let end = before.iter().rposition(|c| of_word(*c)).unwrap_or(0);
        let gap = before[..end].iter().rposition(|c| !of_word(*c));
        gap.map_or(0, |at| at + 1)
    }

    /// Where the word at or after the cursor ends.
    fn word_end(&self) -> usize {
        let rest = self.line.get(self.cursor..).unwrap_or(&[]);
        let gap = rest.iter().take_while(|c| !c.is_alphanumeric()).count();
        let word = rest[gap..]
            .iter()
            .take_while(|c| c.is_alphanumeric())
            .count();
        self.cursor + gap + word
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
        self.columns - view::prompt_columns(&self.prompt) - 1
    }

    fn move_to(&mut self, to: usize, out: &mut Vec<u8>) {
        let to = to.min(self.line.len());
        if to != self.cursor {
            self.cursor = to;
            self.redraw(out);
        }
    }

    /// Chooses the part of the line that is shown: all, or a part with the cursor and
    /// something before it.
    fn scroll(&mut self, room: usize) {
        if columns(&self.line) <= room {
            self.shown_from = 0;
            return;
        }
        let before = self.line.get(self.shown_from..self.cursor).map(columns);
        let after = columns(self.line.get(self.shown_from..).unwrap_or(&[]));
        // A line that goes on has a mark in the last column: the cursor stays left of it.
        let last = if after > room { room - 1 } else { room };
        let kept = match (before, self.shown_from) {
            (None, _) => false,
            (Some(before), 0) => before <= last,
            (Some(before), _) => {
                (2..=last).contains(&before)
                    && after > room / 2
                    && width(self.line[self.shown_from]) > 0
            }
        };
        if kept {
            return;
        }
        // The cursor comes to two thirds of the room.
        let (mut from, mut before) = (self.cursor, 0);
        while from > 0 && before + width(self.line[from - 1]) <= room * 2 / 3 {
            from -= 1;
            before += width(self.line[from]);
        }
        // The mark `<` has no place over the parts of a character that is not shown.
        while from < self.cursor && width(self.line[from]) == 0 {
            from += 1;
        }
        self.shown_from = from;
    }

    fn redraw(&mut self, out: &mut Vec<u8>) {
        let room = self.room();
        self.scroll(room);
        let rest = self.line.get(self.shown_from..).unwrap_or(&[]);
        let (mut text, mut used) = (String::new(), 0);
        for (index, c) in rest.iter().enumerate() {
            let more_before = index == 0 && self.shown_from > 0;
            let fits = used + width(*c) <= room;
            // The last column is a mark if not all of the rest fits in it.
            let last = used + width(*c) == room && columns(&rest[index + 1..]) > 0;
            match (more_before, fits && !last) {
                (true, _) => text.extend(core::iter::repeat_n('<', width(*c).max(1))),
                (false, true) => text.push(shown(*c)),
                (false, false) => {
                    text.push('>');
                    break;
                }
            }
            used += width(*c);
        }
        let before = columns(self.line.get(self.shown_from..self.cursor).unwrap_or(&[]));
        let column = view::prompt_columns(&self.prompt) + before;
        let prompt = &self.prompt;
        out.extend_from_slice(format!("\r{prompt}{text}\x1b[K\r").as_bytes());
        if column > 0 {
            out.extend_from_slice(format!("\x1b[{column}C").as_bytes());
        }
    }
}
