//! `cat [FILE...]`: copies files, or standard input for none and for `-`, to
//! standard output. A file that fails is named and the others still follow.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec;
use rt::{Args, Failure, File, Named, io, mode};

rt::main!(main);

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;

fn main(args: Args) -> Result<u8, Failure> {
    if args.is_empty() {
        copy(&File::borrowed(0)).about("standard input")?;
        return Ok(0);
    }
    let mut status = 0;
    for path in args.iter() {
        if let Err(failure) = show(path) {
            rt::eprintln!("cat: {failure}");
            status = 1;
        }
    }
    Ok(status)
}

fn show(path: &str) -> Result<(), Failure> {
    if path == "-" {
        return copy(&File::borrowed(0)).about("standard input");
    }
    let file = File::open(path, mode::OREAD).about(path)?;
    copy(&file).about(path)
}

fn copy(file: &File) -> Result<(), rt::Errno> {
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(()),
            n => {
                io::write(&piece[..n])?;
                // What was read from a console or channel is wanted now.
                io::flush()?;
            }
        }
    }
}
