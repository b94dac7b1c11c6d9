//! From a path at a server to a fid there, with symbolic links followed.
//!
//! A link leads into the tree of its own server and nowhere else, so that no
//! server chooses the file of another one that a program opens
//! (docs/decisions/0018-symbolic-links.md). `links` computes the target.
use super::NameSpace;
use crate::client::Mount;
use crate::client::remote::Remote;
use crate::client::walk::{Aim, Found, Reached};
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use names::{Last, Walked, Way};

/// A new fid for the file at `path` (relative, `..` allowed) below the root of
/// `mount`, and the path without links.
///
/// # Errors
/// `EXDEV`: a link leads out of the tree; `ELOOP`: too many links; `ESTALE`:
/// the file was replaced during the walk.
pub fn walk(
    names: &NameSpace,
    mount: &Arc<Mount>,
    path: &[u8],
    last: Last,
) -> Result<(Remote, Vec<u8>), Errno> {
    let mut way = Way::new(path, last)?;
    match go(names, mount, &mut way, Aim::Fid)?.ok_or(Errno::ENOENT)? {
        Found::Fid(found) => Ok((found, way.end()?)),
        Found::Open(_) | Found::Stat(_) => Err(Errno::EPROTO),
    }
}

/// What is wanted of the file at that path, in as few requests as its server needs.
///
/// # Errors
/// As [`walk`]; those of what is wanted.
pub fn find(
    names: &NameSpace,
    mount: &Arc<Mount>,
    path: &[u8],
    last: Last,
    aim: Aim,
) -> Result<Found, Errno> {
    let mut way = Way::new(path, last)?;
    go(names, mount, &mut way, aim)?.ok_or(Errno::ENOENT)
}

/// The path at which a file opened by `path` would be created: links at its end
/// are followed, and their target need not exist.
pub fn walk_for_new(names: &NameSpace, mount: &Arc<Mount>, path: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut way = Way::new(path, Last::Follow)?;
    go(names, mount, &mut way, Aim::Fid)?;
    way.end()
}

/// Goes to the end of the way; `None` if only its last name is nothing.
fn go(
    names: &NameSpace,
    mount: &Arc<Mount>,
    way: &mut Way,
    aim: Aim,
) -> Result<Option<Found>, Errno> {
    loop {
        let part = way.names()?;
        let whole = way.is_whole(part);
        let aim = if whole { aim } else { Aim::Fid };
        match Remote::reach(mount, part, way.last(), aim)? {
            Reached::End(found) => {
                if way.walked(Walked::There)? {
                    return Ok(Some(found));
                }
            }
            Reached::Link(index, link) => {
                let link = match link {
                    Some(link) => link,
                    None => again(mount, part, index)?,
                };
                let text = link.read_link()?;
                drop(link);
                let inside = match text.starts_with(b"/") {
                    true => names.path_at(mount, &text)?,
                    false => None,
                };
                way.walked(Walked::Link(index, inside.as_deref().unwrap_or(&text)))?;
            }
            Reached::Nothing(index, Errno::ENOENT) if whole && index + 1 == count(part) => {
                return Ok(None);
            }
            Reached::Nothing(index, errno) => {
                way.walked(Walked::Stopped(index, errno))?;
            }
        }
    }
}

fn count(path: &[u8]) -> usize {
    path.split(|byte| *byte == b'/').count()
}

/// A fid for a link that was passed: the first names up to `index`.
fn again(mount: &Arc<Mount>, path: &[u8], index: usize) -> Result<Remote, Errno> {
    let slash = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let end = slash.map(|(at, _)| at).nth(index).unwrap_or(path.len());
    let first = path.get(..end).unwrap_or(path);
    match Remote::reach(mount, first, Last::Keep, Aim::Fid)? {
        Reached::End(Found::Fid(link)) if link.is_link() => Ok(link),
        // Another file has taken its place.
        _ => Err(Errno::ESTALE),
    }
}
