//! The processor and the few devices every PC has: traps, system-call entry,
//! context switch, timer, interrupt controllers, serial ports.
//!
//! Owns every instruction that Rust cannot say. Does not own policy: what a
//! trap means is decided by `crate::trap` and `crate::syscall`. Interrupts are
//! off whenever kernel code runs, except inside [`idle`] and
//! [`take_interrupts`].
#![allow(unsafe_code, reason = "this is where the hardware is touched")]

pub mod clock;
mod context;
mod cpu;
mod descriptors;
mod entry;
mod fatal;
mod fpu;
mod frame;
pub mod interrupts;
pub mod random;
mod selectors;
pub mod serial;
pub mod time;
pub mod user;

pub use context::{Context, run_on, switch};
pub use cpu::{exit_qemu, fault_address, frame_pointer, idle, take_interrupts};
pub use descriptors::{set_kernel_stack, set_ports_allowed};
pub use entry::enter_user;
pub use fpu::FpuState;
pub use frame::TrapFrame;
pub use selectors::Selectors;

/// Puts the processor into the state the kernel relies on: own descriptor
/// tables, system-call entry, memory protection features, clean FPU.
///
/// Panics with a message if the processor lacks a feature that is needed.
pub fn init() {
    descriptors::init();
    cpu::init();
    entry::init();
}

/// Moves the stacks of double fault, NMI and machine check to ones with guard
/// pages; possible once `mem::init` is done.
pub fn guard_stacks() {
    descriptors::guard_stacks();
}
