//! The kernel's own tree: the files that must exist before the first file
//! server, and two files whose content the kernel itself must understand.
//!
//! `/bin` holds the programs of the boot bundle. `/dev/zero` and `/dev/null`
//! are here because reading zeros over a segment must become "no content"
//! instead of data (rule 6 of the contract), which only the kernel can do.
//! `/dev/random` and `/dev/time` need the processor. The other entries are
//! mount points.
use crate::bundle::{self, File};
use abi::{Errno, Stat};
use hw::random;

/// An entry of the tree. Copyable: there is nothing behind it to release.
#[derive(Clone, Copy)]
pub enum Entry {
    /// A directory: index into [`DIRECTORIES`].
    Directory(usize),
    /// Swallows writes, is empty.
    Null,
    /// Endless zeros.
    Zero,
    /// Endless random bytes.
    Random,
    /// The time of day, as a line of text.
    Time,
    /// A name that only serves to mount a file server on it.
    Placeholder,
    /// A file of the bundle.
    Program(&'static File),
}

/// Path and children of each fixed directory.
const DIRECTORIES: [(&str, &[&str]); 8] = [
    ("", &["bin", "dev", "mnt", "n", "tmp"]),
    ("bin", &[]),
    (
        "dev",
        &["cons", "consctl", "null", "random", "term", "time", "zero"],
    ),
    ("dev/term", &[]),
    ("mnt", &[]),
    ("n", &["host"]),
    ("n/host", &[]),
    ("tmp", &[]),
];

/// Parts of the longest path in the tree.
const DEPTH: usize = 2;

const PROGRAMS: &str = "bin/";
/// Finds a clean path, relative to the root of the tree. `ENOTDIR`: a proper
/// prefix of it is a file.
pub fn find(path: &[u8]) -> Result<Entry, Errno> {
    if let Some(entry) = entry(path) {
        return Ok(entry);
    }
    // A path may have hundreds of parts: only the nearest ancestor that exists
    // counts, and none is deeper than the tree itself.
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let mut ancestors = slashes.take(DEPTH).map(|(at, _)| &path[..at]);
    match ancestors.any(|ancestor| entry(ancestor).is_some_and(|e| !e.is_directory())) {
        true => Err(Errno::ENOTDIR),
        false => Err(Errno::ENOENT),
    }
}

/// Kinds of entries, as in Linux's `d_type`.
const DEVICE: u32 = 2;
const DIRECTORY: u32 = 4;
const FILE: u32 = 8;

/// The entry with exactly that path.
fn entry(path: &[u8]) -> Option<Entry> {
    if let Some(index) = DIRECTORIES.iter().position(|(p, _)| p.as_bytes() == path) {
        return Some(Entry::Directory(index));
    }
    match path {
        b"dev/null" => Some(Entry::Null),
        b"dev/zero" => Some(Entry::Zero),
        b"dev/random" => Some(Entry::Random),
        b"dev/time" => Some(Entry::Time),
        b"dev/cons" | b"dev/consctl" => Some(Entry::Placeholder),
        path if path.starts_with(PROGRAMS.as_bytes()) => bundle::find(path).map(Entry::Program),
        _ => None,
    }
}

impl Entry {
    /// Returns true if the entry is a directory.
    pub fn is_directory(self) -> bool {
        matches!(self, Entry::Directory(_))
    }

    /// Checks that the entry may be opened with `mode`.
    pub fn check_open(self, mode: u32) -> Result<(), Errno> {
        let writes = mode & 3 != abi::mode::OREAD || mode & abi::mode::OTRUNC != 0;
        match self {
            Entry::Null | Entry::Zero => Ok(()),
            Entry::Placeholder => Err(Errno::ENXIO),
            Entry::Directory(_) if writes => Err(Errno::EISDIR),
            Entry::Program(..) if writes => Err(Errno::EROFS),
            Entry::Random | Entry::Time if writes => Err(Errno::EACCES),
            Entry::Random if !random::available() => Err(Errno::ENXIO),
            Entry::Directory(_) | Entry::Program(..) | Entry::Random | Entry::Time => Ok(()),
        }
    }

    /// The attributes of the entry.
    pub fn stat(self) -> Stat {
        let (qid_path, size, mode) = match self {
            Entry::Directory(index) => (index as u64, 0, 0o040_555),
            Entry::Null => (16, 0, 0o020_666),
            Entry::Zero => (17, 0, 0o020_666),
            Entry::Placeholder => (18, 0, 0o020_000),
            Entry::Random => (19, 0, 0o020_444),
            Entry::Time => (20, 0, 0o020_444),
            Entry::Program(file) => (256 + file.number, file.content.len() as u64, 0o100_555),
        };
        Stat {
            qid_path,
            size,
            mode,
            links: 1,
            ..Stat::default()
        }
    }

    /// Calls `f(position, name, kind)` for the entries of a directory from `position`
    /// on, until it returns false; the kind is that of [`abi::DirEntry`].
    pub fn list(self, from: u64, mut f: impl FnMut(u64, &str, u32) -> bool) {
        let Entry::Directory(index) = self else {
            return;
        };
        let Some((path, names)) = DIRECTORIES.get(index) else {
            return;
        };
        let mut position = 0;
        for name in *names {
            position += 1;
            let kind = match *path == "dev" && *name != "term" {
                true => DEVICE,
                false => DIRECTORY,
            };
            if position > from && !f(position, name, kind) {
                return;
            }
        }
        if *path == "bin" {
            let programs = bundle::files().iter();
            for program in programs.filter_map(|file| file.path.strip_prefix(PROGRAMS)) {
                position += 1;
                if position > from && !f(position, program, FILE) {
                    return;
                }
            }
        }
    }
}
