//! Operations on names: open, create, stat, remove, rename, mount.
use super::{Node, OpenFile};
use crate::mount::Mount;
use crate::mount::remote::{Directory, Remote};
use crate::name::{self, Place, root};
use crate::proc::Process;
use abi::{Errno, Stat, mode};
use alloc::string::String;
use alloc::sync::Arc;

/// Mode bits that `open` takes; `create` takes `OEXCL` too.
const OPEN_BITS: u32 = 3 | mode::OTRUNC | mode::OAPPEND;

/// `path` as seen by the process, clean.
pub fn clean(process: &Process, path: &str) -> Result<String, Errno> {
    let directory = process.directory.lock();
    name::clean(&directory, path)
}

fn shared(path: &str) -> Arc<str> {
    Arc::from(path)
}

/// Opens a file that exists.
pub fn open(process: &Process, path: &str, mode: u32) -> Result<OpenFile, Errno> {
    if mode & !OPEN_BITS != 0 || mode & 3 == 3 {
        return Err(Errno::EINVAL);
    }
    let path = clean(process, path)?;
    let node = match process.names.resolve(&path) {
        Place::Root(path) => {
            let entry = root::find(path)?;
            entry.check_open(mode)?;
            Node::Root(entry)
        }
        Place::Remote(mount, rest) => {
            let mut remote = Remote::walk(&mount, rest)?;
            if remote.is_directory() && mode & (3 | mode::OTRUNC) != mode::OREAD {
                return Err(Errno::EISDIR);
            }
            remote.open(mode)?;
            Node::Remote(remote)
        }
    };
    Ok(OpenFile::new(node, mode, shared(&path)))
}

/// The directory that `path` (clean) is in, at its server, and its last part.
fn parent<'p>(process: &Process, path: &'p str) -> Result<(Arc<Mount>, Remote, &'p str), Errno> {
    match process.names.resolve(path) {
        Place::Root(_) => Err(Errno::EROFS),
        Place::Remote(mount, rest) => {
            let (directory, last) = match rest.rsplit_once('/') {
                Some(parts) => parts,
                None if rest.is_empty() => return Err(Errno::EBUSY),
                None => ("", rest),
            };
            let directory = Remote::walk(&mount, directory)?;
            Ok((mount, directory, last))
        }
    }
}

/// Makes a file or, with `DMDIR`, a directory, and opens it. A file that
/// exists is truncated, unless `OEXCL` asks for an error.
pub fn create(
    process: &Process,
    path: &str,
    mode: u32,
    permissions: u32,
) -> Result<OpenFile, Errno> {
    if mode & !(OPEN_BITS | mode::OEXCL) != 0 || mode & 3 == 3 {
        return Err(Errno::EINVAL);
    }
    let path = clean(process, path)?;
    if let Place::Root(root_path) = process.names.resolve(&path)
        && permissions & mode::DMDIR == 0
        && mode & mode::OEXCL == 0
        && let Ok(entry @ (root::Entry::Null | root::Entry::Zero)) = root::find(root_path)
    {
        return Ok(OpenFile::new(Node::Root(entry), mode, shared(&path)));
    }
    let (mount, mut directory, last) = parent(process, &path)?;
    let remote = if permissions & mode::DMDIR != 0 {
        directory.make_directory(last, permissions)?;
        let Place::Remote(_, rest) = process.names.resolve(&path) else {
            return Err(Errno::ENOENT);
        };
        let mut made = Remote::walk(&mount, rest)?;
        made.open(mode::OREAD)?;
        made
    } else {
        directory.create(last, mode, permissions)?;
        directory
    };
    Ok(OpenFile::new(Node::Remote(remote), mode, shared(&path)))
}

/// What `path` is.
pub fn stat(process: &Process, path: &str) -> Result<Stat, Errno> {
    let path = clean(process, path)?;
    match process.names.resolve(&path) {
        Place::Root(path) => Ok(root::find(path)?.stat()),
        Place::Remote(mount, rest) => Remote::walk(&mount, rest)?.stat(),
    }
}

/// What an open file is.
pub fn stat_open(file: &OpenFile) -> Result<Stat, Errno> {
    match &file.node {
        Node::Root(entry) => Ok(entry.stat()),
        Node::Remote(remote) => remote.stat(),
        Node::Channel(_) | Node::Port(_) => Ok(Stat {
            mode: 0o010_600,
            links: 1,
            ..Stat::default()
        }),
    }
}

/// Removes a file or an empty directory.
pub fn remove(process: &Process, path: &str) -> Result<(), Errno> {
    let path = clean(process, path)?;
    let (_, directory, last) = parent(process, &path)?;
    let kind = if stat(process, &path)?.is_dir() {
        Directory::Yes
    } else {
        Directory::No
    };
    directory.unlink(last, kind)
}

/// Renames a file within one server, replacing what has the new name.
pub fn rename(process: &Process, old: &str, new: &str) -> Result<(), Errno> {
    let (old, new) = (clean(process, old)?, clean(process, new)?);
    let (from_mount, from, old) = parent(process, &old)?;
    let (to_mount, to, new) = parent(process, &new)?;
    if !Arc::ptr_eq(&from_mount, &to_mount) {
        return Err(Errno::EXDEV);
    }
    from.rename(old, &to, new)
}

/// Changes the working directory.
pub fn change_directory(process: &Process, path: &str) -> Result<(), Errno> {
    let path = clean(process, path)?;
    if !stat(process, &path)?.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    *process.directory.lock() = path;
    Ok(())
}

/// Speaks 9P on the channel `fd`, which is closed, and puts the server's tree
/// at `path`, which must exist.
pub fn mount(process: &Process, fd: u64, path: &str) -> Result<(), Errno> {
    let path = clean(process, path)?;
    stat(process, &path)?;
    let file = process.descriptors.lock().get(fd)?;
    let Node::Channel(end) = &file.node else {
        return Err(Errno::EINVAL);
    };
    let end = end.clone();
    let closed = process.descriptors.lock().set(fd, None)?;
    drop((file, closed));
    process.names.mount(path, Mount::connect(end)?)
}
