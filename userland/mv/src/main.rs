//! `mv FROM TO` or `mv FROM... DIRECTORY`: renames files and directories. A
//! file that goes to another server is copied and removed.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::copy::{self, target};
use rt::{Args, ByteStr, Errno, Failure, File, Named, eprintln, sys};

rt::main!(main);

const USAGE: &str = "mv FROM... TO";

fn main(args: Args) -> Result<u8, Failure> {
    let (_, paths) = args.options("").flags(USAGE)?;
    let count = paths.len();
    let (Some(to), 2..) = (paths.get(count.wrapping_sub(1)), count) else {
        return Err(Failure::usage(format_args!("usage: {USAGE}")));
    };
    if count > 2 && !File::stat_path(to).about(to)?.is_dir() {
        return Err(Failure::new(format_args!("{to}: {}", Errno::ENOTDIR)));
    }
    let mut status = 0;
    for from in paths.iter().take(count - 1) {
        if let Err(failure) = put(from, target(from, to).as_byte_str()) {
            eprintln!("mv: {failure}");
            status = 1;
        }
    }
    Ok(status)
}

fn put(from: ByteStr<'_>, to: ByteStr<'_>) -> Result<(), Failure> {
    match sys::rename(from, to) {
        Err(Errno::EXDEV) => {
            copy::file(from, to)?;
            sys::remove(from).about(from)
        }
        renamed => renamed.about(format_args!("{from} to {to}")),
    }
}
