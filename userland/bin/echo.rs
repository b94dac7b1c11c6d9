//! `echo [-n] [TEXT...]`: prints its arguments, `-n` without a newline.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::{Args, Failure, Named, io};

rt::main!(main);

fn main(args: Args) -> Result<(), Failure> {
    echo(args).about("standard output")
}

fn echo(mut args: Args) -> Result<(), rt::Errno> {
    let newline = args.get(0).is_none_or(|first| first != "-n");
    if !newline {
        args = args.skip(1);
    }
    for (index, text) in args.iter().enumerate() {
        if index > 0 {
            io::write(b" ")?;
        }
        io::write(&text)?;
    }
    match newline {
        true => io::write(b"\n"),
        false => Ok(()),
    }
}
