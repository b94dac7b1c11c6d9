//! Text processing shared by several programs: regular expressions
//! ([`Pattern`]), dates ([`Date`]), numbers with a unit ([`size`]), escapes
//! ([`unescape`]), formats ([`printf`]) and signals ([`Signal`]).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod date;
mod escape;
mod pattern;
mod printf;
mod signal;
mod size;

pub use date::Date;
pub use escape::{Escapes, Output, unescape};
pub use pattern::{Case, Pattern};
pub use printf::{Printed, printf};
pub use signal::{SIGNALS, Signal};
pub use size::size;
