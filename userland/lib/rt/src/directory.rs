//! Names in an open directory. No symbolic link is followed, and no path walked, so
//! that nobody leads a program out of a tree that it removes or copies.

use crate::sys::{self, of};
use crate::{File, ReadDir, Stat, mode};
use abi::{Call, Errno};
use bytestr::ByteString;

/// An open directory for operations on names in it: one name each, without a `/`.
/// All but those on a link itself fail with `ELOOP` for a symbolic link.
#[derive(Debug)]
pub struct Directory(File);

impl From<File> for Directory {
    /// A descriptor that was opened with [`mode::ODIRECTORY`].
    fn from(file: File) -> Directory {
        Directory(file)
    }
}

impl Directory {
    /// Opens the directory at `path`; follows symbolic links.
    pub fn open(path: impl AsRef<[u8]>) -> Result<Directory, Errno> {
        File::open(path, mode::OREAD | mode::ODIRECTORY).map(Directory)
    }

    /// Opens a directory in this one.
    pub fn inside(&self, name: impl AsRef<[u8]>) -> Result<Directory, Errno> {
        let opened = self.open_file(name, mode::OREAD | mode::ODIRECTORY);
        opened.map(Directory)
    }

    /// Opens a file in this directory; `mode` as in [`abi::mode`].
    pub fn open_file(&self, name: impl AsRef<[u8]>, mode: u32) -> Result<File, Errno> {
        let (fd, (at, len)) = (self.fd(), of(name.as_ref()));
        // SAFETY: the kernel only reads `name`.
        let fd = unsafe { sys::call4(Call::OpenIn, fd, at, len, u64::from(mode)) }?;
        Ok(File::from_fd(fd as u32))
    }

    /// Creates a file in this directory, as [`File::create`] does.
    pub fn create(
        &self,
        name: impl AsRef<[u8]>,
        mode: u32,
        permissions: u32,
    ) -> Result<File, Errno> {
        let (fd, (at, len)) = (self.fd(), of(name.as_ref()));
        let (mode, permissions) = (u64::from(mode), u64::from(permissions));
        // SAFETY: the kernel only reads `name`.
        let fd = unsafe { sys::call6(Call::CreateIn, fd, at, len, mode, permissions, 0) }?;
        Ok(File::from_fd(fd as u32))
    }

    /// Makes a directory in this one.
    pub fn make(&self, name: impl AsRef<[u8]>, permissions: u32) -> Result<(), Errno> {
        let made = self.create(name, mode::OREAD, mode::DMDIR | permissions);
        made.map(drop)
    }

    /// The attributes of a file; of a symbolic link, its own.
    pub fn stat_of(&self, name: impl AsRef<[u8]>) -> Result<Stat, Errno> {
        let (fd, (at, len)) = (self.fd(), of(name.as_ref()));
        let mut stat = Stat::default();
        // SAFETY: the kernel reads `name` and writes one `Stat`.
        unsafe { sys::call4(Call::StatIn, fd, at, len, &raw mut stat as u64) }?;
        Ok(stat)
    }

    /// The attributes of the directory itself.
    pub fn stat(&self) -> Result<Stat, Errno> {
        self.0.stat()
    }

    /// The text of a symbolic link.
    pub fn read_link(&self, name: impl AsRef<[u8]>) -> Result<ByteString, Errno> {
        let (fd, (at, len)) = (self.fd(), of(name.as_ref()));
        sys::link_text(|to, room| {
            // SAFETY: the kernel reads `name` and writes within the caller's buffer.
            unsafe { sys::call6(Call::ReadLinkIn, fd, at, len, to, room, 0) }
        })
    }

    /// Makes a symbolic link with that text.
    pub fn symlink(&self, name: impl AsRef<[u8]>, text: impl AsRef<[u8]>) -> Result<(), Errno> {
        let (fd, (at, len)) = (self.fd(), of(name.as_ref()));
        let (text, text_len) = of(text.as_ref());
        // SAFETY: the kernel only reads `name` and `text`.
        unsafe { sys::call6(Call::SymLinkIn, fd, at, len, text, text_len, 0) }.map(drop)
    }

    /// Removes a file, a symbolic link or an empty directory.
    pub fn remove(&self, name: impl AsRef<[u8]>) -> Result<(), Errno> {
        let (at, len) = of(name.as_ref());
        // SAFETY: the kernel only reads `name`.
        unsafe { sys::call3(Call::RemoveIn, self.fd(), at, len) }.map(drop)
    }

    /// Its entries.
    pub fn read_dir(&self) -> ReadDir<'_> {
        self.0.read_dir()
    }

    /// Its entries with their attributes, where these can be had at once: for others
    /// there is [`Directory::stat_of`].
    pub fn read_dir_stat(&self) -> ReadDir<'_> {
        self.0.read_dir_stat()
    }

    fn fd(&self) -> u64 {
        u64::from(self.0.fd())
    }
}
