//! The commands written to `consctl`, and the text read from it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use rt::{Errno, note};

/// The note of Ctrl-C.
const INTERRUPT: &str = "interrupt";

/// A command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// `rawon`: reads return single keys; there is no echo.
    RawOn,
    /// `rawoff`: lines are read.
    RawOff,
    /// `fg GROUP`: sends the note of Ctrl-C to this note group, from 2 on: consfs may
    /// interrupt the servers in the first one.
    Foreground(u64),
}

/// Parses the commands in a text; refuses all of them if one is wrong.
pub fn orders(text: &[u8]) -> Result<Vec<Order>, Errno> {
    let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| order(line).ok_or(Errno::EINVAL)).collect()
}

fn order(line: &str) -> Option<Order> {
    let mut words = line.split_whitespace();
    let order = match words.next()? {
        "rawon" => Order::RawOn,
        "rawoff" => Order::RawOff,
        "fg" => {
            let group = words.next()?.parse().ok();
            Order::Foreground(group.filter(|group| (2..=i64::MAX as u64).contains(group))?)
        }
        _ => return None,
    };
    words.next().is_none().then_some(order)
}

/// The note group that Ctrl-C is for, if there is one.
#[derive(Default)]
pub struct Foreground(pub Option<u64>);

impl Foreground {
    /// Interrupts the foreground after Ctrl-C.
    pub fn interrupt(&self) {
        if let Some(group) = self.0 {
            // A group that is gone needs no interrupt.
            let _ = note::send_group(group, INTERRUPT);
        }
    }
}

/// The text that a read of `consctl` returns.
pub fn describe(terminal: Option<&str>, raw: bool) -> String {
    let terminal = terminal.map(|size| format!("terminal {size}\n"));
    let mode = if raw { "rawon\n" } else { "rawoff\n" };
    format!("{}{mode}", terminal.unwrap_or_default())
}
