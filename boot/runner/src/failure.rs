//! The runner's messages, and its exit status.

use std::fmt;
use std::io::Write;

/// The runner's own exit statuses; those of the guest are passed on unchanged.
pub mod status {
    /// The guest's output could not be written.
    pub const OUTPUT: u8 = 1;
    /// Set-up or arguments are wrong; the guest was not started.
    pub const SETUP: u8 = 2;
    /// The guest ran longer than `--timeout` allows.
    pub const TIMEOUT: u8 = 124;
    /// The guest ended without a status: a panic or a triple fault.
    pub const GUEST: u8 = 125;
}

/// An error that ends the runner: a sentence for the user, and a status.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The runner's exit status.
    pub status: u8,
    /// The error, naming the object.
    pub text: String,
}

impl Failure {
    /// A failure before the guest was started.
    pub fn setup(text: impl Into<String>) -> Failure {
        Failure {
            status: status::SETUP,
            text: text.into(),
        }
    }

    /// A failure of the guest.
    pub fn guest(text: impl Into<String>) -> Failure {
        Failure {
            status: status::GUEST,
            text: text.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// Adds the failed action to an error of the system.
pub trait Context<T> {
    /// Turns the error into a set-up [`Failure`] that begins with `what`.
    fn context(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Context<T> for Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::setup(format!("{}: {error}", what())))
    }
}

/// Prints one line of progress.
pub fn say(text: impl fmt::Display) {
    line(format_args!("dormouse: {text}"));
}

/// Prints a line on standard error; errors of that are ignored.
pub fn line(text: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
