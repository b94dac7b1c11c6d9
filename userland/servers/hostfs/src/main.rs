//! hostfs: the host's directory, with snapshots.
//!
//! Three layers in one process: a virtio-9p device, snapfs over it, and the loop
//! of `serving`, which takes requests from descriptor 3 and interrupts from the
//! device.
//!
//! ```text
//! kernel --T--> serving --message--> snapfs --> below --slot--> device
//! kernel <--R-- serving <--answer--- snapfs <-- below <--slot-- device
//! ```
//!
//! The device writes the data of a page fault to the frame that waits for it, which
//! the kernel lends (docs/decisions/0033-lent-frames.md). Other data stays in the
//! device's memory from the moment the device wrote it until the kernel has copied it
//! to where it is wanted.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

mod below;

use below::Virtio;
use rt::{Failure, Named, Port};
use serving::{BELOW, Lower, Server};
use snapfs::{Options, Snapfs};

rt::main!(main);

/// The runner's name for the directory it exports.
const TAG: &str = "host";

fn main(args: rt::Args) -> Result<(), Failure> {
    let tag = match args.get(0) {
        Some(tag) => {
            let wrong = || Failure::usage(format_args!("{tag}: no such device"));
            tag.to_str().ok_or_else(wrong)?
        }
        None => TAG,
    };
    let port = Port::new().about("receive port")?;
    let lower = Lower::new(Virtio::open(tag, &port, BELOW)?)?;
    rt::stats::register_device().about("device counters")?;
    let options = Options {
        // QEMU's fids are paths until they are opened.
        by_names: true,
        ..serving::options()
    };
    let fs = Snapfs::with(lower, options);
    Server::new(port, &fs)?.run()
}
