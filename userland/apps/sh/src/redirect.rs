//! Redirects descriptors, permanently or for one command.

use crate::Shown;
use crate::state::Shell;
use alloc::format;
use alloc::string::String;
use bytestr::text::to_bytes;
use rt::abi::FDS_MAX;
use rt::{Errno, File, mode};
use shell::expand_one;
use shell::tree::{Direction, Redirection, Target};

/// The duration of a redirection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// This process becomes a command.
    Ever,
    /// Until [`Shell::restore`].
    AWhile,
}

/// Redirections may name descriptors below this one; the shell keeps its own
/// from this one on.
const PRIVATE: u32 = 40;
/// Most bytes of a here-document: a channel must hold all of them, because the
/// shell does not wait for the reader.
const DOCUMENT_MAX: usize = 2 << 20;
/// Bytes of it in a message.
const PIECE: usize = 64 << 10;

fn is_open(fd: u32) -> bool {
    !matches!(File::borrowed(fd).stat(), Err(Errno::EBADF))
}

/// Moves the file to a descriptor that redirections cannot name.
pub fn private(file: File) -> Result<File, Errno> {
    let free = (PRIVATE..FDS_MAX as u32).rev().find(|fd| !is_open(*fd));
    file.dup_to(free.ok_or(Errno::EMFILE)?)
}

/// Entry of `aside` for a descriptor that was closed.
pub const CLOSED: u32 = u32::MAX;

impl Shell {
    /// Performs the redirections in order.
    pub fn redirect(&mut self, redirections: &[Redirection], how_long: For) -> Result<(), String> {
        for redirection in redirections {
            let fd = redirection.fd;
            if fd >= PRIVATE {
                return Err(format!("{fd}: not a descriptor for redirections"));
            }
            let target = match &redirection.target {
                Target::Word(word) => expand_one(word, self)?,
                Target::Document(document) => match document.get() {
                    Some(word) => expand_one(word, self)?,
                    None => String::new(),
                },
            };
            let about = |errno: Errno| match redirection.direction {
                Direction::Document => format!("here-document: {errno}"),
                _ => format!("{}: {errno}", Shown(&target)),
            };
            if how_long == For::AWhile {
                self.put_aside(fd)
                    .map_err(|errno| format!("descriptor {fd}: {errno}"))?;
            }
            match open(redirection.direction, &target).map_err(about)? {
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

    /// Saves the present meaning of `fd` for [`Shell::restore`].
    fn put_aside(&mut self, fd: u32) -> Result<(), Errno> {
        let kept = match is_open(fd) {
            true => private(File::borrowed(fd).dup()?)?.into_fd(),
            false => CLOSED,
        };
        self.aside.push((fd, kept));
        Ok(())
    }

    /// Undoes redirections until only `count` saved descriptors are left.
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

/// Opens the target of a redirection; `None`: the descriptor is to be closed.
fn open(direction: Direction, text: &str) -> Result<Option<File>, Errno> {
    let target = &to_bytes(text);
    match direction {
        Direction::Read => File::open(target, mode::OREAD),
        Direction::Write => File::create(target, mode::OWRITE, 0o644),
        Direction::Append => {
            let access = mode::OWRITE | mode::OAPPEND;
            File::create(target, access | mode::OKEEP, 0o644)
        }
        Direction::Both => File::create(target, mode::ORDWR | mode::OKEEP, 0o644),
        Direction::Same if text == "-" => return Ok(None),
        Direction::Same => match text.parse() {
            Ok(fd) if fd < PRIVATE => File::borrowed(fd).dup(),
            _ => Err(Errno::EBADF),
        },
        Direction::Document => document(target),
    }
    .map(Some)
}

/// A channel from which the text is read.
fn document(text: &[u8]) -> Result<File, Errno> {
    if text.len() > DOCUMENT_MAX {
        return Err(Errno::EFBIG);
    }
    let (ours, theirs) = File::pipe()?;
    for piece in text.chunks(PIECE) {
        theirs.write_all(piece)?;
    }
    Ok(ours)
}
