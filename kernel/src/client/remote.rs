//! Files at a server: walking, opening and everything done to an open fid
//! that is not reading or writing.
use super::Mount;
use super::rpc::unknown;
use crate::chan::{Piece, room};
use crate::counters;
use abi::{DirEntry, Errno, PAGE, Stat, Stat64, StatChange, mode};
use alloc::sync::Arc;
use alloc::vec::Vec;
use ninep::client::Failed;
use ninep::consts::{getattr, open, qid, setattr, unlink};
use ninep::{Attr, ByteStr, DirAttrs, DirEntries, Qid, Reply, Request, SetAttr};

/// A fid that the kernel holds at a server; given back when dropped.
pub struct Remote {
    /// The server.
    pub mount: Arc<Mount>,
    /// The fid.
    pub fid: u32,
    /// The server's identity for the file.
    pub qid: Qid,
}

impl Drop for Remote {
    fn drop(&mut self) {
        counters::subtract_one(Stat64::Fids);
        self.mount.clunk_later(self.fid);
    }
}

/// Nanoseconds from seconds and nanoseconds, clamped.
fn nanoseconds(seconds: u64, rest: u64) -> u64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// The attributes of a file of `mount`.
pub(super) fn stat_of(mount: &Mount, attr: &Attr) -> Stat {
    Stat {
        qid_path: attr.qid.path,
        size: attr.size,
        mode: attr.mode,
        links: u32::try_from(attr.nlink).unwrap_or(u32::MAX),
        uid: attr.uid,
        gid: attr.gid,
        mtime_ns: nanoseconds(attr.mtime_sec, attr.mtime_nsec),
        atime_ns: nanoseconds(attr.atime_sec, attr.atime_nsec),
        server: u64::from(mount.id),
    }
}

impl Remote {
    /// Makes a request whose reply only says that it was done. That the reply is of
    /// the right kind has been checked before it is here.
    fn ask(&self, request: &Request<'_>) -> Result<(), Errno> {
        let answer = self.mount.call(request).map_err(unknown)?;
        answer.reply().map(drop)
    }

    /// Returns true for a symbolic link.
    pub fn is_link(&self) -> bool {
        self.qid.kind & qid::SYMLINK != 0
    }

    /// The text of a symbolic link.
    ///
    /// # Errors
    /// `ESTALE`: it is none any more.
    pub fn read_link(&self) -> Result<Vec<u8>, Errno> {
        let answer = match self.mount.call(&Request::Readlink { fid: self.fid }) {
            Err(Failed::Refused(Errno::EINVAL)) if self.is_link() => return Err(Errno::ESTALE),
            answer => answer?,
        };
        let Reply::Readlink { target } = answer.reply()? else {
            return Err(Errno::EPROTO);
        };
        let mut text = room(target.len())?;
        text.extend_from_slice(&target);
        Ok(text)
    }

    /// Makes a symbolic link in this directory.
    pub fn make_link(&self, name: &[u8], text: &[u8]) -> Result<(), Errno> {
        let request = Request::Symlink {
            dfid: self.fid,
            name: ByteStr(name),
            target: ByteStr(text),
            gid: 0,
        };
        self.ask(&request)
    }

    /// Gives `file` one more name, in this directory.
    pub fn link(&self, name: &[u8], file: &Remote) -> Result<(), Errno> {
        let request = Request::Link {
            dfid: self.fid,
            fid: file.fid,
            name: ByteStr(name),
        };
        self.ask(&request)
    }

    /// Whether the file is a directory.
    pub fn kind(&self) -> Directory {
        Directory::of(self.qid)
    }

    /// The same as a truth value.
    pub fn is_directory(&self) -> bool {
        self.kind() == Directory::Yes
    }

    /// Opens the fid; the server checks the rights.
    pub fn open(&mut self, mode: u32) -> Result<(), Errno> {
        let request = Request::Lopen {
            fid: self.fid,
            flags: open_flags(mode),
        };
        let answer = self.mount.call(&request)?;
        let Reply::Lopen { qid, .. } = answer.reply()? else {
            return Err(Errno::EPROTO);
        };
        self.qid = qid;
        Ok(())
    }

    /// Makes and opens `name` in this directory; the fid becomes the file.
    pub fn create(&mut self, name: &[u8], mode: u32, permissions: u32) -> Result<(), Errno> {
        let existing = match mode & (mode::OEXCL | mode::OKEEP) {
            0 => open::TRUNC,
            mode::OKEEP => 0,
            _ => open::EXCL,
        };
        let request = Request::Lcreate {
            fid: self.fid,
            name: ByteStr(name),
            flags: open_flags(mode) | open::CREAT | existing,
            mode: permissions & 0o777,
            gid: 0,
        };
        let answer = self.mount.call(&request).map_err(unknown)?;
        let Reply::Lcreate { qid, .. } = answer.reply()? else {
            return Err(Errno::EPROTO);
        };
        self.qid = qid;
        Ok(())
    }

    /// Makes a directory in this one.
    pub fn make_directory(&self, name: &[u8], permissions: u32) -> Result<(), Errno> {
        let request = Request::Mkdir {
            dfid: self.fid,
            name: ByteStr(name),
            mode: permissions & 0o777,
            gid: 0,
        };
        self.ask(&request)
    }

    /// Removes `name` from this directory.
    pub fn unlink(&self, name: &[u8], directory: Directory) -> Result<(), Errno> {
        let request = Request::Unlinkat {
            dirfid: self.fid,
            name: ByteStr(name),
            flags: match directory {
                Directory::Yes => unlink::REMOVEDIR,
                Directory::No => 0,
            },
        };
        self.ask(&request)
    }

    /// Renames `name` in this directory to `new` in `to`.
    pub fn rename(&self, name: &[u8], to: &Remote, new: &[u8]) -> Result<(), Errno> {
        let request = Request::Renameat {
            olddirfid: self.fid,
            oldname: ByteStr(name),
            newdirfid: to.fid,
            newname: ByteStr(new),
        };
        self.ask(&request)
    }

    fn attributes(&self) -> Result<Attr, Errno> {
        let request = Request::Getattr {
            fid: self.fid,
            mask: getattr::BASIC,
        };
        match self.mount.call(&request)?.reply()? {
            Reply::Getattr(attr) => Ok(attr),
            _ => Err(Errno::EPROTO),
        }
    }

    /// The attributes of the file.
    pub fn stat(&self) -> Result<Stat, Errno> {
        Ok(stat_of(&self.mount, &self.attributes()?))
    }

    /// Pages that the server has room for in all.
    pub fn room(&self) -> Result<u64, Errno> {
        let request = Request::Statfs { fid: self.fid };
        match self.mount.call(&request)?.reply()? {
            Reply::Statfs(space) => {
                let bytes = u128::from(space.blocks) * u128::from(space.bsize);
                Ok(u64::try_from(bytes / u128::from(PAGE)).unwrap_or(u64::MAX))
            }
            _ => Err(Errno::EPROTO),
        }
    }

    /// Blocks of 512 bytes that the server stores for the file.
    pub fn blocks(&self) -> Result<u64, Errno> {
        Ok(self.attributes()?.blocks)
    }

    /// Applies `change`.
    pub fn change(&self, change: &StatChange) -> Result<(), Errno> {
        let mut attr = SetAttr {
            mode: change.mode as u32 & 0o7777,
            size: change.size,
            mtime_sec: change.mtime_ns / 1_000_000_000,
            mtime_nsec: change.mtime_ns % 1_000_000_000,
            ..SetAttr::default()
        };
        let bits = [
            (StatChange::SIZE, setattr::SIZE),
            (StatChange::MODE, setattr::MODE),
            (StatChange::MTIME, setattr::MTIME | setattr::MTIME_SET),
            (StatChange::NOW, setattr::MTIME),
        ];
        for (bit, wire) in bits {
            if change.valid & bit != 0 {
                attr.valid |= wire;
            }
        }
        let fid = self.fid;
        self.ask(&Request::Setattr { fid, attr })
    }

    /// Returns when all writes have reached the medium.
    pub fn sync(&self) -> Result<(), Errno> {
        let request = Request::Fsync {
            fid: self.fid,
            datasync: 0,
        };
        self.ask(&request)
    }

    /// Calls `f(next, entry, name)` for entries of the open directory from
    /// the server's position `from` on, until it says stop. Returns whether
    /// there was any entry at all.
    pub fn list(
        &self,
        from: u64,
        room: u32,
        mut f: impl FnMut(u64, Listed<'_>) -> bool,
    ) -> Result<bool, Errno> {
        let request = Request::Readdir {
            fid: self.fid,
            offset: from,
            count: room.min(self.mount.iounit()),
        };
        let answer = self.mount.call(&request)?;
        let Reply::Readdir { data } = answer.reply()? else {
            return Err(Errno::EPROTO);
        };
        // A server that answers more than it was asked for is not believed.
        let data = data.get(..room as usize).unwrap_or(data);
        for entry in DirEntries::new(data) {
            let entry = entry.map_err(|_| Errno::EPROTO)?;
            if !f(entry.offset, Listed::of(&entry, None)) {
                break;
            }
        }
        Ok(!data.is_empty())
    }

    /// The same with the attributes of the files, as walks from `names`, this directory
    /// not open, find them. `None`: the server does not do that in one request.
    pub fn list_with_attributes(
        &self,
        names: &Remote,
        from: u64,
        room: u32,
        mut f: impl FnMut(u64, Listed<'_>) -> bool,
    ) -> Result<Option<bool>, Errno> {
        if !self.mount.has_snapshots() {
            return Ok(None);
        }
        let request = Request::Readdirattr {
            fid: self.fid,
            dfid: names.fid,
            offset: from,
            count: room.min(self.mount.iounit()),
            mask: getattr::BASIC,
        };
        let answer = match self.mount.call(&request) {
            Err(Failed::Refused(Errno::EOPNOTSUPP)) => return Ok(None),
            answer => answer?,
        };
        let Reply::Readdirattr { data } = answer.reply()? else {
            return Err(Errno::EPROTO);
        };
        let data = data.get(..room as usize).unwrap_or(data);
        for entry in DirAttrs::new(data) {
            let (entry, attr) = entry.map_err(|_| Errno::EPROTO)?;
            let stat = stat_of(&self.mount, &attr);
            let stat = Some(stat).filter(|_| attr.valid != 0);
            if !f(entry.offset, Listed::of(&entry, stat)) {
                break;
            }
        }
        Ok(Some(!data.is_empty()))
    }

    /// Writes `body` at `offset`; bytes written.
    pub fn write(&self, offset: u64, body: Vec<Piece>) -> Result<usize, Errno> {
        let len: usize = body.iter().map(|p| p.len).sum();
        let request = Request::Write {
            fid: self.fid,
            offset,
            data: &[],
        };
        let sent = self.mount.start(&request, body)?;
        match self.mount.finish(sent)?.reply()? {
            Reply::Write { count } => Ok((count as usize).min(len)),
            _ => Err(Errno::EPROTO),
        }
    }
}

/// An entry of a directory.
pub struct Listed<'n> {
    /// What it says itself.
    pub head: DirEntry,
    /// The name.
    pub name: &'n [u8],
    /// The attributes of the file, if they came with it.
    pub stat: Option<Stat>,
}

impl<'n> Listed<'n> {
    fn of(entry: &ninep::DirEntry<'n>, stat: Option<Stat>) -> Listed<'n> {
        let name = entry.name.bytes();
        Listed {
            head: DirEntry {
                qid_path: entry.qid.path,
                kind: u32::from(entry.kind),
                name_len: name.len() as u32,
            },
            name,
            stat,
        }
    }
}

/// Whether a file is a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Directory {
    /// It is one.
    Yes,
    /// It is anything else.
    No,
}

impl Directory {
    /// Is the file with this qid one?
    pub fn of(qid: Qid) -> Directory {
        match qid.kind & qid::DIR {
            0 => Directory::No,
            _ => Directory::Yes,
        }
    }
}

/// Linux's flags for Plan 9's mode.
pub(super) fn open_flags(mode: u32) -> u32 {
    let mut flags = match mode & 3 {
        mode::OREAD => open::RDONLY,
        mode::OWRITE => open::WRONLY,
        _ => open::RDWR,
    };
    if mode & mode::OTRUNC != 0 {
        flags |= open::TRUNC;
    }
    if mode & mode::OAPPEND != 0 {
        flags |= open::APPEND;
    }
    flags
}
