//! Places of files, and the members of binds.
use crate::{owned, room};
use abi::Errno;
use alloc::vec::Vec;

/// The place of a file that may exist; `S` names a server. The path is clean
/// and relative; empty for the root of the tree.
pub enum Place<S> {
    /// In the kernel's own small tree.
    Root(Vec<u8>),
    /// In the tree of a server.
    Remote(S, Vec<u8>),
}

impl<S: Clone> Place<S> {
    /// The root of a server's tree.
    pub fn top(server: S) -> Place<S> {
        Place::Remote(server, Vec::new())
    }

    /// The server whose tree it is in; `None` for the kernel's own.
    pub fn server(&self) -> Option<&S> {
        match self {
            Place::Root(_) => None,
            Place::Remote(server, _) => Some(server),
        }
    }

    /// Its path, in whichever tree.
    pub fn path(&self) -> &[u8] {
        match self {
            Place::Root(path) | Place::Remote(_, path) => path,
        }
    }

    /// The place in the same tree with that path.
    fn with_path(&self, path: Vec<u8>) -> Place<S> {
        match self {
            Place::Root(_) => Place::Root(path),
            Place::Remote(server, _) => Place::Remote(server.clone(), path),
        }
    }

    /// The place `rest` (clean, relative, may be empty) leads to from here.
    pub fn below(&self, rest: &[u8]) -> Result<Place<S>, Errno> {
        let path = self.path();
        let mut joined = room(path.len() + 1 + rest.len())?;
        joined.extend_from_slice(path);
        if !path.is_empty() && !rest.is_empty() {
            joined.push(b'/');
        }
        joined.extend_from_slice(rest);
        Ok(self.with_path(joined))
    }

    /// Its name in the directory that it is in; `None` for a root.
    pub fn last(&self) -> Option<&[u8]> {
        let mut names = self.path().rsplit(|byte| *byte == b'/');
        names.next().filter(|name| !name.is_empty())
    }

    /// The directory that it is in.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn directory(&self) -> Result<Place<S>, Errno> {
        let path = self.path();
        let slash = path.iter().rposition(|byte| *byte == b'/');
        Ok(self.with_path(owned(&path[..slash.unwrap_or(0)])?))
    }
}

/// A directory or file that is bound somewhere.
pub struct Member<S> {
    /// The place of this member.
    pub place: Place<S>,
    /// In a union: files may be made here.
    pub create: bool,
}

impl<S: Clone> Member<S> {
    pub(crate) fn copy(&self) -> Result<Member<S>, Errno> {
        Ok(Member {
            place: self.place.below(&[])?,
            create: self.create,
        })
    }
}

/// Where a path leads: the members of the nearest bound directory above it,
/// at least one, and the rest of the path from there.
pub struct Trail<'p, S> {
    /// In the order in which they are tried.
    pub members: Vec<Member<S>>,
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
