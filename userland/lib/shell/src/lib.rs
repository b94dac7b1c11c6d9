//! The system-independent part of the shell `sh`: the grammar ([`parse()`]),
//! expansion of words ([`expand()`]), patterns ([`glob`]), numbers
//! ([`arithmetic`]), conditions ([`condition`]) and the line editor ([`edit`]).
//! `userland/apps/sh` runs the commands.
//!
//! The language is POSIX's; docs/shell.md lists the exceptions. Unsupported
//! syntax is refused by name and never interpreted as anything else.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod alias;
pub mod arithmetic;
pub mod complete;
pub mod condition;
pub mod edit;
pub mod expand;
pub mod getopts;
pub mod glob;
pub mod history;
mod lex;
pub mod parse;
pub mod split;
pub mod tree;
mod word;

pub use alias::Aliases;
pub use expand::{Host, Settings, expand, expand_one, pattern};
pub use parse::{Script, Wrong, parse};
pub use word::is_name;
