//! Copying of trees.

use super::branch::Branch;
use super::{Split, entries, say};
use crate::copy::{self, inside};
use crate::{ByteStr, ByteString, Directory, Entry, Failure, File, Named, mode, sys};
use abi::{Errno, Stat};
use alloc::vec::{self, Vec};

/// A tree that is being copied.
struct Copying<'p> {
    program: &'p str,
    from: Branch,
    to: Branch,
    /// What is left of each open directory.
    open: Vec<vec::IntoIter<Entry>>,
    /// The copy: a tree that it is in must not be copied without end.
    made: Option<Stat>,
}

/// Copies the directory `from` with its content to the path `to`, which is
/// created or merged into; returns true if all of it was copied.
pub fn copy(program: &str, from: ByteStr<'_>, to: ByteStr<'_>) -> bool {
    let copied = into_itself(from, to).and_then(|()| begin(program, from, to));
    match copied {
        Ok(mut copying) => copying.run(),
        Err(failure) => {
            say(program, &failure);
            false
        }
    }
}

/// A directory by its path, a link at the end not followed, and its path as a prefix.
fn top(path: ByteStr<'_>) -> Result<(Directory, ByteString), Failure> {
    let opened = match Split::of(path) {
        Some(split) => Directory::open(split.around).and_then(|d| d.inside(split.name)),
        None => Directory::open(path),
    };
    let mut shown = path.trim_end(b'/').to_owned();
    shown.0.push(b'/');
    Ok((opened.about(path)?, shown))
}

/// Makes the copy of the first directory.
fn begin<'p>(program: &'p str, from: ByteStr<'_>, to: ByteStr<'_>) -> Result<Copying<'p>, Failure> {
    let (source, source_shown) = top(from)?;
    let permissions = permissions(&source).about(from)?;
    // Names are read first, so that entries created meanwhile are not copied.
    let entries = entries(source.read_dir()).about(from)?;
    if let Some(split) = Split::of(to) {
        let around = Directory::open(split.around).about(to)?;
        make(&around, split.name, permissions).about(to)?;
    }
    let (target, target_shown) = top(to)?;
    let mut open = Vec::new();
    open.try_reserve(1).map_err(|_| Errno::ENOMEM).about(from)?;
    open.push(entries);
    Ok(Copying {
        program,
        made: target.stat().ok(),
        from: Branch::new(source, source_shown.as_byte_str()),
        to: Branch::new(target, target_shown.as_byte_str()),
        open,
    })
}

/// Permissions of the copy of a directory: it is filled.
fn permissions(of: &Directory) -> Result<u32, Errno> {
    Ok(of.stat()?.mode & 0o777 | 0o700)
}

/// Makes a directory, unless it is there.
fn make(around: &Directory, name: ByteStr<'_>, permissions: u32) -> Result<(), Errno> {
    match around.make(name, permissions) {
        Err(Errno::EEXIST) => Ok(()),
        made => made,
    }
}

impl Copying<'_> {
    /// Copies all that is left; returns true if nothing failed.
    fn run(&mut self) -> bool {
        let mut complete = true;
        while let Some(entries) = self.open.last_mut() {
            let Some(entry) = entries.next() else {
                self.open.pop();
                self.from.leave();
                self.to.leave();
                continue;
            };
            if let Err(failure) = self.one(entry.name.as_byte_str()) {
                say(self.program, &failure);
                complete = false;
            }
        }
        complete
    }

    /// Copies an entry of the last directory, of a directory the first part.
    fn one(&mut self, name: ByteStr<'_>) -> Result<(), Failure> {
        let shown = self.from.path_of(name);
        let shown = shown.as_byte_str();
        let stat = self
            .from
            .last()
            .and_then(|from| from.stat_of(name))
            .about(shown)?;
        if stat.is_dir() {
            return self.directory(name, &stat);
        }
        if stat.is_link() {
            return self.link(name);
        }
        match copy::special(&stat) {
            Some(kind) => Err(Failure::new(format_args!("{shown}: a {kind}, not copied"))),
            None => self.file(name),
        }
    }

    fn directory(&mut self, name: ByteStr<'_>, stat: &Stat) -> Result<(), Failure> {
        let (from, to) = (self.from.path_of(name), self.to.path_of(name));
        if self
            .made
            .as_ref()
            .is_some_and(|made| copy::same(stat, made))
        {
            return Err(itself(from.as_byte_str(), to.as_byte_str()));
        }
        self.from.enter(name).about(&from)?;
        let begun = self.fill(name, (&from, &to));
        if begun.is_err() {
            self.from.leave();
        }
        begun
    }

    /// Makes the copy of the directory that `from` has just entered.
    fn fill(
        &mut self,
        name: ByteStr<'_>,
        (from, to): (&ByteString, &ByteString),
    ) -> Result<(), Failure> {
        let source = self.from.last().about(from)?;
        let permissions = permissions(source).about(from)?;
        let entries = entries(source.read_dir()).about(from)?;
        self.open
            .try_reserve(1)
            .map_err(|_| Errno::ENOMEM)
            .about(from)?;
        let around = self.to.last().about(to)?;
        make(around, name, permissions).about(to)?;
        self.to.enter(name).about(to)?;
        self.open.push(entries);
        Ok(())
    }

    fn link(&mut self, name: ByteStr<'_>) -> Result<(), Failure> {
        let (from, to) = (self.from.path_of(name), self.to.path_of(name));
        let text = self
            .from
            .last()
            .and_then(|from| from.read_link(name))
            .about(&from)?;
        let around = self.to.last().about(&to)?;
        let made = match around.symlink(name, &text) {
            Err(Errno::EEXIST) => around
                .remove(name)
                .and_then(|()| around.symlink(name, &text)),
            made => made,
        };
        made.about(&to)
    }

    fn file(&mut self, name: ByteStr<'_>) -> Result<(), Failure> {
        let (from, to) = (self.from.path_of(name), self.to.path_of(name));
        let open = |from: &Directory| from.open_file(name, mode::OREAD);
        let source: File = self.from.last().and_then(open).about(&from)?;
        let stat = source.stat().about(&from)?;
        let around = self.to.last().about(&to)?;
        if around
            .stat_of(name)
            .is_ok_and(|there| copy::same(&stat, &there))
        {
            return Err(Failure::new(format_args!(
                "{from} and {to} are the same file"
            )));
        }
        let target = match around.create(name, mode::OWRITE, stat.mode & 0o777) {
            Err(Errno::ELOOP) => {
                let wrong = format_args!("{to}: a symbolic link, not written through");
                return Err(Failure::new(wrong));
            }
            made => made.about(&to)?,
        };
        copy::content(&source, &target).about(format_args!("{from} to {to}"))
    }
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
