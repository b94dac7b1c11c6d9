//! Operations on names: open, create, stat, remove, rename, bind, mount.
use super::{Node, OpenFile};
use crate::chan::room;
use crate::mem::heap::new_arc_bytes;
use crate::mount::Mount;
use crate::mount::remote::{Directory, Remote};
use crate::name::{self, Member, Order, Place, Trail, root};
use crate::proc::Process;
use crate::text;
use abi::{Errno, Stat, mode};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Mode bits that `open` takes; `create` takes `OEXCL` too.
const OPEN_BITS: u32 = 3 | mode::OTRUNC | mode::OAPPEND;
/// The bits that ask for more than reading.
const CHANGES: u32 = 3 | mode::OTRUNC;

/// `path` as seen by the process, clean.
pub fn clean(process: &Process, path: &[u8]) -> Result<Vec<u8>, Errno> {
    let directory = process.directory.lock();
    name::clean(&directory, path)
}

/// A file that exists, not open.
enum Found {
    Root(root::Entry),
    Remote(Remote),
}

impl Found {
    fn at(place: &Place) -> Result<Found, Errno> {
        match place {
            Place::Root(path) => root::find(path).map(Found::Root),
            Place::Remote(mount, path) => Remote::walk(mount, path).map(Found::Remote),
        }
    }

    fn is_directory(&self) -> bool {
        match self {
            Found::Root(entry) => entry.is_directory(),
            Found::Remote(remote) => remote.is_directory(),
        }
    }

    fn stat(&self) -> Result<Stat, Errno> {
        match self {
            Found::Root(entry) => Ok(entry.stat()),
            Found::Remote(remote) => remote.stat(),
        }
    }

    fn open(self, mode: u32) -> Result<Node, Errno> {
        match self {
            Found::Root(entry) => entry.check_open(mode).map(|()| Node::Root(entry)),
            Found::Remote(remote) if remote.is_directory() && mode & CHANGES != mode::OREAD => {
                Err(Errno::EISDIR)
            }
            Found::Remote(mut remote) => remote.open(mode).map(|()| Node::Remote(remote)),
        }
    }
}

/// The member of a union that has the first part of the path. One that does
/// not answer is an error: what it may have must not be taken for missing.
fn member<'t>(trail: &'t Trail<'_>) -> Result<Option<&'t Member>, Errno> {
    if let [only] = trail.members.as_slice() {
        return Ok(Some(only));
    }
    let first = trail.rest.split(|byte| *byte == b'/').next();
    let first = first.unwrap_or(&[]);
    for member in &trail.members {
        match Found::at(&member.place.below(first)?) {
            Ok(_) => return Ok(Some(member)),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

/// Where the path leads; something is there unless it is the only place where
/// it could be.
fn place(trail: &Trail<'_>) -> Result<Place, Errno> {
    let member = member(trail)?.ok_or(Errno::ENOENT)?;
    member.place.below(trail.rest)
}

/// Where a file of that path would be made, if there is none yet.
fn place_for_new(trail: &Trail<'_>) -> Result<Place, Errno> {
    if let Some(member) = member(trail)? {
        return member.place.below(trail.rest);
    }
    if trail.rest.contains(&b'/') {
        return Err(Errno::ENOENT);
    }
    let takes = trail.members.iter().find(|member| member.create);
    takes.ok_or(Errno::EPERM)?.place.below(trail.rest)
}

/// The directory at a server that a file to be made or removed is in, and the
/// file's name there.
fn parent(place: &Place) -> Result<(Remote, &[u8]), Errno> {
    let (directory, last) = place.split()?.ok_or(Errno::EBUSY)?;
    match directory {
        Place::Root(_) => Err(Errno::EROFS),
        Place::Remote(mount, path) => Ok((Remote::walk(&mount, &path)?, last)),
    }
}

fn find(process: &Process, path: &[u8]) -> Result<Found, Errno> {
    Found::at(&place(&process.names().resolve(path)?)?)
}

/// How often a name is looked up before a server's `ESTALE` is believed.
const LOOKS: usize = 16;

/// Runs an operation on names, and runs it again where the server says that
/// what it found is gone: somebody puts another file in its place between two
/// messages, and one of the two is there all the time.
pub fn looking_again<T>(mut operation: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 1..LOOKS {
        match operation() {
            Err(Errno::ESTALE) => {}
            result => return result,
        }
    }
    operation()
}

/// Opens a file that exists.
pub fn open(process: &Process, path: &[u8], mode: u32) -> Result<OpenFile, Errno> {
    if mode & !OPEN_BITS != 0 || mode & 3 == 3 {
        return Err(Errno::EINVAL);
    }
    let path = clean(process, path)?;
    looking_again(|| open_clean(process, &path, mode))
}

fn open_clean(process: &Process, path: &[u8], mode: u32) -> Result<OpenFile, Errno> {
    let trail = process.names().resolve(path)?;
    let name = text::shown(path)?;
    let node = Found::at(&place(&trail)?)?.open(mode)?;
    let mut file = OpenFile::new(node, mode, name);
    if trail.point {
        file.others = others(&trail)?;
    }
    Ok(file)
}

/// The members of a union directory after the first, open. One that cannot be
/// opened is an error: its names must not be taken for missing.
fn others(trail: &Trail<'_>) -> Result<Vec<Node>, Errno> {
    let rest = trail.members.get(1..).unwrap_or(&[]);
    let mut nodes = room(rest.len())?;
    for member in rest {
        nodes.push(Found::at(&member.place)?.open(mode::OREAD)?);
    }
    Ok(nodes)
}

/// Makes a file or, with `DMDIR`, a directory, and opens it. A file that
/// exists is truncated, unless `OEXCL` asks for an error.
pub fn create(
    process: &Process,
    path: &[u8],
    mode: u32,
    permissions: u32,
) -> Result<OpenFile, Errno> {
    if mode & !(OPEN_BITS | mode::OEXCL) != 0 || mode & 3 == 3 {
        return Err(Errno::EINVAL);
    }
    let path = clean(process, path)?;
    let name = text::shown(&path)?;
    let node = looking_again(|| {
        let place = place_for_new(&process.names().resolve(&path)?)?;
        let directory = permissions & mode::DMDIR != 0;
        match existing(&place)? {
            Some(_) if directory || mode & mode::OEXCL != 0 => Err(Errno::EEXIST),
            Some(found) => found.open(mode | mode::OTRUNC),
            None => make(&place, mode, permissions),
        }
    })?;
    Ok(OpenFile::new(node, mode & !mode::OEXCL, name))
}

/// What is there already and need not, or cannot, be made by a server. Others
/// are left to the server, which alone can look and make in one step.
fn existing(place: &Place) -> Result<Option<Found>, Errno> {
    let ours = matches!(place, Place::Root(_));
    if !ours && !place.path().is_empty() {
        return Ok(None);
    }
    match Found::at(place) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn make(place: &Place, mode: u32, permissions: u32) -> Result<Node, Errno> {
    let (mut directory, last) = parent(place)?;
    if permissions & mode::DMDIR == 0 {
        directory.create(last, mode, permissions)?;
        return Ok(Node::Remote(directory));
    }
    directory.make_directory(last, permissions)?;
    Found::at(place)?.open(mode::OREAD)
}

/// What `path` is.
pub fn stat(process: &Process, path: &[u8]) -> Result<Stat, Errno> {
    let path = clean(process, path)?;
    looking_again(|| find(process, &path)?.stat())
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

/// Where a file is that is to be removed or renamed; `EBUSY` for what is bound.
fn changeable(process: &Process, path: &[u8]) -> Result<Place, Errno> {
    let trail = process.names().resolve(path)?;
    if trail.point {
        return Err(Errno::EBUSY);
    }
    place(&trail)
}

/// Removes a file or an empty directory.
pub fn remove(process: &Process, path: &[u8]) -> Result<(), Errno> {
    let path = clean(process, path)?;
    looking_again(|| {
        let place = changeable(process, &path)?;
        let kind = match Found::at(&place)?.is_directory() {
            true => Directory::Yes,
            false => Directory::No,
        };
        let (directory, last) = parent(&place)?;
        directory.unlink(last, kind)
    })
}

/// Renames a file within one server, replacing what has the new name.
pub fn rename(process: &Process, old: &[u8], new: &[u8]) -> Result<(), Errno> {
    let (old, new) = (clean(process, old)?, clean(process, new)?);
    looking_again(|| rename_clean(process, &old, &new))
}

fn rename_clean(process: &Process, old: &[u8], new: &[u8]) -> Result<(), Errno> {
    let from = changeable(process, old)?;
    let trail = process.names().resolve(new)?;
    if trail.point {
        return Err(Errno::EBUSY);
    }
    let to = place_for_new(&trail)?;
    match (&from, &to) {
        (Place::Remote(a, _), Place::Remote(b, _)) if !Arc::ptr_eq(a, b) => {
            return Err(Errno::EXDEV);
        }
        (Place::Root(_), Place::Root(_)) => {
            Found::at(&from)?;
        }
        (Place::Root(_), Place::Remote(..)) | (Place::Remote(..), Place::Root(_)) => {
            Found::at(&from)?;
            return Err(Errno::EXDEV);
        }
        (Place::Remote(..), Place::Remote(..)) => {}
    }
    let ((from, old), (to, new)) = (parent(&from)?, parent(&to)?);
    from.rename(old, &to, new)
}

/// Changes the working directory.
pub fn change_directory(process: &Process, path: &[u8]) -> Result<(), Errno> {
    let path = clean(process, path)?;
    if !stat(process, &path)?.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    let path = new_arc_bytes(&path)?;
    *process.directory.lock() = path;
    Ok(())
}

/// Lets `old` lead to what `new` is: alone, or in a union with what was
/// there. Both must be directories, or both something else; only directories
/// make unions.
pub fn bind(process: &Process, new: &[u8], old: &[u8], flags: u64) -> Result<(), Errno> {
    let (order, create) = Order::from_flags(flags)?;
    let (new, old) = (clean(process, new)?, clean(process, old)?);
    let trail = process.names().resolve(&new)?;
    let (first, directory) = looking_again(|| {
        let first = place(&trail)?;
        let directory = Found::at(&first)?.is_directory();
        Ok((first, directory))
    })?;
    let mut members = room(trail.members.len())?;
    if trail.point {
        // A union as a whole.
        members.extend(trail.members.into_iter().map(|member| Member {
            create: member.create || create,
            ..member
        }));
    } else {
        members.push(Member {
            place: first,
            create,
        });
    }
    put(process, &old, members, directory, order)
}

/// Puts `members` at `old` (clean), which must exist and be of their kind.
fn put(
    process: &Process,
    old: &[u8],
    members: Vec<Member>,
    directory: bool,
    order: Order,
) -> Result<(), Errno> {
    let (under, covered) = looking_again(|| {
        let under = place(&process.names().resolve(old)?)?;
        let covered = Found::at(&under)?.is_directory();
        Ok((under, covered))
    })?;
    match (directory, covered) {
        (true, false) => return Err(Errno::ENOTDIR),
        (false, true) => return Err(Errno::EISDIR),
        (false, false) if order != Order::Replace => return Err(Errno::ENOTDIR),
        _ => {}
    }
    process.names().bind(old, under, members, order)
}

/// Speaks 9P on the channel `fd`, which is closed, and puts the tree that the
/// server has under `name` at `path`, which must exist.
pub fn mount(
    process: &Process,
    fd: u64,
    path: &[u8],
    flags: u64,
    name: &[u8],
) -> Result<(), Errno> {
    let (order, create) = Order::from_flags(flags & !abi::bind::EAGER)?;
    let path = clean(process, path)?;
    looking_again(|| find(process, &path))?;
    let file = process.descriptors.lock().get(fd)?;
    let Node::Channel(end) = &file.node else {
        return Err(Errno::EINVAL);
    };
    let end = end.clone();
    let closed = process.descriptors.lock().set(fd, None)?;
    drop((file, closed));
    let mount = Mount::connect(end, name)?;
    if flags & abi::bind::EAGER != 0 {
        mount.be_eager();
    }
    let directory = mount.root().1.kind & ninep::consts::qid::DIR != 0;
    let mut members = room(1)?;
    members.push(Member {
        place: Place::top(mount),
        create,
    });
    put(process, &path, members, directory, order)
}

/// Undoes all binds and mounts at `path`.
pub fn unmount(process: &Process, path: &[u8]) -> Result<(), Errno> {
    process.names().unbind(&clean(process, path)?)
}
