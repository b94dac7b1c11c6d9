//! `touch [-c] FILE...`: sets the time of last change to now; a file that is
//! not there is made, with `-c` it is not. Symbolic links are followed.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::abi::StatChange;
use rt::{Args, ByteStr, Errno, Failure, File, Named, eprintln, manual, mode};

rt::main!(main, include_str!("touch.rs"));

fn main(args: Args) -> Result<u8, Failure> {
    let (flags, paths) = args.options("c").flags()?;
    if paths.is_empty() {
        return Err(manual::misused());
    }
    let mut status = 0;
    for path in paths.iter() {
        if let Err(failure) = touch(path, flags.has('c')) {
            eprintln!("touch: {failure}");
            status = 1;
        }
    }
    Ok(status)
}

fn touch(path: ByteStr<'_>, only_existing: bool) -> Result<(), Failure> {
    let now = StatChange {
        valid: StatChange::NOW,
        ..StatChange::default()
    };
    match File::change_path(path, &now) {
        Err(Errno::ENOENT) if only_existing => Ok(()),
        // Another program may make it first: its content stays.
        Err(Errno::ENOENT) => File::create(path, mode::OWRITE | mode::OKEEP, 0o644)
            .map(drop)
            .about(path),
        changed => changed.about(path),
    }
}
