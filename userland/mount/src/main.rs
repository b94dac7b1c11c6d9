//! `mount PLACE SERVER [ARG...]`: starts a file server and mounts its tree at
//! PLACE. The server gets a channel as descriptor 3 and runs as long as it is
//! mounted.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;
use rt::abi::privilege;
use rt::{Args, Failure, Named, service};

rt::main!(main);

const USAGE: &str = "mount PLACE SERVER [ARG...]";

fn main(args: Args) -> Result<(), Failure> {
    let (_, rest) = args.options("").flags(USAGE)?;
    let (Some(place), Some(name)) = (rest.get(0), rest.get(1)) else {
        return Err(Failure::usage(format_args!("usage: {USAGE}")));
    };
    let path = match name.contains('/') {
        true => Cow::Borrowed(name),
        false => Cow::Owned(format!("/bin/{name}")),
    };
    let argv: Vec<&str> = rest.skip(1).iter().collect();
    let server = service::start(&path, &argv, privilege::ALL)?;
    let mounted = server.channel.mount(place);
    mounted.about(format_args!("{place}: mounting {path}"))
}
