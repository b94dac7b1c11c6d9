//! `rm [-fr] PATH...`: removes files and empty directories; `-r`: directories
//! with their content; `-f`: a missing file is no failure. A symbolic link is
//! removed itself.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::copy::last_part;
use rt::{Args, ByteStr, Errno, Failure, File, Named, eprintln, manual, sys, tree};

rt::main!(main, include_str!("rm.rs"));

fn main(args: Args) -> Result<u8, Failure> {
    let (flags, paths) = args.options("frR").flags()?;
    if paths.is_empty() && !flags.has('f') {
        return Err(manual::misused());
    }
    let mut status = 0;
    for path in paths.iter() {
        if flags.has('f') && matches!(File::lstat_path(path), Err(Errno::ENOENT)) {
            continue;
        }
        match take(path, flags.has('r') || flags.has('R')) {
            Ok(true) => {}
            Ok(false) => status = 1,
            Err(failure) => {
                eprintln!("rm: {failure}");
                status = 1;
            }
        }
    }
    Ok(status)
}

/// Removes one argument; returns true if all of it is gone.
fn take(path: ByteStr<'_>, trees: bool) -> Result<bool, Failure> {
    let last = last_part(path);
    if last == "." || last == ".." {
        return Err(Failure::new(format_args!("{path}: is not removed")));
    }
    match trees {
        true => Ok(tree::remove("rm", path)),
        false => sys::remove(path).about(path).map(|()| true),
    }
}
