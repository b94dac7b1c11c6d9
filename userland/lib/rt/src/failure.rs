//! Errors with a text for people, and how a program ends.

use crate::process;
use abi::Errno;
use alloc::{format, string::String};
use bytestr::ByteStr;
use core::fmt;

/// The reason for which a program gives up: a text that names the object and
/// the reason, and the exit status that goes with it.
#[derive(Debug)]
pub struct Failure {
    text: String,
    status: u8,
}

impl Failure {
    /// A failure with exit status 1.
    pub fn new(text: impl fmt::Display) -> Self {
        Self::with_status(1, text)
    }

    /// A usage error; exit status 2.
    pub fn usage(text: impl fmt::Display) -> Self {
        Self::with_status(2, text)
    }

    /// A failure with the given exit status.
    pub fn with_status(status: u8, text: impl fmt::Display) -> Self {
        Failure {
            text: format!("{text}"),
            status,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Failure::new(errno)
    }
}

/// Turns an error number into a [`Failure`] that names the object.
pub trait Named<T> {
    /// Adds the object's name: `object: reason`.
    fn about(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T> Named<T> for Result<T, Errno> {
    fn about(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|errno| Failure::new(format_args!("{what}: {errno}")))
    }
}

/// The types that `main` may return.
pub trait Outcome {
    /// Ends the process with the status and text of this outcome.
    fn finish(self, program: ByteStr<'_>) -> !;
}

impl Outcome for () {
    fn finish(self, program: ByteStr<'_>) -> ! {
        0u8.finish(program)
    }
}

impl Outcome for u8 {
    fn finish(self, _program: ByteStr<'_>) -> ! {
        process::exit(self, "")
    }
}

impl Outcome for core::convert::Infallible {
    fn finish(self, _program: ByteStr<'_>) -> ! {
        match self {}
    }
}

impl<T: Outcome> Outcome for Result<T, Failure> {
    fn finish(self, program: ByteStr<'_>) -> ! {
        match self {
            Ok(outcome) => outcome.finish(program),
            Err(failure) => {
                crate::eprintln!("{program}: {failure}");
                process::exit(failure.status, &failure.text)
            }
        }
    }
}
