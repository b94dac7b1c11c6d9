//! Names: walks, and the files that get and lose one.

use super::{FILES_MAX, MSIZE, NAME_MAX, Tree};
use crate::fids::{Fid, Object};
use crate::file::File;
use abi::Errno;
use alloc::vec::Vec;
use ninep::consts::{IOHDRSZ, VERSION_L, VERSION_UNKNOWN, open, unlink};
use ninep::{ByteStr, DirEntry, Qid, Reply};

impl Tree {
    pub(super) fn version(&mut self, msize: u32, version: ByteStr<'_>) -> Reply<'static> {
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

    pub(super) fn attach(&mut self, fid: u32, name: ByteStr<'_>) -> Result<Reply<'static>, Errno> {
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
    pub(super) fn walk<'n>(
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

    pub(super) fn open(&mut self, fid: u32, flags: u32) -> Result<Reply<'static>, Errno> {
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

    pub(super) fn create(
        &mut self,
        fid: u32,
        name: &[u8],
        flags: u32,
    ) -> Result<Reply<'static>, Errno> {
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

    pub(super) fn unlink(
        &mut self,
        fid: u32,
        name: &[u8],
        flags: u32,
    ) -> Result<Reply<'static>, Errno> {
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
    pub(super) fn remove(&mut self, fid: u32) -> Result<Reply<'static>, Errno> {
        let gone = self.fids.remove(fid)?;
        let removed = match gone.object {
            Object::Root => Err(Errno::EBUSY),
            Object::File(index) => self.unname(index),
        };
        self.let_go(gone.object);
        removed.map(|()| Reply::Remove)
    }

    /// Puts entries from position `offset` on into `out`; the bytes used.
    pub(super) fn list(
        &self,
        fid: u32,
        offset: u64,
        count: u32,
        out: &mut [u8],
    ) -> Result<usize, Errno> {
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

/// Flags that change the meaning of a write are not supported.
fn check_flags(flags: u32) -> Result<(), Errno> {
    match flags & (open::APPEND | open::DIRECT) {
        0 => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}
