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

pub use message::{Buffers, MSIZE, Message};
pub use serve::{BELOW, Came, Server, TOGETHER, Transport};
