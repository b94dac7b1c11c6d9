//! `cat [FILE...]`: copies files, or standard input for none and for `-`, to
//! standard output. A file that fails is named and the others still follow.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec;
use rt::{Args, Errno, File, Named, inputs, io};

rt::main!(main);

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;

fn main(args: Args) -> u8 {
    inputs::each("cat", args, |name, file| copy(file).about(name))
}

fn copy(file: &File) -> Result<(), Errno> {
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
