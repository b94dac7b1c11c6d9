//! `ls [-adl] [PATH...]`: lists directories and names files, sorted by name.
//! `-l`: mode, links, owner, group, size in bytes and time of last change
//! (UTC), and where symbolic links lead. `-a`: names that begin with a dot too. `-d`: directories themselves.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod long;

use alloc::vec::Vec;
use rt::copy::inside;
use rt::{Args, ByteStr, ByteString, Errno, Failure, File, Named, io, mode, print, sys};

rt::main!(main, include_str!("main.rs"));

#[derive(Clone, Copy)]
struct Style {
    long: bool,
    all: bool,
    /// List the content of a directory, not the directory itself.
    inside: bool,
    /// Several paths were given: say which directory a list belongs to.
    titles: bool,
}

fn main(args: Args) -> Result<u8, Failure> {
    let (flags, paths) = args.options("lad").flags()?;
    let mut style = Style {
        long: flags.has('l'),
        all: flags.has('a'),
        inside: !flags.has('d'),
        titles: false,
    };
    if paths.is_empty() {
        list(".".into(), style)?;
        return Ok(0);
    }
    style.titles = paths.len() > 1;
    let mut status = 0;
    for path in paths.iter() {
        if let Err(failure) = list(path, style) {
            rt::eprintln!("ls: {failure}");
            status = 1;
        }
    }
    Ok(status)
}

fn list(path: ByteStr<'_>, style: Style) -> Result<(), Failure> {
    // A link is followed to a directory, but not where it is itself described.
    let stat = match style.long {
        true => File::lstat_path(path),
        false => File::stat_path(path).or_else(|_| File::lstat_path(path)),
    };
    let stat = stat.about(path)?;
    if !stat.is_dir() || !style.inside {
        return show(path, path, style.long).about("standard output");
    }
    let directory = File::open(path, mode::OREAD).about(path)?;
    let mut names: Vec<ByteString> = Vec::new();
    for entry in directory.read_dir() {
        let name = entry.about(path)?.name;
        if name != "." && name != ".." && (style.all || !name.starts_with(b".")) {
            names.push(name);
        }
    }
    names.sort_unstable();
    if style.titles {
        io::write_name(path).about("standard output")?;
        io::write(b":\n").about("standard output")?;
    }
    for name in &names {
        let name = name.as_byte_str();
        let full = inside(path, name);
        show(name, full.as_byte_str(), style.long).about("standard output")?;
    }
    Ok(())
}

fn show(name: ByteStr<'_>, path: ByteStr<'_>, long: bool) -> Result<(), Errno> {
    let mut link = false;
    if long {
        match File::lstat_path(path) {
            Ok(stat) => {
                link = stat.is_link();
                print!("{} ", long::Line(&stat));
            }
            // Removed meanwhile, or not readable: the name is still worth
            // printing.
            Err(errno) => print!("? ({errno}) "),
        }
    }
    io::write_name(name)?;
    if link && let Ok(text) = sys::read_link(path) {
        io::write(b" -> ")?;
        io::write_name(text)?;
    }
    io::write(b"\n")
}
