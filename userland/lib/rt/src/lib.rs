//! What every Dormouse program is linked with: the entry point, system calls,
//! files, processes, segments, ports, printing, arguments, errors with a text,
//! and the allocator.
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//! #![forbid(unsafe_code)]
//!
//! rt::main!(main);
//!
//! fn main(args: rt::Args) -> Result<(), rt::Failure> {
//!     rt::println!("{} arguments", args.len());
//!     Ok(())
//! }
//! ```
//!
//! Global state is behind `single::Single`, which keeps threads ([`mod@thread`]) apart; what
//! a note handler may do is said in [`note`]. All `unsafe` of ordinary programs is in this
//! crate: `start`, `sys`, `heap`, `single`, `thread`, `sync`, `ports`, `note`, `shared` and
//! the views of a [`Segment`].
#![no_std]
// For the host the entry point, the allocator and the panic handler are left out.
#![cfg_attr(not(target_os = "none"), allow(dead_code))]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(not(target_os = "none"))]
extern crate stub;

mod args;
pub mod console;
pub mod copy;
mod directory;
pub mod env;
mod failure;
mod file;
mod heap;
pub mod inputs;
pub mod io;
mod large;
pub mod manual;
pub mod names;
pub mod note;
pub mod options;
mod panic;
mod port;
pub mod ports;
pub mod process;
pub mod profile;
mod replies;
mod segment;
pub mod service;
mod shared;
mod single;
mod start;
pub mod stats;
pub mod sync;
pub mod sys;
pub mod thread;
pub mod time;
pub mod trace;

pub mod tree;

pub use abi;
pub use abi::{Call, Errno, Stat, Stat64, mode};
pub use args::{Args, Flags, Options};
pub use bytestr::{ByteStr, ByteString};
pub use directory::Directory;
pub use failure::{Failure, Named, Outcome};
pub use file::{Entry, File, ReadDir};
pub use port::{Port, exchange, read_lent, send};
pub use replies::Replies;
pub use segment::Segment;
pub use shared::{Semaphore, Shared};

#[doc(hidden)]
pub use start::run;
