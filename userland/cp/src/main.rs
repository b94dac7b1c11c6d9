//! `cp [-r] FROM TO` or `cp [-r] FROM... DIRECTORY`: copies files, `-r`
//! directories with all that is in them. Between files of one server with
//! snapshots the content is cloned: no data moves.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use rt::copy::{self, inside, last_part, target};
use rt::{Args, ByteStr, Errno, Failure, File, Named, eprintln, mode};

rt::main!(main);

const USAGE: &str = "cp [-r] FROM... TO";
/// Directories within each other, at most.
const DEPTH_MAX: usize = 64;

fn main(args: Args) -> Result<u8, Failure> {
    let (flags, paths) = args.options("r").flags(USAGE)?;
    let count = paths.len();
    let (Some(to), 2..) = (paths.get(count.wrapping_sub(1)), count) else {
        return Err(Failure::usage(format_args!("usage: {USAGE}")));
    };
    if count > 2 && !File::stat_path(to).about(to)?.is_dir() {
        return Err(Failure::new(format_args!("{to}: {}", Errno::ENOTDIR)));
    }
    let mut status = 0;
    for from in paths.iter().take(count - 1) {
        let target = target(from, to);
        let target = target.as_byte_str();
        let done = match File::stat_path(from).about(from) {
            Ok(stat) if stat.is_dir() && !flags.has('r') => Err(Failure::new(format_args!(
                "{from}: is a directory; -r copies those"
            ))),
            Ok(stat) if stat.is_dir() => directory(from, target, 0),
            Ok(_) => copy::file(from, target),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = done {
            eprintln!("cp: {failure}");
            status = 1;
        }
    }
    Ok(status)
}

fn directory(from: ByteStr<'_>, to: ByteStr<'_>, depth: usize) -> Result<(), Failure> {
    // Also what ends a directory that is copied into itself.
    if depth > DEPTH_MAX {
        return Err(Failure::new(format_args!("{from}: too many directories")));
    }
    let source = File::open(from, mode::OREAD).about(from)?;
    let permissions = source.stat().about(from)?.mode & 0o777;
    let made = File::create(to, mode::OREAD, mode::DMDIR | permissions | 0o700);
    match made {
        Err(Errno::EEXIST) => {}
        made => drop(made.about(to)?),
    }
    for entry in source.read_dir() {
        let name = entry.about(from)?.name;
        if name == "." || name == ".." {
            continue;
        }
        let name = name.as_byte_str();
        let (inner, target) = (inside(from, name), inside(to, last_part(name)));
        let (inner, target) = (inner.as_byte_str(), target.as_byte_str());
        match File::stat_path(inner).about(inner)?.is_dir() {
            true => directory(inner, target, depth + 1)?,
            false => copy::file(inner, target)?,
        }
    }
    Ok(())
}
