//! Standard input, output and error.
//!
//! Output is collected and written when the buffer is full, before anything
//! goes to standard error, before a process is made, and at exit; a write that
//! failed makes the program end with status 1 unless it has failed anyway.

use crate::File;
use crate::single::Single;
use crate::sys;
use abi::Errno;
use alloc::vec::Vec;
use core::fmt;

const BUFFER: usize = 4096;

struct Output {
    bytes: [u8; BUFFER],
    len: usize,
    failed: Option<Errno>,
}

static OUTPUT: Single<Output> = Single::new(Output {
    bytes: [0; BUFFER],
    len: 0,
    failed: None,
});

impl Output {
    fn flush(&mut self) -> Result<(), Errno> {
        let len = core::mem::take(&mut self.len);
        let result = File::borrowed(1).write_all(&self.bytes[..len]);
        if let Err(errno) = result {
            self.failed.get_or_insert(errno);
        }
        result
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        if bytes.len() > BUFFER - self.len {
            self.flush()?;
        }
        if bytes.len() >= BUFFER {
            let result = File::borrowed(1).write_all(bytes);
            if let Err(errno) = result {
                self.failed.get_or_insert(errno);
            }
            return result;
        }
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }
}

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// Adds bytes to standard output.
pub fn write(bytes: &[u8]) -> Result<(), Errno> {
    OUTPUT
        .with(|output| output.write(bytes))
        .unwrap_or(Err(Errno::EBUSY))
}

/// Writes out what has been collected.
pub fn flush() -> Result<(), Errno> {
    OUTPUT.with(Output::flush).unwrap_or(Err(Errno::EBUSY))
}

/// The first error of a write to standard output, if there was one.
pub fn failed() -> Option<Errno> {
    OUTPUT.with(|output| output.failed).flatten()
}

#[doc(hidden)]
pub fn print(arguments: fmt::Arguments<'_>) {
    OUTPUT.with(|output| fmt::Write::write_fmt(output, arguments));
}

/// A message put together on the stack, for when the heap may be the trouble.
struct Message {
    bytes: [u8; 512],
    len: usize,
}

impl Message {
    /// To standard error, or to the kernel's log where there is none.
    fn flush(&mut self) {
        let bytes = &self.bytes[..core::mem::take(&mut self.len)];
        if File::borrowed(2).write_all(bytes).is_err() {
            let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
            let _ = sys::log(line);
        }
    }
}

impl fmt::Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.as_bytes().chunks(self.bytes.len()) {
            if piece.len() > self.bytes.len() - self.len {
                self.flush();
            }
            self.bytes[self.len..self.len + piece.len()].copy_from_slice(piece);
            self.len += piece.len();
        }
        Ok(())
    }
}

#[doc(hidden)]
pub fn eprint(arguments: fmt::Arguments<'_>) {
    let _ = flush_pending();
    let mut message = Message {
        bytes: [0; 512],
        len: 0,
    };
    let _ = fmt::Write::write_fmt(&mut message, arguments);
    if message.len > 0 {
        message.flush();
    }
}

/// Flushes if there is anything to flush, so that a program without standard
/// output does not note a failure.
fn flush_pending() -> Result<(), Errno> {
    let flush = |output: &mut Output| match output.len {
        0 => Ok(()),
        _ => output.flush(),
    };
    OUTPUT.with(flush).unwrap_or(Ok(()))
}

pub(crate) fn flush_quietly() {
    let _ = flush_pending();
}

/// Prints to standard output.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => { $crate::io::print(format_args!($($argument)*)) };
}

/// Prints a line to standard output.
#[macro_export]
macro_rules! println {
    () => { $crate::io::print(format_args!("\n")) };
    ($($argument:tt)*) => { $crate::io::print(format_args!("{}\n", format_args!($($argument)*))) };
}

/// Prints a line to standard error, or to the kernel's log where there is none.
#[macro_export]
macro_rules! eprintln {
    ($($argument:tt)*) => { $crate::io::eprint(format_args!("{}\n", format_args!($($argument)*))) };
}

/// Reads lines from a file.
pub struct Lines<'a> {
    file: &'a File,
    pending: Vec<u8>,
    ended: bool,
}

impl<'a> Lines<'a> {
    /// From the descriptor's offset on.
    pub fn new(file: &'a File) -> Self {
        Lines {
            file,
            pending: Vec::new(),
            ended: false,
        }
    }

    /// The next line without its newline; `None` at the end of the file.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, Errno> {
        loop {
            if let Some(end) = self.pending.iter().position(|b| *b == b'\n') {
                let rest = self.pending.split_off(end + 1);
                let mut line = core::mem::replace(&mut self.pending, rest);
                line.pop();
                return Ok(Some(line));
            }
            if self.ended {
                let last = core::mem::take(&mut self.pending);
                return Ok((!last.is_empty()).then_some(last));
            }
            let mut piece = [0; 512];
            match self.file.read(&mut piece)? {
                0 => self.ended = true,
                n => self.pending.extend_from_slice(&piece[..n]),
            }
        }
    }
}
