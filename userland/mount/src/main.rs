//! `mount [-abce] PLACE SERVER [ARG...]`: starts a file server and mounts its
//! tree at PLACE; `-a`, `-b` and `-c` as for `bind`, `-e`: no read of its files
//! is deferred. The server gets a channel as descriptor 3 and runs as long as
//! it is mounted.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;
use rt::abi::{bind, privilege};
use rt::{Args, Failure, Flags, Named, service};

rt::main!(main);

const USAGE: &str = "mount [-abce] PLACE SERVER [ARG...]";

fn main(args: Args) -> Result<(), Failure> {
    let (flags, rest) = args.options("abce").flags(USAGE)?;
    let (Some(place), Some(name)) = (rest.get(0), rest.get(1)) else {
        return Err(Failure::usage(format_args!("usage: {USAGE}")));
    };
    let how = how(flags)?;
    let path = match name.contains('/') {
        true => Cow::Borrowed(name),
        false => Cow::Owned(format!("/bin/{name}")),
    };
    let argv: Vec<&str> = rest.skip(1).iter().collect();
    let server = service::start(&path, &argv, privilege::ALL)?;
    let mounted = server.channel.mount_with(place, how);
    mounted.about(format_args!("{place}: mounting {path}"))
}

/// The flags of the options: how what is new and what is there go together.
fn how(flags: Flags) -> Result<u64, Failure> {
    let create = if flags.has('c') { bind::CREATE } else { 0 };
    let eager = if flags.has('e') { bind::EAGER } else { 0 };
    match (flags.has('b'), flags.has('a')) {
        (false, false) => Ok(bind::REPLACE | create | eager),
        (true, false) => Ok(bind::BEFORE | create | eager),
        (false, true) => Ok(bind::AFTER | create | eager),
        (true, true) => Err(Failure::usage("-a and -b exclude each other")),
    }
}
