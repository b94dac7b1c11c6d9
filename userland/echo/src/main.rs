//! `echo [-n] [TEXT...]`: prints its arguments, `-n` without a newline.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::{Args, print};

rt::main!(main);

fn main(mut args: Args) {
    let newline = args.get(0) != Some("-n");
    if !newline {
        args = args.skip(1);
    }
    for (index, text) in args.iter().enumerate() {
        if index > 0 {
            print!(" ");
        }
        print!("{text}");
    }
    if newline {
        print!("\n");
    }
}
