//! Traps that come from the kernel itself: interrupts, which it takes when it is
//! idle or in the middle of long work, failed copies to and from user memory,
//! and its own bugs.

use spin::Once;

use super::control::fault_address;
use super::frame::{EXCEPTIONS, PAGE_FAULT, TrapFrame};
use super::user;
use crate::mem::stack::guarded_stack;
use crate::panic;

/// The handler of interrupts that the kernel itself takes.
static INTERRUPT: Once<fn(u8)> = Once::new();

/// Sets the handler of interrupts that the kernel itself takes.
pub(super) fn init(interrupt: fn(u8)) {
    INTERRUPT.call_once(|| interrupt);
}

/// The name of an exception.
pub fn exception_name(vector: u8) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug trap",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range exceeded",
        6 => "invalid instruction",
        7 => "device not available",
        8 => "double fault",
        10 => "invalid task state",
        11 => "segment not present",
        12 => "stack fault",
        13 => "general protection fault",
        16 => "floating-point error",
        17 => "alignment error",
        18 => "machine check",
        19 => "SIMD floating-point error",
        _ => "unknown exception",
    }
}

/// A fault in a copy to or from user memory is an error of that copy. Any other
/// exception is the kernel's own bug.
pub(super) extern "C" fn from_kernel(frame: &mut TrapFrame) {
    if user::recover(frame) {
        return;
    }
    match frame.vector {
        PAGE_FAULT => {
            let address = fault_address();
            panic::fatal(
                frame,
                format_args!("page fault in the kernel at {address:#x}"),
            )
        }
        vector if vector < EXCEPTIONS => panic::fatal(
            frame,
            format_args!("{} in the kernel", exception_name(vector as u8)),
        ),
        vector => {
            if let Some(interrupt) = INTERRUPT.get() {
                interrupt(vector as u8);
            }
        }
    }
}

/// Double fault, NMI, machine check: reports the event as far as possible, and
/// stops the machine.
pub(super) extern "C" fn fatal(frame: &mut TrapFrame) -> ! {
    let address = fault_address();
    match frame.vector {
        2 => panic::fatal(frame, format_args!("non-maskable interrupt")),
        18 => panic::fatal(frame, format_args!("machine check")),
        _ if guarded_stack(address) || guarded_stack(frame.rsp) => panic::fatal(
            frame,
            format_args!("double fault at address {address:#x}: kernel stack overflow"),
        ),
        _ => panic::fatal(
            frame,
            format_args!("double fault, last page fault at address {address:#x}"),
        ),
    }
}
