//! The fids of the host's server: paths that follow the renames it does
//! itself, and descriptors where they are open.

use super::tree::{BLOCK, Kind, Manners, Place, Tree};
use abi::Errno;
use ninep::consts::{NONUNAME, open, setattr, unlink};
use ninep::{Attr, ByteStr, DirEntry, Qid, Qids, Reply, Request, SetAttr, StatFs, encode_reply};
use std::collections::BTreeMap;

/// A fid.
#[derive(Clone)]
pub struct Fid {
    pub path: Vec<String>,
    /// Inode and access mode.
    descriptor: Option<(u64, u32)>,
    uid: u32,
}

/// The server of one tree.
#[derive(Clone)]
pub struct Fids {
    pub tree: Tree,
    pub fids: BTreeMap<u32, Fid>,
}

impl Fids {
    pub fn new(manners: Manners) -> Fids {
        Fids {
            tree: Tree::new(manners),
            fids: BTreeMap::new(),
        }
    }

    pub fn fid(&self, fid: u32) -> Result<&Fid, Errno> {
        self.fids.get(&fid).ok_or(Errno::EBADF)
    }

    /// The inode of a fid, by its path.
    fn of(&mut self, fid: u32) -> Result<u64, Errno> {
        let path = self.fid(fid)?.path.clone();
        self.tree.resolve(&path)
    }

    /// A new fid.
    fn add(&mut self, fid: u32, path: Vec<String>, uid: u32) -> Result<(), Errno> {
        if self.fids.contains_key(&fid) {
            return Err(Errno::EBADF);
        }
        let descriptor = None;
        self.fids.insert(
            fid,
            Fid {
                path,
                descriptor,
                uid,
            },
        );
        Ok(())
    }

    /// Where a name in the directory of a fid is.
    fn place(&mut self, fid: u32, name: &str) -> Result<Place, Errno> {
        let mut path = self.fid(fid)?.path.clone();
        if name.contains('/') && !self.tree.manners.slashes {
            return Err(Errno::ENOENT);
        }
        let (on_the_way, last) = name.rsplit_once('/').unwrap_or(("", name));
        if last == "." || last == ".." || last.is_empty() {
            return Err(Errno::EEXIST);
        }
        step(&mut path, on_the_way);
        let dir = self.tree.resolve(&path)?;
        self.tree.dir(dir)?;
        let name = self.tree.fold(last);
        Ok(Place { path, dir, name })
    }

    fn attach(&mut self, fid: u32, aname: &str, uid: u32) -> Result<Qid, Errno> {
        let mut path = Vec::new();
        if self.tree.manners.attaches_below {
            step(&mut path, aname);
        }
        let ino = self.tree.resolve(&path)?;
        self.add(fid, path, if uid == NONUNAME { 0 } else { uid })?;
        Ok(self.tree.qid(ino))
    }

    fn walk(&mut self, fid: u32, newfid: u32, names: &[&str]) -> Result<Vec<Qid>, Errno> {
        let Fid { mut path, uid, .. } = self.fid(fid)?.clone();
        let mut qids = Vec::new();
        for name in names {
            if name.contains('/') && !self.tree.manners.slashes {
                return Err(Errno::ENOENT);
            }
            step(&mut path, name);
            match self.tree.resolve(&path) {
                Ok(ino) => qids.push(self.tree.qid(ino)),
                Err(errno) if qids.is_empty() => return Err(errno),
                Err(_) => return Ok(qids),
            }
        }
        self.add(newfid, path, uid)?;
        Ok(qids)
    }

    fn open(&mut self, fid: u32, flags: u32) -> Result<Qid, Errno> {
        let ino = self.of(fid)?;
        let (access, uid) = (flags & open::ACCESS, self.fid(fid)?.uid);
        let need = match access {
            open::RDONLY => 4,
            open::WRONLY => 2,
            _ => 6,
        };
        self.tree.may(ino, uid, need)?;
        self.descriptor(fid, ino, flags)
    }

    /// Opens an inode whose rights are checked.
    fn descriptor(&mut self, fid: u32, ino: u64, flags: u32) -> Result<Qid, Errno> {
        let access = flags & open::ACCESS;
        let passed_down = flags & (open::TRUNC | open::APPEND);
        assert_eq!(passed_down, 0, "snapfs's own business");
        if self.fid(fid)?.descriptor.is_some() {
            return Err(Errno::EINVAL);
        }
        let node = self.tree.node(ino)?;
        match node.kind {
            Kind::Special(_) => return Err(Errno::ENXIO),
            Kind::Link(_) => return Err(Errno::ELOOP),
            Kind::Dir(_) if access != open::RDONLY => return Err(Errno::EISDIR),
            _ => node.opens += 1,
        }
        let opened = self.fids.get_mut(&fid).ok_or(Errno::EBADF)?;
        opened.descriptor = Some((ino, access));
        Ok(self.tree.qid(ino))
    }

    fn create(&mut self, fid: u32, name: &str, flags: u32, mode: u32) -> Result<Qid, Errno> {
        let (uid, place) = (self.fid(fid)?.uid, self.place(fid, name)?);
        let there = self.tree.lookup(place.dir, &place.name);
        let ino = match there {
            Ok(_) if flags & open::EXCL != 0 => return Err(Errno::EEXIST),
            Ok(ino) => ino,
            Err(_) => {
                self.tree.may(place.dir, uid, 2)?;
                let kind = Kind::File(Default::default());
                let ino = self.tree.make(place.dir, kind, mode & 0o777, uid);
                self.tree.enter(place.dir, &place.name, ino)?;
                ino
            }
        };
        let qid = self.descriptor(fid, ino, flags & !(open::CREAT | open::EXCL))?;
        let created = self.fids.get_mut(&fid).ok_or(Errno::EBADF)?;
        created.path = place.whole();
        Ok(qid)
    }

    fn clunk(&mut self, fid: u32) -> Result<(), Errno> {
        let gone = self.fids.remove(&fid).ok_or(Errno::EBADF)?;
        if let Some((ino, _)) = gone.descriptor {
            self.tree.node(ino)?.opens -= 1;
            self.tree.forget(ino);
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

    /// The inode of a fid that is open otherwise than for `not`.
    fn opened(&self, fid: u32, not: u32) -> Result<u64, Errno> {
        match self.fid(fid)?.descriptor {
            Some((ino, access)) if access != not => Ok(ino),
            _ => Err(Errno::EBADF),
        }
    }

    pub fn read(&mut self, fid: u32, off: u64, len: u64) -> Result<Vec<u8>, Errno> {
        let ino = self.opened(fid, open::WRONLY)?;
        Ok(self.tree.file(ino)?.read(off, len))
    }

    /// Writes as far as there is room; how many bytes.
    pub fn write(&mut self, fid: u32, off: u64, data: &[u8]) -> Result<usize, Errno> {
        let ino = self.opened(fid, open::RDONLY)?;
        let (mut done, mut room) = (0, self.tree.manners.capacity);
        room = room.saturating_sub(self.tree.used());
        let file = self.tree.file(ino)?;
        while let Some(rest) = data.get(done..)
            && !rest.is_empty()
        {
            let at = off + done as u64;
            let len = rest.len().min((BLOCK - at % BLOCK) as usize);
            let sectors = file.sectors();
            if room == 0 && !file.has_block(at) {
                break;
            }
            file.write(at, &rest[..len]);
            room -= (file.sectors() - sectors) / (BLOCK / 512);
            done += len;
        }
        if done > 0 {
            self.tree.touch(ino);
        }
        let short = done < data.len();
        match short && (done == 0 || self.tree.manners.hides_short_writes) {
            true => Err(Errno::ENOSPC),
            false => Ok(done),
        }
    }

    fn attr(&mut self, fid: u32) -> Result<Attr, Errno> {
        let ino = self.of(fid)?;
        let (qid, counts) = (self.tree.qid(ino), self.tree.manners.counts_blocks);
        let node = self.tree.node(ino)?;
        let counts = counts && node.device == 1;
        let (kind, size, blocks) = match &node.kind {
            Kind::File(content) => (0o100_000, content.size, content.sectors()),
            Kind::Dir(_) => (0o040_000, BLOCK, 8),
            Kind::Link(target) => (0o120_000, target.len() as u64, 0),
            Kind::Special(mode) => (mode & 0o170_000, 0, 0),
        };
        Ok(Attr {
            valid: 0x7ff,
            qid,
            mode: kind | node.mode,
            uid: node.uid,
            nlink: node.nlink,
            size,
            blksize: BLOCK,
            blocks: if counts { blocks } else { 0 },
            mtime_sec: node.mtime >> 20,
            mtime_nsec: node.mtime & 0xf_ffff,
            ctime_sec: node.ctime >> 20,
            ctime_nsec: node.ctime & 0xf_ffff,
            ..Attr::default()
        })
    }

    fn set_attr(&mut self, fid: u32, attr: &SetAttr) -> Result<(), Errno> {
        let (ino, uid) = (self.of(fid)?, self.fid(fid)?.uid);
        let owns = !self.tree.manners.users || uid == 0 || self.tree.node(ino)?.uid == uid;
        if attr.valid & setattr::SIZE != 0 {
            self.tree.may(ino, uid, 2)?;
            self.tree.file(ino)?.resize(attr.size);
            self.tree.touch(ino);
        }
        if attr.valid & setattr::MODE != 0 {
            if !owns {
                return Err(Errno::EPERM);
            }
            self.tree.node(ino)?.mode = attr.mode & 0o7777;
            self.tree.touch_inode(ino);
        }
        if attr.valid & setattr::MTIME != 0 {
            self.tree.touch(ino);
            if attr.valid & setattr::MTIME_SET != 0 {
                self.tree.node(ino)?.mtime = attr.mtime_sec << 20 | attr.mtime_nsec;
            }
        }
        Ok(())
    }

    fn add_node(&mut self, fid: u32, name: &str, kind: Kind, mode: u32) -> Result<Qid, Errno> {
        let (uid, place) = (self.fid(fid)?.uid, self.place(fid, name)?);
        if self.tree.lookup(place.dir, &place.name).is_ok() {
            return Err(Errno::EEXIST);
        }
        self.tree.may(place.dir, uid, 2)?;
        let ino = self.tree.make(place.dir, kind, mode & 0o777, uid);
        self.tree.enter(place.dir, &place.name, ino)?;
        Ok(self.tree.qid(ino))
    }

    fn link(&mut self, dfid: u32, fid: u32, name: &str) -> Result<(), Errno> {
        let (uid, ino, place) = (self.fid(dfid)?.uid, self.of(fid)?, self.place(dfid, name)?);
        if !self.tree.manners.hard_links || self.tree.is_dir(ino) {
            return Err(Errno::EPERM);
        }
        if self.tree.lookup(place.dir, &place.name).is_ok() {
            return Err(Errno::EEXIST);
        }
        if self.tree.node(place.dir)?.device != self.tree.node(ino)?.device {
            return Err(Errno::EXDEV);
        }
        self.tree.may(place.dir, uid, 2)?;
        self.tree.node(ino)?.nlink += 1;
        self.tree.touch_inode(ino);
        self.tree.enter(place.dir, &place.name, ino)
    }

    fn unlink(&mut self, fid: u32, name: &str, flags: u32) -> Result<(), Errno> {
        let (uid, place) = (self.fid(fid)?.uid, self.place(fid, name)?);
        self.tree.may(place.dir, uid, 2)?;
        let directory = flags & unlink::REMOVEDIR != 0;
        self.tree.remove(place.dir, &place.name, directory)
    }

    /// Renames as that user, and makes fids follow.
    fn rename(&mut self, uid: u32, old: &Place, new: &Place) -> Result<(), Errno> {
        self.tree.may(old.dir, uid, 2)?;
        self.tree.may(new.dir, uid, 2)?;
        self.tree.rename(old, new)?;
        let (from, to) = (old.whole(), new.whole());
        for fid in self.fids.values_mut() {
            if let Some(rest) = fid.path.strip_prefix(&from[..]) {
                fid.path = [&to[..], rest].concat();
            }
        }
        Ok(())
    }

    /// Where the name is by which a fid goes.
    fn own_place(&mut self, fid: u32) -> Result<Place, Errno> {
        let path = &self.fid(fid)?.path;
        let (name, path) = path.split_last().ok_or(Errno::EINVAL)?;
        let (name, path) = (name.clone(), path.to_vec());
        let dir = self.tree.resolve(&path)?;
        let name = self.tree.fold(&name);
        Ok(Place { path, dir, name })
    }

    fn remove(&mut self, fid: u32) -> Result<(), Errno> {
        let (uid, place) = (self.fid(fid)?.uid, self.own_place(fid));
        self.clunk(fid)?;
        let place = place?;
        self.tree.may(place.dir, uid, 2)?;
        let ino = self.tree.lookup(place.dir, &place.name)?;
        let directory = self.tree.is_dir(ino);
        self.tree.remove(place.dir, &place.name, directory)
    }

    fn readdir(&mut self, fid: u32, offset: u64, count: u32) -> Result<Vec<u8>, Errno> {
        let ino = self.opened(fid, open::WRONLY)?;
        let dots = [".", ".."].map(|name| (String::from(name), ino));
        let names = self.tree.dir(ino)?.clone();
        let mut out = Vec::new();
        let entries = dots.into_iter().chain(names).enumerate();
        for (n, (name, ino)) in entries.skip(offset as usize) {
            let entry = DirEntry {
                qid: self.tree.qid(ino),
                offset: n as u64 + 1,
                kind: if self.tree.is_dir(ino) { 4 } else { 8 },
                name: name.as_bytes().into(),
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

    fn readlink(&mut self, fid: u32) -> Result<String, Errno> {
        let ino = self.of(fid)?;
        match &self.tree.node(ino)?.kind {
            Kind::Link(target) => Ok(target.clone()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn statfs(&mut self, fid: u32) -> Result<StatFs, Errno> {
        let ino = self.of(fid)?;
        Ok(StatFs {
            kind: 0xef53,
            bsize: BLOCK as u32,
            fsid: self.tree.node(ino)?.device,
            ..StatFs::default()
        })
    }

    /// Does a request other than `Tread` and `Twrite`: the reply message.
    pub fn answer(&mut self, request: &Request<'_>) -> Result<Vec<u8>, Errno> {
        let (qids, data, target);
        let reply = match *request {
            Request::Walk { fid, newfid, names } => {
                let names: Result<Vec<&str>, Errno> = names.iter().map(text).collect();
                let names = names?;
                qids = self.walk(fid, newfid, &names)?;
                Reply::Walk {
                    qids: Qids::new(&qids),
                }
            }
            Request::Readdir { fid, offset, count } => {
                data = self.readdir(fid, offset, count)?;
                Reply::Readdir { data: &data }
            }
            Request::Readlink { fid } => {
                target = self.readlink(fid)?;
                Reply::Readlink {
                    target: ByteStr::from(&target),
                }
            }
            _ => self.do_one(request)?,
        };
        let payload = match reply {
            Reply::Readdir { data } => data.len(),
            _ => 0,
        };
        let mut out = vec![0; 4096 + payload];
        let len = encode_reply(0, &reply, &mut out).map_err(|_| Errno::EIO)?;
        out.truncate(len);
        Ok(out)
    }

    /// A request whose reply borrows nothing.
    fn do_one(&mut self, request: &Request<'_>) -> Result<Reply<'static>, Errno> {
        let dir = Kind::Dir(BTreeMap::new());
        Ok(match *request {
            Request::Attach {
                fid,
                aname,
                n_uname,
                ..
            } => Reply::Attach {
                qid: self.attach(fid, text(aname)?, n_uname)?,
            },
            Request::Lopen { fid, flags } => Reply::Lopen {
                qid: self.open(fid, flags)?,
                iounit: 0,
            },
            Request::Lcreate {
                fid,
                name,
                flags,
                mode,
                ..
            } => Reply::Lcreate {
                qid: self.create(fid, text(name)?, flags, mode)?,
                iounit: 0,
            },
            Request::Getattr { fid, .. } => Reply::Getattr(self.attr(fid)?),
            Request::Setattr { fid, attr } => {
                self.set_attr(fid, &attr)?;
                Reply::Setattr
            }
            Request::Clunk { fid } => {
                self.clunk(fid)?;
                Reply::Clunk
            }
            Request::Fsync { fid, .. } => {
                self.fid(fid)?;
                Reply::Fsync
            }
            Request::Statfs { fid } => Reply::Statfs(self.statfs(fid)?),
            Request::Mkdir {
                dfid, name, mode, ..
            } => Reply::Mkdir {
                qid: self.add_node(dfid, text(name)?, dir, mode)?,
            },
            Request::Symlink {
                dfid, name, target, ..
            } => Reply::Symlink {
                qid: self.add_node(dfid, text(name)?, Kind::Link(text(target)?.into()), 0o777)?,
            },
            Request::Mknod {
                dfid, name, mode, ..
            } => Reply::Mknod {
                qid: self.add_node(dfid, text(name)?, Kind::Special(mode), mode)?,
            },
            Request::Link { dfid, fid, name } => {
                self.link(dfid, fid, text(name)?)?;
                Reply::Link
            }
            Request::Unlinkat {
                dirfid,
                name,
                flags,
            } => {
                self.unlink(dirfid, text(name)?, flags)?;
                Reply::Unlinkat
            }
            Request::Renameat {
                olddirfid,
                oldname,
                newdirfid,
                newname,
            } => {
                let (old, new) = (
                    self.place(olddirfid, text(oldname)?)?,
                    self.place(newdirfid, text(newname)?)?,
                );
                self.rename(self.fid(olddirfid)?.uid, &old, &new)?;
                Reply::Renameat
            }
            Request::Rename { fid, dfid, name } => {
                let (old, new) = (self.own_place(fid)?, self.place(dfid, text(name)?)?);
                self.rename(self.fid(fid)?.uid, &old, &new)?;
                Reply::Rename
            }
            Request::Remove { fid } => {
                self.remove(fid)?;
                Reply::Remove
            }
            _ => return Err(Errno::EOPNOTSUPP),
        })
    }
}

/// Goes on from `path` along names separated by `/`.
fn step(path: &mut Vec<String>, names: &str) {
    for name in names.split('/') {
        match name {
            "." | "" => {}
            ".." => drop(path.pop()),
            name => path.push(name.into()),
        }
    }
}

/// This server's names are text.
fn text(name: ByteStr<'_>) -> Result<&str, Errno> {
    name.to_str().ok_or(Errno::EINVAL)
}
