//! Input from a pipe or file: unchanged bytes, and their end.
//!
//! The runner sends each byte unchanged, but [`MARK`] twice; `MARK END` is the
//! end of the input. There is no editing, no interrupt, and no loss.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Announces the end, or itself.
const MARK: u8 = 0x10;
const END: u8 = 4;
/// Bytes that came ahead of a read; more of them wait in the device.
const AHEAD_MAX: usize = 16 * 1024;
/// A line without an end is delivered in pieces of this many bytes.
const PIECE: usize = 4096;

/// Input that was received and not read yet.
#[derive(Default)]
pub struct Pipe {
    bytes: VecDeque<u8>,
    marked: bool,
    ended: bool,
}

impl Pipe {
    /// Takes a byte from the device.
    pub fn take(&mut self, byte: u8) {
        match (core::mem::take(&mut self.marked), byte) {
            (false, MARK) => self.marked = true,
            (true, END) => self.ended = true,
            (_, byte) => self.bytes.push_back(byte),
        }
    }

    /// Returns true if the device must wait.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= AHEAD_MAX
    }

    /// At most `count` bytes and one line, empty at the end of the input; `None`
    /// if neither a line nor the end has come.
    pub fn read(&mut self, count: usize) -> Option<Vec<u8>> {
        let most = count.min(PIECE);
        let line = self.bytes.iter().take(most).position(|byte| *byte == b'\n');
        let len = match line {
            Some(at) => at + 1,
            None if self.bytes.len() >= most => most,
            None if self.ended => self.bytes.len(),
            None => return None,
        };
        Some(self.bytes.drain(..len).collect())
    }
}

/// The echo of bytes that were read: plain text, without control sequences for
/// a terminal.
pub fn echo(bytes: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| matches!(byte, b'\t' | b'\n' | b' '..=b'~' | 0x80..);
    bytes.iter().copied().filter(plain).collect()
}
