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

use rt::Failure;
use rt::service::{Arrival, Requests};
use server::Server;

rt::main!(main);

/// The first serial line's ISA interrupt.
const IRQ: u64 = 4;

fn main(_args: rt::Args) -> Result<(), Failure> {
    let (mut requests, replies) = Requests::new(server::MSIZE)?;
    requests.listen(IRQ)?;
    let mut server = Server::new(replies);
    loop {
        match requests.next(server.patience_ns())? {
            Arrival::Message(message) => server.request(message),
            Arrival::Interrupt => server.input(),
            Arrival::Nothing => server.stop_asking(),
            // The only client is gone.
            Arrival::End => return Ok(()),
        }
    }
}
