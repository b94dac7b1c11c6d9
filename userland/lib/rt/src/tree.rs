//! Trees of directories: removal and copying, without recursion and without a
//! descriptor for each level. A failure is reported, and the rest is done all
//! the same. Symbolic links are never followed.

use crate::copy::{self, inside};
use crate::{ByteStr, ByteString, Failure, File, Named, eprintln, mode, sys};
use abi::{Errno, Stat};
use alloc::vec::{self, Vec};

/// Reports a failure in the name of `program`.
fn say(program: &str, failure: &Failure) {
    eprintln!("{program}: {failure}");
}

/// All names in a directory, read before any of them is removed or copied.
fn names(path: ByteStr<'_>) -> Result<vec::IntoIter<ByteString>, Failure> {
    let directory = File::open(path, mode::OREAD).about(path)?;
    let mut names: Vec<ByteString> = Vec::new();
    for entry in directory.read_dir() {
        let name = entry.about(path)?.name;
        if name != "." && name != ".." {
            let room = names.try_reserve(1);
            room.map_err(|_| Errno::ENOMEM).about(path)?;
            names.push(name);
        }
    }
    Ok(names.into_iter())
}

/// A directory whose content is being removed.
struct Emptied {
    path: ByteString,
    names: vec::IntoIter<ByteString>,
    /// Some entry could not be removed.
    failed: bool,
}

/// Removes the file or tree at `path`; returns true if all of it is gone.
pub fn remove(program: &str, path: ByteStr<'_>) -> bool {
    let mut open: Vec<Emptied> = Vec::new();
    let mut gone = remove_or_open(program, path.to_owned(), &mut open);
    while let Some(directory) = open.last_mut() {
        if let Some(name) = directory.names.next() {
            let inner = inside(directory.path.as_byte_str(), name.as_byte_str());
            let at = open.len() - 1;
            let done = remove_or_open(program, inner, &mut open);
            if let Some(directory) = open.get_mut(at) {
                directory.failed |= !done;
            }
            continue;
        }
        let Some(Emptied { path, failed, .. }) = open.pop() else {
            break;
        };
        let removed = !failed && one(program, path.as_byte_str());
        match open.last_mut() {
            Some(around) => around.failed |= !removed,
            None => gone &= removed,
        }
    }
    gone
}

/// Removes a file, or pushes a directory onto `open`; returns false on failure.
fn remove_or_open(program: &str, path: ByteString, open: &mut Vec<Emptied>) -> bool {
    let shown = path.as_byte_str();
    match File::lstat_path(shown).about(shown) {
        Ok(stat) if stat.is_dir() => match names(shown) {
            Ok(names) => {
                let failed = false;
                open.push(Emptied {
                    path,
                    names,
                    failed,
                });
                true
            }
            Err(failure) => {
                say(program, &failure);
                false
            }
        },
        Ok(_) => one(program, shown),
        Err(failure) => {
            say(program, &failure);
            false
        }
    }
}

fn one(program: &str, path: ByteStr<'_>) -> bool {
    match sys::remove(path).about(path) {
        Ok(()) => true,
        Err(failure) => {
            say(program, &failure);
            false
        }
    }
}

/// A directory whose content is being copied.
struct Copied {
    from: ByteString,
    to: ByteString,
    names: vec::IntoIter<ByteString>,
}

/// Copies the directory `from` with its content to the path `to`, which is
/// created or merged into; returns true if all of it was copied.
pub fn copy(program: &str, from: ByteStr<'_>, to: ByteStr<'_>) -> bool {
    let mut open: Vec<Copied> = Vec::new();
    let mut made = None;
    let begun = into_itself(from, to).and_then(|()| {
        open.push(begin(from, to)?);
        // Another path leads into the copy.
        made = File::stat_path(to).ok();
        Ok(())
    });
    let mut complete = begun.map_err(|failure| say(program, &failure)).is_ok();
    while let Some(directory) = open.last_mut() {
        let Some(name) = directory.names.next() else {
            open.pop();
            continue;
        };
        let name = name.as_byte_str();
        let from = inside(directory.from.as_byte_str(), name);
        let to = inside(directory.to.as_byte_str(), name);
        let (from, to) = (from.as_byte_str(), to.as_byte_str());
        let done = File::lstat_path(from).about(from).and_then(|stat| {
            if stat.is_dir() {
                if made.as_ref().is_some_and(|made| copy::same(&stat, made)) {
                    return Err(itself(from, to));
                }
                open.push(begin(from, to)?);
                return Ok(());
            }
            if stat.is_link() {
                return copy::link(from, to);
            }
            match copy::special(&stat) {
                Some(kind) => Err(Failure::new(format_args!("{from}: a {kind}, not copied"))),
                None => copy::file(from, to),
            }
        });
        if let Err(failure) = done {
            say(program, &failure);
            complete = false;
        }
    }
    complete
}

/// Creates the empty copy of a directory.
fn begin(from: ByteStr<'_>, to: ByteStr<'_>) -> Result<Copied, Failure> {
    let permissions = File::stat_path(from).about(from)?.mode & 0o777;
    // Names are read first, so that entries created meanwhile are not copied.
    let names = names(from)?;
    match File::create(to, mode::OREAD, mode::DMDIR | permissions | 0o700) {
        Err(Errno::EEXIST) => {}
        made => drop(made.about(to)?),
    }
    Ok(Copied {
        from: from.to_owned(),
        to: to.to_owned(),
        names,
    })
}

fn itself(from: ByteStr<'_>, to: ByteStr<'_>) -> Failure {
    Failure::new(format_args!("{from}: cannot be put into itself, {to}"))
}

/// Refuses to copy `from` to `to` inside itself.
pub fn into_itself(from: ByteStr<'_>, to: ByteStr<'_>) -> Result<(), Failure> {
    let source: Stat = File::stat_path(from).about(from)?;
    let start = match to.first() {
        Some(b'/') => ByteString::default(),
        _ => sys::getwd().about(".")?,
    };
    // The kernel resolves names by text too.
    let mut parts: Vec<&[u8]> = Vec::new();
    let slash = |byte: &u8| *byte == b'/';
    for part in start.split(slash).chain(to.split(slash)) {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut path = ByteString::default();
    for part in parts {
        path = inside(path.as_byte_str(), ByteStr(part));
        let is_source = |stat: Stat| copy::same(&stat, &source);
        if File::stat_path(&path).is_ok_and(is_source) {
            return Err(itself(from, to));
        }
    }
    Ok(())
}
