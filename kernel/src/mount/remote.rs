//! Files at a server: walking, opening and everything done to an open fid
//! that is not reading or writing.
use super::{Mount, rpc};
use crate::chan::Piece;
use abi::{DirEntry, Errno, Stat, StatChange, mode};
use alloc::sync::Arc;
use alloc::vec::Vec;
use ninep::consts::{MAXWELEM, NOFID, getattr, open, qid, setattr, unlink};
use ninep::{Attr, ByteStr, DirEntries, List, Qid, Reply, Request, SetAttr};

/// A fid that the kernel holds at a server; given back when dropped.
pub struct Remote {
    /// The server.
    pub mount: Arc<Mount>,
    /// The fid.
    pub fid: u32,
    /// What the server calls the file.
    pub qid: Qid,
}

impl Drop for Remote {
    fn drop(&mut self) {
        rpc::uncount_fid();
        self.mount.clunk_later(self.fid);
    }
}

/// Where a walk came to. One that stops half way makes no fid.
fn walked(answer: &rpc::Answer, from: Qid, names: &[ByteStr<'_>]) -> Result<Qid, Errno> {
    let Reply::Walk { qids } = answer.reply()? else {
        return Err(Errno::EPROTO);
    };
    let last = qids.iter().last().unwrap_or(from);
    if qids.len() == names.len() {
        Ok(last)
    } else if last.kind & qid::DIR != 0 {
        Err(Errno::ENOENT)
    } else {
        Err(Errno::ENOTDIR)
    }
}

/// Nanoseconds from seconds and nanoseconds, clamped.
fn nanoseconds(seconds: u64, rest: u64) -> u64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

impl Remote {
    /// A new fid for `path` (clean, relative) below the root of `mount`.
    pub fn walk(mount: &Arc<Mount>, path: &[u8]) -> Result<Remote, Errno> {
        let mut names = [ByteStr::default(); MAXWELEM];
        let mut parts = path.split(|byte| *byte == b'/').filter(|p| !p.is_empty());
        let mut here: Option<Remote> = None;
        loop {
            let mut count = 0;
            for (slot, part) in names.iter_mut().zip(&mut parts) {
                *slot = ByteStr(part);
                count += 1;
            }
            if count == 0
                && let Some(here) = here
            {
                return Ok(here);
            }
            let names = names.get(..count).unwrap_or(&[]);
            let (from, from_qid) = match &here {
                Some(here) => (here.fid, here.qid),
                None => mount.root(),
            };
            here = Some(Self::step(mount, from, from_qid, names)?);
            if count < MAXWELEM {
                return here.ok_or(Errno::EPROTO);
            }
        }
    }

    fn step(
        mount: &Arc<Mount>,
        fid: u32,
        from: Qid,
        names: &[ByteStr<'_>],
    ) -> Result<Remote, Errno> {
        let newfid = mount.new_fid()?;
        let request = Request::Walk {
            fid,
            newfid,
            names: List::new(names),
        };
        let answer = match mount.call_making(&request, newfid) {
            Ok(answer) => answer,
            Err(errno) => {
                // The server may have made it, or may do so yet.
                mount.clunk_later(newfid);
                return Err(errno);
            }
        };
        let walked = walked(&answer, from, names);
        if walked.is_err() {
            mount.free_fid(newfid);
        }
        let qid = walked?;
        rpc::count_fid();
        Ok(Remote {
            mount: mount.clone(),
            fid: newfid,
            qid,
        })
    }

    /// Is it a directory?
    pub fn is_directory(&self) -> bool {
        self.qid.kind & qid::DIR != 0
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
        let exclusive = if mode & mode::OEXCL != 0 {
            open::EXCL
        } else {
            open::TRUNC
        };
        let request = Request::Lcreate {
            fid: self.fid,
            name: ByteStr(name),
            flags: open_flags(mode) | open::CREAT | exclusive,
            mode: permissions & 0o777,
            gid: 0,
        };
        let answer = self.mount.call(&request)?;
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
        match self.mount.call(&request)?.reply()? {
            Reply::Mkdir { .. } => Ok(()),
            _ => Err(Errno::EPROTO),
        }
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
        match self.mount.call(&request)?.reply()? {
            Reply::Unlinkat => Ok(()),
            _ => Err(Errno::EPROTO),
        }
    }

    /// Renames `name` in this directory to `new` in `to`.
    pub fn rename(&self, name: &[u8], to: &Remote, new: &[u8]) -> Result<(), Errno> {
        let request = Request::Renameat {
            olddirfid: self.fid,
            oldname: ByteStr(name),
            newdirfid: to.fid,
            newname: ByteStr(new),
        };
        match self.mount.call(&request)?.reply()? {
            Reply::Renameat => Ok(()),
            _ => Err(Errno::EPROTO),
        }
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

    /// What it is.
    pub fn stat(&self) -> Result<Stat, Errno> {
        let attr = self.attributes()?;
        Ok(Stat {
            qid_path: attr.qid.path,
            size: attr.size,
            mode: attr.mode,
            links: u32::try_from(attr.nlink).unwrap_or(u32::MAX),
            uid: attr.uid,
            gid: attr.gid,
            mtime_ns: nanoseconds(attr.mtime_sec, attr.mtime_nsec),
            atime_ns: nanoseconds(attr.atime_sec, attr.atime_nsec),
            server: u64::from(self.mount.id),
        })
    }

    /// Changes what `change` says.
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
        ];
        for (bit, wire) in bits {
            if change.valid & bit != 0 {
                attr.valid |= wire;
            }
        }
        let fid = self.fid;
        match self.mount.call(&Request::Setattr { fid, attr })?.reply()? {
            Reply::Setattr => Ok(()),
            _ => Err(Errno::EPROTO),
        }
    }

    /// What was written is on the medium.
    pub fn sync(&self) -> Result<(), Errno> {
        let request = Request::Fsync {
            fid: self.fid,
            datasync: 0,
        };
        match self.mount.call(&request)?.reply()? {
            Reply::Fsync => Ok(()),
            _ => Err(Errno::EPROTO),
        }
    }

    /// Calls `f(next, entry, name)` for entries of the open directory from
    /// the server's position `from` on, until it says stop. Returns whether
    /// there was any entry at all.
    pub fn list(
        &self,
        from: u64,
        room: u32,
        mut f: impl FnMut(u64, DirEntry, &[u8]) -> bool,
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
            let head = DirEntry {
                qid_path: entry.qid.path,
                kind: u32::from(entry.kind),
                name_len: entry.name.len() as u32,
            };
            if !f(entry.offset, head, &entry.name) {
                break;
            }
        }
        Ok(!data.is_empty())
    }

    /// Writes `body` at `offset`; bytes written.
    pub fn write(&self, offset: u64, body: Vec<Piece>) -> Result<usize, Errno> {
        let len: usize = body.iter().map(|p| p.len).sum();
        let request = Request::Write {
            fid: self.fid,
            offset,
            data: &[],
        };
        let sent = self.mount.start(&request, body, Vec::new(), NOFID)?;
        match self.mount.finish(sent)?.reply()? {
            Reply::Write { count } => Ok((count as usize).min(len)),
            _ => Err(Errno::EPROTO),
        }
    }
}

/// What the caller of `unlink` found the name to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Directory {
    /// A directory.
    Yes,
    /// Anything else.
    No,
}

/// Linux's flags for Plan 9's mode.
fn open_flags(mode: u32) -> u32 {
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
