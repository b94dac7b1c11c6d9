//! gdb with a guest, as `cargo run -- gdb` starts it: its symbols and breakpoints, and the
//! commands of `boot/gdb`. Skipped, and said aloud, where gdb or its Python is not there.

mod damage;
mod faults;
mod looks;
mod programs;
mod session;
mod steps;
