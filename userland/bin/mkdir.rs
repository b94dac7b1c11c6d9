//! `mkdir [-p] DIRECTORY...`: creates directories; `-p`: also their parents,
//! and an existing directory is no failure.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::{Args, ByteStr, Errno, Failure, File, Named, eprintln, manual, mode};

rt::main!(main, include_str!("mkdir.rs"));

fn main(args: Args) -> Result<u8, Failure> {
    let (flags, paths) = args.options("p").flags()?;
    if paths.is_empty() {
        return Err(manual::misused());
    }
    let mut status = 0;
    for path in paths.iter() {
        let done = match flags.has('p') {
            true => all(path),
            false => make(path).about(path),
        };
        if let Err(failure) = done {
            eprintln!("mkdir: {failure}");
            status = 1;
        }
    }
    Ok(status)
}

fn make(path: ByteStr<'_>) -> Result<(), Errno> {
    File::create(path, mode::OREAD, mode::DMDIR | 0o755).map(drop)
}

fn all(path: ByteStr<'_>) -> Result<(), Failure> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let ends = slashes.map(|(at, _)| at).filter(|at| *at > 0);
    for end in ends.chain([path.len()]) {
        let part = ByteStr(path.get(..end).unwrap_or(&path));
        match File::stat_path(part) {
            Ok(stat) if stat.is_dir() => {}
            Ok(_) => return Err(Errno::ENOTDIR).about(part),
            Err(_) => make(part).about(part)?,
        }
    }
    Ok(())
}
