//! Files at a server: walking, opening and everything done to an open fid
//! that is not reading or writing.
use super::{Mount, rpc};
use crate::chan::{Piece, room};
use crate::counters;
use abi::{DirEntry, Errno, PAGE, Stat, Stat64, StatChange, mode};
use alloc::sync::Arc;
use alloc::vec::Vec;
use names::Last;
use ninep::client::Failed;
use ninep::consts::{MAXWELEM, getattr, open, qid, setattr, unlink};
use ninep::{Attr, ByteStr, DirEntries, List, Qid, Reply, Request, SetAttr};

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

/// Where a walk has led.
pub enum Reached {
    /// To the end.
    End(Remote),
    /// The name with that index is a symbolic link; its fid, if it was the last
    /// one walked.
    Link(usize, Option<Remote>),
    /// The name with that index is nothing, or below something that has none.
    Nothing(usize, Errno),
}

/// One `Twalk`.
struct Step<'n> {
    names: &'n [ByteStr<'n>],
    from: u32,
    from_qid: Qid,
    /// Index of a name at which a link is no reason to stop.
    kept: Option<usize>,
}

impl Step<'_> {
    fn take(&self, mount: &Arc<Mount>) -> Result<Reached, Errno> {
        let fid = mount.new_fid()?;
        let request = Request::Walk {
            fid: self.from,
            newfid: fid,
            names: List::new(self.names),
        };
        let mut qids = [Qid::default(); MAXWELEM];
        let walked = match mount.call(&request) {
            Ok(answer) => self.walked(&answer, &mut qids),
            Err(failed @ (Failed::Unsent(_) | Failed::Refused(_))) => Err(failed.errno()),
            Err(failed @ Failed::Lost(_)) => {
                // The server may have made it, or may do so yet.
                mount.clunk_later(fid);
                return Err(failed.errno());
            }
        };
        // A walk that stops half way makes no fid.
        let end = match walked == Ok(self.names.len()) {
            true => {
                counters::add(Stat64::Fids, 1);
                let last = self.names.len().checked_sub(1).and_then(|at| qids.get(at));
                let qid = last.copied().unwrap_or(self.from_qid);
                let mount = mount.clone();
                Some(Remote { mount, fid, qid })
            }
            false => {
                mount.free_fid(fid);
                None
            }
        };
        let walked = match walked {
            Err(errno @ (Errno::ENOENT | Errno::ENOTDIR)) => return Ok(Reached::Nothing(0, errno)),
            walked => walked?,
        };
        let mut links = qids.iter().take(walked).enumerate();
        let link = links.find(|(at, q)| q.kind & qid::SYMLINK != 0 && Some(*at) != self.kept);
        let end = match (link, end) {
            (Some((at, _)), end) if at + 1 == self.names.len() => {
                return Ok(Reached::Link(at, end));
            }
            (Some((at, _)), _) => return Ok(Reached::Link(at, None)),
            (None, end) => end,
        };
        let last = walked.checked_sub(1).and_then(|at| qids.get(at));
        let errno = match last.unwrap_or(&self.from_qid).kind & qid::DIR {
            0 => Errno::ENOTDIR,
            _ => Errno::ENOENT,
        };
        Ok(end.map_or(Reached::Nothing(walked, errno), Reached::End))
    }

    /// The number of names walked, and their qids.
    fn walked(&self, answer: &rpc::Answer, qids: &mut [Qid; MAXWELEM]) -> Result<usize, Errno> {
        let Reply::Walk { qids: walked } = answer.reply()? else {
            return Err(Errno::EPROTO);
        };
        for (slot, qid) in qids.iter_mut().zip(walked.iter()) {
            *slot = qid;
        }
        match walked.len() <= self.names.len() {
            true => Ok(walked.len()),
            false => Err(Errno::EPROTO),
        }
    }
}

/// Nanoseconds from seconds and nanoseconds, clamped.
fn nanoseconds(seconds: u64, rest: u64) -> u64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

impl Remote {
    /// Walks from the root of `mount` along `path`: names separated by `/`. A
    /// link ends the walk, a link at the end of the path only if it is to be
    /// followed.
    ///
    /// # Errors
    /// Errors that are unrelated to the names.
    pub fn reach(mount: &Arc<Mount>, path: &[u8], last: Last) -> Result<Reached, Errno> {
        let mut parts = path.split(|byte| *byte == b'/').filter(|p| !p.is_empty());
        let total = parts.clone().count();
        let mut names = [ByteStr::default(); MAXWELEM];
        let (mut here, mut done): (Option<Remote>, usize) = (None, 0);
        loop {
            let mut count = 0;
            for (slot, part) in names.iter_mut().zip(&mut parts) {
                *slot = ByteStr(part);
                count += 1;
            }
            let names = &names[..count];
            let (from, from_qid) = match &here {
                Some(here) => (here.fid, here.qid),
                None => mount.root(),
            };
            // A link before this name is followed in any case.
            let kept = (last == Last::Keep).then(|| total.wrapping_sub(done + 1));
            let step = Step {
                names,
                from,
                from_qid,
                kept,
            };
            match step.take(mount)? {
                Reached::End(next) if done + count == total => return Ok(Reached::End(next)),
                Reached::End(next) => here = Some(next),
                Reached::Link(index, link) => return Ok(Reached::Link(done + index, link)),
                Reached::Nothing(index, errno) => {
                    return Ok(Reached::Nothing(done + index, errno));
                }
            }
            done += count;
        }
    }

    /// The file `name` in this directory, a link itself.
    pub fn inside(&self, name: &[u8]) -> Result<Remote, Errno> {
        let step = Step {
            names: &[ByteStr(name)],
            from: self.fid,
            from_qid: self.qid,
            kept: Some(0),
        };
        match step.take(&self.mount)? {
            Reached::End(remote) => Ok(remote),
            Reached::Nothing(_, errno) => Err(errno),
            Reached::Link(..) => Err(Errno::EPROTO),
        }
    }

    /// One more fid for the same file, not open.
    pub fn another(&self) -> Result<Remote, Errno> {
        let step = Step {
            names: &[],
            from: self.fid,
            from_qid: self.qid,
            kept: None,
        };
        match step.take(&self.mount)? {
            Reached::End(remote) => Ok(remote),
            Reached::Link(..) | Reached::Nothing(..) => Err(Errno::EPROTO),
        }
    }

    /// Makes a request whose reply only says that it was done. That the reply is of
    /// the right kind has been checked before it is here.
    fn ask(&self, request: &Request<'_>) -> Result<(), Errno> {
        self.mount.call(request)?.reply().map(drop)
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
        let sent = self.mount.start(&request, body)?;
        match self.mount.finish(sent)?.reply()? {
            Reply::Write { count } => Ok((count as usize).min(len)),
            _ => Err(Errno::EPROTO),
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
