//! Names, independent of the kernel: paths, the table of binds and mounts, and
//! symbolic links.
//!
//! Paths are cleaned by their text alone (`.` and `..` included, as in Plan 9's
//! lexical names; so `..` of a mount point is the directory it is named in).
//! Then the longest bound prefix decides where the rest of the path is looked
//! up ([`Table`]). A bound directory may be a union of several: a name in it is
//! that of the first member that has it, and it lists the names of all its
//! members one after the other, duplicates included, as in Plan 9.
//!
//! A bind names a [`Place`]: a path at a server, or in the kernel's own tree.
//! Binds and mounts below that path are not part of it. A [`Way`] follows the
//! symbolic links of a server.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod path;
mod place;
mod table;
mod way;

pub use path::Path;
pub use place::{Member, Order, Place, Trail};
pub use table::Table;
pub use way::{LINKS_MAX, Last, Walked, Way};

use abi::Errno;
use alloc::vec::Vec;

/// A vector with room for `n`.
fn room<T>(n: usize) -> Result<Vec<T>, Errno> {
    let mut v = Vec::new();
    v.try_reserve_exact(n).map_err(|_| Errno::ENOMEM)?;
    Ok(v)
}

/// A copy of `bytes`.
fn owned(bytes: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut out = room(bytes.len())?;
    out.extend_from_slice(bytes);
    Ok(out)
}

/// The parts with a `/` before each.
fn joined<'p>(parts: impl Iterator<Item = &'p [u8]>, length: usize) -> Result<Vec<u8>, Errno> {
    let mut out = room(length)?;
    for part in parts {
        out.push(b'/');
        out.extend_from_slice(part);
    }
    Ok(out)
}
