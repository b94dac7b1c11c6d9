//! The end of the machine.
//!
//! What a file server keeps for programs outlives the machine where its files do: the
//! directory for files removed while in use, for one. So programs end first, as they do
//! at any other time, and then servers answer what that has asked of them.
//!
//! init halts. For any other process that may, everything that it started ends, which
//! init hears.
use super::{Process, Running, table};
use crate::sched::{self, Reason, Wake};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use hw::time;

/// How long programs and servers have.
const PATIENCE_NS: u64 = 1_000_000_000;
const STEP_NS: u64 = 1_000_000;

/// The status that was asked for first, with [`HALTS`].
static ASKED: AtomicU32 = AtomicU32::new(0);
const HALTS: u32 = 1 << 8;

/// Ends all programs. `None`: the running process is one of them; else the status for the
/// machine, after all has been given back or the time for it is over.
pub fn halt(process: &Running, status: u32) -> Option<u32> {
    let status = status & 0xff;
    let _ = ASKED.compare_exchange(0, status | HALTS, Relaxed, Relaxed);
    for program in table::all().filter(|process| process.is_program()) {
        program.end(status, "");
    }
    if process.is_program() {
        return None;
    }
    let names = process.view().names;
    let deadline = time::now_ns().saturating_add(PATIENCE_NS);
    let is_left = |process: &Process| process.is_program() && !sched::has_ended(process.slot());
    while table::all().any(|process| is_left(&process)) || !names.is_quiet() {
        let now = time::now_ns();
        if now >= deadline || sched::park(Reason::Time, Some(now + STEP_NS)) == Wake::Ending {
            break;
        }
    }
    Some(ASKED.load(Relaxed) & 0xff)
}
