//! Pagers: file servers whose files are computed, page by page, when they are touched.
//!
//! The author gives each file a name, a size and a function. The function is called with
//! the offset of a page in the file and the memory of that page, which is zeros and is
//! short at the end of the file:
//!
//! ```ignore
//! pager::serve([Computed::new("numbers", 1 << 40, |offset, page| { ... })])
//! ```
//!
//! **The author promises that the content is a function of the offset**: one that is asked
//! again gives the same bytes. Snapshots follow from that. They have nothing to save, for
//! the file is at every moment what it was at any other, and all of it has one epoch, so
//! that the kernel may keep its pages for later readers.
//!
//! If the function fails, the page is not to be had (`EIO`; a note to a program that
//! touches it) until a later call succeeds. No other page is concerned.
//!
//! Requests are answered one after the other. A slow function delays the clients of its own
//! server, and nobody else.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod file;
mod server;
#[cfg(test)]
mod tests;

pub use file::Computed;

use alloc::vec::Vec;
use rt::Failure;
use rt::service::{Arrival, Requests};
use server::Server;

/// Serves these files, in one directory, to the client at descriptor 3, until it is gone.
///
/// # Errors
/// Two files have one name, or one has a name that no file can have: it is empty, `.` or
/// `..`, longer than 255 bytes, or has a `/` or a zero byte in it. Descriptor 3 is no channel.
/// Receiving failed.
pub fn serve<'c>(files: impl IntoIterator<Item = Computed<'c>>) -> Result<(), Failure> {
    let files: Vec<_> = files.into_iter().collect();
    check_names(&files)?;
    let (mut requests, _) = Requests::new(server::MSIZE)?;
    let mut server = Server::new(files);
    let mut arrival = requests.next(u64::MAX)?;
    while let Arrival::Message(message) = arrival {
        let answer = server.answer(message);
        arrival = requests.answer(answer)?;
    }
    Ok(())
}

/// The longest name of a file.
const NAME_MAX: usize = 255;

fn check_names(files: &[Computed<'_>]) -> Result<(), Failure> {
    for (at, file) in files.iter().enumerate() {
        let name = file.name;
        let bytes = name.bytes();
        let wrong = matches!(bytes, b"" | b"." | b"..")
            || bytes.len() > NAME_MAX
            || bytes.iter().any(|byte| matches!(byte, b'/' | 0));
        let twice = files.iter().take(at).any(|other| other.name == name);
        let why = match (wrong, twice) {
            (true, _) => "not the name of a file",
            (_, true) => "the name of two files",
            _ => continue,
        };
        return Err(Failure::new(format_args!("{name:?}: {why}")));
    }
    Ok(())
}
