//! The processor and the few devices every PC has: traps, system-call entry,
//! context switch, timer, interrupt controllers, serial ports.
//!
//! Owns every instruction that Rust cannot say. Does not own policy: what a
//! trap means is decided by those whom [`init`] was told. Interrupts are
//! off whenever kernel code runs, except inside [`idle`] and
//! [`take_interrupts`].
pub mod clock;
pub(crate) mod context;
mod cpu;
mod descriptors;
mod entry;
mod fatal;
pub(crate) mod fpu;
mod frame;
pub mod interrupts;
pub mod random;
pub(crate) mod selectors;
pub mod serial;
pub mod time;
pub mod user;

pub(crate) use context::run_on;
pub(crate) use cpu::frame_pointer;
pub use cpu::{exit_qemu, fault_address, idle, take_interrupts};
pub(crate) use descriptors::{guard_stacks, set_kernel_stack, set_ports_allowed};
pub use entry::enter_user;
pub use frame::TrapFrame;

use entry::{Syscall, Trap};

/// Puts the processor into the state the kernel relies on: own descriptor
/// tables, system-call entry, memory protection features, clean FPU. Traps go
/// to the two functions.
///
/// Panics with a message if the processor lacks a feature that is needed.
pub(crate) fn init(syscall: Syscall, trap: Trap) {
    entry::init(syscall, trap);
    descriptors::init();
    cpu::init();
    entry::enable();
}
