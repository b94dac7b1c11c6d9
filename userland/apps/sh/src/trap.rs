//! Notes that reach the shell, and `trap`: commands that run after a note, or when
//! the shell ends.

use crate::Shown;
use crate::builtin::usage;
use crate::run::{Leave, Ran};
use crate::state::Shell;
use crate::variables::quoted;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use rt::abi::Registers;
use rt::note::{self, Then};
use rt::{eprintln, println};
use text::{SIGNALS, Signal};

/// The note of Ctrl-C.
pub const INTERRUPT: &str = "interrupt";
/// True in an interactive shell, which an interrupt does not end.
static INTERACTIVE: AtomicBool = AtomicBool::new(false);
/// Set when an interactive shell gets an interrupt that has no trap.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Signals that have a trap; a bit for each number, as in the next two.
static CAUGHT: AtomicU32 = AtomicU32::new(0);
/// Signals that have no effect.
static IGNORED: AtomicU32 = AtomicU32::new(0);
/// Signals that came and whose traps have to run.
static PENDING: AtomicU32 = AtomicU32::new(0);

/// The note handler.
fn noted(_: &mut Registers, text: &str) -> Then {
    let bit = Signal::of_note(text).map_or(0, |signal| 1 << signal.number);
    if CAUGHT.load(Relaxed) & bit != 0 {
        PENDING.fetch_or(bit, Relaxed);
    } else if IGNORED.load(Relaxed) & bit != 0 {
    } else if text == INTERRUPT && INTERACTIVE.load(Relaxed) {
        INTERRUPTED.store(true, Relaxed);
    } else {
        return Then::End;
    }
    Then::Resume
}

/// Number of the condition that is the end of the shell.
const EXIT: u8 = 0;
/// A signal that no process can catch.
const KILL: &str = "KILL";

/// The commands by condition: [`EXIT`] or the number of a signal. Empty: the signal
/// has no effect.
#[derive(Default)]
pub struct Traps {
    actions: BTreeMap<u8, String>,
    /// The status before the trap that runs.
    pub running: Option<u8>,
}

impl Traps {
    /// Makes the handler act as the table says.
    fn apply(&self) {
        let (mut caught, mut ignored) = (0, 0);
        for (number, action) in self.actions.iter().filter(|(number, _)| **number != EXIT) {
            match action.is_empty() {
                true => ignored |= 1 << number,
                false => caught |= 1 << number,
            }
        }
        CAUGHT.store(caught, Relaxed);
        IGNORED.store(ignored, Relaxed);
        let wanted = caught | ignored != 0 || INTERACTIVE.load(Relaxed);
        let set = match wanted {
            true => note::handle(noted),
            false => note::ignore_handler(),
        };
        if let Err(errno) = set {
            eprintln!("trap: notes: {errno}");
        }
    }

    /// For a child: only what is ignored stays. Ends the child if an interrupt came
    /// before that.
    pub fn become_child(&mut self) {
        self.running = None;
        let handled = !self.actions.is_empty() || INTERACTIVE.swap(false, Relaxed);
        self.actions
            .retain(|number, action| *number != EXIT && action.is_empty());
        if handled {
            self.apply();
        }
        PENDING.store(0, Relaxed);
        if INTERRUPTED.swap(false, Relaxed) {
            rt::process::exit(Leave::Interrupted.status(), INTERRUPT);
        }
    }
}

/// The condition of that name.
fn condition(text: &str) -> Option<u8> {
    match text {
        "0" | "EXIT" => Some(EXIT),
        text => Signal::find(text).map(|signal| signal.number),
    }
}

fn name(number: u8) -> &'static str {
    let mut signals = SIGNALS.iter();
    let signal = signals.find(|signal| signal.number == number);
    signal.map_or("EXIT", |signal| signal.name)
}

/// `trap [ACTION] CONDITION...`; without arguments: shows the traps.
pub fn trap(shell: &mut Shell, args: &[&str]) -> Ran {
    let args = match args {
        ["--", args @ ..] => args,
        [option, ..] if option.len() > 1 && option.starts_with('-') => {
            return crate::builtin::unsupported_option("trap", option);
        }
        args => args,
    };
    let (action, conditions) = match args {
        [] => {
            for (number, action) in &shell.traps.actions {
                println!("trap -- {} {}", quoted(action), name(*number));
            }
            return Ok(0);
        }
        ["-", conditions @ ..] => (None, conditions),
        [first, ..] if args.len() == 1 || first.parse::<u8>().is_ok() => (None, args),
        [action, conditions @ ..] => (Some(*action), conditions),
    };
    if conditions.is_empty() {
        return usage("trap [ACTION] CONDITION...");
    }
    let mut status = 0;
    for text in conditions {
        let Some(number) = condition(text) else {
            let reason = match text.to_ascii_uppercase().trim_start_matches("SIG") {
                KILL | "9" => "cannot be caught",
                _ => "no such condition",
            };
            eprintln!("trap: {}: {reason}", Shown(text));
            status = 1;
            continue;
        };
        match action {
            Some(action) => shell.traps.actions.insert(number, action.to_string()),
            None => shell.traps.actions.remove(&number),
        };
    }
    shell.traps.apply();
    Ok(status)
}

impl Shell {
    /// From now on an interrupt ends the running commands but not this shell.
    pub fn catch_interrupts(&self) {
        INTERACTIVE.store(true, Relaxed);
        self.traps.apply();
    }

    /// Returns true if an interrupt came since the last call.
    pub fn take_interrupt(&self) -> bool {
        INTERRUPTED.swap(false, Relaxed)
    }

    /// The status of a builtin command that a signal with a trap has interrupted;
    /// the trap runs after it.
    pub fn trapped(&self) -> Option<u8> {
        let pending = PENDING.load(Relaxed);
        let mut signals = SIGNALS.iter();
        let signal = signals.find(|signal| pending & 1 << signal.number != 0);
        signal.map(Signal::status)
    }

    /// Runs the traps of the signals that came, between two commands; `$?` stays.
    /// A trap is not interrupted by others.
    pub fn run_traps(&mut self) -> Result<(), Leave> {
        if PENDING.load(Relaxed) == 0 || self.traps.running.is_some() {
            return Ok(());
        }
        let pending = PENDING.swap(0, Relaxed);
        for signal in &SIGNALS {
            if pending & 1 << signal.number != 0
                && let Some(action) = self.traps.actions.get(&signal.number).cloned()
            {
                self.run_trap(&action)?;
            }
        }
        Ok(())
    }

    fn run_trap(&mut self, action: &str) -> Ran {
        let status = self.status;
        self.traps.running = Some(status);
        let ran = self.deeper(|shell| shell.run_text("trap", action));
        self.traps.running = None;
        self.status = status;
        ran
    }

    /// Ends the shell after `ran`: runs the trap for that; returns the status.
    pub fn finish(&mut self, ran: Ran) -> u8 {
        let status = ran.unwrap_or_else(Leave::status);
        if ran == Err(Leave::Interrupted) {
            return status;
        }
        self.status = status;
        let Some(action) = self.traps.actions.remove(&EXIT) else {
            return status;
        };
        match self.run_trap(&action) {
            Err(Leave::Exit(status)) => status,
            _ => status,
        }
    }
}
