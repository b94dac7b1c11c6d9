//! consfs: the console as files.
//!
//! Serves 9P2000.L on descriptor 3: a directory with `cons` and `consctl`.
//! Writes to `cons` go to the first serial line; reads return typed input.
//! Commands written to `consctl` (`control` lists them) select the input mode
//! and the note group that Ctrl-C interrupts; a read tells whether there is a
//! terminal. `tree` is the directory, `line` the line discipline of a terminal,
//! `pipe` the input from a pipe or file, `uart` the hardware, `server` the
//! protocol. This file joins them in one loop over messages and interrupts.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod control;
mod line;
mod pipe;
mod server;
mod tree;
mod uart;

use alloc::vec;
use rt::abi::{Received, SERVICE_FD};
use rt::{Errno, Failure, File, Named, Port};
use server::Server;

rt::main!(main);

/// Keys at the receive port.
const REQUESTS: u64 = 0;
const INTERRUPTS: u64 = 1;
/// The first serial line's ISA interrupt.
const IRQ: u64 = 4;

fn main(_args: rt::Args) -> Result<(), Failure> {
    let channel = File::from_fd(SERVICE_FD as u32);
    let port = Port::new().about("receive port")?;
    port.add(&channel, REQUESTS).about("service channel")?;
    port.add_interrupt(INTERRUPTS, IRQ)
        .about("interrupt of the serial line")?;
    let mut server = Server::new(channel);
    let mut message = vec![0; server::MSIZE as usize];
    loop {
        let received = match port.receive(&mut message, server.patience_ns()) {
            Err(Errno::ETIMEDOUT) => {
                server.stop_asking();
                continue;
            }
            received => received.about("receive port")?,
        };
        match received.kind {
            Received::MESSAGE => {
                let len = (received.len as usize).min(message.len());
                server.request(&message[..len]);
            }
            Received::INTERRUPT => server.input(),
            // The only client is gone.
            _ => return Ok(()),
        }
    }
}
