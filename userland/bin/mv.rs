//! `mv FROM TO` or `mv FROM... DIRECTORY`: renames files and directories.
//! Between servers it copies and removes.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::copy::{self, target};
use rt::{Args, ByteStr, Errno, Failure, File, Named, eprintln, manual, sys, tree};

rt::main!(main, include_str!("mv.rs"));

fn main(args: Args) -> Result<u8, Failure> {
    let (_, paths) = args.options("").flags()?;
    let count = paths.len();
    let (Some(to), 2..) = (paths.get(count.wrapping_sub(1)), count) else {
        return Err(manual::misused());
    };
    if count > 2 && !File::stat_path(to).about(to)?.is_dir() {
        return Err(Failure::new(format_args!("{to}: {}", Errno::ENOTDIR)));
    }
    let mut status = 0;
    for from in paths.iter().take(count - 1) {
        match put(from, target(from, to).as_byte_str()) {
            Ok(true) => {}
            Ok(false) => status = 1,
            Err(failure) => {
                eprintln!("mv: {failure}");
                status = 1;
            }
        }
    }
    Ok(status)
}

/// Moves one argument; returns true if all of it was moved.
fn put(from: ByteStr<'_>, to: ByteStr<'_>) -> Result<bool, Failure> {
    let stat = File::lstat_path(from).about(from)?;
    copy::apart(&stat, from, to)?;
    match sys::rename(from, to) {
        Err(Errno::EXDEV) if stat.is_dir() => {
            Ok(tree::copy("mv", from, to) && tree::remove("mv", from))
        }
        Err(Errno::EXDEV) => {
            if let Some(kind) = copy::special(&stat) {
                return Err(Failure::new(format_args!("{from}: a {kind}, not moved")));
            }
            match stat.is_link() {
                true => copy::link(from, to)?,
                false => copy::file(from, to)?,
            }
            sys::remove(from).about(from).map(|()| true)
        }
        Err(Errno::EINVAL) if stat.is_dir() => {
            tree::into_itself(from, to)?;
            Err(Errno::EINVAL).about(format_args!("{from} to {to}"))
        }
        renamed => renamed.about(format_args!("{from} to {to}")).map(|()| true),
    }
}
