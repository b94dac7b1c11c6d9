//! Strings for people, made without ever aborting: out of memory gives a
//! shorter text, not a dead kernel.
use alloc::string::String;
use alloc::sync::Arc;
use bytestr::ByteStr;
use core::fmt::{self, Write};
use hw::heap::new_arc_str;
use vm::NoMemory;

/// Longest text the kernel makes.
pub const MAX: usize = 400;

struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let fits = s.len() <= MAX - self.0.len().min(MAX);
        if fits && self.0.try_reserve(s.len()).is_ok() {
            self.0.push_str(s);
            return Ok(());
        }
        for c in s.chars() {
            if self.0.len() + c.len_utf8() > MAX || self.0.try_reserve(c.len_utf8()).is_err() {
                return Err(fmt::Error);
            }
            self.0.push(c);
        }
        Ok(())
    }
}

/// Formats into a new string, cut off where it is too long or memory is out.
pub fn format(arguments: fmt::Arguments<'_>) -> String {
    let mut out = Bounded(String::new());
    // A cut text is the documented outcome.
    let _ = out.write_fmt(arguments);
    out.0
}

/// A name for messages, without control sequences for a terminal.
pub fn shown(name: &[u8]) -> Result<Arc<str>, NoMemory> {
    match bytestr::shown::plain(name) {
        Some(text) => new_arc_str(text),
        None => new_arc_str(&format(format_args!("{}", ByteStr(name)))),
    }
}

/// Up to `n` bytes of `bytes` from `at` on; none beyond the end.
pub fn part(bytes: &[u8], at: u64, n: u64) -> &[u8] {
    let (_, rest) = bytes.split_at((bytes.len() as u64).min(at) as usize);
    &rest[..(rest.len() as u64).min(n) as usize]
}

/// A copy of `text`, under the same rule.
pub fn owned(text: &str) -> String {
    format(format_args!("{text}"))
}
