//! A program's manual: the documentation at the beginning of its source, which
//! [`main!`](crate::main) is given. `--help` and `-h` show it, and the usage
//! in errors is its first part.

use crate::{Failure, io, process};
use alloc::string::String;

/// The lines of documentation at the beginning of `source`.
pub const fn head(source: &'static str) -> &'static str {
    let bytes = source.as_bytes();
    let mut end = 0;
    let mut at = 0;
    // `//!` begins each of the lines.
    while at + 3 <= bytes.len()
        && bytes[at] == b'/'
        && bytes[at + 1] == b'/'
        && bytes[at + 2] == b'!'
    {
        while at < bytes.len() && bytes[at] != b'\n' {
            at += 1;
        }
        at += (at < bytes.len()) as usize;
        end = at;
    }
    source.split_at(end).0
}

unsafe extern "Rust" {
    /// Defined by [`main!`](crate::main) in the program; empty without a
    /// source.
    safe fn dormouse_manual() -> &'static str;
}

/// The text without comment markers.
fn lines() -> impl Iterator<Item = &'static str> {
    let lines = dormouse_manual().lines();
    lines.map(|line| line.trim_start_matches("//!").trim_start_matches(' '))
}

/// Returns true if the program has a manual.
pub(crate) fn is_there() -> bool {
    !dormouse_manual().is_empty()
}

/// Prints the manual and ends the process.
pub(crate) fn show() -> ! {
    for line in lines() {
        crate::println!("{line}");
    }
    let _ = io::flush();
    process::exit(0, "")
}

/// The usage: the parts of the manual in backquotes before the first colon or
/// the end of the first line.
fn usage() -> Option<String> {
    let mut text = String::new();
    for line in lines().take_while(|line| !line.is_empty()) {
        text.push_str(line);
        text.push(' ');
    }
    let text = text.trim_start().strip_prefix('`')?;
    let end = text.find("`:").or_else(|| text.rfind('`'))?;
    Some(text.get(..end)?.replace('`', ""))
}

/// The failure of a program that was called wrongly: how it should be.
pub fn misused() -> Failure {
    match usage() {
        Some(usage) => Failure::usage(format_args!("usage: {usage}")),
        None => Failure::usage("wrong arguments"),
    }
}

/// `wrong`, and how the program is called.
pub fn misused_by(wrong: core::fmt::Arguments<'_>) -> Failure {
    match usage() {
        Some(usage) => Failure::usage(format_args!("{wrong}\nusage: {usage}")),
        None => Failure::usage(wrong),
    }
}
