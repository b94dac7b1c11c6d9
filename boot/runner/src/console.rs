//! The guest's console output on its way to the user: line ends become the
//! host's, and addresses in backtraces get names.

use crate::symbols::Symbols;

/// Lines longer than this are not checked for a backtrace.
const LINE_MAX: usize = 1024;
/// Bytes kept to show the last lines of a guest that hangs.
const TAIL_MAX: usize = 16 * 1024;

/// A filter for the bytes of the console. It passes everything on at once,
/// including a prompt without a line end.
#[derive(Debug)]
pub struct Filter {
    symbols: Symbols,
    line: Vec<u8>,
    /// A carriage return that may be half of a line end.
    return_held: bool,
    tail: Vec<u8>,
}

impl Filter {
    /// A filter at the start of a line.
    pub fn new(symbols: Symbols) -> Filter {
        Filter {
            symbols,
            line: Vec::new(),
            return_held: false,
            tail: Vec::new(),
        }
    }

    /// The bytes to print for the next bytes from the guest. The console ends
    /// lines with CR LF; exactly that CR is removed.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if byte == b'\n' {
                if let Ok(line) = std::str::from_utf8(&self.line)
                    && let Some(note) = self.symbols.annotate(line)
                {
                    out.extend_from_slice(note.as_bytes());
                }
                self.line.clear();
            } else if self.return_held {
                out.push(b'\r');
                self.line.clear();
            }
            self.return_held = byte == b'\r';
            if self.return_held {
                continue;
            }
            out.push(byte);
            if byte != b'\n' && self.line.len() < LINE_MAX {
                self.line.push(byte);
            }
        }
        self.keep(&out);
        out
    }

    fn keep(&mut self, out: &[u8]) {
        self.tail.extend_from_slice(out);
        if self.tail.len() > 2 * TAIL_MAX {
            self.tail.drain(..self.tail.len() - TAIL_MAX);
        }
    }

    /// The last lines passed, `count` at most.
    pub fn last_lines(&self, count: usize) -> String {
        last_lines(&String::from_utf8_lossy(&self.tail), count)
    }
}

/// The last `count` lines of `text`, indented.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    lines[from..]
        .iter()
        .map(|line| format!("  | {line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter() -> Filter {
        Filter::new(Symbols::default())
    }

    #[test]
    fn line_ends_become_the_hosts_even_when_they_come_in_pieces() {
        let mut filter = filter();
        let mut out = filter.pass(b"a\r");
        out.extend(filter.pass(b"\nb\r\r\nc\rd"));
        assert_eq!(out, b"a\nb\r\nc\rd");
    }

    #[test]
    fn a_prompt_is_not_held_back() {
        assert_eq!(filter().pass(b"dormouse% "), b"dormouse% ");
    }

    #[test]
    fn the_last_lines_are_kept() {
        let mut filter = filter();
        for n in 0..10_000 {
            filter.pass(format!("line {n}\r\n").as_bytes());
        }
        assert_eq!(filter.last_lines(2), "  | line 9998\n  | line 9999\n");
    }
}
