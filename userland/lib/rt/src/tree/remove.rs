//! Removal of trees.

use super::branch::Branch;
use super::walk::{DIRECTORY, UNKNOWN};
use super::{Split, entries, say};
use crate::{ByteStr, Directory, Entry, Failure, Named, sys};
use abi::Errno;
use alloc::vec::{self, Vec};

/// A directory whose content is being removed.
struct Emptied {
    entries: vec::IntoIter<Entry>,
    /// Some entry could not be removed.
    failed: bool,
}

/// A tree that is being removed.
struct Removal<'p> {
    program: &'p str,
    branch: Branch,
    open: Vec<Emptied>,
}

/// Removes the file or tree at `path`; returns true if all of it is gone.
pub fn remove(program: &str, path: ByteStr<'_>) -> bool {
    let begun = begin(program, path).map(|(mut removal, name, is_directory)| {
        let done = removal.one(name, is_directory);
        removal.run(done)
    });
    begun.unwrap_or_else(|failure| {
        say(program, &failure);
        false
    })
}

/// The directory around the file, its name, and whether it is a directory.
fn begin<'p>(
    program: &'p str,
    path: ByteStr<'p>,
) -> Result<(Removal<'p>, ByteStr<'p>, bool), Failure> {
    let Some(split) = Split::of(path) else {
        // The kernel knows why not.
        sys::remove(path).about(path)?;
        return Err(Errno::EBUSY).about(path);
    };
    let around = Directory::open(split.around).about(path)?;
    let stat = around.stat_of(split.name).about(path)?;
    if path.ends_with(b"/") && !stat.is_dir() {
        return Err(Errno::ENOTDIR).about(path);
    }
    let removal = Removal {
        program,
        branch: Branch::new(around, split.shown),
        open: Vec::new(),
    };
    Ok((removal, split.name, stat.is_dir()))
}

impl Removal<'_> {
    /// Empties and removes the open directories; returns true if all is gone.
    fn run(&mut self, done: bool) -> bool {
        let mut gone = done;
        while let Some(directory) = self.open.last_mut() {
            if let Some(entry) = directory.entries.next() {
                let around = self.open.len() - 1;
                let done = self.entry(&entry);
                if let Some(directory) = self.open.get_mut(around) {
                    directory.failed |= !done;
                }
                continue;
            }
            let Some(emptied) = self.open.pop() else {
                break;
            };
            let name = self.branch.leave().unwrap_or_default();
            let removed = !emptied.failed && self.leaf(name.as_byte_str());
            match self.open.last_mut() {
                Some(around) => around.failed |= !removed,
                None => gone &= removed,
            }
        }
        gone
    }

    fn entry(&mut self, entry: &Entry) -> bool {
        let name = entry.name.as_byte_str();
        let is_directory = match entry.kind {
            DIRECTORY => Ok(true),
            UNKNOWN => {
                let stat = self.branch.last().and_then(|around| around.stat_of(name));
                stat.map(|stat| stat.is_dir())
            }
            _ => Ok(false),
        };
        match is_directory {
            Ok(is_directory) => self.one(name, is_directory),
            Err(errno) => self.failed(name, errno),
        }
    }

    /// Removes a file, or begins with a directory; returns false on failure.
    fn one(&mut self, name: ByteStr<'_>, is_directory: bool) -> bool {
        if !is_directory {
            return self.leaf(name);
        }
        match self.branch.enter(name) {
            Ok(()) => {}
            // Something else is in its place now.
            Err(Errno::ENOTDIR | Errno::ELOOP) => return self.leaf(name),
            Err(errno) => return self.failed(name, errno),
        }
        match self.branch.last().and_then(|last| entries(last.read_dir())) {
            Ok(entries) => {
                self.open.push(Emptied {
                    entries,
                    failed: false,
                });
                true
            }
            Err(errno) => {
                self.branch.leave();
                self.failed(name, errno)
            }
        }
    }

    /// Removes a file or an empty directory.
    fn leaf(&mut self, name: ByteStr<'_>) -> bool {
        let removed = self.branch.last().and_then(|around| around.remove(name));
        match removed {
            Ok(()) => true,
            Err(errno) => self.failed(name, errno),
        }
    }

    fn failed(&self, name: ByteStr<'_>, errno: Errno) -> bool {
        let failure = Failure::new(format_args!("{}: {errno}", self.branch.path_of(name)));
        say(self.program, &failure);
        false
    }
}
