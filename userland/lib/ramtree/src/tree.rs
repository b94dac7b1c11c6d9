//! The tree: files and their content. `names` has the operations on names.

mod names;

use crate::directory::Directory;
use crate::pages::{Pages, Space};
use abi::Errno;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;

/// Identifies a file or directory. Never reused.
pub type Id = u64;
/// The root directory.
pub const ROOT: Id = 1;
/// Most bytes in a name.
pub const NAME_MAX: usize = 255;
/// Most bytes in the text of a symbolic link.
pub const LINK_MAX: usize = 4095;

/// The charge for a file and for a name, a constant, so that replacing a name
/// needs no space.
const NODE_COST: u64 = 256;
const NAME_COST: u64 = 512;

#[derive(Clone)]
enum Kind {
    File(Pages),
    Directory(Directory),
    /// A symbolic link with its text.
    Link(Box<[u8]>),
}

#[derive(Clone)]
struct Node {
    kind: Kind,
    mode: u32,
    version: u32,
    names: u64,
    held: u64,
    accessed: u64,
    modified: u64,
    changed: u64,
}

/// The attributes of a file. Times are nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// True for a directory.
    pub directory: bool,
    /// True for a symbolic link.
    pub link: bool,
    /// Permission bits.
    pub mode: u32,
    /// Increases with each change of the content.
    pub version: u32,
    /// The number of names.
    pub names: u64,
    /// Bytes; of a directory, the number of entries; of a link, the length of
    /// its text.
    pub size: u64,
    /// Pages in memory.
    pub pages: u64,
    /// Time of the last read, as far as clients report it.
    pub accessed: u64,
    /// Time of the last change of the content.
    pub modified: u64,
    /// Time of the last change of any attribute.
    pub changed: u64,
}

/// A change of attributes; times are nanoseconds since 1970.
#[derive(Clone, Copy, Default, Debug)]
pub struct Change {
    /// New permission bits.
    pub mode: Option<u32>,
    /// New size in bytes.
    pub size: Option<u64>,
    /// New time of the last read.
    pub accessed: Option<u64>,
    /// New time of the last change of the content.
    pub modified: Option<u64>,
}

/// The tree. Methods return Linux's errors; `ENOENT` for the id of a removed
/// file.
#[derive(Clone)]
pub struct Tree {
    nodes: BTreeMap<Id, Node>,
    last: Id,
    space: Space,
    now: u64,
}

impl Tree {
    /// An empty tree that uses at most `limit` bytes.
    pub fn new(limit: u64) -> Tree {
        let mut tree = Tree {
            nodes: BTreeMap::new(),
            last: ROOT,
            space: Space { limit, used: 0 },
            now: 0,
        };
        let mut root = tree.node(Kind::Directory(Directory::new(ROOT)), 0o777);
        root.names = 1;
        tree.nodes.insert(ROOT, root);
        tree
    }

    /// Sets the time that changes are stamped with, in nanoseconds since 1970.
    pub fn set_time(&mut self, now: u64) {
        self.now = now;
    }

    /// Sets the limit of bytes; what is in use stays.
    pub fn set_limit(&mut self, limit: u64) {
        self.space.limit = limit;
    }

    /// The limit of bytes, and the bytes in use.
    pub fn space(&self) -> (u64, u64) {
        (self.space.limit, self.space.used)
    }

    /// The number of files and directories.
    pub fn len(&self) -> u64 {
        self.nodes.len() as u64
    }

    /// Returns true if there is only the root directory.
    pub fn is_empty(&self) -> bool {
        self.nodes.len() <= 1
    }

    fn node(&self, kind: Kind, mode: u32) -> Node {
        Node {
            kind,
            mode: mode & 0o7777,
            version: 0,
            names: 0,
            held: 0,
            accessed: self.now,
            modified: self.now,
            changed: self.now,
        }
    }

    fn get(&self, id: Id) -> Result<&Node, Errno> {
        self.nodes.get(&id).ok_or(Errno::ENOENT)
    }

    fn directory(&self, id: Id) -> Result<&Directory, Errno> {
        match &self.get(id)?.kind {
            Kind::Directory(directory) => Ok(directory),
            Kind::File(_) | Kind::Link(_) => Err(Errno::ENOTDIR),
        }
    }

    fn file(&mut self, id: Id) -> Result<(&mut Pages, &mut Space), Errno> {
        let node = self.nodes.get_mut(&id).ok_or(Errno::ENOENT)?;
        match &mut node.kind {
            Kind::File(pages) => Ok((pages, &mut self.space)),
            Kind::Directory(_) => Err(Errno::EISDIR),
            Kind::Link(_) => Err(Errno::ELOOP),
        }
    }

    /// Updates times and version after a change of content.
    fn touch(&mut self, id: Id) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.version = node.version.wrapping_add(1);
            (node.modified, node.changed) = (self.now, self.now);
        }
    }

    /// The attributes of a file.
    pub fn facts(&self, id: Id) -> Result<Facts, Errno> {
        let node = self.get(id)?;
        let (size, pages) = match &node.kind {
            Kind::File(pages) => (pages.size(), pages.count()),
            Kind::Directory(directory) => (directory.len(), 0),
            Kind::Link(text) => (text.len() as u64, 0),
        };
        Ok(Facts {
            directory: matches!(node.kind, Kind::Directory(_)),
            link: matches!(node.kind, Kind::Link(_)),
            mode: node.mode,
            version: node.version,
            names: node.names,
            size,
            pages,
            accessed: node.accessed,
            modified: node.modified,
            changed: node.changed,
        })
    }

    /// Keeps a file in existence after its last name is removed.
    pub fn hold(&mut self, id: Id) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.held += 1;
        }
    }

    /// Undoes one `hold`.
    pub fn release(&mut self, id: Id) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.held = node.held.saturating_sub(1);
        }
        self.forget_unused(id);
    }

    fn forget_unused(&mut self, id: Id) {
        let unused = |node: &Node| node.names == 0 && node.held == 0;
        if self.nodes.get(&id).is_some_and(unused)
            && let Some(Node { kind, .. }) = self.nodes.remove(&id)
        {
            match kind {
                Kind::File(mut pages) => drop(pages.set_size(0, &mut self.space)),
                Kind::Link(text) => self.space.give(text.len() as u64),
                Kind::Directory(_) => {}
            }
            self.space.give(NODE_COST);
        }
    }

    /// The file of `name` in a directory.
    pub fn walk(&self, id: Id, name: &[u8]) -> Result<Id, Errno> {
        let directory = self.directory(id)?;
        match name {
            b"." => Ok(id),
            b".." => Ok(directory.parent),
            name => directory.get(name).ok_or(Errno::ENOENT),
        }
    }

    /// Position, name and file of the entries after `position`, 0 for all.
    pub fn entries(
        &self,
        id: Id,
        position: u64,
    ) -> Result<impl Iterator<Item = (u64, &[u8], Id)>, Errno> {
        Ok(self.directory(id)?.after(position))
    }

    /// Reads a file from `offset`; returns the byte count.
    pub fn read(&self, id: Id, offset: u64, out: &mut [u8]) -> Result<usize, Errno> {
        match &self.get(id)?.kind {
            Kind::File(pages) => Ok(pages.read(offset, out)),
            Kind::Directory(_) => Err(Errno::EISDIR),
            Kind::Link(_) => Err(Errno::ELOOP),
        }
    }

    /// The text of a symbolic link.
    pub fn read_link(&self, id: Id) -> Result<&[u8], Errno> {
        match &self.get(id)?.kind {
            Kind::Link(text) => Ok(text),
            Kind::File(_) | Kind::Directory(_) => Err(Errno::EINVAL),
        }
    }

    /// Writes at `offset`, or at the end if there is none; returns the byte
    /// count. An empty write changes nothing, not even times.
    pub fn write(&mut self, id: Id, offset: Option<u64>, bytes: &[u8]) -> Result<usize, Errno> {
        let (pages, space) = self.file(id)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let written = pages.write(offset.unwrap_or(pages.size()), bytes, space)?;
        self.touch(id);
        Ok(written)
    }

    /// Changes attributes.
    pub fn change(&mut self, id: Id, change: &Change) -> Result<(), Errno> {
        if let Some(size) = change.size {
            let (pages, space) = self.file(id)?;
            pages.set_size(size, space)?;
            self.touch(id);
        }
        let now = self.now;
        let node = self.nodes.get_mut(&id).ok_or(Errno::ENOENT)?;
        node.mode = change.mode.map_or(node.mode, |mode| mode & 0o7777);
        node.accessed = change.accessed.unwrap_or(node.accessed);
        node.modified = change.modified.unwrap_or(node.modified);
        node.changed = now;
        Ok(())
    }
}
