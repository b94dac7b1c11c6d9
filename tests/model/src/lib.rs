//! Model tests of the VM core: random programs of reads, writes, loads, stores,
//! forks, evictions and foreign changes run on the real core over a simulated
//! machine, and on an *eager model*, byte arrays that are obviously right. After
//! every step all bytes of all buffers and files are compared, and all frames,
//! nodes, translations and snapshots are accounted for.
//!
//! - [`program::eager`]: the executable specification.
//! - [`memory`]: frames and translations of a simulated machine.
//! - [`server`], [`fake`]: what a file server with snapshots does, and a small
//!   one that keeps every snapshot as a copy.
//! - [`real`]: the real snapfs over a server in memory, asked in real messages.
//! - [`world`]: a simulated kernel: processes, snapshot handles, failures on
//!   demand, and other things that happen while a message is on its way.
//! - [`process`]: the VM core's host, a process in that kernel.
//! - [`exhaustive`]: every short sequence of a written list of operations.
//! - [`case`]: a program and what befalls it. [`generate`]: random ones.
//!   [`perform`]: doing what they say. [`run`]: comparing with the model.
//! - [`footprint`]: what a step uses, so that orders that cannot differ are tried
//!   once.
//! - [`schedule`]: operations at the same time, in every order. [`orders`]: what
//!   they may come to.
//!
//! `DORMOUSE_SEED=n` is the seed of the random tests, `DORMOUSE_PROGRAMS=n` sets
//! how many programs each runs. A program that fails is made small and printed
//! as text; `DORMOUSE_REPLAY=FILE` runs it again, and so does `suite replay FILE`
//! on the real kernel, as far as it can do the same.
#![forbid(unsafe_code)]

pub mod case;
pub mod check;
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
pub mod world;

pub use program::eager;

/// Bytes in a page, as an index.
pub const PAGE: usize = vm::PAGE as usize;
