//! Open files and descriptors.
//!
//! [`OpenFile`] is the object of a descriptor: a file of the kernel's own tree
//! or of a server, an end of a channel, or a receive port. [`open`] has the
//! operations on paths, [`inside`] those on names in an open directory, [`read`] and
//! [`write`](mod@write) the transfers, [`channel`] the transfers of channels.
pub mod channel;
pub mod inside;
pub mod moment;
pub mod open;
pub mod read;
pub mod write;

use crate::chan::{End, Port, room};
use crate::client::remote::Remote;
use crate::name::root::Entry;
use crate::sched;
use abi::{Errno, FDS_MAX, OFFSET_CURRENT, mode};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use hw::lock::{Lock, Rank};
use ranges::Bits;

/// The object of an open file.
pub enum Node {
    /// In the kernel's own tree.
    Root(Entry),
    /// A file at a server.
    Remote(Remote),
    /// One side of a channel.
    Channel(Arc<End>),
    /// A receive port.
    Port(Arc<Port>),
}

/// Where the names in an open directory are found.
pub struct Base {
    /// Its path when it was opened, absolute and clean; `None`: too long. Programs
    /// bind files to paths, so that a name below may lead elsewhere.
    pub path: Option<Arc<[u8]>>,
    /// A fid for it that is not open, for walks. `None`: it is in the kernel's own
    /// tree, or a union; its names are found by path.
    pub remote: Option<Remote>,
}

/// Where in an open file its users are.
#[derive(Default)]
struct Offset {
    at: u64,
    /// Counts the times it was set, not moved by a transfer.
    set: u64,
}

/// An open file, shared by the descriptors that refer to it.
pub struct OpenFile {
    /// The object.
    pub node: Node,
    /// [`abi::mode`] bits it was opened with.
    pub mode: u32,
    /// The name at the time of opening, for messages.
    pub path: Arc<str>,
    /// Where the next read or write without an offset goes; a position in
    /// the directory for directories.
    offset: Lock<Offset>,
    /// Where its names are, if it was opened with [`mode::ODIRECTORY`].
    pub base: Option<Box<Base>>,
    /// The other members of a union directory, which are listed after it.
    pub others: Vec<Node>,
    /// Which member of the union is being listed.
    pub member: Lock<usize>,
}

impl OpenFile {
    /// An open file at offset 0.
    pub fn new(node: Node, mode: u32, path: Arc<str>) -> OpenFile {
        OpenFile {
            node,
            mode,
            path,
            offset: Lock::new(Rank::File, Offset::default()),
            base: None,
            others: Vec::new(),
            member: Lock::new(Rank::File, 0),
        }
    }

    /// The offset of the next transfer without one.
    pub fn offset(&self) -> u64 {
        self.offset.lock().at
    }

    /// Sets the offset, also during transfers.
    pub fn set_offset(&self, at: u64) {
        let mut own = self.offset.lock();
        own.at = at;
        own.set = own.set.wrapping_add(1);
    }

    /// Runs a transfer of up to `n` bytes at `offset`, or at the file's own
    /// ([`OFFSET_CURRENT`]), which moves by the bytes done. While the transfer
    /// waits, the file's own offset is already moved by `n`, so that concurrent
    /// transfers continue behind it.
    pub fn transfer(
        &self,
        offset: u64,
        n: u64,
        run: impl FnOnce(u64) -> Result<u64, Errno>,
    ) -> Result<u64, Errno> {
        if offset != OFFSET_CURRENT {
            return run(offset);
        }
        let (at, end, set) = {
            let mut own = self.offset.lock();
            let at = own.at;
            own.at = at.saturating_add(n);
            (at, own.at, own.set)
        };
        let result = run(at);
        let mut own = self.offset.lock();
        // The untransferred part is taken back, unless the offset was set
        // meanwhile.
        if own.set == set {
            let done = at.saturating_add(result.unwrap_or(0)).min(end);
            own.at = own.at.saturating_sub(end - done);
        }
        result
    }

    /// Runs a transfer to the end of the file. Returns its byte count, and
    /// where it ended if known. If it used the file's own offset
    /// ([`OFFSET_CURRENT`]), that is moved there, unless it was set meanwhile.
    pub fn append(
        &self,
        offset: u64,
        run: impl FnOnce() -> Result<(u64, Option<u64>), Errno>,
    ) -> Result<u64, Errno> {
        let set = self.offset.lock().set;
        let (bytes, end) = run()?;
        let mut own = self.offset.lock();
        if offset == OFFSET_CURRENT && own.set == set && bytes > 0 {
            own.at = end.unwrap_or(own.at.saturating_add(bytes));
        }
        Ok(bytes)
    }

    /// The directory being listed; `None` after the last member of a union.
    pub fn listed(&self) -> Option<&Node> {
        match *self.member.lock() {
            0 => Some(&self.node),
            n => self.others.get(n - 1),
        }
    }

    /// `EBADF` unless it may be read.
    pub fn check_readable(&self) -> Result<(), Errno> {
        if self.mode & 3 == mode::OWRITE {
            return Err(Errno::EBADF);
        }
        Ok(())
    }

    /// `EBADF` unless it may be written.
    pub fn check_writable(&self) -> Result<(), Errno> {
        if self.mode & 3 == mode::OREAD {
            return Err(Errno::EBADF);
        }
        Ok(())
    }
}

/// A process's descriptors.
pub struct Descriptors {
    /// At most [`FDS_MAX`]; the rest is closed.
    table: Vec<Option<Arc<OpenFile>>>,
    /// Closed, but for files that are being opened.
    reserved: Bits<{ FDS_MAX / 64 }>,
    /// The processes that have them.
    holders: u32,
}

impl Descriptors {
    /// An empty table.
    pub const fn new() -> Descriptors {
        Descriptors {
            table: Vec::new(),
            reserved: Bits::NONE,
            holders: 0,
        }
    }

    /// The open file of `fd`.
    #[inline]
    pub fn get(&self, fd: u64) -> Result<Arc<OpenFile>, Errno> {
        let entry = usize::try_from(fd).ok().and_then(|i| self.table.get(i));
        entry.and_then(Clone::clone).ok_or(Errno::EBADF)
    }

    /// The lowest free descriptor now refers to `file`.
    pub fn add(&mut self, file: Arc<OpenFile>) -> Result<u64, Errno> {
        let fd = self.reserve()?;
        self.settle(fd, Some(file));
        Ok(fd)
    }

    /// The lowest free descriptor, which nobody else gets until [`Self::settle`].
    pub fn reserve(&mut self) -> Result<u64, Errno> {
        let table = self.table.iter().enumerate();
        let mut free =
            table.filter(|(index, file)| file.is_none() && !self.reserved.contains(*index));
        let index = match free.next() {
            Some((index, _)) => index,
            None if self.table.len() == FDS_MAX => return Err(Errno::EMFILE),
            None => {
                self.table.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                self.table.push(None);
                self.table.len() - 1
            }
        };
        self.reserved.insert(index);
        Ok(index as u64)
    }

    /// A reserved descriptor refers to `file`, or is free again.
    pub fn settle(&mut self, fd: u64, file: Option<Arc<OpenFile>>) {
        let index = fd as usize;
        self.reserved.remove(index);
        if let Some(entry) = self.table.get_mut(index) {
            *entry = file;
        }
    }

    /// Makes `fd` refer to `file`; returns the former file. `EBUSY`: a file is being
    /// opened for it.
    pub fn set(
        &mut self,
        fd: u64,
        file: Option<Arc<OpenFile>>,
    ) -> Result<Option<Arc<OpenFile>>, Errno> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        if index >= FDS_MAX {
            return Err(Errno::EBADF);
        }
        if self.reserved.contains(index) {
            return Err(file.map_or(Errno::EBADF, |_| Errno::EBUSY));
        }
        let more = (index + 1).saturating_sub(self.table.len());
        if more > 0 && file.is_some() {
            self.table.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
            self.table.resize(index + 1, None);
        }
        match self.table.get_mut(index) {
            Some(entry) => Ok(core::mem::replace(entry, file)),
            None => Ok(None),
        }
    }

    /// The same descriptors for another process, with the same open files.
    pub fn copy(&self) -> Result<Descriptors, Errno> {
        let mut table = room(self.table.len())?;
        table.extend_from_slice(&self.table);
        Ok(Descriptors {
            table,
            ..Descriptors::new()
        })
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.table.iter().flatten().count()
    }

    fn take_all(&mut self) -> Vec<Option<Arc<OpenFile>>> {
        core::mem::take(&mut self.table)
    }
}

/// One more process has the descriptors.
pub fn join(descriptors: &Lock<Descriptors>) {
    descriptors.lock().holders += 1;
}

/// A process has the descriptors no more. The last one closes them, with nothing locked:
/// a file may say goodbye to a server. Others may run meanwhile, for a channel may be
/// full of messages, and a union of hundreds of files.
pub fn leave(descriptors: &Lock<Descriptors>) {
    let files = {
        let mut descriptors = descriptors.lock();
        descriptors.holders -= 1;
        (descriptors.holders == 0).then(|| descriptors.take_all())
    };
    files.into_iter().flatten().flatten().for_each(let_go);
}

/// Members of a union that are closed in one step.
const CLOSED_AT_ONCE: usize = 64;

/// Gives up a reference to an open file, with nothing locked. Others may run meanwhile.
pub fn let_go(file: Arc<OpenFile>) {
    let Some(file) = Arc::into_inner(file) else {
        return;
    };
    if let Node::Channel(end) = file.node
        && let Some(end) = Arc::into_inner(end)
    {
        end.close();
    }
    // At least once for each union: a process may have many small ones.
    for (index, member) in file.others.into_iter().enumerate() {
        drop(member);
        if index % CLOSED_AT_ONCE == 0 {
            sched::breathe();
        }
    }
}
