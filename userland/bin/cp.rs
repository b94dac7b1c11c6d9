//! `cp [-r] FROM TO` or `cp [-r] FROM... DIRECTORY`: copies files, `-r`
//! directories with all that is in them, symbolic links as such. Between files
//! of one server with snapshots the content is cloned: no data moves. In a
//! directory, devices, pipes and sockets are named and left out.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::copy;
use rt::{Args, ByteStr, Failure, File, Named, tree};

rt::main!(main, include_str!("cp.rs"));

fn main(args: Args) -> Result<u8, Failure> {
    let (flags, paths) = args.options("rR").flags()?;
    let trees = flags.has('r') || flags.has('R');
    copy::each("cp", paths, |from, to| put(from, to, trees))
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
