//! The kernel's log: leveled lines on the console's serial port.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::arch::{serial, time};

/// How much a line matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Level {
    /// A defect.
    Error,
    /// Something is not as it should be.
    Warn,
    /// Of interest to users.
    Info,
    /// Of interest to developers only.
    Debug,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Lines less important than `level` are left out from now on.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Relaxed);
}

/// The level of that name in the boot options.
pub fn level_named(name: &str) -> Option<Level> {
    match name {
        "error" => Some(Level::Error),
        "warn" => Some(Level::Warn),
        "info" => Some(Level::Info),
        "debug" => Some(Level::Debug),
        _ => None,
    }
}

/// Returns true if lines of that level are printed.
#[inline]
pub fn shown(level: Level) -> bool {
    level as u8 <= LEVEL.load(Relaxed)
}

/// Prints one line `[seconds] source: text`. Used by the macros, and for the
/// log messages of programs.
pub fn line(level: Level, source: &str, text: fmt::Arguments<'_>) {
    if !shown(level) {
        return;
    }
    let ms = time::now_ns() / 1_000_000;
    let mark = match level {
        Level::Error => "error: ",
        Level::Warn => "warning: ",
        Level::Info | Level::Debug => "",
    };
    // The console swallows everything, so writing cannot fail.
    let _ = writeln!(
        Console,
        "[{:5}.{:03}] {source}: {mark}{text}",
        ms / 1000,
        ms % 1000
    );
}

/// Text on the console, with line ends as terminals want them.
pub struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive('\n') {
            match piece.strip_suffix('\n') {
                Some(rest) => {
                    serial::com1(rest.as_bytes());
                    serial::com1(b"\r\n");
                }
                None => serial::com1(piece.as_bytes()),
            }
        }
        Ok(())
    }
}

/// Logs that something is broken; `format!`'s arguments.
#[macro_export]
macro_rules! error {
    ($($text:tt)*) => { $crate::log::line($crate::log::Level::Error, "kernel", format_args!($($text)*)) };
}

/// Logs that something is not as it should be.
#[macro_export]
macro_rules! warn {
    ($($text:tt)*) => { $crate::log::line($crate::log::Level::Warn, "kernel", format_args!($($text)*)) };
}

/// Logs a message of interest to users.
#[macro_export]
macro_rules! info {
    ($($text:tt)*) => { $crate::log::line($crate::log::Level::Info, "kernel", format_args!($($text)*)) };
}

/// Logs a message of interest to developers only.
#[macro_export]
macro_rules! debug {
    ($($text:tt)*) => { $crate::log::line($crate::log::Level::Debug, "kernel", format_args!($($text)*)) };
}
