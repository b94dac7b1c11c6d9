//! `ls [-adl] [PATH...]`: lists directories and names files, sorted by name.
//! `-l`: mode, links, owner, group, size in bytes and time of last change
//! (UTC). `-a`: names that begin with a dot too. `-d`: directories themselves.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod long;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use rt::{Args, Failure, File, Named, mode, println};

rt::main!(main);

#[derive(Clone, Copy)]
struct Style {
    long: bool,
    all: bool,
    /// What is in a directory, not the directory.
    inside: bool,
    /// Several paths were given: say which directory a list belongs to.
    titles: bool,
}

fn main(args: Args) -> Result<u8, Failure> {
    let (flags, paths) = args.options("lad").flags("ls [-adl] [PATH...]")?;
    let mut style = Style {
        long: flags.has('l'),
        all: flags.has('a'),
        inside: !flags.has('d'),
        titles: false,
    };
    if paths.is_empty() {
        list(".", style)?;
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

fn list(path: &str, style: Style) -> Result<(), Failure> {
    let stat = File::stat_path(path).about(path)?;
    if !stat.is_dir() || !style.inside {
        show(path, path, style.long);
        return Ok(());
    }
    let directory = File::open(path, mode::OREAD).about(path)?;
    let mut names: Vec<String> = Vec::new();
    for entry in directory.read_dir() {
        let name = entry.about(path)?.name;
        if name != "." && name != ".." && (style.all || !name.starts_with('.')) {
            names.push(name);
        }
    }
    names.sort_unstable();
    if style.titles {
        println!("{path}:");
    }
    for name in &names {
        let full = format!("{}/{name}", path.trim_end_matches('/'));
        show(name, &full, style.long);
    }
    Ok(())
}

fn show(name: &str, path: &str, long: bool) {
    if !long {
        println!("{name}");
        return;
    }
    match File::stat_path(path) {
        Ok(stat) => println!("{} {name}", long::Line(&stat)),
        // Removed meanwhile, or not ours to look at: still worth its name.
        Err(errno) => println!("?{:>51} ({errno})", name),
    }
}
