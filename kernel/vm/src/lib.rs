//! The VM core: what a segment of a process's memory holds, where each page's
//! content is, and the work of a fault, a `read`, a `write`, a fork.
//!
//! The promise: **nothing a program can do tells deferred I/O from eager I/O,
//! except where and whether time is spent.** A `read` into a segment of kind
//! "snapshot" takes a snapshot at the file server and associates the buffer
//! with it; a page is transferred when it is touched, from the snapshot and
//! never from the live file; a `write` sends what was changed and names what
//! was not.
//!
//! This crate owns the data structures and the order of the steps. It knows no
//! hardware and no server: frames and translations are the trait [`Memory`],
//! messages and waiting the trait [`Host`]. The kernel implements both, and so
//! do the model tests on the host.
//!
//! The verbs, one file each: [`fault`], [`read`], [`write()`], [`free`],
//! [`fork`], [`destroy`]. Each works in short locked steps ([`Host::with`])
//! with nothing held while it waits for a message; after each wait it looks
//! again, and installs only what still fits.
//!
//! Invariants kept here (numbers of the design):
//! - (3) Stores do not touch extents. A dirty or sending page hides what is
//!   under it.
//! - (2) A snapshot has one delta (address minus file offset) in a segment, and
//!   is the target of `into`, grown, or trimmed only while one extent map holds
//!   it, and no write under way may have named it. Trims are batched and never
//!   sent from a store's fault.
//! - (8) A page becomes clean only if it is still *sending* with the ticket of
//!   the write whose commit covered all of it.
//! - (11) Old content is given up only for bytes that were associated or have
//!   arrived; an error leaves the buffer as it was.
//! - (12) A frame is written only while nobody else refers to it, and nobody is
//!   given a frame that is ([`Memory::make_exclusive`]).
//! - (5) What is shared between strangers is what has arrived and was wanted, as
//!   the page of the epoch it was asked at ([`Cache`]).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod accounts;
mod cache;
mod caution;
mod extents;
mod fault;
mod fork;
mod host;
mod memory;
mod overlay;
mod page_state;
mod read;
mod replace;
mod segment;
mod stage;
mod steps;
#[cfg(test)]
mod testing;
mod trim;
mod units;
mod uses;
mod write;

pub use accounts::{ACCOUNTS_MAX, AccountId, Accounts, Standing};
pub use cache::{Cache, Changes, Epochs, FileId, Kept};
pub use caution::in_a_call;
pub use extents::{Extent, Extents, Source};
pub use fault::{Access, fault, overwrite};
pub use fork::{destroy, fork};
pub use host::{
    FrameSlice, Host, Limits, OPS_MAX, Op, OpKind, Origin, Put, PutReply, RUN_MAX, SLICES_MAX,
    Snapped, TRIM_MAX,
};
pub use memory::{Count, Memory};
pub use page_state::{PageState, Ticket};
pub use read::{free, read};
pub use replace::{Parts, parts};
pub use segment::Segment;
pub use units::{Frame, NoMemory, PAGE, SnapId};
pub use write::{WriteTo, write};
