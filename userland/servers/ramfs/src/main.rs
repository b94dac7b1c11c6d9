//! ramfs: files in memory.
//!
//! Serves 9P2000.L on descriptor 3: a tree that is empty at first and is lost
//! when the process ends. It uses at most a quarter of the memory, or `-l`
//! bytes; beyond that, writes fail with "no space". `ramtree` is the tree,
//! `fids` the fids of clients, `server` the protocol; this file joins them in
//! one loop over messages.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod attributes;
mod clock;
mod fids;
mod server;

use ramtree::{PAGE, Tree};
use rt::service::{Arrival, Requests};
use rt::stats::Counters;
use rt::{Failure, Named, Stat64};
use server::Server;

rt::main!(main);

const USAGE: &str = "usage: ramfs [-l BYTES], with a channel as descriptor 3";

fn main(args: rt::Args) -> Result<(), Failure> {
    let limit = limit(args)?;
    let (mut requests, replies) = Requests::new(server::MSIZE)?;
    let mut server = Server::new(replies, Tree::new(limit));
    // Until the only client is gone.
    while let Arrival::Message(message) = requests.next(u64::MAX)? {
        server.request(message);
    }
    Ok(())
}

/// Bytes to use at most.
fn limit(args: rt::Args) -> Result<u64, Failure> {
    let mut options = args.options("l:");
    let mut limit = None;
    while let Some((_, value)) = options.next_option()? {
        limit = Some(value.parse().map_err(|_| Failure::usage(USAGE))?);
    }
    if !options.rest().is_empty() {
        return Err(Failure::usage(USAGE));
    }
    match limit {
        Some(limit) => Ok(limit),
        None => {
            let counters = Counters::now().about("counters")?;
            Ok(counters.get(Stat64::FramesTotal) / 4 * PAGE)
        }
    }
}
