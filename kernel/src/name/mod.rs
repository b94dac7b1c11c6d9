//! Names: a process's mount table and how a path becomes a place.
//!
//! Paths are cleaned by their text alone (`.` and `..` included, as in Plan
//! 9's lexical names), then the longest mounted prefix decides the server.
pub mod root;

use crate::lock::{Lock, Rank};
use crate::mount::Mount;
use abi::Errno;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Mounts a name space may have.
const MOUNTS: usize = 32;

struct Mounted {
    /// Absolute and clean.
    at: String,
    mount: Arc<Mount>,
}

/// Where names lead; shared by processes.
pub struct NameSpace {
    mounts: Lock<Vec<Mounted>>,
}

/// Where a path leads.
pub enum Place<'p> {
    /// Into the kernel's own small tree; the clean path.
    Root(&'p str),
    /// Below the root of a server; the rest of the path, without a leading
    /// slash, empty for the root itself.
    Remote(Arc<Mount>, &'p str),
}

impl NameSpace {
    /// Only the kernel's own tree.
    pub fn new() -> NameSpace {
        NameSpace {
            mounts: Lock::new(Rank::Names, Vec::new()),
        }
    }

    /// Puts the tree of a server at `path` (clean), hiding what was there.
    pub fn mount(&self, path: String, mount: Arc<Mount>) -> Result<(), Errno> {
        let mut mounts = self.mounts.lock();
        if mounts.len() == MOUNTS {
            return Err(Errno::ENFILE);
        }
        mounts.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        mounts.push(Mounted { at: path, mount });
        Ok(())
    }

    /// Undoes the last mount at `path`.
    pub fn unmount(&self, path: &str) -> Result<(), Errno> {
        let removed = {
            let mut mounts = self.mounts.lock();
            let index = mounts.iter().rposition(|m| m.at == path);
            mounts.remove(index.ok_or(Errno::EINVAL)?)
        };
        drop(removed);
        Ok(())
    }

    /// Where `path` (clean) leads.
    pub fn resolve<'p>(&self, path: &'p str) -> Place<'p> {
        let mounts = self.mounts.lock();
        let mut best: Option<(&Mounted, &'p str)> = None;
        for mounted in mounts.iter() {
            let Some(rest) = below(path, &mounted.at) else {
                continue;
            };
            if best.is_none_or(|(b, _)| mounted.at.len() >= b.at.len()) {
                best = Some((mounted, rest));
            }
        }
        match best {
            Some((mounted, rest)) => Place::Remote(mounted.mount.clone(), rest),
            None => Place::Root(path),
        }
    }
}

/// The part of `path` below `prefix`, if it is there.
fn below<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(prefix)?;
    match rest.strip_prefix('/') {
        Some(rest) => Some(rest),
        None if rest.is_empty() => Some(rest),
        None => None,
    }
}

/// `path` seen from `directory`, absolute, without empty parts, `.` or `..`.
pub fn clean(directory: &str, path: &str) -> Result<String, Errno> {
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    let mut out = String::new();
    out.try_reserve_exact(directory.len() + path.len() + 2)
        .map_err(|_| Errno::ENOMEM)?;
    let start = if path.starts_with('/') { "" } else { directory };
    for part in start.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => out.truncate(out.rfind('/').unwrap_or(0)),
            name => {
                out.push('/');
                out.push_str(name);
            }
        }
    }
    if out.is_empty() {
        out.push('/');
    }
    if out.len() > abi::PATH_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    Ok(out)
}
