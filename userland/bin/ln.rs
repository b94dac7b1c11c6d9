//! `ln [-fs] FILE NAME` or `ln [-fs] FILE... DIRECTORY`: adds a name to a file;
//! `-s`: creates a symbolic link with the text FILE, unchecked; `-f`: replaces
//! an existing name.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use rt::copy;
use rt::{Args, ByteStr, Errno, Failure, File, Flags, Named, sys};

rt::main!(main, include_str!("ln.rs"));

fn main(args: Args) -> Result<u8, Failure> {
    let (flags, paths) = args.options("fs").flags()?;
    copy::each("ln", paths, |file, name| {
        put(file, name, flags).map(|()| true)
    })
}

fn put(file: ByteStr<'_>, name: ByteStr<'_>, flags: Flags) -> Result<(), Failure> {
    let make = || match flags.has('s') {
        true => sys::symlink(file, name),
        false => sys::link(file, name),
    };
    match make() {
        Err(Errno::EEXIST) if flags.has('f') => {
            // Two names of one file: removing one might be the end of it.
            if !flags.has('s') && same(file, name) {
                return Err(Failure::new(format_args!(
                    "{file} and {name} are the same file"
                )));
            }
            sys::remove(name).about(name)?;
            make()
        }
        made => made,
    }
    .about(format_args!("{name} to {file}"))
}

fn same(a: ByteStr<'_>, b: ByteStr<'_>) -> bool {
    match (File::lstat_path(a), File::lstat_path(b)) {
        (Ok(a), Ok(b)) => copy::same(&a, &b),
        _ => false,
    }
}
