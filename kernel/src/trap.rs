//! Handling of traps: page faults, the timer, devices, and errors of programs.
//! Interrupts are off.
use crate::chan::interrupt;
use crate::client::send_unsent;
use crate::proc::{self, Running, note};
use crate::sched;
use crate::seg::fault::{Denied, resolve, store_quickly};
use crate::seg::user;
use abi::Errno;
use core::fmt::Write;
use hw::log::{self, Console, Level};
use hw::{PageFault, TrapFrame, interrupts};
use vm::Access;

/// Longer backtraces are cut.
const FRAMES_MOST: usize = 32;

/// An exception that is not a page fault becomes a note.
#[cold]
pub fn exception(process: &Running, frame: &TrapFrame, vector: u8) {
    let name = hw::exception_name(vector);
    let text = crate::text::format(format_args!("sys: trap: {name} pc={:#x}", frame.rip()));
    fault_note(process, frame, &text, 0);
}

/// The timer or a device, while a program ran or the kernel took interrupts.
pub fn interrupt(vector: u8) {
    sched::stop_idle_clock();
    match vector {
        interrupts::SPURIOUS => return,
        interrupts::TIMER => {
            sched::tick();
            send_unsent();
        }
        vector => interrupt::raise(vector),
    }
    interrupts::eoi();
}

/// After an interrupt of the running program: its turn ends with the timer's, and any
/// other may have woken a process that runs first.
pub fn turn_over(vector: u8) {
    match vector {
        interrupts::TIMER => sched::give_way(),
        _ => sched::give_way_to_woken(),
    }
}

/// The access that met a page fault.
#[inline]
pub fn access(fault: PageFault) -> Access {
    match (fault.is_write(), fault.is_fetch()) {
        (true, _) => Access::Store,
        (false, true) => Access::Fetch,
        (false, false) => Access::Load,
    }
}

/// Handles a page fault if that is done in a few steps. `false`: [`page_fault`] must.
#[inline(never)]
pub fn quick_fault(process: &Running, fault: PageFault) -> bool {
    fault.is_store() && store_quickly(&process.space, fault.address)
}

/// Handles any page fault; `false`: the access was denied.
#[inline(never)] // a place for a debugger to stop at
pub fn page_fault(process: &Running, frame: &TrapFrame, fault: PageFault) -> bool {
    let va = fault.address;
    let access = access(fault);
    let denied = match fault.is_privileged() {
        // No page made ready would help.
        true => Denied::Privileged,
        false => match resolve(&process.space, va, access) {
            Ok(()) => return true,
            Err(denied) => denied,
        },
    };
    // A note or an order to end cut the wait short; without the latter the
    // instruction is tried again.
    if denied == Denied::Failed(Errno::EINTR) || sched::ending() {
        return true;
    }
    let what = match access {
        Access::Fetch => "execute",
        Access::Load => "read",
        Access::Store => "write",
    };
    let why = denied.text(va);
    let text = crate::text::format(format_args!(
        "sys: trap: fault {what} addr={va:#x} pc={:#x}: {why}",
        frame.rip()
    ));
    fault_note(process, frame, &text, va);
    false
}

/// Sends the note for a fault. Without a handler it ends the process, and the
/// log gets a backtrace.
fn fault_note(process: &Running, frame: &TrapFrame, text: &str, address: u64) {
    if !note::fault(process, text, address) {
        die(process, frame, text);
    }
}

fn die(process: &Running, frame: &TrapFrame, text: &str) {
    let program = process.program();
    hw::warn!("{} {}: {text}", proc::name(&program), process.pid);
    backtrace(process, &program, frame);
    process.end(abi::STATUS_KILLED, text);
}

/// Prints a backtrace of a program, for the runner to resolve. Reads only
/// mapped pages and wakes none.
fn backtrace(process: &Running, program: &str, frame: &TrapFrame) {
    if !log::shown(Level::Warn) {
        return;
    }
    let line = |address: u64| {
        // The console cannot fail.
        let _ = writeln!(Console, "  user backtrace: {program} {address:#x}");
    };
    line(frame.rip());
    let mut at = frame.rbp;
    for _ in 0..FRAMES_MOST {
        let record = [0, 8].map(|offset| user::peek_u64(&process.space, at.wrapping_add(offset)));
        let [Some(next), Some(address)] = record else {
            return;
        };
        if address == 0 || next <= at {
            return;
        }
        line(address - 1);
        at = next;
    }
}
