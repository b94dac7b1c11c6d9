//! `less [FILE]`: shows a file, or standard input, a screen at a time. Space, `f`: on; `b`:
//! back; Return, `j`: a line on; `k`: a line back; `g`, `G`: to the start, to the end;
//! `/PATTERN`: to the next line in which the regular expression is found, `n`: to the one
//! after that; `q`: ends. Long lines are cut. If output is no terminal it is copied.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytestr::text::from_bytes;
use memchr::{memchr, memrchr};
use rt::console::{self, CONSOLE, CONTROL};
use rt::{Args, ByteStr, Errno, Failure, File, Named, copy, manual, mode};
use shell::edit::{shown, width};
use text::{Case, Pattern, Search};

rt::main!(main, include_str!("less.rs"));

const ROWS: usize = 24;
const COLUMNS: usize = 80;
const CTRL_C: u8 = 3;
/// A tab ends at a multiple of so many columns.
const TAB: usize = 8;

fn main(args: Args) -> Result<(), Failure> {
    let (_, files) = args.options("").flags()?;
    if files.len() > 1 {
        return Err(manual::misused());
    }
    let name = files.get(0).unwrap_or("-".into());
    let is_input = name.bytes() == b"-";
    let file = match is_input {
        true => File::borrowed(0).dup(),
        false => File::open(name, mode::OREAD),
    };
    let file = file.about(name)?;
    let control = File::open(CONTROL, mode::ORDWR).ok();
    let control = control.filter(|control| console::is(1) && window(control).is_some());
    let Some(control) = control else {
        return copy::content(&file, &File::borrowed(1)).about(name);
    };
    if is_input && console::is(0) {
        return Err(Failure::usage("there is no file to show"));
    }
    // A long file sleeps until it is shown.
    let text = file.read_to_end().about(name)?;
    drop(file);
    Screen::new(name, &text, control)
        .and_then(|mut screen| screen.run())
        .about(CONSOLE)
}

/// Rows for text, and columns, of the terminal. `None`: there is none.
fn window(control: &File) -> Option<(usize, usize)> {
    let mut text = [0; 128];
    let n = control.read_at(&mut text, 0).ok()?;
    let mut lines = core::str::from_utf8(text.get(..n)?).ok()?.lines();
    let size = lines.find_map(|line| line.strip_prefix("terminal "))?;
    let (rows, columns) = size.split_once('x')?;
    let number = |text: &str| text.trim().parse().ok().filter(|n| *n > 0);
    let (rows, columns) = (number(rows), number(columns));
    let rows: usize = rows.unwrap_or(ROWS);
    Some((rows.max(2) - 1, columns.unwrap_or(COLUMNS)))
}

/// A key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Byte(u8),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    /// None that is known.
    Other,
}

/// The terminal, and what it shows.
struct Screen<'t> {
    name: ByteStr<'t>,
    text: &'t [u8],
    /// Where the first line shown begins.
    top: usize,
    sought: Option<Pattern>,
    /// What the last line says in place of the name.
    said: String,
    keys: File,
    /// Closing it gives lines back to whoever reads them next.
    control: File,
}

impl<'t> Screen<'t> {
    fn new(name: ByteStr<'t>, text: &'t [u8], control: File) -> Result<Screen<'t>, Errno> {
        control.write_all(b"rawon")?;
        Ok(Screen {
            name,
            text,
            top: 0,
            sought: None,
            said: String::new(),
            keys: File::open(CONSOLE, mode::OREAD)?,
            control,
        })
    }

    fn run(&mut self) -> Result<(), Errno> {
        loop {
            let (rows, columns) = window(&self.control).unwrap_or((ROWS, COLUMNS));
            self.show(rows, columns)?;
            match self.key()? {
                // Single keys come as they are, Ctrl-C too.
                Key::Byte(b'q' | b'Q' | CTRL_C) => return File::borrowed(1).write_all(b"\r\x1b[K"),
                Key::Byte(b' ' | b'f') | Key::PageDown => self.on(rows, rows),
                Key::Byte(b'b') | Key::PageUp => self.back(rows),
                Key::Byte(b'\r' | b'\n' | b'j') | Key::Down => self.on(1, rows),
                Key::Byte(b'k') | Key::Up => self.back(1),
                Key::Byte(b'g') | Key::Home => self.top = 0,
                Key::Byte(b'G') | Key::End => {
                    self.top = self.text.len();
                    self.back(rows);
                }
                Key::Byte(b'/') => self.ask()?,
                Key::Byte(b'n') => self.seek(),
                Key::Byte(_) | Key::Other => {}
            }
        }
    }

    /// Where the line after the one at `from` begins.
    fn next(&self, from: usize) -> Option<usize> {
        let end = memchr(b'\n', self.text.get(from..)?)? + from + 1;
        (end < self.text.len()).then_some(end)
    }

    /// Goes on by so many lines, while as many as the screen has are left.
    fn on(&mut self, lines: usize, rows: usize) {
        for _ in 0..lines {
            let mut last = Some(self.top);
            for _ in 0..rows {
                last = last.and_then(|at| self.next(at));
            }
            match (last, self.next(self.top)) {
                (Some(_), Some(next)) => self.top = next,
                _ => return,
            }
        }
    }

    fn back(&mut self, lines: usize) {
        for _ in 0..lines {
            let Some(end) = self.top.checked_sub(1) else {
                return;
            };
            let before = self.text.get(..end).unwrap_or_default();
            self.top = memrchr(b'\n', before).map_or(0, |at| at + 1);
        }
    }

    /// To the next line with what is sought.
    fn seek(&mut self) {
        let Some(pattern) = &self.sought else {
            self.said = "nothing is sought".into();
            return;
        };
        let from = self.next(self.top).unwrap_or(self.text.len());
        let rest = self.text.get(from..).unwrap_or_default();
        match Search::new(pattern).find(rest).filter(|_| !rest.is_empty()) {
            Some(at) => {
                let before = rest.get(..at).unwrap_or_default();
                self.top = from + memrchr(b'\n', before).map_or(0, |end| end + 1);
            }
            None => self.said = "not found".into(),
        }
    }

    /// Asks for a pattern, and goes to it.
    fn ask(&mut self) -> Result<(), Errno> {
        let output = File::borrowed(1);
        let mut typed = Vec::new();
        loop {
            let shown = String::from_utf8_lossy(&typed);
            output.write_all(format!("\r\x1b[K/{}", ByteStr::from(&*shown)).as_bytes())?;
            match self.key()? {
                Key::Byte(b'\r' | b'\n') => break,
                Key::Byte(8 | 127) => drop(typed.pop()),
                Key::Byte(byte) if byte >= b' ' => typed.push(byte),
                _ => return Ok(()),
            }
        }
        match Pattern::new(&String::from_utf8_lossy(&typed), Case::Differs) {
            Ok(pattern) => {
                self.sought = Some(pattern);
                self.seek();
            }
            Err(wrong) => self.said = wrong,
        }
        Ok(())
    }

    fn byte(&self) -> Result<u8, Errno> {
        let mut byte = [0];
        match self.keys.read(&mut byte)? {
            0 => Ok(b'q'),
            _ => Ok(byte[0]),
        }
    }

    fn key(&self) -> Result<Key, Errno> {
        let byte = self.byte()?;
        if byte != 0x1b {
            return Ok(Key::Byte(byte));
        }
        if !matches!(self.byte()?, b'[' | b'O') {
            return Ok(Key::Other);
        }
        let mut number = 0u32;
        Ok(loop {
            match self.byte()? {
                digit @ b'0'..=b'9' => {
                    number = number
                        .wrapping_mul(10)
                        .wrapping_add(u32::from(digit - b'0'));
                }
                b';' => number = 0,
                b'A' => break Key::Up,
                b'B' => break Key::Down,
                b'H' => break Key::Home,
                b'F' => break Key::End,
                b'~' => {
                    break match number {
                        1 | 7 => Key::Home,
                        4 | 8 => Key::End,
                        5 => Key::PageUp,
                        6 => Key::PageDown,
                        _ => Key::Other,
                    };
                }
                _ => break Key::Other,
            }
        })
    }

    fn show(&mut self, rows: usize, columns: usize) -> Result<(), Errno> {
        let mut out = Vec::from(*b"\x1b[H");
        let mut at = Some(self.top).filter(|_| !self.text.is_empty());
        let mut end = self.top;
        for _ in 0..rows {
            match at {
                Some(from) => {
                    let rest = self.text.get(from..).unwrap_or_default();
                    let len = memchr(b'\n', rest).unwrap_or(rest.len());
                    cut(rest.get(..len).unwrap_or_default(), columns, &mut out);
                    at = self.next(from);
                    end = at.unwrap_or(self.text.len());
                }
                None => out.push(b'~'),
            }
            out.extend_from_slice(b"\x1b[K\r\n");
        }
        let part = match self.text.len() {
            0 => 100,
            len => (end as u128 * 100 / len as u128) as u64,
        };
        let said = core::mem::take(&mut self.said);
        let line = match said.is_empty() {
            true => format!("{} {part}%", self.name),
            false => said,
        };
        out.extend_from_slice(b"\x1b[7m");
        cut(line.as_bytes(), columns.saturating_sub(1), &mut out);
        out.extend_from_slice(b"\x1b[m\x1b[K");
        File::borrowed(1).write_all(&out)
    }
}

/// Appends as much of a line as fits, harmless to a terminal.
fn cut(line: &[u8], columns: usize, out: &mut Vec<u8>) {
    let mut left = columns;
    // Characters have up to four bytes, and marks that take no column follow some.
    let line = line.get(..columns * 16).unwrap_or(line);
    for c in from_bytes(line).chars() {
        let (c, width) = match c {
            '\t' => (' ', TAB - (columns - left) % TAB),
            _ => (shown(c), width(shown(c))),
        };
        if width > left {
            return;
        }
        left -= width;
        let mut utf8 = [0; 4];
        let repeated = if c == ' ' { width } else { 1 };
        for _ in 0..repeated {
            out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
        }
    }
}
