//! swapfs: temporary files on a block device, for the kernel's swap.
//!
//! Serves 9P2000.L on descriptor 3: one directory of sparse files whose pages lie in
//! blocks of the first virtio-blk device. `swaptree` is the directory without its
//! device, `virtioblk` the driver; `server` joins them in one loop over messages and
//! interrupts. With an argument, the mount tag of a directory that the host exports,
//! it serves that directory, without the snapshots of hostfs (`relay`).
//!
//! Other memory leaves through this server, so it does not wait for memory of its own
//! on the way: its buffers are there from the start, and a message is passed to the
//! device where it was received.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod message;
mod relay;
mod server;

use relay::Relay;
use rt::abi::SERVICE_FD;
use rt::{Failure, File, Named, Port};
use server::{DEVICE, REQUESTS, Server};
use swaptree::Tree;
use virtioblk::Disk;

rt::main!(main);

const USAGE: &str = "usage: swapfs [TAG], with a channel as descriptor 3";

fn main(args: rt::Args) -> Result<(), Failure> {
    let port = Port::new().about("receive port")?;
    let channel = File::from_fd(SERVICE_FD as u32);
    if let Some(tag) = args.get(0) {
        let tag = tag.to_str().filter(|_| args.get(1).is_none());
        let tag = tag.ok_or_else(|| Failure::usage(USAGE))?;
        Relay::new(channel, port, tag)?.run()?;
        virtioblk::end();
    }
    let disk = Disk::open(&port, DEVICE, server::BUFFERS_LEN)?;
    let disk = disk.ok_or_else(|| Failure::new("no virtio-blk device"))?;
    let blocks = u32::try_from(disk.blocks()).unwrap_or(u32::MAX);
    let tree = Tree::new(blocks).about("map of the device")?;
    port.add(&channel, REQUESTS).about("service channel")?;
    Server::new(channel, port, tree, disk)?.run()?;
    virtioblk::end()
}
