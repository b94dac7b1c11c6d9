//! The fids of the client.

use abi::Errno;
use alloc::vec::Vec;

/// Most fids at a time.
const FIDS_MAX: usize = 16 * 1024;

/// The object of a fid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Object {
    /// The directory.
    Root,
    /// A file, by its index.
    File(usize),
}

/// One fid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fid {
    pub object: Object,
    /// Flags it was opened with.
    pub opened: Option<u32>,
}

/// All fids, sorted by their numbers.
#[derive(Default)]
pub(crate) struct Fids(Vec<(u32, Fid)>);

impl Fids {
    fn find(&self, fid: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&fid, |(number, _)| *number)
    }

    pub fn get(&self, fid: u32) -> Result<Fid, Errno> {
        let found = self.find(fid).ok().and_then(|at| self.0.get(at));
        found.map(|(_, fid)| *fid).ok_or(Errno::EBADF)
    }

    /// `EBADF`: the number is in use. `ENFILE`, `ENOMEM`: there are too many.
    pub fn add(&mut self, fid: u32, new: Fid) -> Result<(), Errno> {
        let at = self.find(fid).err().ok_or(Errno::EBADF)?;
        if self.0.len() >= FIDS_MAX {
            return Err(Errno::ENFILE);
        }
        self.0.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.0.insert(at, (fid, new));
        Ok(())
    }

    /// Makes a fid in use stand for something else.
    pub fn set(&mut self, fid: u32, new: Fid) {
        if let Some((_, fid)) = self.find(fid).ok().and_then(|at| self.0.get_mut(at)) {
            *fid = new;
        }
    }

    pub fn remove(&mut self, fid: u32) -> Result<Fid, Errno> {
        let at = self.find(fid).map_err(|_| Errno::EBADF)?;
        Ok(self.0.remove(at).1)
    }

    /// Removes any one of them.
    pub fn pop(&mut self) -> Option<Fid> {
        self.0.pop().map(|(_, fid)| fid)
    }
}
