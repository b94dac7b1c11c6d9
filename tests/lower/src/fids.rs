//! The fids of the host's server: paths that follow the renames it does itself,
//! or files; and descriptors where they are open.

mod requests;

use crate::nodes::{Manners, Nodes, Rights, directories, parts};
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use ninep::consts::{NONUNAME, open, qid, setattr, unlink};
use ninep::{Attr, ByteStr, DirEntry, Names, Qid, SetAttr};
use ramtree::{Change, Id, PAGE, ROOT, Tree};

type Path = Vec<Vec<u8>>;

/// Where a walk has come to.
#[derive(Clone)]
struct Where {
    path: Path,
    node: Id,
}

/// A fid.
#[derive(Clone)]
struct Fid {
    at: Where,
    /// Node and access mode.
    descriptor: Option<(Id, u32)>,
    uid: u32,
}

/// A directory and a name in it, with the directory's path.
struct Place {
    path: Path,
    dir: Id,
    name: Vec<u8>,
}

impl Place {
    /// The path of what has the name.
    fn whole(&self) -> Path {
        let name = core::slice::from_ref(&self.name);
        [&self.path, name].concat()
    }
}

/// The server of one tree.
#[derive(Clone)]
pub struct Fids {
    pub nodes: Nodes,
    fids: BTreeMap<u32, Fid>,
}

impl Fids {
    pub fn new(manners: Manners) -> Fids {
        Fids {
            nodes: Nodes::new(manners),
            fids: BTreeMap::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.fids.len()
    }

    fn fid(&self, fid: u32) -> Result<&Fid, Errno> {
        self.fids.get(&fid).ok_or(Errno::EBADF)
    }

    /// The path of a fid, for people.
    pub fn path(&self, fid: u32) -> String {
        match self.fid(fid) {
            Ok(fid) => ByteStr(&fid.at.path.join(&b'/')).to_string(),
            Err(_) => "?".into(),
        }
    }

    /// Where a fid is.
    fn at(&self, fid: u32) -> Result<Where, Errno> {
        let mut at = self.fid(fid)?.at.clone();
        if self.nodes.manners.paths {
            at.node = self.resolve(&at.path)?;
        }
        Ok(at)
    }

    fn resolve(&self, path: &[Vec<u8>]) -> Result<Id, Errno> {
        let mut names = path.iter();
        names.try_fold(ROOT, |dir, name| self.nodes.lookup(dir, name))
    }

    /// The node of a fid, which has a name.
    fn named(&self, fid: u32) -> Result<Id, Errno> {
        let node = self.at(fid)?.node;
        match self.nodes.tree.facts(node)?.names {
            0 => Err(Errno::ENOENT),
            _ => Ok(node),
        }
    }

    /// Goes on along one name, or several where the manners allow it.
    fn step(&self, at: &mut Where, name: &[u8]) -> Result<(), Errno> {
        let names = parts(ByteStr(name));
        if names.len() > 1 && !self.nodes.manners.slashes {
            return Err(Errno::ENOENT);
        }
        for name in names {
            let next = match name {
                b"." | b"" => Ok(at.node),
                b".." => {
                    at.path.pop();
                    match self.nodes.is_dir(at.node) {
                        true => self.nodes.tree.walk(at.node, b".."),
                        false => Ok(self.nodes.name_of(at.node).map_or(ROOT, |(dir, _)| dir)),
                    }
                }
                name => {
                    at.path.push(name.into());
                    self.nodes.lookup(at.node, name)
                }
            };
            at.node = match self.nodes.manners.paths {
                true => self.resolve(&at.path)?,
                false => next?,
            };
        }
        Ok(())
    }

    /// A new fid.
    fn add(&mut self, fid: u32, at: Where, uid: u32) -> Result<Qid, Errno> {
        if self.fids.contains_key(&fid) {
            return Err(Errno::EBADF);
        }
        let (qid, descriptor) = (self.qid(at.node), None);
        self.fids.insert(
            fid,
            Fid {
                at,
                descriptor,
                uid,
            },
        );
        Ok(qid)
    }

    fn qid(&self, id: Id) -> Qid {
        let facts = self.nodes.tree.facts(id);
        let kind = match facts {
            Ok(facts) if facts.directory => qid::DIR,
            Ok(facts) if facts.link => qid::SYMLINK,
            _ => qid::FILE,
        };
        Qid {
            kind,
            version: 0,
            path: self.nodes.number(id),
        }
    }

    /// Where a name in the directory of a fid is.
    fn place(&self, fid: u32, name: ByteStr<'_>) -> Result<Place, Errno> {
        let mut at = self.at(fid)?;
        let (last, way) = parts(name)
            .split_last()
            .map_or((&b""[..], Vec::new()), |split| (*split.0, split.1.to_vec()));
        if !way.is_empty() && !self.nodes.manners.slashes {
            return Err(Errno::ENOENT);
        }
        if matches!(last, b"." | b".." | b"") {
            return Err(Errno::EEXIST);
        }
        for name in way {
            self.step(&mut at, name)?;
        }
        if !self.nodes.is_dir(at.node) {
            return Err(Errno::ENOTDIR);
        }
        Ok(Place {
            path: at.path,
            dir: at.node,
            name: self.nodes.fold(last),
        })
    }

    /// Where a name by which a fid goes is.
    fn own_place(&self, fid: u32) -> Result<Place, Errno> {
        let at = self.at(fid)?;
        let (mut path, name) = (at.path.clone(), at.path.last());
        path.pop();
        let (dir, name) = match self.nodes.manners.paths {
            true => (self.resolve(&path)?, name.cloned().ok_or(Errno::EINVAL)?),
            false => self.nodes.name_of(at.node).ok_or(Errno::ENOENT)?,
        };
        let name = self.nodes.fold(&name);
        Ok(Place { path, dir, name })
    }

    fn attach(&mut self, fid: u32, aname: ByteStr<'_>, uid: u32) -> Result<Qid, Errno> {
        let mut at = Where {
            path: Vec::new(),
            node: ROOT,
        };
        if self.nodes.manners.attaches_below {
            for name in parts(aname) {
                self.step(&mut at, name)?;
            }
        }
        self.add(fid, at, if uid == NONUNAME { 0 } else { uid })
    }

    /// Walks; the new fid exists only if every name was found.
    fn walk(&mut self, fid: u32, newfid: u32, names: Names<'_>) -> Result<Vec<Qid>, Errno> {
        let (mut at, uid) = (self.fid(fid)?.at.clone(), self.fid(fid)?.uid);
        let mut qids = Vec::new();
        for name in names.iter() {
            match self.step(&mut at, &name) {
                Ok(()) => qids.push(self.qid(at.node)),
                Err(errno) if qids.is_empty() => return Err(errno),
                Err(_) => return Ok(qids),
            }
        }
        self.add(newfid, at, uid)?;
        Ok(qids)
    }

    fn open(&mut self, fid: u32, flags: u32) -> Result<Qid, Errno> {
        let (node, uid) = (self.named(fid)?, self.fid(fid)?.uid);
        let need = match flags & open::ACCESS {
            open::RDONLY => 4,
            open::WRONLY => 2,
            _ => 6,
        };
        self.nodes.may(node, uid, need)?;
        self.descriptor(fid, node, flags)
    }

    /// Opens a node whose rights are checked.
    fn descriptor(&mut self, fid: u32, node: Id, flags: u32) -> Result<Qid, Errno> {
        let access = flags & open::ACCESS;
        let passed_down = flags & (open::TRUNC | open::APPEND);
        assert_eq!(passed_down, 0, "what snapfs does itself");
        if self.fid(fid)?.descriptor.is_some() {
            return Err(Errno::EINVAL);
        }
        let facts = self.nodes.tree.facts(node)?;
        if self.nodes.special(node).is_some() {
            return Err(Errno::ENXIO);
        }
        if facts.link {
            return Err(Errno::ELOOP);
        }
        if facts.directory && access != open::RDONLY {
            return Err(Errno::EISDIR);
        }
        self.nodes.tree.hold(node);
        let opened = self.fids.get_mut(&fid).ok_or(Errno::EBADF)?;
        opened.descriptor = Some((node, access));
        Ok(self.qid(node))
    }

    fn create(&mut self, fid: u32, name: ByteStr<'_>, flags: u32, mode: u32) -> Result<Qid, Errno> {
        let (uid, place) = (self.fid(fid)?.uid, self.place(fid, name)?);
        if self.fid(fid)?.descriptor.is_some() {
            return Err(Errno::EINVAL);
        }
        let (node, existed) = match self.nodes.lookup(place.dir, &place.name) {
            Ok(_) if flags & open::EXCL != 0 => return Err(Errno::EEXIST),
            Ok(node) => (node, true),
            Err(_) => {
                let make = |tree: &mut Tree| tree.create(place.dir, &place.name, mode & 0o777);
                (self.make(uid, place.dir, make)?, false)
            }
        };
        let qid = self.descriptor(fid, node, flags & !(open::CREAT | open::EXCL))?;
        if existed && self.nodes.manners.creates_over {
            let rights = Change {
                mode: Some(mode & 0o777),
                ..Change::default()
            };
            self.nodes.tree_now().change(node, &rights)?;
        }
        let created = self.fids.get_mut(&fid).ok_or(Errno::EBADF)?;
        created.at = Where {
            path: place.whole(),
            node,
        };
        Ok(qid)
    }

    fn make(
        &mut self,
        uid: u32,
        dir: Id,
        make: impl FnOnce(&mut Tree) -> Result<Id, Errno>,
    ) -> Result<Id, Errno> {
        self.nodes.may(dir, uid, 2)?;
        self.nodes.make(dir, uid, make)
    }

    /// Makes something at a name.
    fn add_node(
        &mut self,
        fid: u32,
        name: ByteStr<'_>,
        make: impl FnOnce(&mut Tree, Id, &[u8]) -> Result<Id, Errno>,
    ) -> Result<Id, Errno> {
        let (uid, place) = (self.fid(fid)?.uid, self.place(fid, name)?);
        self.make(uid, place.dir, |tree| make(tree, place.dir, &place.name))
    }

    fn clunk(&mut self, fid: u32) -> Result<(), Errno> {
        let gone = self.fids.remove(&fid).ok_or(Errno::EBADF)?;
        if let Some((node, _)) = gone.descriptor {
            self.nodes.tree.release(node);
            self.nodes.forget(node);
        }
        Ok(())
    }

    /// Ends all fids.
    pub fn clunk_all(&mut self) {
        let fids: Vec<u32> = self.fids.keys().copied().collect();
        for fid in fids {
            let _ = self.clunk(fid);
        }
    }

    /// The node of a fid that is open otherwise than for `not`.
    fn opened(&self, fid: u32, not: u32) -> Result<Id, Errno> {
        match self.fid(fid)?.descriptor {
            Some((node, access)) if access != not => Ok(node),
            _ => Err(Errno::EBADF),
        }
    }

    /// Reads from an open fid.
    pub fn read(&mut self, fid: u32, off: u64, len: usize) -> Result<Vec<u8>, Errno> {
        let node = self.opened(fid, open::WRONLY)?;
        self.nodes.read(node, off, len)
    }

    /// Writes to an open fid as far as there is room; how many bytes.
    pub fn write(&mut self, fid: u32, off: u64, data: &[u8]) -> Result<usize, Errno> {
        let node = self.opened(fid, open::RDONLY)?;
        self.nodes.write(node, off, data)
    }

    /// By name, so gone with the last one.
    fn attr(&self, fid: u32) -> Result<Attr, Errno> {
        let node = self.named(fid)?;
        let (qid, manners) = (self.qid(node), &self.nodes.manners);
        let facts = self.nodes.tree.facts(node)?;
        let (kind, size, blocks) = match self.nodes.special(node) {
            Some(mode) => (mode & 0o170_000, 0, 0),
            None if facts.directory => (0o040_000, PAGE, PAGE / 512),
            None if facts.link => (0o120_000, facts.size, 0),
            None => (
                0o100_000,
                self.nodes.claimed(node).unwrap_or(facts.size),
                facts.pages * (PAGE / 512),
            ),
        };
        let counts = manners.counts_blocks && self.nodes.device(node) == 1;
        let nlink = match facts.directory {
            true if manners.counts_directories => 2 + directories(&self.nodes, node),
            _ => facts.names,
        };
        Ok(Attr {
            valid: 0x7ff,
            qid,
            mode: kind | facts.mode,
            uid: self.nodes.uid(node),
            nlink,
            size,
            blksize: PAGE,
            blocks: if counts { blocks } else { 0 },
            mtime_sec: facts.modified >> 20,
            mtime_nsec: facts.modified & 0xf_ffff,
            ctime_sec: facts.changed >> 20,
            ctime_nsec: facts.changed & 0xf_ffff,
            ..Attr::default()
        })
    }

    fn set_attr(&mut self, fid: u32, attr: &SetAttr) -> Result<(), Errno> {
        let (node, uid) = (self.named(fid)?, self.fid(fid)?.uid);
        let unchecked = self.nodes.manners.rights == Rights::Nobodys;
        let owns = unchecked || uid == 0 || self.nodes.uid(node) == uid;
        let has = |flag| attr.valid & flag != 0;
        if has(setattr::SIZE) {
            self.nodes.may(node, uid, 2)?;
        } else if has(setattr::MODE) && !owns {
            return Err(Errno::EPERM);
        }
        let tree = self.nodes.tree_now();
        let now = Change {
            size: has(setattr::SIZE).then_some(attr.size),
            mode: has(setattr::MODE).then_some(attr.mode),
            ..Change::default()
        };
        tree.change(node, &now)?;
        if has(setattr::MTIME) {
            let set = has(setattr::MTIME_SET).then_some(attr.mtime_sec << 20 | attr.mtime_nsec);
            let changed = tree.facts(node)?.changed;
            let modified = Some(set.unwrap_or(changed));
            tree.change(
                node,
                &Change {
                    modified,
                    ..Change::default()
                },
            )?;
        }
        Ok(())
    }

    fn link(&mut self, dfid: u32, fid: u32, name: ByteStr<'_>) -> Result<(), Errno> {
        let (uid, node) = (self.fid(dfid)?.uid, self.named(fid)?);
        let place = self.place(dfid, name)?;
        if !self.nodes.manners.hard_links {
            return Err(Errno::EPERM);
        }
        if self.nodes.lookup(place.dir, &place.name).is_ok() {
            return Err(Errno::EEXIST);
        }
        if self.nodes.device(place.dir) != self.nodes.device(node) {
            return Err(Errno::EXDEV);
        }
        self.nodes.may(place.dir, uid, 2)?;
        self.nodes.tree_now().link(place.dir, &place.name, node)
    }

    fn unlink(&mut self, fid: u32, name: ByteStr<'_>, flags: u32) -> Result<(), Errno> {
        let (uid, place) = (self.fid(fid)?.uid, self.place(fid, name)?);
        self.nodes.may(place.dir, uid, 2)?;
        let directory = flags & unlink::REMOVEDIR != 0;
        self.nodes.unlink(place.dir, &place.name, directory)
    }

    /// Renames as that user, and makes fids that are paths follow.
    fn rename(&mut self, uid: u32, old: &Place, new: &Place) -> Result<(), Errno> {
        self.nodes.may(old.dir, uid, 2)?;
        self.nodes.may(new.dir, uid, 2)?;
        self.nodes
            .rename((old.dir, &old.name), (new.dir, &new.name))?;
        let (from, to) = (old.whole(), new.whole());
        for fid in self.fids.values_mut() {
            if let Some(rest) = fid.at.path.strip_prefix(&from[..]) {
                fid.at.path = [&to[..], rest].concat();
            }
        }
        Ok(())
    }

    fn remove(&mut self, fid: u32) -> Result<(), Errno> {
        let (uid, place) = (self.fid(fid)?.uid, self.own_place(fid));
        self.clunk(fid)?;
        let place = place?;
        self.nodes.may(place.dir, uid, 2)?;
        let node = self.nodes.lookup(place.dir, &place.name)?;
        self.nodes
            .unlink(place.dir, &place.name, self.nodes.is_dir(node))
    }

    /// Directory entries after `offset`, as many as fit.
    fn readdir(&self, fid: u32, offset: u64, count: u32) -> Result<Vec<u8>, Errno> {
        let node = self.opened(fid, open::WRONLY)?;
        let lists_dots = self.nodes.manners.lists_dots;
        let dots = [(1, &b"."[..]), (2, b"..")];
        let dots = dots.map(|(position, name)| (position, name, node));
        let entries = self.nodes.tree.entries(node, offset.saturating_sub(2))?;
        let entries = entries.map(|(position, name, id)| (position + 2, name, id));
        let all = dots
            .into_iter()
            .filter(|dot| lists_dots && dot.0 > offset)
            .chain(entries);
        let mut out = Vec::new();
        for (offset, name, id) in all {
            let qid = self.qid(id);
            let entry = DirEntry {
                qid,
                offset,
                kind: if qid.kind == qid::DIR { 4 } else { 8 },
                name: ByteStr(name),
            };
            let at = out.len();
            if at + entry.wire_len() > count as usize {
                break;
            }
            out.resize(at + entry.wire_len(), 0);
            entry.encode(&mut out[at..]).map_err(|_| Errno::EIO)?;
        }
        Ok(out)
    }
}
