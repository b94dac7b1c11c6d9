//! The runner: what `cargo run` starts, and what the QEMU tests boot guests
//! with.
//!
//! It provides the bare-metal target and QEMU ([`setup`]), builds loader,
//! kernel and programs ([`guests`]) of the sources it belongs to ([`checkout`]), packs them ([`bundle`]), locks the shared
//! directory ([`share`]), starts QEMU ([`qemu`]) and stays with it
//! ([`session`]): the console is relayed ([`console`], [`terminal`]), addresses
//! in backtraces get names ([`symbols`]), verdicts are judged ([`judge`]),
//! gdb is given what it needs ([`gdb`]), a person's own tests are run ([`own`]).
//! [`Guest`] puts it together.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod bundle;
pub mod checkout;
pub mod cli;
pub mod command;
pub mod console;
mod diagnostics;
pub mod failure;
pub mod gdb;
mod guest;
pub mod guests;
pub mod judge;
pub mod memory;
pub mod own;
pub mod qemu;
pub mod session;
pub mod setup;
pub mod share;
pub mod symbols;
pub mod terminal;

pub use command::Verbosity;
pub use failure::Failure;
pub use guest::{Debugger, Guest, Outcome};
pub use qemu::Accel;
pub use session::{End, Input};
