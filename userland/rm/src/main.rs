//! `rm [-fr] PATH...`: removes files and empty directories; `-r`: directories
//! with all that is in them; `-f`: what is not there is no failure.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use rt::copy::inside;
use rt::{Args, ByteStr, ByteString, Errno, Failure, File, Named, eprintln, mode, sys};

rt::main!(main);

const USAGE: &str = "rm [-fr] PATH...";
/// Directories within each other, at most.
const DEPTH_MAX: usize = 256;

fn main(args: Args) -> Result<u8, Failure> {
    let (flags, paths) = args.options("fr").flags(USAGE)?;
    if paths.is_empty() && !flags.has('f') {
        return Err(Failure::usage(format_args!("usage: {USAGE}")));
    }
    let mut status = 0;
    for path in paths.iter() {
        if flags.has('f') && matches!(File::stat_path(path), Err(Errno::ENOENT)) {
            continue;
        }
        let done = match flags.has('r') {
            true => tree(path, 0),
            false => sys::remove(path).about(path),
        };
        if let Err(failure) = done {
            eprintln!("rm: {failure}");
            status = 1;
        }
    }
    Ok(status)
}

fn tree(path: ByteStr<'_>, depth: usize) -> Result<(), Failure> {
    if depth > DEPTH_MAX {
        return Err(Failure::new(format_args!("{path}: too many directories")));
    }
    if File::stat_path(path).about(path)?.is_dir() {
        // The names first: a directory that changes is not read twice.
        let directory = File::open(path, mode::OREAD).about(path)?;
        let names: Result<Vec<ByteString>, Errno> = directory
            .read_dir()
            .map(|entry| entry.map(|entry| entry.name))
            .collect();
        for name in names.about(path)? {
            if name != "." && name != ".." {
                tree(inside(path, name.as_byte_str()).as_byte_str(), depth + 1)?;
            }
        }
    }
    sys::remove(path).about(path)
}
