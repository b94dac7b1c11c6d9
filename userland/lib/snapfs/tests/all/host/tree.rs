//! The nodes and names of the host file system.

use abi::Errno;
use dormouse_snapfs::memory::Content;
use ninep::Qid;
use ninep::consts::qid;
use std::collections::BTreeMap;

/// Bytes in a block.
pub const BLOCK: u64 = 4096;

/// The root's inode number.
pub const ROOT: u64 = 2;

/// What a node is.
#[derive(Clone)]
pub enum Kind {
    File(Content),
    Dir(BTreeMap<String, u64>),
    Link(String),
    /// A device, a pipe or a socket, by its mode bits.
    Special(u32),
}

/// An inode.
#[derive(Clone)]
pub struct Node {
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub nlink: u64,
    pub mtime: u64,
    pub ctime: u64,
    /// The file system it is on; the root's is 1.
    pub device: u64,
    /// Descriptors on it.
    pub opens: u32,
}

/// The manners of the host file system and of the server that exports it.
#[derive(Clone)]
pub struct Manners {
    /// A file may have several names.
    pub hard_links: bool,
    /// Names that differ in case only are the same.
    pub folds_case: bool,
    /// Names with slashes are paths, as on a server that glues strings together.
    pub slashes: bool,
    /// The name of an attach is a path below the root.
    pub attaches_below: bool,
    /// Rights are checked by user; 0 may do everything.
    pub users: bool,
    /// Nothing can be made in the root.
    pub root_is_read_only: bool,
    /// Attributes say how many blocks a file of the root's file system takes.
    pub counts_blocks: bool,
    /// The number of an inode that is gone is given to the next one made.
    pub reuses_numbers: bool,
    /// Blocks there are.
    pub capacity: u64,
    /// A write that runs out of room has written a part, and says only ENOSPC.
    pub hides_short_writes: bool,
    /// Times move once in so many changes.
    pub grain: u64,
}

impl Default for Manners {
    /// Those of ext4 behind QEMU.
    fn default() -> Self {
        Manners {
            hard_links: true,
            folds_case: false,
            slashes: false,
            attaches_below: false,
            users: false,
            root_is_read_only: false,
            counts_blocks: true,
            reuses_numbers: true,
            capacity: u64::MAX,
            hides_short_writes: true,
            grain: 1,
        }
    }
}

/// A directory and a name in it, with the directory's path.
pub struct Place {
    pub path: Vec<String>,
    pub dir: u64,
    pub name: String,
}

impl Place {
    /// The path of what has the name.
    pub fn whole(&self) -> Vec<String> {
        let name = std::slice::from_ref(&self.name);
        [&self.path, name].concat()
    }
}

/// Inodes, and how they are served.
#[derive(Clone)]
pub struct Tree {
    pub nodes: BTreeMap<u64, Node>,
    pub manners: Manners,
    free: Vec<u64>,
    next: u64,
    clock: u64,
}

impl Tree {
    pub fn new(manners: Manners) -> Tree {
        let root = Node {
            kind: Kind::Dir(BTreeMap::new()),
            mode: 0o777,
            uid: 0,
            nlink: 2,
            mtime: 1,
            ctime: 1,
            device: 1,
            opens: 0,
        };
        Tree {
            nodes: BTreeMap::from([(ROOT, root)]),
            manners,
            free: Vec::new(),
            next: 100,
            clock: 1,
        }
    }

    pub fn now(&mut self) -> u64 {
        self.clock += 1;
        self.clock / self.manners.grain
    }

    pub fn fold(&self, name: &str) -> String {
        match self.manners.folds_case {
            true => name.to_lowercase(),
            false => name.into(),
        }
    }

    pub fn node(&mut self, ino: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&ino).ok_or(Errno::ENOENT)
    }

    pub fn dir(&mut self, ino: u64) -> Result<&mut BTreeMap<String, u64>, Errno> {
        match &mut self.node(ino)?.kind {
            Kind::Dir(names) => Ok(names),
            _ => Err(Errno::ENOTDIR),
        }
    }

    pub fn is_dir(&self, ino: u64) -> bool {
        let kind = self.nodes.get(&ino).map(|node| &node.kind);
        matches!(kind, Some(Kind::Dir(_)))
    }

    pub fn file(&mut self, ino: u64) -> Result<&mut Content, Errno> {
        match &mut self.node(ino)?.kind {
            Kind::File(content) => Ok(content),
            Kind::Dir(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The content of `ino` changed now.
    pub fn touch(&mut self, ino: u64) {
        let now = self.now();
        if let Some(node) = self.nodes.get_mut(&ino) {
            (node.mtime, node.ctime) = (now, now);
        }
    }

    /// The inode of `ino` changed now, not its content.
    pub fn touch_inode(&mut self, ino: u64) {
        let now = self.now();
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.ctime = now;
        }
    }

    pub fn lookup(&mut self, dir: u64, name: &str) -> Result<u64, Errno> {
        let name = self.fold(name);
        self.dir(dir)?.get(&name).copied().ok_or(Errno::ENOENT)
    }

    pub fn resolve(&mut self, path: &[String]) -> Result<u64, Errno> {
        path.iter()
            .try_fold(ROOT, |dir, name| self.lookup(dir, name))
    }

    /// What is at a path of names separated by `/`.
    pub fn at(&mut self, path: &str) -> Result<u64, Errno> {
        let names = path.split('/').filter(|name| !name.is_empty());
        let path: Vec<String> = names.map(String::from).collect();
        self.resolve(&path)
    }

    /// A new inode on the file system of directory `dir`, without a name.
    pub fn make(&mut self, dir: u64, kind: Kind, mode: u32, uid: u32) -> u64 {
        let again = self.free.pop().filter(|_| self.manners.reuses_numbers);
        let ino = again.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        let now = self.now();
        let node = Node {
            nlink: if matches!(kind, Kind::Dir(_)) { 2 } else { 1 },
            kind,
            mode,
            uid,
            mtime: now,
            ctime: now,
            device: self.nodes.get(&dir).map_or(1, |dir| dir.device),
            opens: 0,
        };
        self.nodes.insert(ino, node);
        ino
    }

    /// Gives an inode a name that is free.
    pub fn enter(&mut self, dir: u64, name: &str, ino: u64) -> Result<(), Errno> {
        self.dir(dir)?.insert(name.into(), ino);
        if self.is_dir(ino) {
            self.node(dir)?.nlink += 1;
        }
        self.touch(dir);
        Ok(())
    }

    /// Forgets an inode without names and descriptors.
    pub fn forget(&mut self, ino: u64) {
        let is_dead = |node: &Node| {
            let names = match node.kind {
                Kind::Dir(_) => node.nlink.saturating_sub(1),
                _ => node.nlink,
            };
            node.opens == 0 && names == 0
        };
        if self.nodes.get(&ino).is_some_and(is_dead) {
            self.nodes.remove(&ino);
            self.free.push(ino);
        }
    }

    pub fn qid(&self, ino: u64) -> Qid {
        let kind = match self.nodes.get(&ino).map(|node| &node.kind) {
            Some(Kind::Dir(_)) => qid::DIR,
            Some(Kind::Link(_)) => qid::SYMLINK,
            _ => qid::FILE,
        };
        Qid {
            kind,
            version: 0,
            path: ino,
        }
    }

    /// May user `uid` do that (4 read, 2 write, 1 search)?
    pub fn may(&mut self, ino: u64, uid: u32, need: u32) -> Result<(), Errno> {
        if self.manners.root_is_read_only && ino == ROOT && need & 2 != 0 {
            return Err(Errno::EACCES);
        }
        if !self.manners.users || uid == 0 {
            return Ok(());
        }
        let node = self.node(ino)?;
        let bits = match node.uid == uid {
            true => node.mode >> 6,
            false => node.mode,
        };
        match bits & need == need {
            true => Ok(()),
            false => Err(Errno::EACCES),
        }
    }

    /// Blocks in use.
    pub fn used(&self) -> u64 {
        let blocks = self.nodes.values().map(|node| match &node.kind {
            Kind::File(content) => content.sectors() / (BLOCK / 512),
            _ => 0,
        });
        blocks.sum()
    }

    /// Takes a name away.
    pub fn remove(&mut self, dir: u64, name: &str, directory: bool) -> Result<(), Errno> {
        let ino = self.lookup(dir, name)?;
        match (&self.node(ino)?.kind, directory) {
            (Kind::Dir(names), true) if !names.is_empty() => return Err(Errno::ENOTEMPTY),
            (Kind::Dir(_), false) => return Err(Errno::EISDIR),
            (Kind::Dir(_), true) => {
                self.node(dir)?.nlink -= 1;
                self.node(ino)?.nlink = 1;
            }
            (_, true) => return Err(Errno::ENOTDIR),
            _ => self.node(ino)?.nlink -= 1,
        }
        self.dir(dir)?.remove(name);
        self.touch(dir);
        self.touch_inode(ino);
        self.forget(ino);
        Ok(())
    }

    /// Moves a name, over another if there is one.
    pub fn rename(&mut self, old: &Place, new: &Place) -> Result<(), Errno> {
        let ino = self.lookup(old.dir, &old.name)?;
        let (device, over) = (self.node(new.dir)?.device, self.lookup(new.dir, &new.name));
        if self.node(ino)?.device != device {
            return Err(Errno::EXDEV);
        }
        let is_dir = self.is_dir(ino);
        if is_dir && new.whole() != old.whole() && new.whole().starts_with(&old.whole()) {
            return Err(Errno::EINVAL);
        }
        match over {
            Ok(over) if over == ino => return Ok(()),
            Ok(over) => match (is_dir, self.is_dir(over)) {
                (true, false) => return Err(Errno::ENOTDIR),
                (false, true) => return Err(Errno::EISDIR),
                (_, over_dir) => self.remove(new.dir, &new.name, over_dir)?,
            },
            Err(_) => {}
        }
        self.dir(old.dir)?.remove(&old.name);
        if is_dir {
            self.node(old.dir)?.nlink -= 1;
        }
        self.enter(new.dir, &new.name, ino)?;
        self.touch(old.dir);
        self.touch_inode(ino);
        Ok(())
    }
}
