//! The fids of clients. Each fid holds its file in the tree.

use alloc::collections::BTreeMap;
use ninep::consts::open;
use ramtree::{Id, Tree};
use rt::ByteString;
use rt::Errno;

/// Most fids at a time: each may take half a KiB for its name.
const FIDS_MAX: usize = 16 * 1024;

/// One fid.
#[derive(Clone)]
pub struct Fid {
    pub id: Id,
    /// The name and directory by which it was found; none for the root.
    pub place: Option<(Id, ByteString)>,
    /// Flags it was opened with.
    pub opened: Option<u32>,
}

impl Fid {
    /// The file, if the fid is open for reading.
    pub fn readable(&self) -> Result<Id, Errno> {
        let opened = self.opened.ok_or(Errno::EBADF)?;
        match opened & open::ACCESS {
            open::WRONLY => Err(Errno::EBADF),
            _ => Ok(self.id),
        }
    }

    /// The file, if the fid is open for writing, with its flags.
    pub fn writable(&self) -> Result<(Id, u32), Errno> {
        let opened = self.opened.ok_or(Errno::EBADF)?;
        match opened & open::ACCESS {
            open::RDONLY => Err(Errno::EBADF),
            _ => Ok((self.id, opened)),
        }
    }
}

#[derive(Default)]
pub struct Fids(BTreeMap<u32, Fid>);

impl Fids {
    pub fn get(&self, fid: u32) -> Result<&Fid, Errno> {
        self.0.get(&fid).ok_or(Errno::EBADF)
    }

    /// Adds a fid that is not in use.
    pub fn add(&mut self, fid: u32, new: Fid, tree: &mut Tree) -> Result<(), Errno> {
        if self.0.len() >= FIDS_MAX {
            return Err(Errno::ENFILE);
        }
        if self.0.contains_key(&fid) {
            return Err(Errno::EBADF);
        }
        self.set(fid, new, tree);
        Ok(())
    }

    /// Makes the fid stand for another file.
    pub fn set(&mut self, fid: u32, new: Fid, tree: &mut Tree) {
        tree.hold(new.id);
        if let Some(old) = self.0.insert(fid, new) {
            tree.release(old.id);
        }
    }

    pub fn remove(&mut self, fid: u32, tree: &mut Tree) -> Result<(), Errno> {
        let old = self.0.remove(&fid).ok_or(Errno::EBADF)?;
        tree.release(old.id);
        Ok(())
    }

    pub fn clear(&mut self, tree: &mut Tree) {
        for fid in core::mem::take(&mut self.0).into_values() {
            tree.release(fid.id);
        }
    }
}
