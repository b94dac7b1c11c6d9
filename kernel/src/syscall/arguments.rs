//! The arguments of a call, and how they are read.
use crate::chan::End;
use crate::file::{self, Node, OpenFile};
use crate::name::Viewpoint;
use crate::proc::Running;
use crate::seg::{SpaceLock, user};
use crate::text;
use crate::trace;
use abi::trace::Event;
use abi::{Errno, PATH_MAX};
use alloc::string::String;
use alloc::sync::Arc;
use bytestr::ByteString;
use core::fmt::{self, Display};
use hw::TrapFrame;
use hw::heap::ArcRoom;

/// The arguments of a call. No value is trusted. `at` is the place of an argument.
pub struct Arguments<'a> {
    /// The caller.
    pub process: &'a Running,
    /// Its registers.
    pub frame: &'a mut TrapFrame,
}

impl Arguments<'_> {
    /// All of them.
    #[inline(always)]
    pub fn words(&self) -> [u64; 6] {
        let f = &self.frame;
        [f.rdi, f.rsi, f.rdx, f.r10, f.r8, f.r9]
    }

    /// The caller's memory.
    #[inline]
    pub fn space(&self) -> &SpaceLock {
        &self.process.space
    }

    /// The caller's name space and working directory.
    pub fn view(&self) -> Viewpoint {
        self.process.view()
    }

    /// `EPERM` unless the caller has that privilege.
    pub fn check(&self, privilege: u64) -> Result<(), Errno> {
        match self.process.may(privilege) {
            true => Ok(()),
            false => Err(Errno::EPERM),
        }
    }

    /// A number of 32 bits.
    pub fn number(&self, at: usize) -> Result<u32, Errno> {
        u32::try_from(self.words()[at]).map_err(|_| Errno::EINVAL)
    }

    /// A path, two arguments: any bytes but zero, which ends a string elsewhere.
    pub fn path(&self, at: usize) -> Result<ByteString, Errno> {
        let path = user::bytes(
            self.space(),
            self.words()[at],
            self.words()[at + 1],
            PATH_MAX,
        )?;
        trace::note_about(&path, Event::Path, 0, [0; 3]);
        match path.contains(&0) {
            true => Err(Errno::EINVAL),
            false => Ok(ByteString(path)),
        }
    }

    /// A text of at most `most` bytes, two arguments.
    pub fn text(&self, at: usize, most: usize) -> Result<String, Errno> {
        user::text(self.space(), self.words()[at], self.words()[at + 1], most)
    }

    /// The open file of a descriptor.
    #[inline]
    pub fn file(&self, at: usize) -> Result<Arc<OpenFile>, Errno> {
        self.descriptor_of(self.words()[at])
    }

    /// The open file of a descriptor that is not an argument itself.
    #[inline]
    pub fn descriptor_of(&self, fd: u64) -> Result<Arc<OpenFile>, Errno> {
        self.process.descriptors.lock().get(fd)
    }

    /// The end of a channel that a descriptor refers to. `EINVAL` for anything else.
    pub fn end(&self, at: usize) -> Result<Arc<End>, Errno> {
        match &self.file(at)?.node {
            Node::Channel(end) => Ok(end.clone()),
            Node::Root(_) | Node::Remote(_) | Node::Port(_) => Err(Errno::EINVAL),
        }
    }

    /// A new descriptor for the file that `open` opens, or makes: once a server has done
    /// that nothing fails for lack of memory.
    pub fn descriptor(&self, open: impl FnOnce() -> Result<OpenFile, Errno>) -> Result<u64, Errno> {
        let descriptors = &self.process.descriptors;
        let room = ArcRoom::new()?;
        let fd = descriptors.lock().reserve()?;
        let opened = open().map(|file| room.fill(file));
        let (file, result) = match opened {
            Ok(file) => (Some(file), Ok(fd)),
            Err(errno) => (None, Err(errno)),
        };
        descriptors.lock().settle(fd, file);
        result
    }

    /// Closes a descriptor. `EBADF` if it refers to nothing.
    pub fn close(&self, fd: u64) -> Result<(), Errno> {
        // The file is dropped after the table is unlocked: it may say goodbye to a
        // server.
        let closed = self.process.descriptors.lock().set(fd, None)?;
        closed.map(file::let_go).ok_or(Errno::EBADF)
    }

    /// Gives the error of `result` a text that names its object.
    pub fn about<T>(&self, what: impl Display, result: Result<T, Errno>) -> Result<T, Errno> {
        if let Err(errno) = &result {
            self.explain(format_args!("{what}: {errno}"));
        }
        result
    }

    /// The error of the call has this text.
    #[cold]
    pub fn explain(&self, why: fmt::Arguments<'_>) {
        let mut error = self.process.error.lock();
        error.text = text::format(why);
        error.explained = true;
    }
}
