//! `readlink LINK...`: the texts of symbolic links, one a line.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::{Args, Failure, Named, eprintln, io, manual, sys};

rt::main!(main, include_str!("readlink.rs"));

fn main(args: Args) -> Result<u8, Failure> {
    let (_, paths) = args.options("").flags()?;
    if paths.is_empty() {
        return Err(manual::misused());
    }
    let mut status = 0;
    for path in paths.iter() {
        match sys::read_link(path).about(path) {
            Ok(text) => {
                io::write_name(text).about("standard output")?;
                io::write(b"\n").about("standard output")?;
            }
            Err(failure) => {
                eprintln!("readlink: {failure}");
                status = 1;
            }
        }
    }
    Ok(status)
}
