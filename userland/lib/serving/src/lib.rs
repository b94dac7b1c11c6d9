//! The common part of all programs that run snapfs over some lower server: the
//! loop that takes requests from a channel, gives them to [`snapfs`], sends the
//! answers, and passes on the replies of the lower server.
//!
//! ```text
//! kernel --T--> Server --message--> snapfs --> Lower --message--> Link --> lower server
//! kernel <--R-- Server <--answer--- snapfs <-- Lower <--reply---- Link <-- lower server
//! ```
//!
//! It owns the channel to the kernel, the receive port and the message buffers.
//! A [`Transport`] is the connection to the lower server; [`Lower`] is one over any
//! [`Link`] that carries messages.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod lower;
mod message;
mod reply;
mod serve;

use rt::abi::{PAGE, Stat64};
use rt::stats::Counters;
use snapfs::Options;

pub use lower::{Event, Link, Lower};
pub use message::{Buffers, MSIZE, Message};
pub use serve::{BELOW, Came, Server, Transport};

/// Least and most memory that clients may make a server use, in bytes.
const MEMORY: [u64; 2] = [4 << 20, 512 << 20];

/// The options of a server: its clients may make it use an eighth of the
/// machine's memory.
pub fn options() -> Options {
    let default = Options::default();
    let Ok(counters) = Counters::now() else {
        return default;
    };
    let [least, most] = MEMORY;
    let asked = rt::options::Options::read().unwrap_or_default();
    let old_s = asked.get("old").and_then(|text| text.parse().ok());
    let memory = (counters.get(Stat64::FramesTotal) / 8 * PAGE).clamp(least, most);
    Options {
        memory: memory as usize,
        lazy: true,
        old_s: old_s.unwrap_or(default.old_s),
        ..default
    }
}
