//! `clear`: clears the terminal.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::{Args, Failure, Named, io};

rt::main!(main, include_str!("clear.rs"));

/// To the first corner; all of the screen; what has left it.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J\x1b[3J";

fn main(args: Args) -> Result<u8, Failure> {
    args.none()?;
    io::write(CLEAR).about("standard output")?;
    Ok(0)
}
