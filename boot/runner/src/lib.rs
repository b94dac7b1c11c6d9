//! The runner: the program behind `cargo run`, and the library with which the
//! QEMU tests boot guests.
//!
//! It installs the bare-metal target and QEMU ([`setup`]), builds loader,
//! kernel and programs ([`guests`]) from its sources ([`checkout`]), packs them
//! ([`bundle`]), locks the shared directory ([`share`]), makes room to swap
//! ([`swap`]), starts QEMU ([`qemu`]) and attends to it ([`session`]): the console
//! is relayed ([`console`], [`terminal`]), addresses in backtraces get names ([`symbols`]), verdicts are
//! judged ([`judge`]), gdb is served ([`gdb`]), instructions are counted ([`profile`], [`curve`]), traces are drawn ([`trace`]), and users' own tests are run
//! ([`own`]). [`Guest`] ties it together.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod bundle;
pub mod checkout;
pub mod cli;
pub mod command;
pub mod console;
pub mod curve;
mod diagnostics;
pub mod failure;
pub mod gdb;
mod guest;
pub mod guests;
mod image;
pub mod judge;
pub mod memory;
pub mod own;
pub mod profile;
pub mod qemu;
pub mod session;
pub mod setup;
pub mod share;
pub mod swap;
pub mod symbols;
pub mod terminal;
pub mod trace;

pub use command::Verbosity;
pub use failure::Failure;
pub use guest::{Debugger, Guest, Outcome};
pub use qemu::{Accel, Firmware};
pub use session::{End, Input};
pub use swap::Swap;
