//! What a trap means: page faults, the timer, devices, and the errors of
//! programs. Entered with interrupts off, from user code or from an idle
//! kernel.
use crate::chan::interrupt;
use crate::proc::{self, Process, note};
use crate::sched;
use crate::seg::fault::{self, Denied};
use crate::seg::user;
use abi::Errno;
use alloc::sync::Arc;
use core::fmt::Write;
use hw::log::{self, Console, Level};
use hw::panic::fatal;
use hw::{TrapFrame, interrupts};
use vm::Access;

const DIVIDE: u64 = 0;
const INVALID_OPCODE: u64 = 6;
const STACK_SEGMENT: u64 = 12;
const PROTECTION: u64 = 13;
const PAGE_FAULT: u64 = 14;
const EXCEPTIONS: u64 = 32;

/// Page-fault error bits (SDM volume 3, 4.7).
const FAULT_WRITE: u64 = 1 << 1;
const FAULT_USER: u64 = 1 << 2;
const FAULT_FETCH: u64 = 1 << 4;

/// Longer backtraces are cut.
const FRAMES_MOST: usize = 32;

/// The one entry for exceptions and interrupts.
pub fn trap(frame: &mut TrapFrame) {
    sched::stop_idle_clock();
    if !frame.from_user() {
        return from_kernel(frame);
    }
    let process = proc::current();
    match frame.vector {
        PAGE_FAULT => page_fault(&process, frame),
        vector if vector < EXCEPTIONS => {
            let text = crate::text::format(format_args!(
                "sys: trap: {} pc={:#x}",
                exception_name(vector),
                frame.rip
            ));
            fault_note(&process, frame, &text, 0);
        }
        vector => {
            device(vector);
            if vector == u64::from(interrupts::TIMER) {
                sched::give_way();
            }
        }
    }
    leave(process, frame);
}

/// Before user code goes on: a note is delivered, and a process that was
/// ordered to end does so.
#[inline]
pub fn leave(process: Arc<Process>, frame: &mut TrapFrame) {
    if sched::called() {
        note::deliver(&process, frame);
        if sched::ending() {
            proc::wait::finish(process);
        }
    }
}

/// The kernel touches no user memory and takes interrupts only when idle or in
/// the middle of long work (`sched::breathe`), so any exception here is its own
/// bug.
fn from_kernel(frame: &TrapFrame) {
    match frame.vector {
        PAGE_FAULT => {
            let address = hw::fault_address();
            fatal(
                frame,
                format_args!("page fault in the kernel at {address:#x}"),
            )
        }
        vector if vector < EXCEPTIONS => fatal(
            frame,
            format_args!("{} in the kernel", exception_name(vector)),
        ),
        vector => device(vector),
    }
}

fn device(vector: u64) {
    let Ok(vector) = u8::try_from(vector) else {
        return;
    };
    match vector {
        interrupts::SPURIOUS => return,
        interrupts::TIMER => sched::tick(),
        vector => interrupt::deliver(vector),
    }
    interrupts::eoi();
}

#[inline(never)] // a place for a debugger to stop at
fn page_fault(process: &Process, frame: &TrapFrame) {
    let va = hw::fault_address();
    let fetch = frame.error & FAULT_FETCH != 0;
    let access = if frame.error & FAULT_WRITE != 0 {
        Access::Store
    } else {
        Access::Load
    };
    let denied = if frame.error & FAULT_USER == 0 {
        // The processor itself looked there with the kernel's rights, for an
        // instruction that names descriptors: no page made ready would help.
        Denied::Privileged
    } else if fetch && !executable(process, va) {
        Denied::NotExecutable
    } else {
        match fault::resolve(&process.space, va, access) {
            Ok(()) => return,
            Err(denied) => denied,
        }
    };
    // A note or an order to end cut the wait short; without the latter the
    // instruction is tried again.
    if denied == Denied::Failed(Errno::EINTR) || sched::ending() {
        return;
    }
    let what = match (fetch, access) {
        (true, _) => "execute",
        (false, Access::Load) => "read",
        (false, Access::Store) => "write",
    };
    let why = match denied {
        Denied::Failed(errno) => fault::lost(&process.space, va, errno),
        _ => crate::text::owned(denied.text()),
    };
    let text = crate::text::format(format_args!(
        "sys: trap: fault {what} addr={va:#x} pc={:#x}: {why}",
        frame.rip
    ));
    fault_note(process, frame, &text, va);
}

/// A fetch from a segment that is not for instructions is not a fault that
/// could be resolved.
fn executable(process: &Process, va: u64) -> bool {
    process.space.lock().find(va).is_none_or(|s| s.execute)
}

/// A note for what the program did; unhandled, it ends the process, and the
/// log is told where it was.
fn fault_note(process: &Process, frame: &TrapFrame, text: &str, address: u64) {
    if !note::fault(process, text, address) {
        die(process, frame, text);
    }
}

fn die(process: &Process, frame: &TrapFrame, text: &str) {
    let program = process.program();
    hw::warn!("{} {}: {text}", proc::name(&program), process.pid);
    backtrace(process, &program, frame);
    process.end(abi::STATUS_KILLED, text);
}

/// Says how a program came to where it ended, for the runner to resolve.
/// Reads what is mapped and wakes nothing.
fn backtrace(process: &Process, program: &str, frame: &TrapFrame) {
    if !log::shown(Level::Warn) {
        return;
    }
    let line = |address: u64| {
        // The console cannot fail.
        let _ = writeln!(Console, "  user backtrace: {program} {address:#x}");
    };
    line(frame.rip);
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

fn exception_name(vector: u64) -> &'static str {
    match vector {
        DIVIDE => "divide error",
        1 => "debug trap",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range exceeded",
        INVALID_OPCODE => "invalid instruction",
        7 => "device not available",
        8 => "double fault",
        10 => "invalid task state",
        11 => "segment not present",
        STACK_SEGMENT => "stack fault",
        PROTECTION => "general protection fault",
        16 => "floating-point error",
        17 => "alignment error",
        18 => "machine check",
        19 => "SIMD floating-point error",
        _ => "unknown exception",
    }
}
