//! `cat [-nu] [FILE...]`: copies files, or standard input for none and for
//! `-`, to standard output. A file that fails is named and the others still
//! follow. `-n`: lines are numbered; `-u` means nothing.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec;
use rt::io::{self, Lines};
use rt::{Args, Errno, Failure, File, Named, inputs, print};

rt::main!(main, include_str!("cat.rs"));

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;

fn main(args: Args) -> Result<u8, Failure> {
    let (flags, files) = args.options("nu").flags()?;
    let mut line = 0;
    Ok(inputs::each("cat", files, |name, file| {
        inputs::check_output(name, file)?;
        match flags.has('n') {
            true => numbered(file, &mut line).about(name),
            false => copy(file).about(name),
        }
    }))
}

fn copy(file: &File) -> Result<(), Errno> {
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(()),
            n => {
                io::write(&piece[..n])?;
                // A reader may be waiting for input from a console or channel.
                io::flush()?;
            }
        }
    }
}

fn numbered(file: &File, number: &mut u64) -> Result<(), Errno> {
    let mut lines = Lines::new(file);
    loop {
        let written = lines.with_next(|line| {
            *number += 1;
            print!("{number:6}\t");
            io::write(line)
        })?;
        match written {
            Some(written) => written?,
            None => return Ok(()),
        }
    }
}
