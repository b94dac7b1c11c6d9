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

use alloc::vec;
use rt::abi::{PAGE, Stat64};
use rt::stats::Counters;
use rt::sys;
use snapfs::Options;

pub use lower::{Event, Link, Lower};
pub use message::{Buffers, MSIZE, Message};
pub use serve::{BELOW, Came, Server, Transport};

/// Least and most memory that clients may make a server use, in bytes.
const MEMORY: [u64; 2] = [4 << 20, 512 << 20];

/// Most bytes of boot options.
const OPTIONS: usize = 64 * 1024;

/// The options of a server: its clients may make it use an eighth of the
/// machine's memory.
pub fn options() -> Options {
    let default = Options::default();
    let Ok(counters) = Counters::now() else {
        return default;
    };
    let [least, most] = MEMORY;
    let old_s = option("old=").unwrap_or(default.old_s);
    let memory = (counters.get(Stat64::FramesTotal) / 8 * PAGE).clamp(least, most);
    Options {
        memory: memory as usize,
        lazy: true,
        old_s,
        ..default
    }
}

/// The number in the last boot option that begins with `key`.
fn option(key: &str) -> Option<u64> {
    let mut options = vec![0; OPTIONS];
    let len = sys::boot_options(&mut options).ok()?;
    let text = core::str::from_utf8(options.get(..len)?).ok()?;
    let mut values = text.lines().filter_map(|line| line.strip_prefix(key));
    values.next_back()?.parse().ok()
}
