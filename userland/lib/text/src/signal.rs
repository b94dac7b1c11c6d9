//! Signals of other systems by their names and numbers, as notes.

/// A signal that a process may handle.
#[derive(Debug, PartialEq, Eq)]
pub struct Signal {
    /// Its number in POSIX or, failing that, in Linux.
    pub number: u8,
    /// Its name, without `SIG`.
    pub name: &'static str,
    /// The text of the note that takes its place.
    pub note: &'static str,
}

const fn new(number: u8, name: &'static str, note: &'static str) -> Signal {
    Signal { number, name, note }
}

/// The signals, by number.
pub const SIGNALS: [Signal; 9] = [
    new(1, "HUP", "hangup"),
    new(2, "INT", "interrupt"),
    new(3, "QUIT", "quit"),
    new(6, "ABRT", "abort"),
    new(10, "USR1", "user 1"),
    new(12, "USR2", "user 2"),
    new(13, "PIPE", "pipe"),
    new(14, "ALRM", "alarm"),
    new(15, "TERM", "terminate"),
];

impl Signal {
    /// The signal of that number or name, in any case, with `SIG` or without.
    pub fn find(text: &str) -> Option<&'static Signal> {
        let short = match text.get(..3) {
            Some(start) if start.eq_ignore_ascii_case("SIG") => &text[3..],
            _ => text,
        };
        let is = |signal: &&Signal| match text.parse::<u8>() {
            Ok(number) => signal.number == number,
            Err(_) => signal.name.eq_ignore_ascii_case(short),
        };
        SIGNALS.iter().find(is)
    }

    /// The signal whose place a note takes.
    pub fn of_note(note: &str) -> Option<&'static Signal> {
        SIGNALS.iter().find(|signal| signal.note == note)
    }

    /// Exit status, for a shell, of a program that the signal ended.
    pub fn status(&self) -> u8 {
        128 + self.number
    }
}
