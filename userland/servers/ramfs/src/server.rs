//! The 9P side: reading and writing. `names` has the requests that open and
//! name files.

mod names;

use crate::attributes::{self, attributes, qid};
use crate::clock::Clock;
use crate::fids::{Fid, Fids};
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use ninep::consts::{IOHDRSZ, MAXWELEM, VERSION_L, VERSION_UNKNOWN, open, unlink};
use ninep::{DirEntry, List, Qid, Reply, Request};
use ramtree::{Id, LINK_MAX, ROOT, Tree};
use rt::{ByteStr, Errno, Replies};

/// The largest accepted message: the kernel's proposal.
pub const MSIZE: u32 = 128 * 1024 + 4096;

/// Bytes of the longest reply without its payload: the text of a link.
const HEAD_MAX: usize = LINK_MAX + 64;

/// The tree and its clients.
pub struct Server {
    replies: Rc<Replies>,
    clock: Clock,
    tree: Tree,
    fids: Fids,
    msize: u32,
    /// Buffer in which the data of replies is assembled.
    data: Vec<u8>,
}

/// An answer, or the length of its data in the buffer.
enum Answer {
    Reply(Reply<'static>),
    Read(usize),
    Readdir(usize),
    Readlink(usize),
    Walk(usize, [Qid; MAXWELEM]),
}

type Handled = Result<Answer, Errno>;

impl Server {
    pub fn new(replies: Rc<Replies>, tree: Tree) -> Server {
        Server {
            replies,
            clock: Clock::new(),
            tree,
            fids: Fids::default(),
            msize: MSIZE,
            data: vec![0; MSIZE as usize],
        }
    }

    /// Answers one message.
    pub fn request(&mut self, message: &[u8]) {
        let (tag, handled) = match ninep::decode_request(message) {
            Ok((tag, request)) => (tag, self.handle(&request)),
            Err(_) => match ninep::peek(message) {
                Some((_, _, tag)) => (tag, Err(Errno::EPROTO)),
                None => return,
            },
        };
        let data = |len| self.data.get(..len).unwrap_or_default();
        match &handled {
            Ok(Answer::Reply(reply)) => self.reply(tag, reply, &[]),
            Ok(Answer::Read(len)) => {
                self.reply(tag, &Reply::Read { data: &[] }, data(*len));
            }
            Ok(Answer::Readdir(len)) => {
                self.reply(tag, &Reply::Readdir { data: &[] }, data(*len));
            }
            Ok(Answer::Readlink(len)) => {
                let target = ByteStr(data(*len));
                self.reply(tag, &Reply::Readlink { target }, &[]);
            }
            Ok(Answer::Walk(walked, qids)) => {
                let qids = List::new(qids.get(..*walked).unwrap_or_default());
                self.reply(tag, &Reply::Walk { qids }, &[]);
            }
            Err(errno) => self.reply(tag, &Reply::Error(*errno), &[]),
        }
    }

    fn reply(&self, tag: u16, reply: &Reply<'_>, payload: &[u8]) {
        let mut head = [0; HEAD_MAX];
        if let Ok(n) = ninep::encode_reply_head(tag, reply, payload.len(), &mut head) {
            self.replies
                .send([head.get(..n).unwrap_or_default(), payload]);
        }
    }

    fn handle(&mut self, request: &Request<'_>) -> Handled {
        self.tree.set_time(self.clock.now());
        match *request {
            Request::Walk { fid, newfid, names } => self.walk(fid, newfid, names.iter()),
            Request::Read { fid, offset, count } => self.read(fid, offset, count),
            Request::Readdir { fid, offset, count } => self.list(fid, offset, count),
            Request::Readlink { fid } => self.read_link(fid),
            _ => match self.handle_names(request) {
                Some(handled) => handled,
                None => self.handle_files(request),
            }
            .map(Answer::Reply),
        }
    }

    fn handle_files(&mut self, request: &Request<'_>) -> Result<Reply<'static>, Errno> {
        Ok(match *request {
            Request::Version { msize, version } => self.version(msize, version),
            // There is only one tree, so the name does not matter.
            Request::Attach { aname, .. } if aname.contains(&b'?') => return Err(Errno::EINVAL),
            Request::Attach { aname, .. } if !matches!(aname.bytes(), b"" | b"/") => {
                return Err(Errno::ENOENT);
            }
            Request::Attach { fid, .. } => {
                let top = Fid {
                    id: ROOT,
                    place: None,
                    opened: None,
                };
                self.fids.add(fid, top, &mut self.tree)?;
                let qid = self.qid(ROOT)?;
                Reply::Attach { qid }
            }
            Request::Lopen { fid, flags } => self.open(fid, flags)?,
            Request::Getattr { fid, .. } => {
                let id = self.fids.get(fid)?.id;
                Reply::Getattr(attributes(id, &self.tree.facts(id)?))
            }
            Request::Setattr { fid, attr } => self.set_attributes(fid, &attr)?,
            Request::Statfs { fid } => {
                self.fids.get(fid)?;
                Reply::Statfs(attributes::statfs(&self.tree))
            }
            Request::Fsync { fid, .. } => {
                self.fids.get(fid)?;
                Reply::Fsync
            }
            Request::Write { fid, offset, data } => {
                let (id, flags) = self.fids.get(fid)?.writable()?;
                let offset = (flags & open::APPEND == 0).then_some(offset);
                let written = self.tree.write(id, offset, data)?;
                Reply::Write {
                    count: written as u32,
                }
            }
            Request::Clunk { fid } => {
                self.fids.remove(fid, &mut self.tree)?;
                Reply::Clunk
            }
            // Requests are answered one by one, so there is nothing to flush.
            Request::Flush { .. } => Reply::Flush,
            _ => return Err(Errno::EOPNOTSUPP),
        })
    }

    /// The requests that change names.
    fn handle_names(&mut self, request: &Request<'_>) -> Option<Result<Reply<'static>, Errno>> {
        Some(match *request {
            Request::Lcreate {
                fid,
                name,
                flags,
                mode,
                ..
            } => self.create(fid, name, flags, mode),
            Request::Mkdir {
                dfid, name, mode, ..
            } => self.mkdir(dfid, name, mode),
            Request::Symlink {
                dfid, name, target, ..
            } => self.symlink(dfid, name, target),
            Request::Link { dfid, fid, name } => self.link(dfid, fid, name),
            Request::Unlinkat {
                dirfid,
                name,
                flags,
            } => {
                let directory = flags & unlink::REMOVEDIR != 0;
                self.unlink(dirfid, name, directory)
            }
            Request::Renameat {
                olddirfid,
                oldname,
                newdirfid,
                newname,
            } => self.rename(olddirfid, oldname, newdirfid, newname),
            Request::Rename { fid, dfid, name } => self.rename_fid(fid, dfid, name),
            Request::Remove { fid } => self.remove(fid),
            _ => return None,
        })
    }

    fn qid(&self, id: Id) -> Result<Qid, Errno> {
        Ok(qid(id, &self.tree.facts(id)?))
    }

    fn version(&mut self, msize: u32, version: ByteStr<'_>) -> Reply<'static> {
        self.fids.clear(&mut self.tree);
        self.msize = msize.clamp(IOHDRSZ + 1, MSIZE);
        // Clients that ask for an extension get the protocol it extends.
        let rest = version.bytes().strip_prefix(VERSION_L.bytes());
        let known = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."));
        Reply::Version {
            msize: self.msize,
            version: if known { VERSION_L } else { VERSION_UNKNOWN },
        }
    }

    /// Walks as far as the names lead; creates the new fid only if all of them
    /// were found.
    fn walk<'n>(
        &mut self,
        fid: u32,
        newfid: u32,
        names: impl Iterator<Item = ByteStr<'n>>,
    ) -> Handled {
        let mut at = self.fids.get(fid)?.clone();
        if fid == newfid && at.opened.is_some() {
            return Err(Errno::EBUSY);
        }
        at.opened = None;
        let mut qids = [Qid::default(); MAXWELEM];
        let mut walked = 0;
        let mut failed = None;
        for (name, qid) in names.zip(&mut qids) {
            let next = self.tree.walk(at.id, &name);
            let next = next.and_then(|id| Ok((id, self.qid(id)?)));
            let (id, found) = match next {
                Ok(next) => next,
                Err(errno) => {
                    failed = Some(errno);
                    break;
                }
            };
            at.place = match name.bytes() {
                b"." => at.place,
                b".." => None,
                _ => Some((at.id, name.to_owned())),
            };
            (at.id, *qid) = (id, found);
            walked += 1;
        }
        match failed {
            Some(errno) if walked == 0 => return Err(errno),
            Some(_) => {}
            None if newfid == fid => self.fids.set(fid, at, &mut self.tree),
            None => self.fids.add(newfid, at, &mut self.tree)?,
        }
        Ok(Answer::Walk(walked, qids))
    }

    /// Most bytes of data in a reply to a request for `count`.
    fn most(&self, count: u32) -> usize {
        count.min(self.msize - IOHDRSZ) as usize
    }

    fn read(&mut self, fid: u32, offset: u64, count: u32) -> Handled {
        let id = self.fids.get(fid)?.readable()?;
        let most = self.most(count);
        let out = self.data.get_mut(..most).unwrap_or_default();
        Ok(Answer::Read(self.tree.read(id, offset, out)?))
    }

    fn read_link(&mut self, fid: u32) -> Handled {
        let text = self.tree.read_link(self.fids.get(fid)?.id)?;
        let out = self.data.get_mut(..text.len()).ok_or(Errno::EMSGSIZE)?;
        out.copy_from_slice(text);
        Ok(Answer::Readlink(text.len()))
    }

    /// Entries of a directory, as many as fit.
    fn list(&mut self, fid: u32, offset: u64, count: u32) -> Handled {
        let id = self.fids.get(fid)?.readable()?;
        let most = self.most(count);
        let out = self.data.get_mut(..most).unwrap_or_default();
        let mut used = 0;
        for (offset, name, id) in self.tree.entries(id, offset)? {
            let facts = self.tree.facts(id)?;
            let entry = DirEntry {
                qid: qid(id, &facts),
                offset,
                kind: attributes::directory_type(&facts),
                name: ByteStr(name),
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
}
