//! Absolute paths.
use crate::{joined, room};
use abi::{Errno, PATH_MAX};
use alloc::vec::Vec;
use core::ops::Deref;

/// An absolute path.
pub struct Path {
    /// Without empty parts, `.` or `..`.
    pub(crate) clean: Vec<u8>,
    /// With `..` where a name is before it.
    pub(crate) raw: Option<Vec<u8>>,
    /// It ended in a `/`, so it must lead to a directory.
    pub slash: bool,
}

impl Path {
    /// `path` seen from `directory`, which is clean.
    ///
    /// # Errors
    /// `ENOENT` for an empty path, `ENAMETOOLONG`, `ENOMEM`.
    pub fn clean(directory: &[u8], path: &[u8]) -> Result<Path, Errno> {
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
        if out.len() > PATH_MAX {
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

    /// The same with `..` where it may mean something else.
    pub fn as_written(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(&self.clean)
    }
}

impl Deref for Path {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.clean
    }
}
