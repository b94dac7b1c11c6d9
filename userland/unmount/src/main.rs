//! `unmount PLACE...`: undoes what was bound or mounted there.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::{Args, Failure, Named, eprintln, sys};

rt::main!(main);

fn main(args: Args) -> Result<u8, Failure> {
    if args.is_empty() {
        return Err(Failure::usage("usage: unmount PLACE..."));
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
