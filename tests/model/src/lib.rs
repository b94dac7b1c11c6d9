//! Model tests of the VM core: random programs of reads, writes, loads, stores,
//! forks, evictions and foreign changes run on the real core over a simulated
//! machine, and on an *eager model*, byte arrays that are obviously right. After
//! every step all bytes of all buffers and files are compared, and all frames,
//! nodes, translations and snapshots are accounted for.
//!
//! - [`program::eager`]: the executable specification.
//! - [`memory`]: frames and translations of a simulated machine.
//! - [`server`], [`fake`]: the interface of a file server with snapshots, and a
//!   small one that keeps every snapshot as a copy.
//! - [`real`]: the real snapfs over a server in memory, with real messages.
//! - [`world`]: a simulated kernel: processes, snapshot handles, failures on
//!   demand, and operations injected while a message is under way.
//! - [`swap`]: a swap server, and processes that make pages leave.
//! - [`process`]: the VM core's host, a process in that kernel.
//! - [`exhaustive`]: every short sequence of a written list of operations.
//! - [`case`]: a program with injected events. [`generate`]: random programs.
//!   [`perform`]: performs them. [`run`]: compares with the model.
//! - [`footprint`]: the objects that a step uses, so that equivalent orders are
//!   tried once.
//! - [`schedule`]: concurrent operations, in every order. [`orders`]: their
//!   permitted results.
//!
//! `DORMOUSE_SEED=n` is the seed of the random tests, `DORMOUSE_PROGRAMS=n` sets
//! how many programs each runs. A program that fails is minimised and printed;
//! `DORMOUSE_REPLAY=FILE` runs it again, and so does `suite replay FILE` on the
//! real kernel, as far as that supports its operations.
#![forbid(unsafe_code)]

pub mod case;
pub mod check;
pub mod countdown;
pub mod exhaustive;
pub mod fake;
pub mod footprint;
pub mod generate;
pub mod memory;
pub mod orders;
pub mod perform;
pub mod process;
pub mod real;
pub mod run;
pub mod schedule;
pub mod server;
pub mod swap;
pub mod world;

pub use program::eager;

/// Bytes in a page, as an index.
pub const PAGE: usize = vm::PAGE as usize;
