//! `unmount PLACE...`: removes all binds and mounts at PLACE.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::{Args, Failure, Named, eprintln, manual, sys};

rt::main!(main, include_str!("unmount.rs"));

fn main(args: Args) -> Result<u8, Failure> {
    let (_, args) = args.options("").flags()?;
    if args.is_empty() {
        return Err(manual::misused());
    }
    let mut status = 0;
    for place in args.iter() {
        if let Err(failure) = sys::unmount(place).about(place) {
            eprintln!("unmount: {failure}");
            status = 1;
        }
    }
    Ok(status)
}
