//! Sparse temporary files in the blocks of a device, served over 9P2000.L: the
//! swap server without its device.
//!
//! A [`Tree`] is one directory of files. A file is a sequence of pages; a page with
//! content has one block of the device, a page of zeros has none, so that a program
//! gives blocks back by writing zeros over them or by cutting the file. A file
//! without a name lives until its last fid is gone, then all its blocks are free.
//! Nothing is kept beyond the life of the process: which block belongs to which page
//! is known in memory alone.
//!
//! [`Tree::request`] answers a request at once, or returns the [`Transfer`] with the
//! device that it needs; [`Tree::finish`] gives the answer to that. Two transfers
//! under way never touch the same page when one of them changes it, so blocks that
//! become free are not in use by the device. Once many have become free, the device
//! is to discard them ([`Tree::next_discard`]), so that a sparse image shrinks.
//!
//! Nothing here panics or aborts for lack of memory, whatever a client sends. The
//! memory in use is bounded by the device's blocks: two bits for each, and 24 bytes for
//! each run of pages that lie side by side in the file and on the device.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod blocks;
mod fids;
mod file;
mod transfer;
mod tree;

pub use transfer::{Direction, Id, Part, Place, Transfer};
pub use tree::{Answer, MSIZE, PAGES_MAX, Step, Tree};

/// Bytes of a page of a file, and of a block of the device.
pub const PAGE: u64 = 4096;
