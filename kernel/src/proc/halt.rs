//! The end of the machine.
//!
//! What a file server keeps for programs outlives the machine where its files do: the
//! directory for files removed while in use, for one. So programs end first, as they do
//! at any other time, and then servers answer what that has asked of them.
//!
//! A server may have much to remove. It has time for that as long as something is still
//! given back: a program has ended, a server or a device has answered. A server that does
//! nothing, or only computes, does not delay the end for long, nor does one for ever that
//! keeps others busy with answers.
//!
//! init halts. For any other process that may, everything that it started ends, which
//! init hears.
use super::{Process, Running, reports, table};
use crate::counters;
use crate::name::NameSpace;
use crate::sched::{self, Reason, Wake};
use abi::Stat64;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use hw::time;

/// How long programs and servers have to give something back, and then the next thing.
const PATIENCE_NS: u64 = 1_000_000_000;
/// How long they have in all.
const IN_ALL_NS: u64 = 30 * PATIENCE_NS;
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
    hear_out(&process.view().names);
    Some(ASKED.load(Relaxed) & 0xff)
}

/// Waits until programs have ended and the servers in `names` have answered, as long as
/// there is progress.
fn hear_out(names: &NameSpace) {
    let begun = time::now_ns();
    let last = begun.saturating_add(IN_ALL_NS);
    let (mut given_back, mut since) = (GivenBack::so_far(), begun);
    while given_back.left > 0 || !names.is_quiet() {
        let now = time::now_ns();
        let deadline = since.saturating_add(PATIENCE_NS).min(last);
        if now >= deadline || wait_until(now + STEP_NS) == Wake::Ending {
            return;
        }
        let more = GivenBack::so_far();
        if more != given_back {
            (given_back, since) = (more, now);
        }
    }
}

/// A note that has come must not keep others from running: it is never delivered.
fn wait_until(deadline_ns: u64) -> Wake {
    sched::park_through_notes(Reason::Time, Some(deadline_ns))
}

/// What has been given back.
#[derive(PartialEq, Eq)]
struct GivenBack {
    /// Programs that have not ended yet.
    left: usize,
    /// Answers of servers.
    answers: u64,
    /// Answers of devices, as their drivers count them.
    by_devices: u64,
}

impl GivenBack {
    fn so_far() -> GivenBack {
        let is_left = |process: &Process| !sched::has_ended(process.slot()) && process.is_program();
        GivenBack {
            left: table::all().filter(|process| is_left(process)).count(),
            answers: counters::get(Stat64::Messages),
            by_devices: reports::sum().requests,
        }
    }
}
