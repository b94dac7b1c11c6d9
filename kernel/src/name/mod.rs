//! Names: a process's mount table and how a path becomes a place.
//!
//! Paths are cleaned by their text alone (`.` and `..` included, as in Plan
//! 9's lexical names; so `..` of a mount point is the directory it is named
//! in), then the longest bound prefix decides where the rest of the path is
//! looked up. A bound directory may be a union of several: a name in it is
//! that of the first member that has it, and it lists the names of all its
//! members one after the other, duplicates included, as on Plan 9.
//!
//! What is bound is a place: a path at a server, or in the kernel's own tree.
//! Things bound or mounted below it are not part of it.
pub mod root;
mod table;
pub mod walk;

pub use table::NameSpace;

use crate::chan::room;
use crate::client::Mount;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Somewhere a file may be. The path is clean and relative; empty for the
/// root of the tree.
pub enum Place {
    /// In the kernel's own small tree.
    Root(Vec<u8>),
    /// In the tree of a server.
    Remote(Arc<Mount>, Vec<u8>),
}

impl Place {
    /// The root of a server's tree.
    pub fn top(mount: Arc<Mount>) -> Place {
        Place::Remote(mount, Vec::new())
    }

    /// Its path, in whichever tree.
    pub fn path(&self) -> &[u8] {
        match self {
            Place::Root(path) | Place::Remote(_, path) => path,
        }
    }

    /// The place in the same tree with that path.
    fn with_path(&self, path: Vec<u8>) -> Place {
        match self {
            Place::Root(_) => Place::Root(path),
            Place::Remote(mount, _) => Place::Remote(mount.clone(), path),
        }
    }

    /// The place `rest` (clean, relative, may be empty) leads to from here.
    pub fn below(&self, rest: &[u8]) -> Result<Place, Errno> {
        let path = self.path();
        let mut joined = room(path.len() + 1 + rest.len())?;
        joined.extend_from_slice(path);
        if !path.is_empty() && !rest.is_empty() {
            joined.push(b'/');
        }
        joined.extend_from_slice(rest);
        Ok(self.with_path(joined))
    }

    /// The directory this place is in and its name there; `None` for a root.
    pub fn split(&self) -> Result<Option<(Place, &[u8])>, Errno> {
        let path = self.path();
        if path.is_empty() {
            return Ok(None);
        }
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let (directory, last) = match slash.map(|at| path.split_at(at)) {
            Some((directory, last)) => (directory, last.get(1..).unwrap_or(last)),
            None => (&[][..], path),
        };
        Ok(Some((self.with_path(owned(directory)?), last)))
    }
}

/// A directory or file that is bound somewhere.
pub struct Member {
    /// The place of this member.
    pub place: Place,
    /// In a union: files may be made here.
    pub create: bool,
}

impl Member {
    fn copy(&self) -> Result<Member, Errno> {
        Ok(Member {
            place: self.place.below(&[])?,
            create: self.create,
        })
    }
}

/// Where a path leads: the members of the nearest bound directory above it,
/// at least one, and the rest of the path from there.
pub struct Trail<'p> {
    /// In the order in which they are tried.
    pub members: Vec<Member>,
    /// Clean and relative; empty if the path is itself bound.
    pub rest: &'p [u8],
    /// The rest with its `..`, where these may differ in meaning from `rest`
    /// because a name before them may be a symbolic link.
    pub raw: &'p [u8],
    /// Something is bound at the path itself.
    pub point: bool,
}

/// The effect of `bind` and `mount` on the former content of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Hides the former content.
    Replace,
    /// Comes first in the union.
    Before,
    /// Comes last in the union.
    After,
}

impl Order {
    /// From the flags of `bind` and `mount`; the second result tells whether
    /// files may be created there.
    pub fn from_flags(flags: u64) -> Result<(Order, bool), Errno> {
        let create = flags & abi::bind::CREATE != 0;
        let order = match flags & !abi::bind::CREATE {
            abi::bind::REPLACE => Order::Replace,
            abi::bind::BEFORE => Order::Before,
            abi::bind::AFTER => Order::After,
            _ => return Err(Errno::EINVAL),
        };
        Ok((order, create))
    }
}

/// A copy of `bytes`.
fn owned(bytes: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut out = room(bytes.len())?;
    out.extend_from_slice(bytes);
    Ok(out)
}

/// An absolute path.
pub struct Path {
    /// Without empty parts, `.` or `..`.
    clean: Vec<u8>,
    /// With `..` where a name is before it.
    raw: Option<Vec<u8>>,
    /// It ended in a `/`, so it must lead to a directory.
    pub slash: bool,
}

impl Path {
    /// The same with `..` where it may mean something else.
    pub fn as_written(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(&self.clean)
    }
}

impl core::ops::Deref for Path {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.clean
    }
}

/// From where names are seen.
pub struct Viewpoint {
    /// The name space that resolves them.
    pub names: Arc<NameSpace>,
    /// Where those begin that do not begin with a `/`; absolute and clean.
    pub directory: Arc<[u8]>,
}

impl Viewpoint {
    /// A path without `.`, `..` and empty parts.
    pub fn clean(&self, path: &[u8]) -> Result<Path, Errno> {
        clean(&self.directory, path)
    }
}

/// `path` seen from `directory`.
fn clean(directory: &[u8], path: &[u8]) -> Result<Path, Errno> {
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    let start = if path.starts_with(b"/") {
        &[]
    } else {
        directory
    };
    let slash = |byte: &u8| *byte == b'/';
    let parts = || {
        let all = start.split(slash).chain(path.split(slash));
        all.filter(|part| !matches!(*part, b"" | b"."))
    };
    let length = directory.len() + path.len() + 2;
    let mut out = room(length)?;
    let mut taken_back = false;
    for part in parts() {
        if part == b".." {
            taken_back |= !out.is_empty();
            out.truncate(out.iter().rposition(slash).unwrap_or(0));
        } else {
            out.push(b'/');
            out.extend_from_slice(part);
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    if out.len() > abi::PATH_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    let raw = match taken_back {
        true => Some(joined(parts(), length)?),
        false => None,
    };
    Ok(Path {
        clean: out,
        raw,
        slash: path.ends_with(b"/"),
    })
}

/// The parts with a `/` before each.
fn joined<'p>(parts: impl Iterator<Item = &'p [u8]>, room_for: usize) -> Result<Vec<u8>, Errno> {
    let mut out = room(room_for)?;
    for part in parts {
        out.push(b'/');
        out.extend_from_slice(part);
    }
    Ok(out)
}
