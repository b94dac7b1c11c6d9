//! Operations on names: open, create, stat, remove, rename, bind, mount.
use super::{Base, Node, OpenFile};
use crate::chan::{End, room};
use crate::client::Mount;
use crate::client::remote::{Directory, Remote};
use crate::client::walk::{Aim, Found};
use crate::name::walk::{self, walk, walk_for_new};
use crate::name::{Member, NameSpace, Place, Trail, Viewpoint, root};
use crate::sched::{self, relief};
use crate::text;
use abi::{Errno, PATH_MAX, Stat, StatChange, mode};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use hw::heap::{new_arc_bytes, new_box};
use names::{Last, Order, Path};

/// Mode bits that `open` and `create` take.
const BITS: u32 = 3 | mode::OTRUNC | mode::OAPPEND;

/// Returns true if the mode asks for more than reading.
const fn changes(mode: u32) -> bool {
    mode & (3 | mode::OTRUNC) != mode::OREAD
}

/// `EINVAL` for a mode that `open` does not take.
pub fn check_mode(mode: u32) -> Result<(), Errno> {
    check_bits(mode, BITS | mode::ODIRECTORY)
}

/// The same of `create`.
pub fn check_create_mode(mode: u32) -> Result<(), Errno> {
    check_bits(mode, BITS | mode::OEXCL | mode::OKEEP)
}

fn check_bits(mode: u32, bits: u32) -> Result<(), Errno> {
    match mode & !bits != 0 || mode & 3 == 3 {
        true => Err(Errno::EINVAL),
        false => Ok(()),
    }
}

/// The file at a place, not open, and its own place, whose path has no links. A
/// link at the end is followed or returned itself.
fn located(names: &NameSpace, place: &Place, last: Last) -> Result<(Node, Place), Errno> {
    match place {
        Place::Root(path) => Ok((Node::Root(root::find(path)?), place.below(&[])?)),
        Place::Remote(mount, path) => {
            let (remote, path) = walk(names, mount, path, last)?;
            Ok((Node::Remote(remote), Place::Remote(mount.clone(), path)))
        }
    }
}

/// The attributes of the file at a place; of a link at the end, its own or not.
fn stat_at(names: &NameSpace, place: &Place, last: Last) -> Result<Stat, Errno> {
    match place {
        Place::Root(path) => Ok(root::find(path)?.stat()),
        Place::Remote(mount, path) => walk::find(names, mount, path, last, Aim::Stat)?.stat(),
    }
}

/// The file at a place, all links followed, open.
fn open_at(names: &NameSpace, place: &Place, mode: u32) -> Result<Node, Errno> {
    match place {
        Place::Root(path) => Node::Root(root::find(path)?).open(mode),
        Place::Remote(mount, path) => {
            let aim = Aim::Open(mode);
            match walk::find(names, mount, path, Last::Follow, aim)? {
                // Not every server says so itself.
                Found::Open(remote) if remote.is_directory() && changes(mode) => Err(Errno::EISDIR),
                Found::Open(remote) => Ok(Node::Remote(remote)),
                Found::Fid(remote) => Node::Remote(remote).open(mode),
                Found::Stat(_) => Err(Errno::EPROTO),
            }
        }
    }
}

/// The file at a place, all links followed.
fn at(names: &NameSpace, place: &Place) -> Result<Node, Errno> {
    located(names, place, Last::Follow).map(|(found, _)| found)
}

/// The same, but for a link at the end.
fn kept(names: &NameSpace, place: &Place) -> Result<Node, Errno> {
    located(names, place, Last::Keep).map(|(found, _)| found)
}

impl Node {
    /// Returns true for a symbolic link.
    pub fn is_link(&self) -> bool {
        matches!(self, Node::Remote(remote) if remote.is_link())
    }

    /// Whether it is a directory.
    pub fn kind(&self) -> Directory {
        match self {
            Node::Root(entry) if entry.is_directory() => Directory::Yes,
            Node::Remote(remote) => remote.kind(),
            Node::Root(_) | Node::Channel(_) | Node::Port(_) => Directory::No,
        }
    }

    /// Its attributes.
    pub fn stat(&self) -> Result<Stat, Errno> {
        match self {
            Node::Root(entry) => Ok(entry.stat()),
            Node::Remote(remote) => remote.stat(),
            Node::Channel(_) | Node::Port(_) => Ok(Stat {
                mode: 0o010_600,
                links: 1,
                ..Stat::default()
            }),
        }
    }

    /// The same file, open.
    pub fn open(mut self, mode: u32) -> Result<Node, Errno> {
        match &mut self {
            Node::Root(entry) => entry.check_open(mode)?,
            Node::Remote(remote) if remote.is_directory() && changes(mode) => {
                return Err(Errno::EISDIR);
            }
            Node::Remote(remote) => match remote.open(mode) {
                // A link was put in its place after it was found.
                Err(Errno::ELOOP) if !remote.is_link() => return Err(Errno::ESTALE),
                opened => opened?,
            },
            Node::Channel(_) | Node::Port(_) => {}
        }
        Ok(self)
    }
}

/// The member of a union that has the first part of the path. A member that
/// does not answer is an error, because its entries must not count as missing.
fn member<'t>(names: &NameSpace, trail: &'t Trail<'_>) -> Result<Option<&'t Member>, Errno> {
    if let [only] = trail.members.as_slice() {
        return Ok(Some(only));
    }
    let end = trail.rest.iter().position(|byte| *byte == b'/');
    let first = &trail.rest[..end.unwrap_or(trail.rest.len())];
    for member in &trail.members {
        match kept(names, &member.place.below(first)?) {
            Ok(_) => return Ok(Some(member)),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

/// The place of a path. Existence is checked only if there are several
/// candidates.
fn place(names: &NameSpace, trail: &Trail<'_>) -> Result<Place, Errno> {
    let member = member(names, trail)?.ok_or(Errno::ENOENT)?;
    member.place.below(trail.raw)
}

/// Where a file of that path would be made, if there is none yet.
fn place_for_new(names: &NameSpace, trail: &Trail<'_>) -> Result<Place, Errno> {
    // Creation and renaming need a name, which `..` is not.
    let path = match trail.raw.ends_with(b"..") {
        true => trail.rest,
        false => trail.raw,
    };
    if let Some(member) = member(names, trail)? {
        return member.place.below(path);
    }
    if trail.rest.contains(&b'/') {
        return Err(Errno::ENOENT);
    }
    let takes = trail.members.iter().find(|member| member.create);
    takes.ok_or(Errno::EPERM)?.place.below(path)
}

/// The directory at a server that a file to be made or removed is in, and the
/// file's name there.
fn parent<'p>(names: &NameSpace, place: &'p Place) -> Result<(Remote, &'p [u8]), Errno> {
    let last = place.last().ok_or(Errno::EBUSY)?;
    match place.directory()? {
        Place::Root(_) => Err(Errno::EROFS),
        Place::Remote(mount, path) => {
            let (directory, _) = walk(names, &mount, &path, Last::Follow)?;
            Ok((directory, last))
        }
    }
}

/// A name with a `/` behind it is a directory's.
const fn last_of(path: &Path, last: Last) -> Last {
    if path.slash { Last::Follow } else { last }
}

fn find(view: &Viewpoint, path: &Path, last: Last) -> Result<Node, Errno> {
    let names = &view.names;
    let place = place(names, &names.resolve(path)?)?;
    located(names, &place, last_of(path, last)).map(|(found, _)| found)
}

/// How often a name is looked up before a server's `ESTALE` is believed.
const LOOKS: usize = 16;

/// Runs an operation on names, and repeats it if the server says that the file
/// it found is gone: another client has replaced the file between two messages,
/// and one of the two files always exists.
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
pub fn open(view: &Viewpoint, path: &[u8], mode: u32) -> Result<OpenFile, Errno> {
    check_mode(mode)?;
    let path = view.clean(path)?;
    looking_again(|| open_clean(view, &path, mode))
}

fn open_clean(view: &Viewpoint, path: &Path, mode: u32) -> Result<OpenFile, Errno> {
    let names = &view.names;
    let trail = names.resolve(path)?;
    let name = text::shown(path)?;
    let place = place(names, &trail)?;
    let mut file = match mode & mode::ODIRECTORY {
        0 => OpenFile::new(open_at(names, &place, mode)?, mode, name),
        _ => {
            let node = at(names, &place)?;
            let base = base(&node, Some(path), trail.members.len() > 1)?;
            let mut file = OpenFile::new(node.open(mode)?, mode, name);
            file.base = Some(base);
            file
        }
    };
    if trail.point {
        file.others = others(names, &trail)?;
    }
    Ok(file)
}

/// For a directory that was found at `path` and is not open yet.
///
/// # Errors
/// `ENOTDIR`: it is none.
pub fn base(node: &Node, path: Option<&[u8]>, union: bool) -> Result<Box<Base>, Errno> {
    if node.kind() != Directory::Yes {
        return Err(Errno::ENOTDIR);
    }
    let remote = match node {
        Node::Remote(remote) if !union => Some(remote.another()?),
        _ => None,
    };
    let path = path.map(new_arc_bytes).transpose()?;
    Ok(new_box(Base { path, remote })?)
}

/// The members of a union directory after the first, open. One that cannot be
/// opened is an error: its names must not be taken for missing.
fn others(names: &NameSpace, trail: &Trail<'_>) -> Result<Vec<Node>, Errno> {
    let mut nodes = room(trail.members.len())?;
    for member in trail.members.iter().skip(1) {
        nodes.push(at(names, &member.place)?.open(mode::OREAD)?);
    }
    Ok(nodes)
}

/// Makes a file or, with `DMDIR`, a directory, and opens it. A file that
/// exists is truncated, unless `OKEEP` keeps its content or `OEXCL` asks for an error.
pub fn create(
    view: &Viewpoint,
    path: &[u8],
    mode: u32,
    permissions: u32,
) -> Result<OpenFile, Errno> {
    check_create_mode(mode)?;
    let path = view.clean(path)?;
    let name = text::shown(&path)?;
    let opened = match mode & mode::OKEEP {
        0 => mode & !mode::OEXCL | mode::OTRUNC,
        _ => mode & !(mode::OEXCL | mode::OKEEP),
    };
    let names = &view.names;
    let node = looking_again(|| {
        let place = place_for_new(names, &names.resolve(&path)?)?;
        let directory = permissions & mode::DMDIR != 0;
        match existing(names, &place)? {
            Some(_) if directory || mode & mode::OEXCL != 0 => Err(Errno::EEXIST),
            Some(found) => found.open(opened),
            None if directory => make_directory(names, &place, permissions),
            None => make(names, &place, mode, permissions),
        }
    })?;
    Ok(OpenFile::new(
        node,
        mode & !(mode::OEXCL | mode::OKEEP),
        name,
    ))
}

/// An existing file that a server need not or cannot create. For all others
/// only the server can check and create in one step.
fn existing(names: &NameSpace, place: &Place) -> Result<Option<Node>, Errno> {
    if place.server().is_some() && !place.path().is_empty() {
        return Ok(None);
    }
    match at(names, place) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn make(names: &NameSpace, place: &Place, mode: u32, permissions: u32) -> Result<Node, Errno> {
    let made = make_at(names, place, mode, permissions);
    let (Err(Errno::ELOOP), Place::Remote(mount, path)) = (&made, place) else {
        return made;
    };
    // The name is a link: its target is created or opened.
    let target = walk_for_new(names, mount, path)?;
    let target = Place::Remote(mount.clone(), target);
    match make_at(names, &target, mode, permissions) {
        // Another link was put there meanwhile.
        Err(Errno::ELOOP) => Err(Errno::ESTALE),
        made => made,
    }
}

fn make_at(names: &NameSpace, place: &Place, mode: u32, permissions: u32) -> Result<Node, Errno> {
    let (mut directory, last) = parent(names, place)?;
    directory.create(last, mode, permissions)?;
    Ok(Node::Remote(directory))
}

fn make_directory(names: &NameSpace, place: &Place, permissions: u32) -> Result<Node, Errno> {
    let (directory, last) = parent(names, place)?;
    directory.make_directory(last, permissions)?;
    after(|| at(names, place)?.open(mode::OREAD))
}

/// Opens a directory that has just been made. No error says that this can be repeated: it
/// would exist then.
pub fn after<T>(mut open: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    let opened = sched::without_notes(|| relief::again(|| looking_again(&mut open)));
    opened.map_err(|errno| match errno {
        Errno::ENOMEM | Errno::ESTALE => Errno::EIO,
        errno => errno,
    })
}

/// The attributes of the file at `path`.
pub fn stat(view: &Viewpoint, path: &[u8], last: Last) -> Result<Stat, Errno> {
    let path = view.clean(path)?;
    looking_again(|| {
        let names = &view.names;
        let place = place(names, &names.resolve(&path)?)?;
        stat_at(names, &place, last_of(&path, last))
    })
}

/// Changes the attributes of the file at `path`, links followed.
pub fn change(view: &Viewpoint, path: &[u8], change: &StatChange) -> Result<(), Errno> {
    let path = view.clean(path)?;
    looking_again(|| match find(view, &path, Last::Follow)? {
        Node::Remote(remote) => remote.change(change),
        Node::Root(_) | Node::Channel(_) | Node::Port(_) => Err(Errno::EPERM),
    })
}

/// The text of the symbolic link `path`.
pub fn read_link(view: &Viewpoint, path: &[u8]) -> Result<Vec<u8>, Errno> {
    let path = view.clean(path)?;
    looking_again(|| match find(view, &path, Last::Keep)? {
        Node::Remote(remote) if remote.is_link() => remote.read_link(),
        _ => Err(Errno::EINVAL),
    })
}

/// Makes a symbolic link with that text.
pub fn make_link(view: &Viewpoint, link_text: &[u8], path: &[u8]) -> Result<(), Errno> {
    if link_text.is_empty() {
        return Err(Errno::ENOENT);
    }
    let path = view.clean(path)?;
    let names = &view.names;
    looking_again(|| {
        let place = place_for_new(names, &names.resolve(&path)?)?;
        if existing(names, &place)?.is_some() {
            return Err(Errno::EEXIST);
        }
        let (directory, last) = parent(names, &place)?;
        directory.make_link(last, link_text)
    })
}

/// Gives the file `old` one more name; a link gets it itself.
pub fn link(view: &Viewpoint, old: &[u8], new: &[u8]) -> Result<(), Errno> {
    let (old, new) = (view.clean(old)?, view.clean(new)?);
    let names = &view.names;
    looking_again(|| {
        let place = place_for_new(names, &names.resolve(&new)?)?;
        let Node::Remote(file) = find(view, &old, Last::Keep)? else {
            return Err(Errno::EXDEV);
        };
        if file.is_directory() {
            return Err(Errno::EPERM);
        }
        if existing(names, &place)?.is_some() {
            return Err(Errno::EEXIST);
        }
        let (directory, last) = parent(names, &place)?;
        match Arc::ptr_eq(&directory.mount, &file.mount) {
            true => directory.link(last, &file),
            false => Err(Errno::EXDEV),
        }
    })
}

/// The place of a file to be removed or renamed; `EBUSY` for a bound one.
fn changeable(names: &NameSpace, path: &Path) -> Result<Place, Errno> {
    let trail = names.resolve(path)?;
    if trail.point {
        return Err(Errno::EBUSY);
    }
    member(names, &trail)?.ok_or(Errno::ENOENT)?;
    place_for_new(names, &trail)
}

/// Removes a file or an empty directory.
pub fn remove(view: &Viewpoint, path: &[u8]) -> Result<(), Errno> {
    let path = view.clean(path)?;
    looking_again(|| {
        let names = &view.names;
        let place = changeable(names, &path)?;
        let found = kept(names, &place)?;
        if found.is_link() && path.slash {
            return Err(Errno::ENOTDIR);
        }
        let (directory, last) = parent(names, &place)?;
        directory.unlink(last, found.kind())
    })
}

/// Renames a file within one server, replacing a file of the new name.
pub fn rename(view: &Viewpoint, old: &[u8], new: &[u8]) -> Result<(), Errno> {
    let (old, new) = (view.clean(old)?, view.clean(new)?);
    looking_again(|| rename_clean(view, &old, &new))
}

fn rename_clean(view: &Viewpoint, old: &Path, new: &Path) -> Result<(), Errno> {
    let names = &view.names;
    let from = changeable(names, old)?;
    if old.slash && kept(names, &from)?.is_link() {
        return Err(Errno::ENOTDIR);
    }
    let trail = names.resolve(new)?;
    if trail.point {
        return Err(Errno::EBUSY);
    }
    let to = place_for_new(names, &trail)?;
    let (ours, theirs) = (from.server(), to.server());
    if ours.is_none() || theirs.is_none() {
        kept(names, &from)?;
    }
    if ours.map(Arc::as_ptr) != theirs.map(Arc::as_ptr) {
        return Err(Errno::EXDEV);
    }
    let ((from, old), (to, new)) = (parent(names, &from)?, parent(names, &to)?);
    from.rename(old, &to, new)
}

/// The path of the directory `path` for a working directory.
pub fn directory(view: &Viewpoint, path: &[u8]) -> Result<Arc<[u8]>, Errno> {
    let path = view.clean(path)?;
    let names = &view.names;
    let trail = names.resolve(&path)?;
    let (stat, real) = looking_again(|| {
        let place = place(names, &trail)?;
        let (found, real) = located(names, &place, Last::Follow)?;
        Ok((found.stat()?, real))
    })?;
    if !stat.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    // Without links a `..` needs not be kept.
    let plain = member(names, &trail)?.ok_or(Errno::ENOENT)?;
    let path = match real.path() == plain.place.below(trail.rest)?.path() {
        true => &path,
        false => path.as_written(),
    };
    if path.len() > PATH_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    Ok(new_arc_bytes(path)?)
}

/// Makes `old` name the file at `new`, alone or in a union with its former
/// content. Both must be directories, or both must not; only directories form
/// unions.
pub fn bind(view: &Viewpoint, new: &[u8], old: &[u8], flags: u64) -> Result<(), Errno> {
    let (order, create) = Order::from_flags(flags)?;
    let (new, old) = (view.clean(new)?, view.clean(old)?);
    let names = &view.names;
    let trail = names.resolve(&new)?;
    let (found, first) = looking_again(|| {
        let place = place(names, &trail)?;
        located(names, &place, Last::Follow)
    })?;
    let kind = found.kind();
    drop(found);
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
    put(view, &old, members, kind, order)
}

/// Puts `members` at `old` (clean), which must exist and be of their kind.
fn put(
    view: &Viewpoint,
    old: &Path,
    members: Vec<Member>,
    kind: Directory,
    order: Order,
) -> Result<(), Errno> {
    let names = &view.names;
    let (found, under) = looking_again(|| {
        let place = place(names, &names.resolve(old)?)?;
        located(names, &place, Last::Follow)
    })?;
    let covered = found.kind();
    drop(found);
    match (kind, covered) {
        (Directory::Yes, Directory::No) => return Err(Errno::ENOTDIR),
        (Directory::No, Directory::Yes) => return Err(Errno::EISDIR),
        (Directory::No, Directory::No) if order != Order::Replace => return Err(Errno::ENOTDIR),
        _ => {}
    }
    names.bind(old, under, members, order)
}

/// Speaks 9P on the end of a channel that `take_end` gives, and puts the tree that
/// the server has under `name` at `path`, which must exist.
pub fn mount(
    view: &Viewpoint,
    take_end: impl FnOnce() -> Result<Arc<End>, Errno>,
    path: &[u8],
    flags: u64,
    name: &[u8],
) -> Result<(), Errno> {
    let (order, create) = Order::from_flags(flags & !abi::bind::EAGER)?;
    let path = relief::again(|| {
        let path = view.clean(path)?;
        looking_again(|| find(view, &path, Last::Follow))?;
        Ok(path)
    })?;
    let mount = Mount::connect(take_end()?, name)?;
    if flags & abi::bind::EAGER != 0 {
        mount.be_eager();
    }
    let kind = Directory::of(mount.root().1);
    let mut members = relief::again(|| room(1))?;
    members.push(Member {
        place: Place::top(mount),
        create,
    });
    put(view, &path, members, kind, order)
}

/// Undoes all binds and mounts at `path`.
pub fn unmount(view: &Viewpoint, path: &[u8]) -> Result<(), Errno> {
    view.names.unbind(&view.clean(path)?)
}
