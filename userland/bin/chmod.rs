//! `chmod MODE FILE...`: sets the permissions, an octal number; of a symbolic link,
//! those of its target.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::abi::StatChange;
use rt::{Args, Failure, File, Named, eprintln, manual};

rt::main!(main, include_str!("chmod.rs"));

fn main(args: Args) -> Result<u8, Failure> {
    let (_, args) = args.options("").flags()?;
    let permissions = args
        .get(0)
        .and_then(|text| u64::from_str_radix(text.to_str()?, 8).ok());
    let (Some(permissions @ 0..=0o7777), 2..) = (permissions, args.len()) else {
        return Err(manual::misused());
    };
    let change = StatChange {
        valid: StatChange::MODE,
        mode: permissions,
        ..StatChange::default()
    };
    let mut status = 0;
    for path in args.skip(1).iter() {
        if let Err(failure) = File::change_path(path, &change).about(path) {
            eprintln!("chmod: {failure}");
            status = 1;
        }
    }
    Ok(status)
}
