//! hostfs: the host's directory, with snapshots.
//!
//! Three layers in one process: a virtio-9p device, snapfs over it, and this
//! loop, which takes requests from descriptor 3 and interrupts from the device.
//!
//! ```text
//! kernel --T--> serve --message--> snapfs --> below --slot--> device
//! kernel <--R-- serve <--answer--- snapfs <-- below <--slot-- device
//! ```
//!
//! The data of a reply stays in the device's memory from the moment the device
//! wrote it until the kernel has copied it to where it is wanted.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod below;
mod message;
mod serve;

use below::Below;
use rt::abi::SERVICE_FD;
use rt::{Failure, File, Named, Port};
use serve::Server;

rt::main!(main);

/// What the runner calls the directory it exports.
const TAG: &str = "host";

fn main(args: rt::Args) -> Result<(), Failure> {
    let tag = args.iter().next().unwrap_or(TAG);
    let channel = File::from_fd(SERVICE_FD as u32);
    let port = Port::new().about("receive port")?;
    port.add(&channel, serve::REQUESTS)
        .about("service channel")?;
    let below = Below::open(tag, &port, serve::INTERRUPTS)?;
    rt::stats::register_device().about("device counters")?;
    Server::new(channel, port, below).run()
}
