//! A walk over all directories of a tree.

use super::branch::Branch;
use super::{entries, say};
use crate::{ByteStr, ByteString, Directory, Entry, Failure, Named, ReadDir};
use abi::Errno;
use alloc::vec::{self, Vec};

/// `kind` of an entry that is a directory, and of one whose server does not say.
pub(super) const DIRECTORY: u32 = 4;
pub(super) const UNKNOWN: u32 = 0;

/// How the entries of a directory are read: [`Directory::read_dir`] or
/// [`Directory::read_dir_stat`].
pub type Read = for<'d> fn(&'d Directory) -> ReadDir<'d>;

/// Hands the directory at `path`, its path and its entries as `read` reads them, sorted
/// by name, to `visit`, then those of the directories among the entries that `visit` has left there, and so
/// on. Symbolic links below `path` are not followed. A directory that cannot be read is
/// reported in the name of `program`, and the others still follow; returns true if all
/// were read.
///
/// # Errors
/// Those of `visit`, which end the walk.
pub fn walk(
    program: &str,
    path: ByteStr<'_>,
    read: Read,
    mut visit: impl FnMut(&Directory, ByteStr<'_>, &mut Vec<Entry>) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    let top = match Directory::open(path).about(path) {
        Ok(top) => top,
        Err(failure) => {
            say(program, &failure);
            return Ok(false);
        }
    };
    let mut prefix = path.trim_end(b'/').to_owned();
    prefix.0.push(b'/');
    let mut walk = Walk {
        program,
        branch: Branch::new(top, prefix.as_byte_str()),
        below: Vec::new(),
        complete: true,
    };
    let mut shown = path.to_owned();
    loop {
        let last = walk.branch.last();
        let entries = match last.and_then(|last| sorted(last, read)) {
            Ok((directory, mut entries)) => {
                visit(directory, shown.as_byte_str(), &mut entries)?;
                entries
            }
            Err(errno) => {
                walk.failed(shown.as_byte_str(), errno);
                Vec::new()
            }
        };
        match walk.next_below(entries) {
            Some(next) => shown = next,
            None => return Ok(walk.complete),
        }
    }
}

/// The entries of a directory.
fn sorted(directory: &Directory, read: Read) -> Result<(&Directory, Vec<Entry>), Errno> {
    let mut entries: Vec<Entry> = entries(read(directory))?.collect();
    entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok((directory, entries))
}

/// A walk under way.
struct Walk<'p> {
    program: &'p str,
    branch: Branch,
    /// What is left of each directory around the last one, and of that.
    below: Vec<vec::IntoIter<Entry>>,
    complete: bool,
}

impl Walk<'_> {
    /// Goes on to the next directory, in the last one or further up; its path.
    fn next_below(&mut self, entries: Vec<Entry>) -> Option<ByteString> {
        if self.below.try_reserve(1).is_err() {
            let shown = self.branch.shown().to_owned();
            self.failed(shown.as_byte_str(), Errno::ENOMEM);
            self.branch.leave();
        } else {
            self.below.push(entries.into_iter());
        }
        loop {
            let Some(entry) = self.below.last_mut()?.next() else {
                self.below.pop();
                self.branch.leave();
                continue;
            };
            match enter(&mut self.branch, &entry) {
                Ok(false) => {}
                Ok(true) => return Some(self.branch.shown().trim_end(b'/').to_owned()),
                Err(errno) => {
                    let path = self.branch.path_of(entry.name.as_byte_str());
                    self.failed(path.as_byte_str(), errno);
                }
            }
        }
    }

    fn failed(&mut self, path: ByteStr<'_>, errno: Errno) {
        say(self.program, &Failure::new(format_args!("{path}: {errno}")));
        self.complete = false;
    }
}

/// Enters an entry of the last directory if it is a directory.
fn enter(branch: &mut Branch, entry: &Entry) -> Result<bool, Errno> {
    let name = entry.name.as_byte_str();
    let is_directory = match entry.kind {
        UNKNOWN => branch.last()?.stat_of(name)?.is_dir(),
        kind => kind == DIRECTORY,
    };
    if !is_directory {
        return Ok(false);
    }
    match branch.enter(name) {
        Ok(()) => Ok(true),
        // It was removed meanwhile, or something else is in its place.
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(false),
        Err(errno) => Err(errno),
    }
}
