//! The directory of files, and the requests of its client.

use abi::Errno;
use alloc::vec::Vec;
use core::ops::Range;
use ninep::consts::{IOHDRSZ, VERSION_L, VERSION_UNKNOWN, getattr, open, qid, setattr, unlink};
use ninep::{Attr, ByteStr, DirEntry, Qid, Reply, Request, SetAttr, StatFs};

use crate::PAGE;
use crate::blocks::Blocks;
use crate::fids::{Fid, Fids, Object};
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
/// The largest size of a file, in bytes.
const SIZE_MAX: u64 = i64::MAX as u64 / PAGE * PAGE;
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
}

/// Names.
impl Tree {
    fn version(&mut self, msize: u32, version: ByteStr<'_>) -> Reply<'static> {
        while let Some(fid) = self.fids.pop() {
            self.let_go(fid.object);
        }
        self.msize = msize.clamp(IOHDRSZ, MSIZE);
        // Clients that ask for an extension get the protocol it extends.
        let rest = version.bytes().strip_prefix(VERSION_L.bytes());
        let known = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."));
        Reply::Version {
            msize: self.msize,
            version: if known { VERSION_L } else { VERSION_UNKNOWN },
        }
    }

    fn attach(&mut self, fid: u32, name: ByteStr<'_>) -> Result<Reply<'static>, Errno> {
        match name.bytes() {
            b"" | b"/" => {}
            name if name.contains(&b'?') => return Err(Errno::EINVAL),
            _ => return Err(Errno::ENOENT),
        }
        let root = Fid {
            object: Object::Root,
            opened: None,
        };
        self.fids.add(fid, root)?;
        let qid = self.qid(Object::Root)?;
        Ok(Reply::Attach { qid })
    }

    /// The index of the file with that name.
    fn find(&self, name: &[u8]) -> Option<usize> {
        if self.named == 0 {
            return None;
        }
        let has = |file: &File| file.name.as_deref() == Some(name);
        let mut files = self.files.iter();
        files.position(|file| file.as_ref().is_some_and(has))
    }

    /// Walks to a name in the directory, or to none; the qid of what was found.
    fn walk<'n>(
        &mut self,
        fid: u32,
        newfid: u32,
        mut names: impl Iterator<Item = ByteStr<'n>>,
    ) -> Result<Option<Qid>, Errno> {
        let from = self.fids.get(fid)?;
        if fid == newfid && from.opened.is_some() {
            return Err(Errno::EBUSY);
        }
        let (to, walked) = match (names.next(), from.object) {
            (None, object) => (object, None),
            (Some(_), Object::File(_)) => return Err(Errno::ENOTDIR),
            (Some(name), Object::Root) => {
                let object = match name.bytes() {
                    b"." | b".." => Object::Root,
                    name => Object::File(self.find(name).ok_or(Errno::ENOENT)?),
                };
                (object, Some(self.qid(object)?))
            }
        };
        // There is no directory but this one: the walk stops after the first name.
        if names.next().is_none() {
            let new = Fid {
                object: to,
                opened: None,
            };
            if fid == newfid {
                self.fids.set(fid, new);
            } else {
                self.fids.add(newfid, new)?;
            }
            self.hold(to);
            if fid == newfid {
                self.let_go(from.object);
            }
        }
        Ok(walked)
    }

    fn open(&mut self, fid: u32, flags: u32) -> Result<Reply<'static>, Errno> {
        let at = self.fids.get(fid)?;
        if at.opened.is_some() {
            return Err(Errno::EBUSY);
        }
        check_flags(flags)?;
        match at.object {
            Object::Root if flags & (open::ACCESS | open::TRUNC) != 0 => return Err(Errno::EISDIR),
            Object::File(_) if flags & open::DIRECTORY != 0 => return Err(Errno::ENOTDIR),
            Object::File(index) if flags & open::TRUNC != 0 => self.cut(index, 0)?,
            _ => {}
        }
        let opened = Some(flags);
        self.fids.set(fid, Fid { opened, ..at });
        let qid = self.qid(at.object)?;
        Ok(Reply::Lopen {
            qid,
            iounit: self.iounit(),
        })
    }

    fn create(&mut self, fid: u32, name: &[u8], flags: u32) -> Result<Reply<'static>, Errno> {
        let at = self.fids.get(fid)?;
        if at.opened.is_some() {
            return Err(Errno::EBUSY);
        }
        if at.object != Object::Root {
            return Err(Errno::ENOTDIR);
        }
        check_flags(flags)?;
        let index = match self.find(name) {
            Some(_) if flags & open::EXCL != 0 => return Err(Errno::EEXIST),
            Some(index) if flags & open::TRUNC != 0 => {
                self.cut(index, 0)?;
                index
            }
            Some(index) => index,
            None => self.make(name)?,
        };
        let object = Object::File(index);
        let opened = Some(flags);
        self.fids.set(fid, Fid { object, opened });
        self.hold(object);
        let qid = self.qid(object)?;
        Ok(Reply::Lcreate {
            qid,
            iounit: self.iounit(),
        })
    }

    /// Makes an empty file; its index.
    fn make(&mut self, name: &[u8]) -> Result<usize, Errno> {
        match name {
            b"" | b"." | b".." => return Err(Errno::EINVAL),
            name if name.len() > NAME_MAX => return Err(Errno::ENAMETOOLONG),
            name if name.contains(&b'/') || name.contains(&0) => return Err(Errno::EINVAL),
            _ => {}
        }
        let mut own = Vec::new();
        own.try_reserve_exact(name.len())
            .map_err(|_| Errno::ENOMEM)?;
        own.extend_from_slice(name);
        let index = match self.files.iter().position(Option::is_none) {
            Some(index) => index,
            None if self.files.len() >= FILES_MAX => return Err(Errno::ENOSPC),
            None => {
                self.files.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                self.files.push(None);
                self.files.len() - 1
            }
        };
        if let Some(place) = self.files.get_mut(index) {
            *place = Some(File {
                id: self.next_id,
                name: Some(own),
                size: 0,
                holders: 0,
                map: ranges::RangeMap::new(),
            });
        }
        self.next_id += 1;
        self.named += 1;
        Ok(index)
    }

    /// Takes the name of a file away.
    fn unname(&mut self, index: usize) -> Result<(), Errno> {
        let name = &mut self.file_mut(index)?.name;
        name.take().ok_or(Errno::ENOENT)?;
        self.named -= 1;
        self.free_unheld(index);
        Ok(())
    }

    fn unlink(&mut self, fid: u32, name: &[u8], flags: u32) -> Result<Reply<'static>, Errno> {
        if self.fids.get(fid)?.object != Object::Root {
            return Err(Errno::ENOTDIR);
        }
        let index = self.find(name).ok_or(Errno::ENOENT)?;
        if flags & unlink::REMOVEDIR != 0 {
            return Err(Errno::ENOTDIR);
        }
        self.unname(index)?;
        Ok(Reply::Unlinkat)
    }

    /// The fid is removed even if the file is not.
    fn remove(&mut self, fid: u32) -> Result<Reply<'static>, Errno> {
        let gone = self.fids.remove(fid)?;
        let removed = match gone.object {
            Object::Root => Err(Errno::EBUSY),
            Object::File(index) => self.unname(index),
        };
        self.let_go(gone.object);
        removed.map(|()| Reply::Remove)
    }

    /// Puts entries from position `offset` on into `out`; the bytes used.
    fn list(&self, fid: u32, offset: u64, count: u32, out: &mut [u8]) -> Result<usize, Errno> {
        let at = self.fids.get(fid)?;
        at.opened.ok_or(Errno::EBADF)?;
        if at.object != Object::Root {
            return Err(Errno::ENOTDIR);
        }
        let most = count.min(self.msize - IOHDRSZ) as usize;
        let most = most.min(out.len());
        let mut used = 0;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        for (index, file) in self.files.iter().enumerate().skip(from) {
            let Some(name) = file.as_ref().and_then(|file| file.name.as_ref()) else {
                continue;
            };
            let entry = DirEntry {
                qid: self.qid(Object::File(index))?,
                offset: index as u64 + 1,
                kind: 8,
                name: ByteStr(name),
            };
            match entry.encode(out.get_mut(used..most).unwrap_or_default()) {
                Ok(len) => used += len,
                // An empty reply would mean the end.
                Err(_) if used == 0 => return Err(Errno::EINVAL),
                Err(_) => break,
            }
        }
        Ok(used)
    }
}

/// Content.
impl Tree {
    /// Most bytes of data in a message: whole pages.
    fn iounit(&self) -> u32 {
        self.msize.saturating_sub(IOHDRSZ) / PAGE as u32 * PAGE as u32
    }

    /// The file of a fid that is open for reading, or for writing.
    fn opened(&self, fid: u32, direction: Direction) -> Result<usize, Errno> {
        let at = self.fids.get(fid)?;
        let access = at.opened.ok_or(Errno::EBADF)? & open::ACCESS;
        let refused = match direction {
            Direction::Read => open::WRONLY,
            Direction::Write => open::RDONLY,
        };
        match at.object {
            Object::Root => Err(Errno::EISDIR),
            Object::File(_) if access == refused => Err(Errno::EBADF),
            Object::File(index) => Ok(index),
        }
    }

    fn read(&mut self, tag: u16, fid: u32, offset: u64, count: u32) -> Result<Step, Errno> {
        let index = self.opened(fid, Direction::Read)?;
        let file = self.file(index)?;
        let count = u64::from(count.min(self.iounit()));
        let left = file.size.saturating_sub(offset);
        let pages = count.min(left) / PAGE;
        if !offset.is_multiple_of(PAGE) || (pages == 0 && left > 0) {
            return Err(Errno::EINVAL);
        }
        let start = offset / PAGE;
        let end = start + pages;
        if !self.flying.admits(index, &(start..end), Direction::Read) {
            return Ok(Step::Wait);
        }
        let mut transfer = Transfer::new(tag, Direction::Read, index, start);
        transfer.read(file, pages);
        self.begin(transfer)
    }

    fn write(&mut self, tag: u16, fid: u32, offset: u64, data: &[u8]) -> Result<Step, Errno> {
        let index = self.opened(fid, Direction::Write)?;
        let len = data.len() as u64;
        let aligned = offset.is_multiple_of(PAGE) && len.is_multiple_of(PAGE);
        if !aligned || len > u64::from(self.iounit()) {
            return Err(Errno::EINVAL);
        }
        let end = offset.checked_add(len).filter(|end| *end <= SIZE_MAX);
        let pages = offset / PAGE..end.ok_or(Errno::EFBIG)? / PAGE;
        if pages.is_empty() {
            return Ok(Step::Answer(Answer::Reply(Reply::Write { count: 0 })));
        }
        if !self.flying.admits(index, &pages, Direction::Write) {
            return Ok(Step::Wait);
        }
        let mut transfer = Transfer::new(tag, Direction::Write, index, pages.start);
        let file = self.files.get(index).and_then(Option::as_ref);
        let file = file.ok_or(Errno::EBADF)?;
        for page in data.chunks_exact(PAGE as usize) {
            if !transfer.write(file, page, &mut self.blocks) {
                break;
            }
        }
        match (transfer.pages(), self.discarding) {
            (0, 0) => return Err(Errno::ENOSPC),
            // Some blocks will be free in a moment.
            (0, _) => return Ok(Step::Wait),
            _ => {}
        }
        self.begin(transfer)
    }

    fn begin(&mut self, transfer: Transfer) -> Result<Step, Errno> {
        let id = self.flying.begin(transfer).ok_or(Errno::EAGAIN)?;
        self.hold(Object::File(transfer.file()));
        Ok(Step::Transfer(id))
    }

    /// Only the size of a file can be changed. Times and rights are not kept.
    fn set_attributes(&mut self, fid: u32, attr: &SetAttr) -> Result<Step, Errno> {
        let object = self.fids.get(fid)?.object;
        if attr.valid & (setattr::UID | setattr::GID) != 0 {
            return Err(Errno::EPERM);
        }
        if attr.valid & setattr::SIZE != 0 {
            let Object::File(index) = object else {
                return Err(Errno::EISDIR);
            };
            let beyond = attr.size / PAGE..u64::MAX;
            if !self.flying.admits(index, &beyond, Direction::Write) {
                return Ok(Step::Wait);
            }
            self.cut(index, attr.size)?;
        }
        Ok(Step::Answer(Answer::Reply(Reply::Setattr)))
    }

    /// Sets the size of a file: whole pages. Pages beyond it are zeros.
    fn cut(&mut self, index: usize, size: u64) -> Result<(), Errno> {
        if !size.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        if size > SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        let beyond = size / PAGE..u64::MAX;
        if !self.flying.admits(index, &beyond, Direction::Write) {
            return Err(Errno::EBUSY);
        }
        let file = self.files.get_mut(index).and_then(Option::as_mut);
        let file = file.ok_or(Errno::EBADF)?;
        file.punch(beyond, &mut self.blocks)?;
        file.size = size;
        Ok(())
    }
}

/// Flags that change the meaning of a write are not supported.
fn check_flags(flags: u32) -> Result<(), Errno> {
    match flags & (open::APPEND | open::DIRECT) {
        0 => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}
