//! What the shell `sh` thinks with, apart from any system: the grammar
//! ([`parse()`]), expansion of words ([`expand()`]), patterns ([`glob`]), numbers
//! ([`arithmetic`]), conditions ([`condition`]) and editing of a typed line
//! ([`edit`]). Running commands is the affair of `userland/apps/sh`.
//!
//! The language is that of POSIX; docs/shell.md says what is left out. What is
//! not understood is refused by name, never taken for something else.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod arithmetic;
pub mod condition;
pub mod edit;
pub mod expand;
pub mod glob;
pub mod history;
mod lex;
pub mod parse;
pub mod split;
pub mod tree;
mod word;

pub use expand::{Host, Settings, expand, expand_one, pattern};
pub use parse::{Script, Wrong, parse};
pub use word::is_name;
