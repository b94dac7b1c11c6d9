//! Exceptions that end the kernel: double fault, NMI, machine check.

use super::fault_address;
use super::frame::TrapFrame;
use crate::mem::stack::guarded_stack;
use crate::panic;

/// Names what happened, as far as it can be told, and stops the machine.
pub(super) extern "C" fn fatal_trap(frame: &mut TrapFrame) -> ! {
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
