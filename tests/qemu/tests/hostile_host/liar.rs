//! A file system that lies and fails on demand: one directory of files, each
//! with a fault of its own.

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry,
    ReplyOpen, ReplyWrite, Request, SessionACL, WriteFlags,
};
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

/// The faults of a file. The default has none.
#[derive(Clone, Debug, Default)]
pub struct Trick {
    pub name: &'static str,
    /// Its attributes say that it takes no blocks.
    pub no_blocks: bool,
    /// Its attributes say this size.
    pub size: Option<u64>,
    /// Its attributes say this inode number, as those of others may.
    pub number: Option<u64>,
    /// Its attributes say another inode number each time.
    pub changes_number: bool,
    /// Its attributes say another time of change each time.
    pub restless: bool,
    /// Most bytes that a read gives.
    pub short: Option<usize>,
    /// Every n-th call fails.
    pub fails_each: Option<u64>,
    /// Reads from this offset on fail.
    pub bad_from: Option<u64>,
    /// Bytes there is room for. A write of more writes a part, and fails.
    pub room: Option<usize>,
}

struct File {
    trick: Trick,
    content: Vec<u8>,
    /// The number of calls so far.
    calls: u64,
    /// The number of changes so far.
    changes: u64,
}

/// The files; those that serve and those that ask share them.
#[derive(Clone, Default)]
pub struct Liar(Arc<Mutex<Vec<File>>>);

/// The kernel may cache nothing.
const NOT_AT_ALL: Duration = Duration::ZERO;
/// The inode number of the first file.
const FIRST: u64 = 2;
/// The file handle of all; there is nothing to tell apart.
const HANDLE: FileHandle = FileHandle(0);

impl Liar {
    pub fn add(&self, trick: Trick, content: &[u8]) {
        self.0.lock().unwrap().push(File {
            trick,
            content: content.to_vec(),
            calls: 0,
            changes: 1,
        });
    }

    /// The content of the file of that name.
    pub fn content(&self, name: &str) -> Vec<u8> {
        let files = self.0.lock().unwrap();
        let file = files.iter().find(|file| file.trick.name == name);
        file.expect("there is one").content.clone()
    }

    /// Makes it the file system at `path`, until the result is dropped.
    ///
    /// # Errors
    /// This machine, or this user, has no such file systems.
    pub fn mount(&self, path: &Path) -> io::Result<BackgroundSession> {
        let mut config = Config::default();
        config.acl = SessionACL::All;
        fuser::spawn_mount(self.clone(), path, &config)
    }

    fn with<T>(&self, number: INodeNo, act: impl FnOnce(&mut File) -> T) -> Result<T, Errno> {
        let mut files = self.0.lock().unwrap();
        let index = number.0.checked_sub(FIRST).ok_or(Errno::EISDIR)?;
        let file = files.get_mut(index as usize).ok_or(Errno::ENOENT)?;
        Ok(act(file))
    }

    fn attr(&self, number: INodeNo) -> Result<FileAttr, Errno> {
        match number {
            INodeNo::ROOT => Ok(attr(number, FileType::Directory, 0)),
            number => self.with(number, |file| file.attr(number)),
        }
    }
}

fn attr(ino: INodeNo, kind: FileType, size: u64) -> FileAttr {
    FileAttr {
        ino,
        size,
        blocks: size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: 0o777,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl File {
    fn attr(&mut self, number: INodeNo) -> FileAttr {
        self.calls += 1;
        let size = self.trick.size.unwrap_or(self.content.len() as u64);
        let mut attr = attr(number, FileType::RegularFile, size);
        let seconds = if self.trick.restless {
            self.calls
        } else {
            self.changes
        };
        attr.mtime = UNIX_EPOCH + Duration::from_secs(seconds);
        attr.ctime = attr.mtime;
        if self.trick.no_blocks {
            attr.blocks = 0;
        }
        attr
    }

    /// The attributes in an answer to a request for them; the kernel itself
    /// relies on those of the lookup.
    fn lie(&mut self, number: INodeNo) -> FileAttr {
        let mut attr = self.attr(number);
        if self.trick.changes_number {
            attr.ino = INodeNo(1000 + self.calls);
        }
        attr.ino = self.trick.number.map_or(attr.ino, INodeNo);
        attr
    }

    fn fails(&mut self) -> bool {
        self.calls += 1;
        let each = self.trick.fails_each;
        each.is_some_and(|each| self.calls.is_multiple_of(each))
    }

    fn read(&mut self, offset: u64, size: usize) -> Result<Vec<u8>, Errno> {
        let end = offset.saturating_add(size as u64);
        if self.fails() || self.trick.bad_from.is_some_and(|bad| end > bad) {
            return Err(Errno::EIO);
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.content.get(start..).unwrap_or(&[]);
        let most = size.min(self.trick.short.unwrap_or(usize::MAX));
        Ok(rest.get(..most).unwrap_or(rest).to_vec())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        if self.fails() {
            return Err(Errno::EIO);
        }
        let start = offset as usize;
        let room = self.trick.room.unwrap_or(usize::MAX).saturating_sub(start);
        let part = data.get(..room).unwrap_or(data);
        let end = start + part.len();
        if self.content.len() < end {
            self.content.resize(end, 0);
        }
        self.content[start..end].copy_from_slice(part);
        self.changes += 1;
        match part.len() == data.len() {
            true => Ok(data.len() as u32),
            false => Err(Errno::ENOSPC),
        }
    }
}

impl Filesystem for Liar {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let index = {
            let files = self.0.lock().unwrap();
            files.iter().position(|file| file.trick.name == name)
        };
        let number = index.map(|index| INodeNo(index as u64 + FIRST));
        match number.ok_or(Errno::ENOENT).and_then(|at| self.attr(at)) {
            Ok(attr) => reply.entry(&NOT_AT_ALL, &attr, Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let attr = match number {
            INodeNo::ROOT => self.attr(number),
            number => self.with(number, |file| file.lie(number)),
        };
        match attr {
            Ok(attr) => reply.attr(&NOT_AT_ALL, &attr),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<fuser::TimeOrNow>,
        _: Option<fuser::TimeOrNow>,
        _: Option<std::time::SystemTime>,
        _: Option<FileHandle>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let attr = self.with(number, |file| {
            if let Some(size) = size {
                file.content.resize(size.min(1 << 24) as usize, 0);
            }
            file.changes += 1;
            file.attr(number)
        });
        match attr {
            Ok(attr) => reply.attr(&NOT_AT_ALL, &attr),
            Err(errno) => reply.error(errno),
        }
    }

    /// Nothing is kept by the kernel, so each read and write comes here.
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(HANDLE, FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.with(number, |file| file.read(offset, size as usize));
        match read.and_then(|read| read) {
            Ok(data) => reply.data(&data),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.with(number, |file| file.write(offset, data));
        match written.and_then(|written| written) {
            Ok(count) => reply.written(count),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let files = self.0.lock().unwrap();
        for (index, file) in files.iter().enumerate().skip(offset as usize) {
            let number = INodeNo(index as u64 + FIRST);
            let next = index as u64 + 1;
            if reply.add(number, next, FileType::RegularFile, file.trick.name) {
                break;
            }
        }
        reply.ok();
    }
}
