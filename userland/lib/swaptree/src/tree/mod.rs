//! The directory of files, and the requests of its client.

mod content;
mod names;

use abi::Errno;
use alloc::vec::Vec;
use core::ops::Range;
use ninep::consts::{IOHDRSZ, getattr, qid};
use ninep::{Attr, Qid, Reply, Request, StatFs};

use crate::PAGE;
use crate::blocks::Blocks;
use crate::fids::{Fids, Object};
use crate::file::File;
use crate::transfer::{Direction, Flying, Id, Transfer};

/// Most pages in one message.
pub const PAGES_MAX: usize = 32;
/// Bytes of the longest message: the head of a write with room to spare, and its
/// pages.
pub const MSIZE: u32 = (PAGES_MAX as u32 + 1) * PAGE as u32;
/// Free blocks that are worth discarding.
const DISCARD_WORTH: u32 = 256;
/// Most files at a time: more than there can be segments of processes.
const FILES_MAX: usize = 16 * 1024;
/// Bytes of the longest name.
const NAME_MAX: usize = 255;
/// Linux's number of a file system in memory: nothing here outlives the server.
const TMPFS: u32 = 0x0102_1994;
/// The number of the directory; files count from the next one.
const ROOT_ID: u64 = 1;

/// The next thing to do for a request.
#[derive(Debug)]
pub enum Step {
    /// Send this answer.
    Answer(Answer),
    /// Do the transfer with the device, then call [`Tree::finish`].
    Transfer(Id),
    /// Make the request again when a transfer under way has been finished.
    Wait,
}

/// An answer to a request.
#[derive(Debug)]
pub enum Answer {
    /// This one.
    Reply(Reply<'static>),
    /// A walk; the number of names walked is 0 or 1.
    Walk(Option<Qid>),
    /// An `Rreaddir` with that many bytes of the buffer.
    List(usize),
    /// An `Rread` with the pages of the transfer.
    Read,
}

/// The directory.
pub struct Tree {
    blocks: Blocks,
    files: Vec<Option<File>>,
    /// Files with a name.
    named: usize,
    next_id: u64,
    fids: Fids,
    flying: Flying,
    /// Blocks that the device is discarding.
    discarding: u32,
    /// All that can be is discarded.
    discards: bool,
    /// Bytes of the longest message that the client takes.
    msize: u32,
}

impl Tree {
    /// An empty directory over a device of that many blocks.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new(blocks: u32) -> Result<Tree, Errno> {
        Ok(Tree {
            blocks: Blocks::new(blocks).map_err(|_| Errno::ENOMEM)?,
            files: Vec::new(),
            named: 0,
            next_id: ROOT_ID + 1,
            fids: Fids::default(),
            flying: Flying::default(),
            discarding: 0,
            discards: false,
            msize: MSIZE,
        })
    }

    /// Does what a request asks for, or says what is to be done for it. The entries of
    /// a directory are put into `list`.
    ///
    /// # Errors
    /// The error to answer; nothing has changed.
    pub fn request(
        &mut self,
        tag: u16,
        request: &Request<'_>,
        list: &mut [u8],
    ) -> Result<Step, Errno> {
        let reply = match *request {
            Request::Read { fid, offset, count } => return self.read(tag, fid, offset, count),
            Request::Write { fid, offset, data } => return self.write(tag, fid, offset, data),
            Request::Setattr { fid, attr } => return self.set_attributes(fid, &attr),
            Request::Flush { oldtag } if self.flying.has_tag(oldtag) => return Ok(Step::Wait),
            Request::Walk { fid, newfid, names } => {
                return Ok(Step::Answer(Answer::Walk(self.walk(
                    fid,
                    newfid,
                    names.iter(),
                )?)));
            }
            Request::Readdir { fid, offset, count } => {
                let len = self.list(fid, offset, count, list)?;
                return Ok(Step::Answer(Answer::List(len)));
            }
            Request::Flush { .. } => Reply::Flush,
            Request::Version { msize, version } => self.version(msize, version),
            Request::Attach { fid, aname, .. } => self.attach(fid, aname)?,
            Request::Lopen { fid, flags } => self.open(fid, flags)?,
            Request::Lcreate {
                fid, name, flags, ..
            } => self.create(fid, &name, flags)?,
            Request::Unlinkat {
                dirfid,
                name,
                flags,
            } => self.unlink(dirfid, &name, flags)?,
            Request::Remove { fid } => self.remove(fid)?,
            Request::Clunk { fid } => {
                let gone = self.fids.remove(fid)?;
                self.let_go(gone.object);
                Reply::Clunk
            }
            Request::Getattr { fid, .. } => {
                Reply::Getattr(self.attributes(self.fids.get(fid)?.object)?)
            }
            Request::Statfs { fid } => {
                self.fids.get(fid)?;
                Reply::Statfs(self.space())
            }
            Request::Fsync { fid, .. } => {
                self.fids.get(fid)?;
                Reply::Fsync
            }
            _ => return Err(Errno::EOPNOTSUPP),
        };
        Ok(Step::Answer(Answer::Reply(reply)))
    }

    /// The transfer of that number, while it is under way.
    pub fn transfer(&self, id: Id) -> Option<&Transfer> {
        self.flying.get(id)
    }

    /// The transfer is over, with this result of the device; the answer to its
    /// request, of that tag.
    pub fn finish(&mut self, id: Id, result: Result<(), Errno>) -> Option<(u16, Answer)> {
        let transfer = self.flying.end(id)?;
        let answer = match (transfer.direction, result) {
            (Direction::Read, Ok(())) => Answer::Read,
            (Direction::Read, Err(errno)) => Answer::Reply(Reply::Error(errno)),
            (Direction::Write, Err(errno)) => {
                transfer.give_up(&mut self.blocks);
                Answer::Reply(Reply::Error(errno))
            }
            (Direction::Write, Ok(())) => {
                let file = self.files.get_mut(transfer.file()).and_then(Option::as_mut);
                let settled = file.map(|file| transfer.settle(file, &mut self.blocks));
                Answer::Reply(match settled {
                    Some(Ok(())) => Reply::Write {
                        count: transfer.bytes(),
                    },
                    Some(Err(errno)) => Reply::Error(errno),
                    None => Reply::Error(Errno::EBADF),
                })
            }
        };
        self.let_go(Object::File(transfer.file()));
        Some((transfer.tag, answer))
    }

    /// Blocks that the device should discard now, at most `most` in a row:
    /// [`Tree::discarded`] says that it has. Nobody uses them meanwhile. There are some
    /// once so many have become free that it is worth it, until none is left.
    pub fn next_discard(&mut self, most: u32) -> Option<Range<u32>> {
        self.discards |= self.blocks.stale() >= DISCARD_WORTH;
        if !self.discards {
            return None;
        }
        let blocks = self.blocks.take_stale(most);
        match &blocks {
            Some(blocks) => self.discarding += blocks.end - blocks.start,
            None => self.discards = false,
        }
        blocks
    }

    /// The device has discarded these blocks, or could not.
    pub fn discarded(&mut self, blocks: Range<u32>) {
        self.discarding -= blocks.end - blocks.start;
        self.blocks.give_discarded(blocks);
    }

    fn file(&self, index: usize) -> Result<&File, Errno> {
        let file = self.files.get(index).and_then(Option::as_ref);
        file.ok_or(Errno::EBADF)
    }

    fn file_mut(&mut self, index: usize) -> Result<&mut File, Errno> {
        let file = self.files.get_mut(index).and_then(Option::as_mut);
        file.ok_or(Errno::EBADF)
    }

    fn hold(&mut self, object: Object) {
        if let Object::File(index) = object
            && let Ok(file) = self.file_mut(index)
        {
            file.holders += 1;
        }
    }

    fn let_go(&mut self, object: Object) {
        if let Object::File(index) = object
            && let Ok(file) = self.file_mut(index)
        {
            file.holders = file.holders.saturating_sub(1);
            self.free_unheld(index);
        }
    }

    /// Frees a file that nobody can reach any more.
    fn free_unheld(&mut self, index: usize) {
        let Some(place) = self.files.get_mut(index) else {
            return;
        };
        if let Some(file) = place
            && file.holders == 0
            && file.name.is_none()
        {
            file.clear(&mut self.blocks);
            *place = None;
        }
    }

    fn qid(&self, object: Object) -> Result<Qid, Errno> {
        let (kind, path) = match object {
            Object::Root => (qid::DIR, ROOT_ID),
            Object::File(index) => (qid::FILE, self.file(index)?.id),
        };
        Ok(Qid {
            kind,
            version: 0,
            path,
        })
    }

    fn attributes(&self, object: Object) -> Result<Attr, Errno> {
        let qid = self.qid(object)?;
        let attr = Attr {
            valid: getattr::BASIC,
            qid,
            mode: 0o040_700,
            nlink: 1,
            blksize: PAGE,
            ..Attr::default()
        };
        let Object::File(index) = object else {
            return Ok(attr);
        };
        let file = self.file(index)?;
        Ok(Attr {
            mode: 0o100_600,
            nlink: u64::from(file.name.is_some()),
            size: file.size,
            blocks: file.blocks() * (PAGE / 512),
            ..attr
        })
    }

    fn space(&self) -> StatFs {
        let free = u64::from(self.blocks.free());
        let files = self.files.iter().flatten().count() as u64;
        StatFs {
            kind: TMPFS,
            bsize: PAGE as u32,
            blocks: self.blocks.total().into(),
            bfree: free,
            bavail: free,
            files,
            ffree: FILES_MAX as u64 - files,
            fsid: 0,
            namelen: NAME_MAX as u32,
        }
    }

    /// Most bytes of data in a message: whole pages.
    fn iounit(&self) -> u32 {
        self.msize.saturating_sub(IOHDRSZ) / PAGE as u32 * PAGE as u32
    }
}
