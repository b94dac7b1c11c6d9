//! The line discipline: turns typed bytes into lines and echo.
//!
//! Backspace deletes a character, Ctrl-U the line. Ctrl-D ends a line without a
//! newline; on an empty line it is the end of the file, for one read.

use alloc::{collections::VecDeque, vec::Vec};

const BACKSPACE: u8 = 8;
const DELETE: u8 = 0x7f;
pub const CTRL_C: u8 = 3;
pub const CTRL_D: u8 = 4;
const CTRL_U: u8 = 0x15;
const CTRL_W: u8 = 0x17;
const BELL: u8 = 7;
const ESCAPE: u8 = 0x1b;

/// Most bytes in a line; more are refused with a bell.
const LINE_MAX: usize = 4096;

/// The bytes that the terminal prints for a typed byte.
pub type Echo = Vec<u8>;

/// The state of the input.
pub struct Discipline {
    /// The line being typed.
    editing: Vec<u8>,
    /// Finished lines; an empty one is the end of the file for one read.
    lines: VecDeque<Vec<u8>>,
}

impl Discipline {
    pub fn new() -> Self {
        Discipline {
            editing: Vec::with_capacity(LINE_MAX),
            lines: VecDeque::new(),
        }
    }

    /// Discards all input.
    pub fn clear(&mut self) {
        *self = Discipline::new();
    }

    /// Takes the typed bytes that were not read yet.
    pub fn take_typed(&mut self) -> Vec<u8> {
        let mut typed = Vec::new();
        for line in self.lines.drain(..) {
            match line.is_empty() {
                true => typed.push(CTRL_D),
                false => typed.extend(line),
            }
        }
        typed.append(&mut self.editing);
        typed
    }

    /// Processes a typed byte; appends the bytes to print to `echo`.
    pub fn typed(&mut self, byte: u8, echo: &mut Echo) {
        match byte {
            b'\r' | b'\n' => {
                self.editing.push(b'\n');
                echo.extend_from_slice(b"\r\n");
                self.finish();
            }
            CTRL_D => self.finish(),
            BACKSPACE | DELETE => self.take_back(echo),
            CTRL_U => {
                while !self.editing.is_empty() {
                    self.take_back(echo);
                }
            }
            CTRL_W => {
                while self.editing.last() == Some(&b' ') {
                    self.take_back(echo);
                }
                while self.editing.last().is_some_and(|byte| *byte != b' ') {
                    self.take_back(echo);
                }
            }
            b'\t' | b' '.. if self.editing.len() + 1 < LINE_MAX => {
                self.editing.push(byte);
                echo.push(byte);
            }
            ESCAPE | b'\t' | b' '.. => echo.push(BELL),
            // Other control characters are ignored.
            _ => {}
        }
    }

    fn finish(&mut self) {
        let line = self.editing.clone();
        self.editing.clear();
        self.lines.push_back(line);
    }

    /// Removes the last character, all bytes of its UTF-8 form.
    fn take_back(&mut self, echo: &mut Echo) {
        while let Some(byte) = self.editing.pop() {
            if byte & 0xc0 != 0x80 {
                echo.extend_from_slice(b"\x08 \x08");
                return;
            }
        }
    }

    /// At most `count` bytes of the oldest line, empty at the end of the file;
    /// `None` if no line is complete yet.
    pub fn read(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut line = self.lines.pop_front()?;
        if line.len() > count {
            let rest = line.split_off(count);
            self.lines.push_front(rest);
        }
        Some(line)
    }
}
