//! `sync [PATH...]`: returns when all writes to these files have reached the
//! medium; without PATH, all writes to the shared directory.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::{Args, ByteStr, Failure, File, Named, eprintln, mode};

rt::main!(main, include_str!("sync.rs"));

const HOST: &str = "/n/host";

fn main(args: Args) -> Result<u8, Failure> {
    let (_, args) = args.options("").flags()?;
    let mut status = 0;
    let mut sync = |path: ByteStr<'_>| {
        let done = File::open(path, mode::OREAD).and_then(|file| file.sync());
        if let Err(failure) = done.about(path) {
            eprintln!("sync: {failure}");
            status = 1;
        }
    };
    match args.is_empty() {
        true => sync(HOST.into()),
        false => args.iter().for_each(sync),
    }
    Ok(status)
}
