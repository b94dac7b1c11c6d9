//! The machine: processor, memory, devices that every PC has, locks, the log,
//! and the report of a panic.
//!
//! This is the only crate of the kernel with `unsafe`. It knows nothing of
//! processes, files or messages: [`Program::run`] returns with a program's system
//! call or trap, and interrupts go to the functions that [`start`] was given.
#![no_std]
// For the host (see `boot/stub`) there is no panic handler.
#![cfg_attr(not(target_os = "none"), allow(dead_code))]

extern crate alloc;

mod arch;
mod boot;
mod cpu;
pub mod lock;
pub mod log;
mod mem;
mod panic;
pub mod pending;
pub mod task;

pub use arch::{
    Event, PageFault, Program, TrapFrame, clock, debug, exception_name, exit_qemu, idle,
    interrupts, random, serial, take_interrupts, time, user,
};
pub use boot::{CONFIG, Kernel, start};
pub use mem::{ahead, cache, chance, frames, heap, named, owners, paging};
