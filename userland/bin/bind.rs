//! `bind [-abc] NEW OLD`: makes OLD name the file at NEW; with `-b` or `-a` a
//! union of both, with NEW before or after the former content; `-c`: files
//! created in such a union may be created in NEW.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::abi::bind;
use rt::{Args, Failure, Flags, Named, manual, sys};

rt::main!(main, include_str!("bind.rs"));

fn main(args: Args) -> Result<(), Failure> {
    let (flags, paths) = args.options("abc").flags()?;
    let (Some(new), Some(old), 2) = (paths.get(0), paths.get(1), paths.len()) else {
        return Err(manual::misused());
    };
    sys::bind(new, old, how(flags)?).about(format_args!("{new} on {old}"))
}

/// The bind flags for the options.
fn how(flags: Flags) -> Result<u64, Failure> {
    let create = if flags.has('c') { bind::CREATE } else { 0 };
    match (flags.has('b'), flags.has('a')) {
        (false, false) => Ok(bind::REPLACE | create),
        (true, false) => Ok(bind::BEFORE | create),
        (false, true) => Ok(bind::AFTER | create),
        (true, true) => Err(Failure::usage("-a and -b exclude each other")),
    }
}
