//! `ns`: prints the name space that it runs in as commands that would make it: what is
//! bound and mounted at each name, and the directory. `#N` is the root of a file server;
//! `-a`, `-c` and `-e` are options of `bind` and `mount`.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::{Args, Failure, Named, io, names, sys};

rt::main!(main, include_str!("ns.rs"));

fn main(args: Args) -> Result<(), Failure> {
    args.none()?;
    names::print_bound().about("name space")?;
    let directory = sys::getwd().about("directory")?;
    let show = || {
        io::write(b"cd ")?;
        names::write_word(&directory)?;
        io::write(b"\n")
    };
    show().about("standard output")
}
