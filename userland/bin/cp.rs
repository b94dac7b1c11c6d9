//! `cp [-r] FROM TO` or `cp [-r] FROM... DIRECTORY`: copies files, `-r`
//! directories with all that is in them, symbolic links as such. Between files
//! of one server with snapshots the content is cloned: no data moves. In a
//! directory, devices, pipes and sockets are named and left out.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::copy::{self, target};
use rt::{Args, ByteStr, Errno, Failure, File, Named, eprintln, manual, tree};

rt::main!(main, include_str!("cp.rs"));

fn main(args: Args) -> Result<u8, Failure> {
    let (flags, paths) = args.options("rR").flags()?;
    let count = paths.len();
    let (Some(to), 2..) = (paths.get(count.wrapping_sub(1)), count) else {
        return Err(manual::misused());
    };
    if count > 2 && !File::stat_path(to).about(to)?.is_dir() {
        return Err(Failure::new(format_args!("{to}: {}", Errno::ENOTDIR)));
    }
    let trees = flags.has('r') || flags.has('R');
    let mut status = 0;
    for from in paths.iter().take(count - 1) {
        match put(from, target(from, to).as_byte_str(), trees) {
            Ok(true) => {}
            Ok(false) => status = 1,
            Err(failure) => {
                eprintln!("cp: {failure}");
                status = 1;
            }
        }
    }
    Ok(status)
}

/// Copies one argument; returns true if all of it was copied.
fn put(from: ByteStr<'_>, to: ByteStr<'_>, trees: bool) -> Result<bool, Failure> {
    let stat = match trees {
        true => File::lstat_path(from),
        false => File::stat_path(from),
    };
    let stat = stat.about(from)?;
    if stat.is_link() {
        return copy::link(from, to).map(|()| true);
    }
    match (stat.is_dir(), copy::special(&stat)) {
        (true, _) if !trees => Err(Failure::new(format_args!(
            "{from}: is a directory; -r copies those"
        ))),
        (true, _) => Ok(tree::copy("cp", from, to)),
        (false, Some(kind)) if trees => {
            Err(Failure::new(format_args!("{from}: a {kind}, not copied")))
        }
        (false, _) => copy::file(from, to).map(|()| true),
    }
}
