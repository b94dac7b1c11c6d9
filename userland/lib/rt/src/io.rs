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
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

const BUFFER: usize = 4096;
/// Exit status of a program whose standard output is a channel without a
/// reader; the shells' number for it.
pub const NO_READER: u8 = 141;

pub(crate) struct Output {
    bytes: [u8; BUFFER],
    len: usize,
    failed: Option<Errno>,
}

pub(crate) static OUTPUT: Single<Output> = Single::new(Output {
    bytes: [0; BUFFER],
    len: 0,
    failed: None,
});

/// There may be output to flush, or a write of it is under way.
static PENDING: AtomicBool = AtomicBool::new(false);

impl Output {
    fn flush(&mut self) -> Result<(), Errno> {
        let len = core::mem::take(&mut self.len);
        let result = File::borrowed(1).write_all(&self.bytes[..len]);
        // Not earlier: another thread that ends the program waits for the write.
        PENDING.store(false, Relaxed);
        self.note(result)
    }

    /// Flushes if there is anything to flush, so that a program without standard
    /// output does not note a failure.
    fn flush_pending(&mut self) -> Result<(), Errno> {
        match self.len {
            0 => Ok(()),
            _ => self.flush(),
        }
    }

    /// Remembers a failure. A program whose reader has gone ends at once and
    /// in silence, as it does at the end of a pipeline elsewhere.
    fn note(&mut self, result: Result<(), Errno>) -> Result<(), Errno> {
        if let Err(errno) = result {
            if errno == Errno::EPIPE {
                crate::process::exit_now(NO_READER, errno.text());
            }
            self.failed.get_or_insert(errno);
        }
        result
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        if bytes.len() > BUFFER - self.len {
            self.flush()?;
        }
        if bytes.len() >= BUFFER {
            PENDING.store(true, Relaxed);
            let result = File::borrowed(1).write_all(bytes);
            PENDING.store(false, Relaxed);
            return self.note(result);
        }
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
        PENDING.store(true, Relaxed);
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

/// Adds a name to standard output: escaped where it could do harm to the
/// console, as it is to all else.
pub fn write_name(name: impl AsRef<[u8]>) -> Result<(), Errno> {
    let name = name.as_ref();
    if bytestr::shown::plain(name).is_some() || !crate::console::is(1) {
        return write(name);
    }
    print(format_args!("{}", bytestr::ByteStr(name)));
    Ok(())
}

/// Writes the collected output.
pub fn flush() -> Result<(), Errno> {
    OUTPUT.with(Output::flush).unwrap_or(Err(Errno::EBUSY))
}

/// The first error of a write to standard output, if there was one.
pub fn failed() -> Option<Errno> {
    OUTPUT.with(|output| output.failed).flatten()
}

/// The same, and forgets it.
pub fn take_failure() -> Option<Errno> {
    OUTPUT.with(|output| output.failed.take()).flatten()
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
    print_message(arguments);
}

/// The same in a panic, which waits for no thread: the one that prints may be in a panic too.
pub(crate) fn eprint_at_once(arguments: fmt::Arguments<'_>) {
    OUTPUT.try_with(Output::flush_pending);
    print_message(arguments);
}

fn print_message(arguments: fmt::Arguments<'_>) {
    let mut message = Message {
        bytes: [0; 512],
        len: 0,
    };
    let _ = fmt::Write::write_fmt(&mut message, arguments);
    if message.len > 0 {
        message.flush();
    }
}

fn flush_pending() -> Result<(), Errno> {
    // Taking the output is a store, which costs a page before or after a fork.
    if !PENDING.load(Relaxed) {
        return Ok(());
    }
    OUTPUT.with(Output::flush_pending).unwrap_or(Ok(()))
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

/// Bytes read at a time.
const PIECE: usize = 16 * 1024;

/// Reads lines from a file.
pub struct Lines<'a> {
    file: &'a File,
    pending: Vec<u8>,
    /// Where in `pending` the next line begins.
    at: usize,
    ended: bool,
}

impl<'a> Lines<'a> {
    /// From the descriptor's offset on.
    pub fn new(file: &'a File) -> Self {
        Lines {
            file,
            pending: Vec::new(),
            at: 0,
            ended: false,
        }
    }

    /// The next line without its newline; `None` at the end of the file.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, Errno> {
        self.with_next(|line| line.strip_suffix(b"\n").unwrap_or(line).to_vec())
    }

    /// Hands the next line, with its newline if it has one, to `take`.
    pub fn with_next<R>(&mut self, take: impl FnOnce(&[u8]) -> R) -> Result<Option<R>, Errno> {
        self.with_lines(memchr::memchr, take)
    }

    /// Hands all lines that have been read, at least one, to `take`, with their
    /// newlines; the last line of the file need not have one.
    pub fn with_some<R>(&mut self, take: impl FnOnce(&[u8]) -> R) -> Result<Option<R>, Errno> {
        self.with_lines(memchr::memrchr, take)
    }

    /// Hands the bytes up to the newline that `find` finds to `take`.
    fn with_lines<R>(
        &mut self,
        find: fn(u8, &[u8]) -> Option<usize>,
        take: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, Errno> {
        let mut searched = self.at;
        loop {
            let rest = self.pending.get(searched..).unwrap_or(&[]);
            let end = match find(b'\n', rest) {
                Some(end) => searched + end + 1,
                None if self.ended => self.pending.len(),
                None => {
                    searched = self.more()?;
                    continue;
                }
            };
            let lines = self.pending.get(self.at..end).unwrap_or(&[]);
            let taken = (!lines.is_empty()).then(|| take(lines));
            self.at = end;
            return Ok(taken);
        }
    }

    /// Reads a piece; returns where it begins.
    fn more(&mut self) -> Result<usize, Errno> {
        self.pending.drain(..self.at);
        self.at = 0;
        let old = self.pending.len();
        self.pending.try_reserve(PIECE).map_err(|_| Errno::ENOMEM)?;
        self.pending.resize(old + PIECE, 0);
        let got = self
            .file
            .read(self.pending.get_mut(old..).unwrap_or(&mut []));
        self.pending.truncate(old + *got.as_ref().unwrap_or(&0));
        self.ended = got? == 0;
        Ok(old)
    }
}
