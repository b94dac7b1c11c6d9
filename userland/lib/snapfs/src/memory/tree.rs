//! A file tree in memory with the manners of a Linux directory behind QEMU:
//! an open fid keeps an unlinked file readable and writable, but attributes
//! go by path and are gone with the last name.

use crate::hidden::HIDDEN;
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use ninep::consts::{open, qid, setattr, unlink};
use ninep::{Attr, ByteStr, ByteString, DirEntry, Qid, SetAttr};

const BLOCK: u64 = 4096;

/// A sparse file's bytes. Copies share blocks until one of them writes.
#[derive(Default, Clone)]
pub struct Content {
    blocks: BTreeMap<u64, Rc<[u8; BLOCK as usize]>>,
    /// Bytes.
    pub size: u64,
}

impl Content {
    /// The bytes of `[off, off + len)` that exist.
    pub fn read(&self, off: u64, len: u64) -> Vec<u8> {
        let end = off.saturating_add(len).min(self.size);
        let mut out = Vec::new();
        let mut at = off;
        while at < end {
            let (block, from) = (at / BLOCK, (at % BLOCK) as usize);
            let len = (BLOCK - at % BLOCK).min(end - at) as usize;
            match self.blocks.get(&block) {
                Some(bytes) => out.extend_from_slice(&bytes[from..from + len]),
                None => out.resize(out.len() + len, 0),
            }
            at += len as u64;
        }
        out
    }

    /// Writes, growing as needed.
    pub fn write(&mut self, off: u64, mut data: &[u8]) {
        let mut at = off;
        while !data.is_empty() {
            let from = (at % BLOCK) as usize;
            let len = data.len().min(BLOCK as usize - from);
            let empty = || Rc::new([0; BLOCK as usize]);
            let block = self.blocks.entry(at / BLOCK).or_insert_with(empty);
            Rc::make_mut(block)[from..from + len].copy_from_slice(&data[..len]);
            data = &data[len..];
            at += len as u64;
        }
        self.size = self.size.max(at);
    }

    /// Blocks of 512 bytes that it takes.
    pub fn sectors(&self) -> u64 {
        self.blocks.len() as u64 * (BLOCK / 512)
    }

    /// Is there a block at `off`, or a hole?
    pub fn has_block(&self, off: u64) -> bool {
        self.blocks.contains_key(&(off / BLOCK))
    }

    /// Cuts or grows.
    pub fn resize(&mut self, size: u64) {
        if size < self.size {
            self.blocks.split_off(&size.div_ceil(BLOCK));
            if let Some(block) = self.blocks.get_mut(&(size / BLOCK)) {
                Rc::make_mut(block)[(size % BLOCK) as usize..].fill(0);
            }
        }
        self.size = size;
    }
}

/// What a node is.
#[derive(Clone)]
pub enum Kind {
    /// A regular file.
    File(Content),
    /// A directory.
    Dir(BTreeMap<ByteString, u64>),
    /// A symbolic link.
    Link(ByteString),
}

/// A file, directory or link.
#[derive(Clone)]
pub struct Node {
    pub kind: Kind,
    pub mode: u32,
    pub nlink: u64,
    /// Logical time of the last change.
    pub mtime: u64,
    opens: u32,
    /// Made in the hidden directory, not moved there.
    temporary: bool,
}

/// A fid.
#[derive(Clone)]
struct Fid {
    node: u64,
    /// Parent of each directory on the way, for `..`.
    way: Vec<u64>,
    open: Option<u32>,
}

/// The tree and the fids on it.
#[derive(Clone)]
pub struct Tree {
    nodes: BTreeMap<u64, Node>,
    fids: BTreeMap<u32, Fid>,
    next: u64,
    clock: u64,
    /// There is no room for temporary files.
    pub full: bool,
    /// Other files find no room for bytes from this offset on.
    pub limit: u64,
    /// Writes to them that succeed before one fails, or all from there on.
    pub refuse: Option<(u64, Refuse)>,
    /// Writes to them that failed so.
    pub refused: u64,
    /// Attributes say of every file that it takes no blocks.
    pub no_blocks: bool,
}

/// How many writes to temporary files are to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refuse {
    /// One.
    Once,
    /// That and all after it.
    ForGood,
}

/// The root's number.
pub const ROOT: u64 = 1;

impl Default for Tree {
    fn default() -> Self {
        let mut tree = Tree {
            nodes: BTreeMap::new(),
            fids: BTreeMap::new(),
            next: ROOT,
            clock: 0,
            full: false,
            limit: u64::MAX,
            refuse: None,
            refused: 0,
            no_blocks: false,
        };
        tree.make(Kind::Dir(BTreeMap::new()), 0o755);
        tree
    }
}

impl Tree {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Sets the time of the last change to a new now.
    pub fn touch(&mut self, number: u64) {
        let now = self.tick();
        if let Some(node) = self.nodes.get_mut(&number) {
            node.mtime = now;
        }
    }

    fn make(&mut self, kind: Kind, mode: u32) -> u64 {
        let (number, mtime) = (self.next, self.tick());
        self.next += 1;
        self.nodes.insert(
            number,
            Node {
                kind,
                mode,
                nlink: 1,
                mtime,
                opens: 0,
                temporary: false,
            },
        );
        number
    }

    /// A node that must exist.
    pub fn node(&mut self, number: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&number).ok_or(Errno::ENOENT)
    }

    fn dir(&mut self, number: u64) -> Result<&mut BTreeMap<ByteString, u64>, Errno> {
        match &mut self.node(number)?.kind {
            Kind::Dir(names) => Ok(names),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// A file's content.
    pub fn content(&mut self, number: u64) -> Result<&mut Content, Errno> {
        match &mut self.node(number)?.kind {
            Kind::File(content) => Ok(content),
            Kind::Dir(_) => Err(Errno::EISDIR),
            Kind::Link(_) => Err(Errno::EINVAL),
        }
    }

    /// The node at a path of names separated by `/`.
    pub fn find(&mut self, path: &str) -> Result<u64, Errno> {
        path.split('/')
            .filter(|name| !name.is_empty())
            .try_fold(ROOT, |dir, name| {
                self.dir(dir)?
                    .get(name.as_bytes())
                    .copied()
                    .ok_or(Errno::ENOENT)
            })
    }

    /// Puts a new node at `name`.
    pub fn add(&mut self, dir: u64, name: &[u8], kind: Kind, mode: u32) -> Result<u64, Errno> {
        if self.dir(dir)?.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let number = self.make(kind, mode);
        self.dir(dir)?.insert(ByteStr(name).to_owned(), number);
        Ok(number)
    }

    /// One more name for a node.
    pub fn link(&mut self, dir: u64, name: &[u8], node: u64) -> Result<(), Errno> {
        if self.dir(dir)?.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        self.node(node)?.nlink += 1;
        self.dir(dir)?.insert(ByteStr(name).to_owned(), node);
        Ok(())
    }

    /// Takes a name away.
    pub fn unlink(&mut self, dir: u64, name: &[u8], flags: u32) -> Result<(), Errno> {
        let node = *self.dir(dir)?.get(name).ok_or(Errno::ENOENT)?;
        match (&self.node(node)?.kind, flags & unlink::REMOVEDIR != 0) {
            (Kind::Dir(names), true) if !names.is_empty() => return Err(Errno::ENOTEMPTY),
            (Kind::Dir(_), false) => return Err(Errno::EISDIR),
            (Kind::File(_) | Kind::Link(_), true) => return Err(Errno::ENOTDIR),
            _ => {}
        }
        self.dir(dir)?.remove(name);
        self.node(node)?.nlink -= 1;
        self.forget(node);
        Ok(())
    }

    /// Moves a name, over another if there is one.
    pub fn rename(&mut self, old: (u64, &[u8]), new: (u64, &[u8])) -> Result<(), Errno> {
        let node = *self.dir(old.0)?.get(old.1).ok_or(Errno::ENOENT)?;
        let over = self.dir(new.0)?.get(new.1).copied();
        if over == Some(node) {
            return Ok(());
        }
        if over.is_some() {
            self.unlink(new.0, new.1, 0)?;
        }
        self.dir(old.0)?.remove(old.1);
        self.dir(new.0)?.insert(ByteStr(new.1).to_owned(), node);
        Ok(())
    }

    /// Some name of a node, with its directory.
    pub fn name_of(&self, node: u64) -> Option<(u64, ByteString)> {
        self.nodes
            .iter()
            .find_map(|(dir, in_dir)| match &in_dir.kind {
                Kind::Dir(names) => {
                    let (name, _) = names.iter().find(|(_, number)| **number == node)?;
                    Some((*dir, name.clone()))
                }
                _ => None,
            })
    }

    /// A node without names and open fids is no more.
    fn forget(&mut self, number: u64) {
        if self
            .nodes
            .get(&number)
            .is_some_and(|node| node.nlink == 0 && node.opens == 0)
        {
            self.nodes.remove(&number);
        }
    }

    /// The qid of a node.
    pub fn qid(&self, number: u64) -> Qid {
        let kind = match self.nodes.get(&number).map(|node| &node.kind) {
            Some(Kind::Dir(_)) => qid::DIR,
            Some(Kind::Link(_)) => qid::SYMLINK,
            _ => qid::FILE,
        };
        Qid {
            kind,
            version: 0,
            path: number,
        }
    }

    /// How many fids there are.
    pub fn fid_count(&self) -> usize {
        self.fids.len()
    }

    /// The node of a fid.
    pub fn of(&self, fid: u32) -> Result<u64, Errno> {
        self.fids.get(&fid).map(|fid| fid.node).ok_or(Errno::EBADF)
    }

    /// A new fid for the root.
    pub fn attach(&mut self, fid: u32) -> Result<Qid, Errno> {
        self.set_fid(fid, ROOT, Vec::new())?;
        Ok(self.qid(ROOT))
    }

    fn set_fid(&mut self, fid: u32, node: u64, way: Vec<u64>) -> Result<(), Errno> {
        if self.fids.contains_key(&fid) {
            return Err(Errno::EBADF);
        }
        self.fids.insert(
            fid,
            Fid {
                node,
                way,
                open: None,
            },
        );
        Ok(())
    }

    /// Walks; the new fid exists only if every name was found.
    pub fn walk<'a>(
        &mut self,
        fid: u32,
        newfid: u32,
        names: impl ExactSizeIterator<Item = ByteStr<'a>>,
    ) -> Result<Vec<Qid>, Errno> {
        let from = self.fids.get(&fid).ok_or(Errno::EBADF)?;
        let (mut node, mut way, wanted) = (from.node, from.way.clone(), names.len());
        let mut qids = Vec::new();
        for name in names {
            let next = match name.bytes() {
                b"." => node,
                b".." => way.pop().unwrap_or(ROOT),
                name => {
                    let found = self.dir(node).map(|names| names.get(name).copied());
                    match found {
                        Ok(Some(next)) => {
                            way.push(node);
                            next
                        }
                        Ok(None) if qids.is_empty() => return Err(Errno::ENOENT),
                        Err(errno) if qids.is_empty() => return Err(errno),
                        _ => return Ok(qids),
                    }
                }
            };
            node = next;
            qids.push(self.qid(node));
        }
        debug_assert_eq!(qids.len(), wanted);
        self.set_fid(newfid, node, way)?;
        Ok(qids)
    }

    /// Opens a fid.
    pub fn open(&mut self, fid: u32, flags: u32) -> Result<Qid, Errno> {
        debug_assert_eq!(
            flags & (open::TRUNC | open::APPEND),
            0,
            "snapfs's own business"
        );
        let at = self.fids.get(&fid).ok_or(Errno::EBADF)?;
        let number = at.node;
        if at.open.is_some() {
            return Err(Errno::EINVAL);
        }
        let node = self.node(number)?;
        let access = flags & open::ACCESS;
        let need = match access {
            open::RDONLY => 0o400,
            open::WRONLY => 0o200,
            _ => 0o600,
        };
        if node.mode & need != need {
            return Err(Errno::EACCES);
        }
        if node.nlink == 0 {
            return Err(Errno::ENOENT);
        }
        if matches!(node.kind, Kind::Dir(_)) && access != open::RDONLY {
            return Err(Errno::EISDIR);
        }
        node.opens += 1;
        if let Some(fid) = self.fids.get_mut(&fid) {
            fid.open = Some(access);
        }
        Ok(self.qid(number))
    }

    /// Creates and opens; the fid becomes the file.
    pub fn create(&mut self, fid: u32, name: &[u8], flags: u32, mode: u32) -> Result<Qid, Errno> {
        let at = self.fids.get(&fid).ok_or(Errno::EBADF)?;
        if at.open.is_some() {
            return Err(Errno::EINVAL);
        }
        let dir = at.node;
        let there = self.dir(dir)?.get(name).copied();
        let node = match there {
            Some(_) if flags & open::EXCL != 0 => return Err(Errno::EEXIST),
            Some(node) => node,
            None => {
                let node = self.add(dir, name, Kind::File(Content::default()), mode & 0o777)?;
                let hidden = self.dir(ROOT)?.get(HIDDEN.bytes()) == Some(&dir);
                self.node(node)?.temporary = hidden;
                node
            }
        };
        if let Some(fid) = self.fids.get_mut(&fid) {
            fid.node = node;
            fid.way.push(dir);
        }
        self.open(fid, flags)
    }

    /// Ends all fids.
    pub fn clunk_all(&mut self) {
        let fids: Vec<u32> = self.fids.keys().copied().collect();
        for fid in fids {
            let _ = self.clunk(fid);
        }
    }

    /// Ends a fid.
    pub fn clunk(&mut self, fid: u32) -> Result<(), Errno> {
        let gone = self.fids.remove(&fid).ok_or(Errno::EBADF)?;
        if gone.open.is_some()
            && let Some(node) = self.nodes.get_mut(&gone.node)
        {
            node.opens -= 1;
        }
        self.forget(gone.node);
        Ok(())
    }

    fn opened(&self, fid: u32, not: u32) -> Result<u64, Errno> {
        let fid = self.fids.get(&fid).ok_or(Errno::EBADF)?;
        match fid.open {
            Some(access) if access != not => Ok(fid.node),
            _ => Err(Errno::EBADF),
        }
    }

    /// Reads from an open fid.
    pub fn read(&mut self, fid: u32, off: u64, len: u64) -> Result<Vec<u8>, Errno> {
        let node = self.opened(fid, open::WRONLY)?;
        Ok(self.content(node)?.read(off, len))
    }

    /// Writes to an open fid, as far as there is room; how many bytes.
    pub fn write(&mut self, fid: u32, off: u64, data: &[u8]) -> Result<usize, Errno> {
        let node = self.opened(fid, open::RDONLY)?;
        let temporary = self.node(node)?.temporary;
        let room = match temporary {
            true if self.no_room() => 0,
            true => u64::MAX,
            false => self.limit.saturating_sub(off),
        };
        let data = &data[..data.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        if room == 0 {
            return Err(Errno::ENOSPC);
        }
        let now = self.tick();
        self.content(node)?.write(off, data);
        self.node(node)?.mtime = now;
        Ok(data.len())
    }

    /// Is a write to a temporary file to fail?
    fn no_room(&mut self) -> bool {
        match &mut self.refuse {
            Some((0, refuse)) => {
                if *refuse == Refuse::Once {
                    self.refuse = None;
                }
                self.refused += 1;
                true
            }
            Some((left, _)) => {
                *left -= 1;
                self.full
            }
            None => self.full,
        }
    }

    /// By path, so gone with the last name.
    fn named(&mut self, fid: u32) -> Result<(u64, &mut Node), Errno> {
        let number = self.of(fid)?;
        let node = self.node(number)?;
        if node.nlink == 0 {
            Err(Errno::ENOENT)
        } else {
            Ok((number, node))
        }
    }

    /// Attributes.
    pub fn attr(&mut self, fid: u32) -> Result<Attr, Errno> {
        let (number, node) = self.named(fid)?;
        let (kind, size, blocks) = match &node.kind {
            Kind::File(content) => (0o100_000, content.size, content.sectors()),
            Kind::Dir(_) => (0o040_000, 0, 0),
            Kind::Link(target) => (0o120_000, target.len() as u64, 0),
        };
        let (mode, nlink, mtime_nsec) = (kind | node.mode, node.nlink, node.mtime);
        let blocks = if self.no_blocks { 0 } else { blocks };
        let qid = self.qid(number);
        Ok(Attr {
            valid: 0x7ff,
            qid,
            mode,
            nlink,
            size,
            blocks,
            mtime_nsec,
            ..Attr::default()
        })
    }

    /// Changes attributes.
    pub fn set_attr(&mut self, fid: u32, attr: &SetAttr) -> Result<(), Errno> {
        let now = self.tick();
        let (_, node) = self.named(fid)?;
        if attr.valid & setattr::SIZE != 0 {
            match &mut node.kind {
                Kind::File(content) => content.resize(attr.size),
                _ => return Err(Errno::EISDIR),
            }
            node.mtime = now;
        }
        if attr.valid & setattr::MODE != 0 {
            node.mode = attr.mode & 0o777;
        }
        if attr.valid & setattr::MTIME != 0 {
            node.mtime = now;
        }
        Ok(())
    }

    /// Directory entries after `offset`, as many as fit.
    pub fn readdir(&mut self, fid: u32, offset: u64, count: u32) -> Result<Vec<u8>, Errno> {
        let node = self.opened(fid, open::WRONLY)?;
        let names: Vec<(ByteString, u64)> = self
            .dir(node)?
            .iter()
            .map(|(name, number)| (name.clone(), *number))
            .collect();
        let mut out = Vec::new();
        for (n, (name, number)) in names.iter().enumerate().skip(offset as usize) {
            let qid = self.qid(*number);
            let kind = if qid.kind == qid::DIR { 4 } else { 8 };
            let entry = DirEntry {
                qid,
                offset: n as u64 + 1,
                kind,
                name: name.as_byte_str(),
            };
            let at = out.len();
            out.resize(at + entry.wire_len(), 0);
            if out.len() > count as usize {
                out.truncate(at);
                break;
            }
            entry.encode(&mut out[at..]).map_err(|_| Errno::EIO)?;
        }
        Ok(out)
    }
}
