//! A tree of files in memory, without a protocol; ramfs serves it.
//!
//! Files are sparse: `pages` holds only pages that were written. Everything
//! counts against a limit (`Space`), so that a full tree is an error and does
//! not exhaust the memory. Files are named by an [`Id`]. A file that has lost
//! its last name exists as long as it is held.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod directory;
mod pages;
mod tree;

pub use pages::{PAGE, SIZE_MAX};
pub use tree::{Change, Facts, Id, LINK_MAX, NAME_MAX, ROOT, Tree};

#[cfg(test)]
extern crate std;
#[cfg(test)]
mod tests;
