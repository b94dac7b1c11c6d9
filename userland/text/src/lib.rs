//! What several programs do with texts: regular expressions ([`Pattern`]),
//! dates ([`Date`]) and numbers with a unit ([`size`]).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod date;
mod pattern;
mod size;

pub use date::Date;
pub use pattern::{Case, Pattern};
pub use size::size;
