//! `mv FROM TO` or `mv FROM... DIRECTORY`: renames files and directories.
//! Between servers it copies and removes.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::copy;
use rt::{Args, ByteStr, Errno, Failure, File, Named, sys, tree};

rt::main!(main, include_str!("mv.rs"));

fn main(args: Args) -> Result<u8, Failure> {
    let (_, paths) = args.options("").flags()?;
    copy::each("mv", paths, put)
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
