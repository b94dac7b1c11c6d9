//! The 9P side: one directory of files that never change, with snapshots.

use crate::Computed;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use ninep::consts::{
    IOHDRSZ, MAXWELEM, NOTAG, VERSION_L, VERSION_SNAP, VERSION_UNKNOWN, getattr, open, qid,
};
use ninep::{Attr, ByteStr, Changes, DirEntry, List, Names, Qid, Reply, Request};
use rt::Errno;
use rt::abi::PAGE;

/// The longest message: what the kernel offers.
pub const MSIZE: u32 = 128 * 1024 + 4096;
/// Bytes of the longest reply without its payload: a walk of 16 names.
const HEAD_MAX: usize = 256;
/// Most fids at a time, snapshots included.
const FIDS_MAX: usize = 16 * 1024;
/// The snapshots among them: who has many leaves others the fids to open files.
const SNAPSHOTS_MAX: usize = FIDS_MAX / 3;
/// The epoch of all files, always.
const EPOCH: u64 = 1;

/// What a fid stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Root,
    /// The file with that number.
    File(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Not open.
    Named,
    /// Open for reading.
    Open,
    /// A snapshot.
    Snapshot,
}

/// The files and their clients.
pub struct Server<'c> {
    files: Vec<Computed<'c>>,
    fids: BTreeMap<u32, (Node, Use)>,
    /// Snapshots among the fids.
    taken: usize,
    msize: u32,
    snapshots: bool,
    /// The data of replies.
    data: Vec<u8>,
    /// All of a reply but its data.
    head: [u8; HEAD_MAX],
    /// A page of which a part is asked for.
    page: Vec<u8>,
}

/// An answer, or the length of its data in the buffer.
enum Answer {
    Reply(Reply<'static>),
    Read(usize),
    Readdir(usize),
    Walk(usize, [Qid; MAXWELEM]),
}

type Handled = Result<Answer, Errno>;

impl<'c> Server<'c> {
    pub fn new(files: Vec<Computed<'c>>) -> Server<'c> {
        Server {
            files,
            fids: BTreeMap::new(),
            taken: 0,
            msize: MSIZE,
            snapshots: false,
            data: vec![0; MSIZE as usize],
            head: [0; HEAD_MAX],
            page: vec![0; PAGE as usize],
        }
    }

    /// The answer to one message: its head and its data.
    pub fn answer(&mut self, message: &[u8]) -> [&[u8]; 2] {
        let (tag, handled) = match ninep::decode_request(message) {
            Ok((tag, request)) => (tag, self.handle(&request)),
            Err(_) => {
                let tag = ninep::peek(message).map_or(NOTAG, |(_, _, tag)| tag);
                (tag, Err(Errno::EPROTO))
            }
        };
        match handled {
            Ok(Answer::Reply(reply)) => self.encode(tag, &reply, 0),
            Ok(Answer::Read(len)) => self.encode(tag, &Reply::Read { data: &[] }, len),
            Ok(Answer::Readdir(len)) => self.encode(tag, &Reply::Readdir { data: &[] }, len),
            Ok(Answer::Walk(walked, qids)) => {
                let qids = List::new(qids.get(..walked).unwrap_or_default());
                self.encode(tag, &Reply::Walk { qids }, 0)
            }
            Err(errno) => self.encode(tag, &Reply::Error(errno), 0),
        }
    }

    /// A reply with the first `len` bytes of the data.
    fn encode(&mut self, tag: u16, reply: &Reply<'_>, len: usize) -> [&[u8]; 2] {
        let data = self.data.get(..len).unwrap_or_default();
        // All replies fit.
        let head = ninep::encode_reply_head(tag, reply, data.len(), &mut self.head);
        [self.head.get(..head.unwrap_or(0)).unwrap_or_default(), data]
    }

    fn handle(&mut self, request: &Request<'_>) -> Handled {
        Ok(Answer::Reply(match *request {
            Request::Read { fid, offset, count } => return self.read(fid, offset, count),
            Request::Walk { fid, newfid, names } => return self.walk(fid, newfid, names),
            Request::Readdir { fid, offset, count } => return self.list(fid, offset, count),
            Request::Version { msize, version } => self.version(msize, version),
            Request::Attach { fid, aname, .. } => self.attach(fid, aname)?,
            Request::Lopen { fid, flags } => self.open(fid, flags)?,
            Request::Getattr { fid, .. } => Reply::Getattr(self.attributes(self.node(fid)?)),
            Request::Fsync { fid, .. } => self.node(fid).map(|_| Reply::Fsync)?,
            Request::Clunk { fid } => {
                self.forget(fid)?;
                Reply::Clunk
            }
            Request::Remove { fid } => {
                // 9P: the fid is gone, whatever becomes of the file.
                self.forget(fid)?;
                return Err(Errno::EROFS);
            }
            // Requests are answered one by one, so there is nothing to flush.
            Request::Flush { .. } => Reply::Flush,
            Request::Session { .. }
            | Request::Snap { .. }
            | Request::Trim { .. }
            | Request::Put { .. }
                if !self.snapshots =>
            {
                return Err(Errno::EOPNOTSUPP);
            }
            Request::Session { .. } => self.session()?,
            Request::Snap { .. } => self.snap(request)?,
            Request::Trim { snapfid, .. } => match self.fid(snapfid)? {
                // What is not asked for takes no room.
                (_, Use::Snapshot) => Reply::Trim,
                _ => return Err(Errno::EBADF),
            },
            Request::Write { .. }
            | Request::Put { .. }
            | Request::Lcreate { .. }
            | Request::Mkdir { .. }
            | Request::Mknod { .. }
            | Request::Symlink { .. }
            | Request::Link { .. }
            | Request::Rename { .. }
            | Request::Renameat { .. }
            | Request::Unlinkat { .. }
            | Request::Setattr { .. } => return Err(Errno::EROFS),
            _ => return Err(Errno::EOPNOTSUPP),
        }))
    }

    fn fid(&self, fid: u32) -> Result<(Node, Use), Errno> {
        self.fids.get(&fid).copied().ok_or(Errno::EBADF)
    }

    /// What a fid stands for that is no snapshot.
    fn node(&self, fid: u32) -> Result<Node, Errno> {
        match self.fid(fid)? {
            (_, Use::Snapshot) => Err(Errno::EBADF),
            (node, _) => Ok(node),
        }
    }

    /// Adds a fid that is not in use.
    fn add(&mut self, fid: u32, node: Node, used: Use) -> Result<(), Errno> {
        match self.fids.contains_key(&fid) {
            true => Err(Errno::EBADF),
            false if self.fids.len() >= FIDS_MAX => Err(Errno::EMFILE),
            false if used == Use::Snapshot && self.taken >= SNAPSHOTS_MAX => Err(Errno::EMFILE),
            false => {
                self.taken += usize::from(used == Use::Snapshot);
                self.fids.insert(fid, (node, used));
                Ok(())
            }
        }
    }

    /// A fid is in use no more.
    fn forget(&mut self, fid: u32) -> Result<(), Errno> {
        let (_, used) = self.fids.remove(&fid).ok_or(Errno::EBADF)?;
        self.taken -= usize::from(used == Use::Snapshot);
        Ok(())
    }

    fn size(&self, node: Node) -> u64 {
        match node {
            Node::Root => 0,
            Node::File(number) => self.files.get(number).map_or(0, |file| file.size),
        }
    }

    fn attributes(&self, node: Node) -> Attr {
        let size = self.size(node);
        Attr {
            valid: getattr::BASIC,
            qid: qid_of(node),
            mode: match node {
                Node::Root => 0o040_555,
                Node::File(_) => 0o100_444,
            },
            nlink: 1,
            size,
            blksize: PAGE,
            ..Attr::default()
        }
    }

    fn version(&mut self, msize: u32, version: ByteStr<'_>) -> Reply<'static> {
        self.fids.clear();
        self.taken = 0;
        self.msize = msize.clamp(IOHDRSZ + 1, MSIZE);
        self.snapshots = version == VERSION_SNAP;
        // A version with a dot and a suffix is negotiated down to the one before it.
        let rest = version.bytes().strip_prefix(VERSION_L.bytes());
        let known = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."));
        let version = match known {
            true if self.snapshots => VERSION_SNAP,
            true => VERSION_L,
            false => VERSION_UNKNOWN,
        };
        Reply::Version {
            msize: self.msize,
            version,
        }
    }

    fn attach(&mut self, fid: u32, aname: ByteStr<'_>) -> Result<Reply<'static>, Errno> {
        match aname.bytes() {
            b"" | b"/" => {}
            // There are no options.
            name if name.contains(&b'?') => return Err(Errno::EINVAL),
            _ => return Err(Errno::ENOENT),
        }
        self.add(fid, Node::Root, Use::Named)?;
        let qid = qid_of(Node::Root);
        Ok(Reply::Attach { qid })
    }

    fn step(&self, from: Node, name: ByteStr<'_>) -> Result<Node, Errno> {
        let named = |file: &Computed<'_>| file.name == name;
        match (from, name.bytes()) {
            (Node::File(_), _) => Err(Errno::ENOTDIR),
            (Node::Root, b"." | b"..") => Ok(Node::Root),
            (Node::Root, _) => {
                let found = self.files.iter().position(named);
                found.map(Node::File).ok_or(Errno::ENOENT)
            }
        }
    }

    /// Walks as far as the names lead, and makes the new fid if that is to the end.
    fn walk(&mut self, fid: u32, newfid: u32, names: Names<'_>) -> Handled {
        let (mut at, used) = self.fid(fid)?;
        if used == Use::Snapshot || (used == Use::Open && fid == newfid) {
            return Err(Errno::EBADF);
        }
        let mut qids = [Qid::default(); MAXWELEM];
        let mut walked = 0;
        for (name, qid) in names.iter().zip(&mut qids) {
            at = match self.step(at, name) {
                Ok(node) => node,
                Err(errno) if walked == 0 => return Err(errno),
                Err(_) => return Ok(Answer::Walk(walked, qids)),
            };
            *qid = qid_of(at);
            walked += 1;
        }
        if fid == newfid {
            self.forget(fid)?;
        }
        self.add(newfid, at, Use::Named)?;
        Ok(Answer::Walk(walked, qids))
    }

    fn open(&mut self, fid: u32, flags: u32) -> Result<Reply<'static>, Errno> {
        let (node, used) = self.fids.get_mut(&fid).ok_or(Errno::EBADF)?;
        if *used != Use::Named {
            return Err(Errno::EBADF);
        }
        if flags & open::ACCESS != open::RDONLY || flags & open::TRUNC != 0 {
            return Err(Errno::EROFS);
        }
        if flags & open::DIRECTORY != 0 && *node != Node::Root {
            return Err(Errno::ENOTDIR);
        }
        *used = Use::Open;
        let qid = qid_of(*node);
        Ok(Reply::Lopen { qid, iounit: 0 })
    }

    /// Most bytes of data in a reply to a request for `count`.
    fn most(&self, count: u32) -> usize {
        count.min(self.msize - IOHDRSZ) as usize
    }

    fn read(&mut self, fid: u32, offset: u64, count: u32) -> Handled {
        let (node, used) = self.fid(fid)?;
        let number = match node {
            _ if used == Use::Named => return Err(Errno::EBADF),
            Node::Root => return Err(Errno::EISDIR),
            Node::File(number) => number,
        };
        let most = self.most(count);
        let out = self.data.get_mut(..most).unwrap_or_default();
        let file = self.files.get_mut(number).ok_or(Errno::EBADF)?;
        Ok(Answer::Read(file.read(offset, out, &mut self.page)?))
    }

    /// Entries of the directory, as many as fit.
    fn list(&mut self, fid: u32, offset: u64, count: u32) -> Handled {
        if self.fid(fid)? != (Node::Root, Use::Open) {
            let directory = self.node(fid)? == Node::Root;
            return Err(if directory {
                Errno::EBADF
            } else {
                Errno::ENOTDIR
            });
        }
        let most = self.most(count);
        let out = self.data.get_mut(..most).unwrap_or_default();
        let (mut used, first) = (0, usize::try_from(offset).unwrap_or(usize::MAX));
        for (number, file) in self.files.iter().enumerate().skip(first) {
            let entry = DirEntry {
                qid: qid_of(Node::File(number)),
                offset: number as u64 + 1,
                kind: 8,
                name: file.name,
            };
            match entry.encode(out.get_mut(used..).unwrap_or_default()) {
                Ok(n) => used += n,
                // An empty reply would mean the end.
                Err(_) if used == 0 => return Err(Errno::EINVAL),
                Err(_) => break,
            }
        }
        Ok(Answer::Readdir(used))
    }

    /// Nothing is kept of sessions: snapshots cost nothing to take again.
    fn session(&self) -> Result<Reply<'static>, Errno> {
        match self.fids.is_empty() {
            true => Ok(Reply::Session {
                known: false,
                lease: 0,
                wmax: MSIZE,
                epoch: EPOCH,
            }),
            false => Err(Errno::EINVAL),
        }
    }

    fn snap(&mut self, request: &Request<'_>) -> Result<Reply<'static>, Errno> {
        let Request::Snap {
            fid,
            snapfid,
            off,
            count,
            epoch,
            known,
        } = *request
        else {
            return Err(Errno::EPROTO);
        };
        let node = match self.fid(fid)? {
            (Node::Root, Use::Open) => return Err(Errno::EOPNOTSUPP),
            (node, Use::Open) => node,
            _ => return Err(Errno::EBADF),
        };
        let size = self.size(node);
        let count = count.min(size.saturating_sub(off));
        if epoch != 0 && (epoch != EPOCH || count == 0) {
            return Err(Errno::ESTALE);
        }
        match self.fids.get(&snapfid) {
            None => self.add(snapfid, node, Use::Snapshot)?,
            Some(&same) if same == (node, Use::Snapshot) => {}
            Some(_) => return Err(Errno::EINVAL),
        }
        Ok(Reply::Snap {
            qid: qid_of(node),
            epoch: EPOCH,
            count,
            size,
            changes: match known {
                0 | EPOCH => Changes::NONE,
                _ => Changes::All,
            },
        })
    }
}

fn qid_of(node: Node) -> Qid {
    let (kind, path) = match node {
        Node::Root => (qid::DIR, 0),
        Node::File(number) => (qid::FILE, number as u64 + 1),
    };
    Qid {
        kind,
        version: 0,
        path,
    }
}
