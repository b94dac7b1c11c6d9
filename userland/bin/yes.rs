//! `yes [TEXT...]`: prints a line, the texts or `y`, until nobody reads any more.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use rt::{Args, Failure, Named, io};

rt::main!(main, include_str!("yes.rs"));

fn main(args: Args) -> Result<u8, Failure> {
    let (_, texts) = args.options("").flags()?;
    let texts: Vec<&[u8]> = texts.iter().map(|text| text.bytes()).collect();
    let line = match texts.is_empty() {
        true => b"y".to_vec(),
        false => texts.join(&b' '),
    };
    loop {
        io::write(&line).about("standard output")?;
        io::write(b"\n").about("standard output")?;
    }
}
