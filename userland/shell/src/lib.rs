//! What the shell `sh` thinks with, apart from any system: the grammar
//! ([`parse()`]), expansion of words ([`expand()`]), patterns ([`glob`]), numbers
//! ([`arithmetic`]), conditions ([`condition`]) and editing of a typed line
//! ([`edit`]). Running commands is the affair of `userland/sh`.
//!
//! The language is the Bourne shell's, without functions, `case` and
//! here-documents. The text of `help` says what there is.
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
pub mod tree;

pub use expand::{Host, expand, expand_one};
pub use parse::{Wrong, parse};
