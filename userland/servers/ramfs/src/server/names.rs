//! Opening, making, moving and removing.

use super::Server;
use crate::attributes;
use crate::fids::Fid;
use ninep::consts::{IOHDRSZ, open, qid as kind, setattr};
use ninep::{Qid, Reply, SetAttr};
use ramtree::{Change, Id};
use rt::{ByteStr, ByteString, Errno};

type Replied = Result<Reply<'static>, Errno>;

impl Server {
    /// Opens `id`: checks and applies `flags`.
    fn opened(&mut self, id: Id, flags: u32) -> Result<Qid, Errno> {
        // Clients follow links; a link itself cannot be opened.
        if self.qid(id)?.kind == kind::SYMLINK {
            return Err(Errno::ELOOP);
        }
        let directory = self.qid(id)?.kind == kind::DIR;
        let writes = flags & open::ACCESS != open::RDONLY || flags & open::TRUNC != 0;
        if directory && writes {
            return Err(Errno::EISDIR);
        }
        if !directory && flags & open::DIRECTORY != 0 {
            return Err(Errno::ENOTDIR);
        }
        if flags & open::TRUNC != 0 {
            let empty = Change {
                size: Some(0),
                ..Change::default()
            };
            self.tree.change(id, &empty)?;
        }
        self.qid(id)
    }

    pub(super) fn open(&mut self, fid: u32, flags: u32) -> Replied {
        let mut at = self.fids.get(fid)?.clone();
        if at.opened.is_some() {
            return Err(Errno::EBUSY);
        }
        let qid = self.opened(at.id, flags)?;
        at.opened = Some(flags);
        self.fids.set(fid, at, &mut self.tree);
        let iounit = self.msize - IOHDRSZ;
        Ok(Reply::Lopen { qid, iounit })
    }

    /// The fid of the directory becomes that of the new file.
    pub(super) fn create(&mut self, fid: u32, name: ByteStr<'_>, flags: u32, mode: u32) -> Replied {
        let directory = self.fids.get(fid)?;
        if directory.opened.is_some() {
            return Err(Errno::EBUSY);
        }
        let parent = directory.id;
        let (id, qid) = match self.tree.create(parent, &name, mode) {
            Ok(id) => (id, self.qid(id)?),
            Err(Errno::EEXIST) if flags & open::EXCL == 0 => {
                let id = self.tree.walk(parent, &name)?;
                (id, self.opened(id, flags)?)
            }
            Err(errno) => return Err(errno),
        };
        let file = Fid {
            id,
            place: Some((parent, name.to_owned())),
            opened: Some(flags),
        };
        self.fids.set(fid, file, &mut self.tree);
        let iounit = self.msize - IOHDRSZ;
        Ok(Reply::Lcreate { qid, iounit })
    }

    pub(super) fn mkdir(&mut self, dfid: u32, name: ByteStr<'_>, mode: u32) -> Replied {
        let parent = self.fids.get(dfid)?.id;
        let id = self.tree.mkdir(parent, &name, mode)?;
        let qid = self.qid(id)?;
        Ok(Reply::Mkdir { qid })
    }

    pub(super) fn symlink(&mut self, dfid: u32, name: ByteStr<'_>, text: ByteStr<'_>) -> Replied {
        let parent = self.fids.get(dfid)?.id;
        let id = self.tree.symlink(parent, &name, &text)?;
        let qid = self.qid(id)?;
        Ok(Reply::Symlink { qid })
    }

    pub(super) fn link(&mut self, dfid: u32, fid: u32, name: ByteStr<'_>) -> Replied {
        let (parent, id) = (self.fids.get(dfid)?.id, self.fids.get(fid)?.id);
        self.tree.link(parent, &name, id)?;
        Ok(Reply::Link)
    }

    pub(super) fn unlink(&mut self, dirfid: u32, name: ByteStr<'_>, directory: bool) -> Replied {
        let parent = self.fids.get(dirfid)?.id;
        self.tree.unlink(parent, &name, directory)?;
        Ok(Reply::Unlinkat)
    }

    pub(super) fn rename(
        &mut self,
        from: u32,
        old: ByteStr<'_>,
        to: u32,
        new: ByteStr<'_>,
    ) -> Replied {
        let (from, to) = (self.fids.get(from)?.id, self.fids.get(to)?.id);
        self.tree.rename(from, &old, to, &new)?;
        Ok(Reply::Renameat)
    }

    /// The name and directory of a fid's file, if it still has them.
    fn place(&self, fid: u32) -> Result<(Id, ByteString), Errno> {
        let at = self.fids.get(fid)?;
        let (parent, name) = at.place.clone().ok_or(Errno::EBUSY)?;
        match self.tree.walk(parent, &name)? == at.id {
            true => Ok((parent, name)),
            false => Err(Errno::ENOENT),
        }
    }

    pub(super) fn rename_fid(&mut self, fid: u32, dfid: u32, name: ByteStr<'_>) -> Replied {
        let (parent, old) = self.place(fid)?;
        let to = self.fids.get(dfid)?.id;
        self.tree.rename(parent, &old, to, &name)?;
        let mut at = self.fids.get(fid)?.clone();
        at.place = Some((to, name.to_owned()));
        self.fids.set(fid, at, &mut self.tree);
        Ok(Reply::Rename)
    }

    /// The fid is removed even if the file is not.
    pub(super) fn remove(&mut self, fid: u32) -> Replied {
        let id = self.fids.get(fid)?.id;
        let place = self.place(fid);
        let directory = self.tree.facts(id).is_ok_and(|facts| facts.directory);
        self.fids.remove(fid, &mut self.tree)?;
        let (parent, name) = place?;
        self.tree.unlink(parent, &name, directory)?;
        Ok(Reply::Remove)
    }

    pub(super) fn set_attributes(&mut self, fid: u32, attr: &SetAttr) -> Replied {
        let id = self.fids.get(fid)?.id;
        let change = attributes::change(attr, self.clock.now());
        // Owners are not stored, so a change of owner is refused.
        if attr.valid & (setattr::UID | setattr::GID) != 0 {
            return Err(Errno::EPERM);
        }
        self.tree.change(id, &change)?;
        Ok(Reply::Setattr)
    }
}
