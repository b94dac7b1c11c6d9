//! Leads descriptors elsewhere, for ever or for a while.

use crate::Shown;
use crate::state::Shell;
use alloc::format;
use alloc::string::String;
use bytestr::text::to_bytes;
use rt::abi::FDS_MAX;
use rt::{Errno, File, mode};
use shell::expand_one;
use shell::tree::{Direction, Redirection};

/// For how long.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// This process becomes a command.
    Ever,
    /// Until [`Shell::restore`].
    AWhile,
}

/// `aside` entry of a descriptor that was closed before.
pub const CLOSED: u32 = u32::MAX;

impl Shell {
    /// Does what the redirections say, in order.
    pub fn redirect(&mut self, redirections: &[Redirection], how_long: For) -> Result<(), String> {
        for redirection in redirections {
            let target = expand_one(&redirection.target, self)?;
            let fd = redirection.fd;
            if fd as usize >= FDS_MAX {
                return Err(format!("{fd}: not a descriptor"));
            }
            let file = open(redirection.direction, &target)
                .map_err(|errno| format!("{}: {errno}", Shown(&target)))?;
            if how_long == For::AWhile {
                self.put_aside(fd)
                    .map_err(|errno| format!("descriptor {fd}: {errno}"))?;
            }
            match file {
                Some(file) if file.fd() == fd => {
                    file.into_fd();
                }
                Some(file) => {
                    let led = file
                        .dup_to(fd)
                        .map_err(|errno| format!("descriptor {fd}: {errno}"))?;
                    led.into_fd();
                }
                None => drop(File::from_fd(fd)),
            }
        }
        Ok(())
    }

    /// Keeps what `fd` is for later.
    fn put_aside(&mut self, fd: u32) -> Result<(), Errno> {
        let kept = match File::borrowed(fd).dup() {
            Ok(kept) => kept.into_fd(),
            Err(Errno::EBADF) => CLOSED,
            Err(errno) => return Err(errno),
        };
        self.aside.push((fd, kept));
        Ok(())
    }

    /// Undoes redirections until only `count` of those put aside are left.
    pub fn restore(&mut self, count: usize) {
        while self.aside.len() > count {
            let Some((fd, kept)) = self.aside.pop() else {
                return;
            };
            if kept == CLOSED {
                drop(File::from_fd(fd));
                continue;
            }
            let kept = File::from_fd(kept);
            // It was open before, so it can be open again.
            if let Ok(back) = kept.dup_to(fd) {
                back.into_fd();
            }
        }
    }
}

/// What a redirection leads to; `None`: nothing, it is closed.
fn open(direction: Direction, text: &str) -> Result<Option<File>, Errno> {
    let target = &to_bytes(text);
    match direction {
        Direction::Read => File::open(target, mode::OREAD),
        Direction::Write => File::create(target, mode::OWRITE, 0o644),
        Direction::Append => match File::open(target, mode::OWRITE | mode::OAPPEND) {
            Err(Errno::ENOENT) => {
                let access = mode::OWRITE | mode::OAPPEND;
                File::create(target, access | mode::OEXCL, 0o644)
            }
            opened => opened,
        },
        Direction::Both => match File::open(target, mode::ORDWR) {
            Err(Errno::ENOENT) => File::create(target, mode::ORDWR | mode::OEXCL, 0o644),
            opened => opened,
        },
        Direction::Same if text == "-" => return Ok(None),
        Direction::Same => match text.parse() {
            Ok(fd) => File::borrowed(fd).dup(),
            Err(_) => Err(Errno::EBADF),
        },
    }
    .map(Some)
}
