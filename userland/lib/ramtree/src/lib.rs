//! A tree of files in memory, without a protocol: what ramfs serves.
//!
//! Files are sparse: `pages` holds only pages that were written. Everything
//! counts against a limit (`Space`), so that a full tree is an error and not
//! the end of the memory. Files are named by an [`Id`]; one that has lost its
//! last name stays as long as it is held.
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
