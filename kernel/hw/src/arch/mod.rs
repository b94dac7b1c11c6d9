//! The processor and the few devices that every PC has: traps, system-call
//! entry, context switch, timer, interrupt controllers, serial ports.
//!
//! This module has all instructions that Rust cannot express, and no policy:
//! the kernel above decides the meaning of a trap. Interrupts are off whenever
//! kernel code runs, except inside [`idle`] and [`take_interrupts`].
pub mod clock;
pub(crate) mod context;
mod control;
pub mod debug;
mod descriptors;
mod entry;
pub(crate) mod fpu;
mod frame;
mod hpet;
pub mod interrupts;
mod program;
pub mod random;
pub(crate) mod selectors;
pub mod serial;
pub(crate) mod tables;
pub mod time;
mod trap;
pub mod user;

pub(crate) use context::run_on;
pub(crate) use control::frame_pointer;
pub use control::{exit_qemu, idle, take_interrupts};
pub(crate) use descriptors::{guard_stacks, set_kernel_stack, set_ports_allowed};
pub use frame::TrapFrame;
pub use program::{Event, PageFault, Program};
pub use trap::exception_name;

/// Puts the processor into the state the kernel relies on: own descriptor
/// tables, system-call entry, memory protection features, clean FPU. Interrupts
/// that come while the kernel takes them go to `interrupt`.
///
/// Panics with a message if the processor lacks a feature that is needed.
pub(crate) fn init(interrupt: fn(u8)) {
    trap::init(interrupt);
    descriptors::init();
    control::init();
    entry::init();
}
