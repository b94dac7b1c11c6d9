//! Resolution of paths at a file server with symbolic links. A [`Way`] names
//! the next walk; its user walks, reads the links on the way, and reports.
//!
//! A way never leaves its server. A path without links takes one walk,
//! including `..`: the server's reply about each name distinguishes links, so
//! that looking for links costs no message.
use abi::{Errno, PATH_MAX};
use alloc::vec::Vec;

/// Links followed for one path, as on Linux.
pub const LINKS_MAX: usize = 40;

/// The meaning of a link at the end of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Last {
    /// The target of the link.
    Follow,
    /// The link itself.
    Keep,
}

/// How far the names of [`Way::names`] led.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Walked<'t> {
    /// At the last name, which is not a link, or is one that is kept.
    There,
    /// The name with that index is a link with this text.
    Link(usize, &'t [u8]),
    /// The name with that index is nothing, for that reason, or leads nowhere.
    Stopped(usize, Errno),
}

/// A path on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Way {
    /// From the root of the tree, without empty names and `.`.
    path: Vec<u8>,
    links: usize,
    last: Last,
}

/// Names of a path.
fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
    let parts = path.split(|byte| *byte == b'/');
    parts.filter(|name| !matches!(*name, b"" | b"."))
}

/// Appends the names of `add` to `path`.
fn join<'n>(path: &mut Vec<u8>, add: impl Iterator<Item = &'n [u8]>) -> Result<(), Errno> {
    for name in add {
        if path.len() + name.len() + 1 > PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let room = path.try_reserve(name.len() + 1);
        room.map_err(|_| Errno::ENOMEM)?;
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
    }
    Ok(())
}

/// Takes the last name off; false if there is none.
fn pop(path: &mut Vec<u8>) -> bool {
    let slash = path.iter().rposition(|byte| *byte == b'/');
    let any = !path.is_empty();
    path.truncate(slash.unwrap_or(0));
    any
}

/// Takes names away that a `..` follows.
///
/// # Errors
/// `EXDEV`: it leads out of the tree.
fn collapse<'n>(path: impl Iterator<Item = &'n [u8]>) -> Result<Vec<u8>, Errno> {
    let mut clean = Vec::new();
    for name in path {
        match name {
            b".." if pop(&mut clean) => {}
            b".." => return Err(Errno::EXDEV),
            name => join(&mut clean, core::iter::once(name))?,
        }
    }
    Ok(clean)
}

impl Way {
    /// The way to `path` below the root of a tree.
    pub fn new(path: &[u8], last: Last) -> Result<Way, Errno> {
        let mut own = Vec::new();
        join(&mut own, names(path))?;
        let links = 0;
        Ok(Way {
            path: own,
            links,
            last,
        })
    }

    /// The names to walk from the root, in one walk or several: separated by
    /// `/`, possibly with `..`. Empty: the root.
    ///
    /// # Errors
    /// `EXDEV`: the path leads out of the tree.
    pub fn names(&self) -> Result<&[u8], Errno> {
        let (mut depth, mut at) = (0usize, 0);
        for name in self.path.split(|byte| *byte == b'/') {
            match (name, depth) {
                // The names before it may be links, and are checked first.
                (b"..", 0) if at > 0 => return Ok(&self.path[..at - 1]),
                (b"..", 0) => return Err(Errno::EXDEV),
                (b"..", _) => depth -= 1,
                (b"", _) => {}
                _ => depth += 1,
            }
            at += name.len() + 1;
        }
        Ok(&self.path)
    }

    /// Returns true if `names`, from [`Way::names`], is the whole rest.
    pub fn is_whole(&self, names: &[u8]) -> bool {
        names.len() == self.path.len()
    }

    /// The meaning of a link at the end of the names: it is followed also if
    /// more names come after it.
    pub fn last(&self) -> Last {
        match self.names() {
            Ok(names) if !self.is_whole(names) => Last::Follow,
            _ => self.last,
        }
    }

    /// Records how far [`Way::names`] led; returns true at the end of the way.
    /// Otherwise there are other names to walk.
    ///
    /// # Errors
    /// The error of the walk; `ENOENT`: a link is empty; `ELOOP`: too many
    /// links; `EXDEV`: a link leads out of the tree; `ENAMETOOLONG`.
    pub fn walked(&mut self, how: Walked<'_>) -> Result<bool, Errno> {
        match how {
            Walked::There => {
                if self.is_whole(self.names()?) {
                    return Ok(true);
                }
                // No links before it, so this leads out.
                Err(Errno::EXDEV)
            }
            Walked::Link(index, text) => self.follow(index, text).map(|()| false),
            Walked::Stopped(index, errno) => self.skip(index, errno).map(|()| false),
        }
    }

    /// Removes a missing name together with the `..` after it: `a/../b` is `b`
    /// whatever `a` is, unless it is a link.
    fn skip(&mut self, index: usize, errno: Errno) -> Result<(), Errno> {
        let mut depth = 0usize;
        let back = names(&self.path).skip(index).position(|name| {
            match name {
                b".." => depth = depth.saturating_sub(1),
                _ => depth += 1,
            }
            depth == 0
        });
        let after = index + back.ok_or(errno)? + 1;
        // Up to here there is no link, as walking has shown.
        let is_back = names(&self.path).nth(index) == Some(b"..");
        let mut path = collapse(names(&self.path).take(index + usize::from(is_back)))?;
        join(&mut path, names(&self.path).skip(after))?;
        self.path = path;
        Ok(())
    }

    /// Puts the text of a link in its place.
    fn follow(&mut self, index: usize, text: &[u8]) -> Result<(), Errno> {
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(Errno::ELOOP);
        }
        if text.is_empty() {
            return Err(Errno::ENOENT);
        }
        if text.contains(&0) {
            return Err(Errno::EINVAL);
        }
        let before = match text.starts_with(b"/") {
            true => Vec::new(),
            // These are no links, as walking has shown.
            false => collapse(names(&self.path).take(index))?,
        };
        let mut path = before;
        let mut target = names(text).peekable();
        while target.next_if(|name| *name == b"..").is_some() {
            if !pop(&mut path) {
                return Err(Errno::EXDEV);
            }
        }
        join(&mut path, target)?;
        join(&mut path, names(&self.path).skip(index + 1))?;
        self.path = path;
        Ok(())
    }

    /// Where the way has ended: the path without links.
    pub fn end(&self) -> Result<Vec<u8>, Errno> {
        collapse(names(&self.path))
    }
}
