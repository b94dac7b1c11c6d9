//! `mount [-abce] [-o OPTION,...] [PLACE SERVER [ARG...]]`: starts a file server
//! and mounts its tree at PLACE; `-a`, `-b` and `-c` as for `bind`; `-e`: reads
//! of its files are eager; `-o`: options for the server, see docs/protocol.md.
//! The server gets a channel as descriptor 3 and runs as long as it is mounted.
//! Without arguments: prints what is mounted and bound, as `ns` does.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use rt::abi::{bind, privilege};
use rt::{Args, ByteStr, ByteString, Failure, Named, manual, names, service};

rt::main!(main, include_str!("mount.rs"));

fn main(args: Args) -> Result<(), Failure> {
    if args.is_empty() {
        return names::print_bound().about("name space");
    }
    let (how, asked, rest) = options(args)?;
    let (Some(place), Some(name)) = (rest.get(0), rest.get(1)) else {
        return Err(manual::misused());
    };
    let path = service::path_of(name);
    let argv: Vec<ByteStr<'_>> = rest.skip(1).iter().collect();
    let server = service::start(&path, &argv, privilege::ALL)?;
    let mounted = server.channel.mount_as(place, how, &asked);
    mounted.about(format_args!("{place}: mounting {path}"))
}

/// The bind flags, the name to attach to, and the arguments after the options.
fn options(args: Args) -> Result<(u64, ByteString, Args), Failure> {
    let mut options = args.options("abceo:");
    let (mut order, mut rest, mut asked) = (bind::REPLACE, 0, ByteString::default());
    while let Some((letter, value)) = options.next_option()? {
        match letter {
            'a' | 'b' if order != bind::REPLACE => {
                return Err(Failure::usage("-a and -b exclude each other"));
            }
            'a' => order = bind::AFTER,
            'b' => order = bind::BEFORE,
            'c' => rest |= bind::CREATE,
            'e' => rest |= bind::EAGER,
            _ => asked = ByteString([b"?", value.bytes()].concat()),
        }
    }
    Ok((order | rest, asked, options.rest()))
}
