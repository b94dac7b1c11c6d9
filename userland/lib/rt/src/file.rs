//! Open files and directories.

use crate::sys::{self, of, of_mut};
use abi::{Call, DirEntry, Errno, OFFSET_CURRENT, Stat, StatChange};
use alloc::{boxed::Box, vec, vec::Vec};
use bytestr::{ByteStr, ByteString};
use core::mem::{ManuallyDrop, size_of};

/// A descriptor, closed when dropped.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    fd: u32,
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: touches no memory.
        let _ = unsafe { sys::call1(Call::Close, u64::from(self.fd)) };
    }
}

impl File {
    /// Opens the file at `path`; `mode` as in [`abi::mode`].
    pub fn open(path: impl AsRef<[u8]>, mode: u32) -> Result<File, Errno> {
        let (at, len) = of(path.as_ref());
        // SAFETY: the kernel only reads `path`.
        let fd = unsafe { sys::call3(Call::Open, at, len, u64::from(mode)) }?;
        Ok(File { fd: fd as u32 })
    }

    /// Creates a file (or with [`abi::mode::DMDIR`] in `permissions` a
    /// directory), truncating one that exists.
    pub fn create(path: impl AsRef<[u8]>, mode: u32, permissions: u32) -> Result<File, Errno> {
        let (at, len) = of(path.as_ref());
        // SAFETY: the kernel only reads `path`.
        let fd = unsafe {
            let (mode, permissions) = (u64::from(mode), u64::from(permissions));
            sys::call4(Call::Create, at, len, mode, permissions)
        }?;
        Ok(File { fd: fd as u32 })
    }

    /// Both ends of a new channel.
    pub fn pipe() -> Result<(File, File), Errno> {
        let mut fds = [0u32; 2];
        // SAFETY: the kernel writes two descriptors into `fds`.
        unsafe { sys::call1(Call::Pipe, fds.as_mut_ptr() as u64) }?;
        Ok((File { fd: fds[0] }, File { fd: fds[1] }))
    }

    /// Takes over a descriptor that is open by other means, like standard
    /// input or [`abi::SERVICE_FD`].
    pub const fn from_fd(fd: u32) -> File {
        File { fd }
    }

    /// A handle for a descriptor that is never closed by it.
    pub const fn borrowed(fd: u32) -> ManuallyDrop<File> {
        ManuallyDrop::new(File { fd })
    }

    /// The descriptor.
    pub const fn fd(&self) -> u32 {
        self.fd
    }

    /// Returns the descriptor, which stays open.
    pub fn into_fd(self) -> u32 {
        ManuallyDrop::new(self).fd
    }

    /// Makes descriptor `new` a duplicate of this one; closes `new` first.
    pub fn dup_to(&self, new: u32) -> Result<File, Errno> {
        // SAFETY: touches no memory.
        let fd = unsafe { sys::call2(Call::Dup, u64::from(self.fd), u64::from(new)) }?;
        Ok(File { fd: fd as u32 })
    }

    /// Duplicates the descriptor to the lowest free one.
    pub fn dup(&self) -> Result<File, Errno> {
        // SAFETY: touches no memory.
        let fd = unsafe { sys::call2(Call::Dup, u64::from(self.fd), u64::MAX) }?;
        Ok(File { fd: fd as u32 })
    }

    /// Reads at the descriptor's own offset; 0 at the end of the file.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.read_at(buffer, OFFSET_CURRENT)
    }

    /// Reads at `offset`. May return less than the buffer holds, at the end of
    /// the file or whenever the server does so.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let (at, len) = of_mut(buffer);
        // SAFETY: the kernel writes within `buffer`.
        let n = unsafe { sys::call4(Call::PRead, u64::from(self.fd), at, len, offset) }?;
        Ok((n as usize).min(buffer.len()))
    }

    /// Reads until `buffer` is full or the file ends; returns the byte count.
    pub fn read_full_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let mut done = 0;
        while done < buffer.len() {
            match self.read_at(&mut buffer[done..], offset + done as u64)? {
                0 => break,
                n => done += n,
            }
        }
        Ok(done)
    }

    /// As [`File::read_full_at`], at the descriptor's own offset, which moves.
    pub fn read_full(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < buffer.len() {
            match self.read(&mut buffer[done..])? {
                0 => break,
                n => done += n,
            }
        }
        Ok(done)
    }

    /// Reads everything from the descriptor's offset to the end.
    ///
    /// A large file is read by one call into memory from which it is filled as it is
    /// used; it may be larger than the memory there is.
    pub fn read_to_end(&self) -> Result<Vec<u8>, Errno> {
        const PIECE: usize = 16 * 1024;
        let mut all = Vec::new();
        loop {
            if all.len() == all.capacity() {
                // The size is worth a question if the file is not a small one, and one
                // byte more shows the end. It may be wrong: the file may grow, and some
                // have none.
                let rest = if all.is_empty() { 0 } else { self.rest() };
                if rest == 0 || all.try_reserve_exact(rest + 1).is_err() {
                    all.try_reserve(PIECE).map_err(|_| Errno::ENOMEM)?;
                }
            }
            if self.read_more(&mut all)? == 0 {
                return Ok(all);
            }
        }
    }

    /// Bytes from the descriptor's offset to the end of the file, as far as is known.
    fn rest(&self) -> usize {
        let at = self.seek(0, abi::whence::CURRENT);
        let size = self.stat().map(|stat| stat.size);
        let rest = size.unwrap_or(0).saturating_sub(at.unwrap_or(u64::MAX));
        usize::try_from(rest).map_or(0, |rest| rest.min(usize::MAX - 1))
    }

    /// Reads into what is left of a vector's capacity; the byte count.
    fn read_more(&self, all: &mut Vec<u8>) -> Result<usize, Errno> {
        let spare = all.spare_capacity_mut();
        let (at, len) = (spare.as_mut_ptr() as u64, spare.len());
        let (fd, offset) = (u64::from(self.fd), OFFSET_CURRENT);
        // SAFETY: the kernel writes within `spare`.
        let n = unsafe { sys::call4(Call::PRead, fd, at, len as u64, offset) }?;
        let n = (n as usize).min(len);
        // SAFETY: the kernel has written the first `n` bytes behind the vector's own, or
        // made their pages sleep; `n` is at most what the capacity has left.
        unsafe { all.set_len(all.len() + n) };
        Ok(n)
    }

    /// Writes at the descriptor's own offset; returns the byte count.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        self.write_at(bytes, OFFSET_CURRENT)
    }

    /// Writes at `offset`; returns the byte count.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
        let (at, len) = of(bytes);
        // SAFETY: the kernel only reads `bytes`.
        let n = unsafe { sys::call4(Call::PWrite, u64::from(self.fd), at, len, offset) }?;
        Ok((n as usize).min(bytes.len()))
    }

    /// Writes all of `bytes` at the descriptor's own offset.
    pub fn write_all(&self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            let written = match self.write(bytes) {
                // Too long for a message of a channel.
                Err(Errno::EMSGSIZE) => self.write(&bytes[..bytes.len().min(64 * 1024)]),
                written => written,
            };
            match written? {
                0 => return Err(Errno::EIO),
                n => bytes = &bytes[n..],
            }
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset`.
    pub fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> Result<(), Errno> {
        while !bytes.is_empty() {
            match self.write_at(bytes, offset)? {
                0 => return Err(Errno::EIO),
                n => {
                    bytes = &bytes[n..];
                    offset += n as u64;
                }
            }
        }
        Ok(())
    }

    /// Moves the descriptor's offset; `whence` as in [`abi::whence`].
    pub fn seek(&self, offset: i64, whence: u32) -> Result<u64, Errno> {
        let (fd, whence) = (u64::from(self.fd), u64::from(whence));
        // SAFETY: touches no memory.
        unsafe { sys::call3(Call::Seek, fd, offset as u64, whence) }
    }

    /// The attributes of the file.
    pub fn stat(&self) -> Result<Stat, Errno> {
        let mut stat = Stat::default();
        // SAFETY: the kernel writes one `Stat`.
        unsafe {
            let to = &raw mut stat as u64;
            sys::call2(Call::FStat, u64::from(self.fd), to)
        }?;
        Ok(stat)
    }

    /// The attributes of the file at `path`; follows symbolic links.
    pub fn stat_path(path: impl AsRef<[u8]>) -> Result<Stat, Errno> {
        let (at, len) = of(path.as_ref());
        let mut stat = Stat::default();
        // SAFETY: the kernel reads `path` and writes one `Stat`.
        unsafe { sys::call3(Call::Stat, at, len, &raw mut stat as u64) }?;
        Ok(stat)
    }

    /// The attributes of the file at `path`; of a symbolic link, its own.
    pub fn lstat_path(path: impl AsRef<[u8]>) -> Result<Stat, Errno> {
        let (at, len) = of(path.as_ref());
        let mut stat = Stat::default();
        // SAFETY: the kernel reads `path` and writes one `Stat`.
        unsafe { sys::call3(Call::LStat, at, len, &raw mut stat as u64) }?;
        Ok(stat)
    }

    /// Changes size, mode or time of the file at `path`; follows symbolic links. The
    /// file need not be opened, and its own permissions do not matter.
    pub fn change_path(path: impl AsRef<[u8]>, change: &StatChange) -> Result<(), Errno> {
        let (at, len) = of(path.as_ref());
        let from = core::ptr::from_ref(change) as u64;
        // SAFETY: the kernel only reads `path` and `change`.
        unsafe { sys::call3(Call::WStat, at, len, from) }.map(drop)
    }

    /// Changes size, mode or time.
    pub fn change(&self, change: &StatChange) -> Result<(), Errno> {
        let from = core::ptr::from_ref(change) as u64;
        // SAFETY: the kernel only reads `change`.
        unsafe { sys::call2(Call::FWStat, u64::from(self.fd), from) }.map(drop)
    }

    /// Makes the file `size` bytes long.
    pub fn set_size(&self, size: u64) -> Result<(), Errno> {
        self.change(&StatChange {
            valid: StatChange::SIZE,
            size,
            ..StatChange::default()
        })
    }

    /// Returns when all earlier writes of the file have reached the medium.
    pub fn sync(&self) -> Result<(), Errno> {
        // SAFETY: touches no memory.
        unsafe { sys::call1(Call::FSync, u64::from(self.fd)) }.map(drop)
    }

    /// Speaks 9P on this channel and mounts the server's tree at `path`. The
    /// channel belongs to the mount afterwards.
    pub fn mount(self, path: impl AsRef<[u8]>) -> Result<(), Errno> {
        self.mount_with(path, abi::bind::REPLACE)
    }

    /// Memory that does not fit goes to temporary files in this directory from now on,
    /// or in the top directory of the server at this channel. Needs the privilege
    /// `SWAP`.
    pub fn swap_on(&self) -> Result<(), Errno> {
        // SAFETY: touches no memory.
        unsafe { sys::call1(Call::SwapOn, u64::from(self.fd)) }.map(drop)
    }

    /// As [`File::mount`]; `flags` as in [`abi::bind`] select a replacement of
    /// `path` or a union with it.
    pub fn mount_with(self, path: impl AsRef<[u8]>, flags: u64) -> Result<(), Errno> {
        self.mount_as(path, flags, "")
    }

    /// As [`File::mount_with`], for the tree that the server has under `name`,
    /// which may end in options (docs/protocol.md).
    pub fn mount_as(
        self,
        path: impl AsRef<[u8]>,
        flags: u64,
        name: impl AsRef<[u8]>,
    ) -> Result<(), Errno> {
        let fd = u64::from(self.fd);
        let ((path, path_len), (name, len)) = (of(path.as_ref()), of(name.as_ref()));
        // SAFETY: the kernel only reads `path` and `name`.
        unsafe { sys::call6(Call::Mount, fd, path, path_len, flags, name, len) }?;
        // The kernel has closed the descriptor.
        self.into_fd();
        Ok(())
    }

    /// The entries of this directory.
    pub fn read_dir(&self) -> ReadDir<'_> {
        self.entries(Call::ReadDir, 8192)
    }

    /// The same, with the attributes of the files where they can be had at once.
    pub(crate) fn read_dir_stat(&self) -> ReadDir<'_> {
        self.entries(Call::ReadDirStat, 32 << 10)
    }

    fn entries(&self, call: Call, room: usize) -> ReadDir<'_> {
        ReadDir {
            directory: self,
            call,
            records: vec![0; room],
            at: 0,
            end: 0,
            failed: false,
        }
    }
}

/// One entry of a directory.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name, without the path of the directory.
    pub name: ByteString,
    /// The server's identity for the file.
    pub qid_path: u64,
    /// Linux `d_type`: 4 directory, 8 file.
    pub kind: u32,
    /// The attributes, if they came with it.
    pub stat: Option<Box<Stat>>,
}

/// Iterator over a directory; see [`File::read_dir`].
pub struct ReadDir<'a> {
    directory: &'a File,
    call: Call,
    records: Vec<u8>,
    at: usize,
    end: usize,
    /// The iterator ends after an error.
    failed: bool,
}

impl ReadDir<'_> {
    fn refill(&mut self) -> Result<bool, Errno> {
        let (to, len) = of_mut(&mut self.records);
        let fd = u64::from(self.directory.fd);
        // SAFETY: the kernel writes within `records`.
        let n = unsafe { sys::call3(self.call, fd, to, len) }?;
        self.at = 0;
        self.end = (n as usize).min(self.records.len());
        Ok(n > 0)
    }

    fn parse(&mut self) -> Option<Entry> {
        let head = self.records.get(self.at..self.end)?;
        let number = |at: usize| {
            let bytes = head.get(at..at + 4)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        let (low, high, kind, len) = (number(0)?, number(4)?, number(8)?, number(12)?);
        let mut start = size_of::<DirEntry>();
        let mut stat = None;
        if self.call == Call::ReadDirStat {
            let read = Stat::at_front(head.get(start..)?)?;
            stat = (read.mode != 0).then(|| Box::new(read));
            start += size_of::<Stat>();
        }
        let len = len as usize;
        let name = head.get(start..start.checked_add(len)?)?;
        let name = ByteStr(name).to_owned();
        self.at += (start + len).next_multiple_of(8);
        Some(Entry {
            name,
            qid_path: u64::from(low) | u64::from(high) << 32,
            kind,
            stat,
        })
    }
}

impl Iterator for ReadDir<'_> {
    type Item = Result<Entry, Errno>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if self.at >= self.end {
            match self.refill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(errno) => {
                    self.failed = true;
                    return Some(Err(errno));
                }
            }
        }
        let entry = self.parse();
        // The kernel never sends a record cut short.
        self.failed = entry.is_none();
        Some(entry.ok_or(Errno::EPROTO))
    }
}
