//! `ls [-1Radlrt] [PATH...]`: names files, and lists directories, sorted by name.
//! `-l`: mode, links, owner, group, size in bytes and time of last change
//! (UTC), and where symbolic links lead. `-a`: names that begin with a dot too. `-d`: directories themselves.
//! `-R`: the directories in them too. `-t`: what has changed last first. `-r`: in the
//! reverse order. `-1`: a name on a line, as always.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod long;

use alloc::vec::Vec;
use core::cmp::Reverse;
use rt::{
    Args, ByteStr, ByteString, Directory, Entry, Errno, Failure, File, Flags, Named, Stat, io,
    print, sys, tree,
};

rt::main!(main, include_str!("main.rs"));

/// A name in a list.
struct Item {
    name: ByteString,
    /// `None`: neither shown nor needed for the order.
    stat: Option<Result<Stat, Errno>>,
}

fn main(args: Args) -> Result<u8, Failure> {
    let (flags, paths) = args.options("1Radlrt").flags()?;
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    let mut complete = true;
    for path in paths.iter() {
        match stat(path, flags).about(path) {
            Ok(stat) if stat.is_dir() && !flags.has('d') => directories.push(path),
            Ok(stat) => files.push(Item {
                name: path.to_owned(),
                stat: Some(Ok(stat)),
            }),
            Err(failure) => {
                rt::eprintln!("ls: {failure}");
                complete = false;
            }
        }
    }
    match paths.is_empty() && flags.has('d') {
        true => files.push(Item {
            name: ByteStr::from(".").to_owned(),
            stat: Some(File::stat_path(".")),
        }),
        false if paths.is_empty() => directories.push(".".into()),
        false => {}
    }
    sort(&mut files, flags);
    for item in &files {
        show(item, flags, |name| sys::read_link(name)).about("standard output")?;
    }
    let read: tree::Read = match flags.has('l') || flags.has('t') {
        true => Directory::read_dir_stat,
        false => Directory::read_dir,
    };
    let titles = paths.len() > 1 || flags.has('R');
    for path in directories {
        complete &= tree::walk("ls", path, read, |directory, path, entries| {
            if !flags.has('a') {
                entries.retain(|entry| !entry.name.starts_with(b"."));
            }
            if titles {
                io::write_name(path).about("standard output")?;
                io::write(b":\n").about("standard output")?;
            }
            list(directory, entries, flags)?;
            if !flags.has('R') {
                entries.clear();
            }
            Ok(())
        })?;
    }
    Ok(u8::from(!complete))
}

/// A link is followed, but not where it is itself described.
fn stat(path: ByteStr<'_>, flags: Flags) -> Result<Stat, Errno> {
    match flags.has('l') {
        true => File::lstat_path(path),
        false => File::stat_path(path).or_else(|_| File::lstat_path(path)),
    }
}

/// Lists the entries of a directory, which are sorted by name.
fn list(directory: &Directory, entries: &[Entry], flags: Flags) -> Result<(), Failure> {
    let mut items = Vec::new();
    for entry in entries {
        let needed = flags.has('l') || flags.has('t');
        items.push(Item {
            name: entry.name.clone(),
            stat: needed.then(|| match &entry.stat {
                Some(stat) => Ok(**stat),
                None => directory.stat_of(&entry.name),
            }),
        });
    }
    sort(&mut items, flags);
    for item in &items {
        show(item, flags, |name| directory.read_link(name)).about("standard output")?;
    }
    Ok(())
}

/// Puts items into the order that was asked for; else they stay as they are.
fn sort(items: &mut [Item], flags: Flags) {
    if flags.has('t') {
        items.sort_by_key(|item| match &item.stat {
            Some(Ok(stat)) => Reverse(stat.mtime_ns),
            _ => Reverse(0),
        });
    }
    if flags.has('r') {
        items.reverse();
    }
}

fn show(
    item: &Item,
    flags: Flags,
    read_link: impl FnOnce(ByteStr<'_>) -> Result<ByteString, Errno>,
) -> Result<(), Errno> {
    let name = item.name.as_byte_str();
    let mut link = false;
    match &item.stat {
        Some(Ok(stat)) if flags.has('l') => {
            link = stat.is_link();
            print!("{} ", long::Line(stat));
        }
        // Removed meanwhile, or not readable: the name is still worth printing.
        Some(Err(errno)) if flags.has('l') => print!("? ({errno}) "),
        _ => {}
    }
    io::write_name(name)?;
    if link && let Ok(text) = read_link(name) {
        io::write(b" -> ")?;
        io::write_name(text)?;
    }
    io::write(b"\n")
}
