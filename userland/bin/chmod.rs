//! `chmod MODE FILE...`: sets the permissions, an octal number.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::abi::StatChange;
use rt::{Args, Failure, File, Named, eprintln, manual, mode};

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
        let opened = File::open(path, mode::OREAD).or_else(|_| File::open(path, mode::OWRITE));
        let done = opened.and_then(|file| file.change(&change)).about(path);
        if let Err(failure) = done {
            eprintln!("chmod: {failure}");
            status = 1;
        }
    }
    Ok(status)
}
