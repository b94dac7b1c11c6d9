//! The VM core: the content of segments and their pages, and the work of a page
//! fault, a `read`, a `write`, a fork.
//!
//! The contract: **nothing a program can do tells deferred I/O from eager I/O,
//! except where and whether time is spent.** A `read` into a segment of kind
//! "snapshot" takes a snapshot at the file server and associates the buffer
//! with it. A page is transferred when it is touched, from the snapshot and
//! never from the live file. A `write` sends the changed pages and names the
//! others.
//!
//! This crate owns the data structures and the order of the steps. It uses no
//! hardware and no server: frames and translations are the trait [`Memory`],
//! messages and waiting the trait [`Host`], swap files the trait [`Swap`]. The kernel implements both, and so
//! do the model tests on the host.
//!
//! The operations, one file each: [`fault`], [`read`], [`write()`], [`free`],
//! [`fork`], [`destroy`], [`page_out`]. Each works in short locked steps ([`Host::with`])
//! with nothing held while it waits for a message. After each wait it checks
//! the state again, and installs only results that still fit.
//!
//! Invariants kept here (numbers of docs/contract.md):
//! - (3) Stores do not touch extents. A dirty, sending or swapped page hides the
//!   extent under it.
//! - (2) A snapshot has one delta (address minus file offset) in a segment. It
//!   is the target of `into`, grown, or trimmed only while one extent map holds
//!   it and no write under way may have named it. Trims are batched and never
//!   sent from a store's fault.
//! - (8) A page becomes clean only if it is still *sending* with the ticket of
//!   the write whose commit covered all of it.
//! - (6) A place in swap that two segments refer to is never overwritten, and
//!   nothing is written to a place while an earlier request for it may still
//!   arrive ([`Swap`]).
//! - (11) Old content is replaced only by bytes that were associated or have
//!   arrived; an error leaves the buffer as it was.
//! - (12) A frame is written only while no other reference to it exists, and
//!   such a frame is not shared afterwards ([`Memory::make_exclusive`]).
//! - (5) Only completed, still-wanted fills enter the frame cache, at the epoch
//!   they were requested at ([`Cache`]).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod accounts;
mod ahead;
mod cache;
mod caution;
mod clock;
mod discard;
mod extents;
mod fault;
mod fill;
mod fork;
mod host;
mod idle;
mod memory;
mod overlay;
mod owners;
mod page_in;
mod page_out;
mod page_state;
mod read;
mod recent;
mod replace;
mod segment;
mod stage;
mod steps;
mod swap;
mod tally;
#[cfg(test)]
mod testing;
mod trim;
mod units;
mod uses;
mod write;

pub use accounts::{ACCOUNTS_MAX, AccountId, Accounts, Standing};
pub use ahead::Hint;
pub use cache::{Cache, Changes, Epochs, FileId, KERNELS_OWN, Kept};
pub use caution::in_a_call;
pub use clock::{Clock, Evicted, Frames, Look, Step};
pub use extents::{Extent, Extents, Source};
pub use fault::{Access, Need, fault, satisfy};
pub use fork::{UNMAPPED, destroy, fork};
pub use host::{
    FrameSlice, Host, Limits, OPS_MAX, Op, OpKind, Origin, Put, PutReply, RUN_MAX, SLICES_MAX,
    Snapped, TRIM_MAX,
};
pub use idle::{Idle, IdleLinks, Links};
pub use memory::{Count, Memory};
pub use owners::{Above, Chains, OWNERS_MAX, Owner, OwnerWord, SegmentNumber};
pub use page_out::{OUT_MAX, Pager, page_out};
pub use page_state::{PageState, Ticket};
pub use read::{free, read};
pub use replace::{Parts, parts};
pub use segment::Segment;
pub use swap::{Place, Swap, checksum};
pub use tally::Tally;
pub use units::{Frame, NoMemory, PAGE, SnapId, SwapId};
pub use write::{WriteTo, write};
