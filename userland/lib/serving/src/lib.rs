//! What the programs that are snapfs over something have in common: the loop
//! that takes requests from a channel, gives them to [`snapfs`], sends the
//! answers, and hands over what comes from the server beneath.
//!
//! ```text
//! kernel --T--> Server --message--> snapfs --> Transport --> server beneath
//! kernel <--R-- Server <--answer--- snapfs <-- Transport <-- server beneath
//! ```
//!
//! It owns the channel to the kernel, the receive port and the buffers that
//! messages come in. How the server beneath is reached is a [`Transport`]'s
//! affair.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod message;
pub mod reply;
mod serve;

use rt::abi::{PAGE, Stat64};
use rt::stats::Counters;
use snapfs::Options;

pub use message::{Buffers, MSIZE, Message};
pub use serve::{BELOW, Came, Server, TOGETHER, Transport};

/// Least memory that clients may make a server hold, and most, in bytes.
const MEMORY: [u64; 2] = [4 << 20, 512 << 20];

/// How a server over any files is to be: an eighth of the machine's memory for
/// what its clients make it hold.
pub fn options() -> Options {
    let default = Options::default();
    let Ok(counters) = Counters::now() else {
        return default;
    };
    let [least, most] = MEMORY;
    let memory = (counters.get(Stat64::FramesTotal) / 8 * PAGE).clamp(least, most);
    Options {
        memory: memory as usize,
        ..default
    }
}
