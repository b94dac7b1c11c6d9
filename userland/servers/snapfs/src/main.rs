//! `snapfs SERVER [ARG...]`: snapshots for the files of any file server.
//!
//! Starts SERVER (`/bin/SERVER`, if there is no slash in it), which must speak
//! 9P2000.L on its descriptor 3, and serves its tree, with snapshots, on its
//! own:
//!
//! ```text
//! $ mount /mnt snapfs ramfs -l 2000000
//! kernel --9P2000.L.snap--> snapfs --9P2000.L--> ramfs
//! ```
//!
//! hostfs is the same for the host's directory, in one process with the driver.
//! It ends, and SERVER with it, when nothing of its tree is mounted any more. If
//! SERVER ends before, every request is answered with an error.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod below;

use alloc::vec::Vec;
use below::Channel;
use rt::abi::privilege;
use rt::{ByteStr, Failure, File, Named, Port, process, service};
use serving::{Lower, Server};
use snapfs::Snapfs;

rt::main!(main);

const USAGE: &str = "usage: snapfs SERVER [ARG...], with a channel as descriptor 3";

fn main(args: rt::Args) -> Result<(), Failure> {
    let Some(name) = args.get(0) else {
        return Err(Failure::usage(USAGE));
    };
    let path = service::path_of(name);
    let argv: Vec<ByteStr<'_>> = args.iter().collect();
    // Before anything else is open here, so that it has nothing of it.
    let server = service::start(&path, &argv, privilege::ALL)?;
    let served = serve(server.channel);
    // It has been hung up on.
    let ended = process::wait_for(server.pid).about(&path)?;
    served?;
    match (ended.status(), ended.text()) {
        (0, _) => Ok(()),
        (status, text) => Err(Failure::new(format_args!(
            "{path} ended with status {status}: {text}"
        ))),
    }
}

/// Serves until the kernel hangs up or the lower server is unusable.
fn serve(channel: File) -> Result<(), Failure> {
    let port = Port::new().about("receive port")?;
    let lower = Lower::new(Channel::new(channel, &port)?)?;
    let fs = Snapfs::with(lower, serving::options());
    Server::new(port, &fs)?.run()
}
