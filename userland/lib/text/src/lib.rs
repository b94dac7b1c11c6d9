//! Text processing shared by several programs: regular expressions
//! ([`Pattern`]), dates ([`Date`]), numbers with a unit ([`size`]), escapes
//! ([`unescape`]), formats ([`printf`]) signals ([`Signal`]) and the size of a window
//! ([`Question`]).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod date;
mod escape;
mod pattern;
mod printf;
mod signal;
mod size;
mod window;

pub use date::Date;
pub use escape::{Escapes, Output, unescape};
pub use pattern::{Case, Pattern};
pub use printf::{Printed, printf};
pub use signal::{SIGNALS, Signal};
pub use size::size;
pub use window::{Question, Window};
