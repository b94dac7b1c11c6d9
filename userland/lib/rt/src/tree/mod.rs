//! Trees of directories: removal, copying and walks, without recursion and with few
//! descriptors. A failure is reported, and the rest is done all the same.
//!
//! All go by open directories ([`crate::Directory`]) and follow no symbolic link: who puts a
//! link into the place of a directory meanwhile does not lead them out of the tree.

mod branch;
mod copy;
mod remove;
mod walk;

pub use copy::{copy, into_itself};
pub use remove::remove;
pub use walk::{Read, walk};

use crate::{ByteStr, ByteString, Entry, Failure, ReadDir, eprintln};
use abi::Errno;
use alloc::vec::{self, Vec};

/// Reports a failure in the name of `program`.
fn say(program: &str, failure: &Failure) {
    eprintln!("{program}: {failure}");
}

/// All entries of a directory, read before any of them is removed or copied.
fn entries(read: ReadDir<'_>) -> Result<vec::IntoIter<Entry>, Errno> {
    let mut entries: Vec<Entry> = Vec::new();
    for entry in read {
        let entry = entry?;
        if entry.name != "." && entry.name != ".." {
            entries.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            entries.push(entry);
        }
    }
    Ok(entries.into_iter())
}

/// A path as the directory that the file is in, as it is shown and as it is opened,
/// and the file's name there. `None`: it ends in no name, or in `.` or `..`.
struct Split<'p> {
    shown: ByteStr<'p>,
    around: ByteStr<'p>,
    name: ByteStr<'p>,
}

impl<'p> Split<'p> {
    fn of(path: ByteStr<'p>) -> Option<Split<'p>> {
        let whole = path.trim_end(b'/').bytes();
        let slash = whole.iter().rposition(|byte| *byte == b'/');
        let (shown, name) = whole.split_at(slash.map_or(0, |at| at + 1));
        if matches!(name, b"" | b"." | b"..") {
            return None;
        }
        let around: &[u8] = if shown.is_empty() { b"." } else { shown };
        Some(Split {
            shown: ByteStr(shown),
            around: ByteStr(around),
            name: ByteStr(name),
        })
    }
}

/// The path of `name` in the directory that is shown so: nothing, or with a `/`.
fn shown_in(directory: ByteStr<'_>, name: ByteStr<'_>) -> ByteString {
    ByteString([directory.bytes(), name.bytes()].concat())
}
