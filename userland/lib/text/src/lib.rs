//! Text processing shared by several programs: regular expressions
//! ([`Pattern`], [`Search`]), words ([`Counts`]), dates ([`Date`]), numbers with a unit ([`size`]), escapes
//! ([`unescape`]), formats ([`printf`]), signals ([`Signal`]), the size of a window
//! ([`Question`]) and differences ([`mod@diff`]).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod date;
pub mod diff;
mod escape;
mod pattern;
mod printf;
mod search;
mod signal;
mod size;
mod window;
mod words;

pub use date::Date;
pub use escape::{Escapes, Output, unescape};
pub use pattern::{Case, Pattern};
pub use printf::{Printed, printf};
pub use search::Search;
pub use signal::{SIGNALS, Signal};
pub use size::size;
pub use window::{Question, Window};
pub use words::Counts;
