//! What kernel, loader and programs are when they are built for the host.
//!
//! Guest code has no standard library; it brings its own entry point, panic
//! handler and allocator, and exists for `x86_64-unknown-none` only. Yet `cargo
//! check`, `cargo build` and an editor look at a workspace for the host. There
//! this crate gives guest code what it lacks: the standard library's panic
//! handler, unwinder and allocator, and a `main` that says where the code runs.
//! The code itself is checked as it is. For the guest this crate is empty.
#![no_std]

#[cfg(not(target_os = "none"))]
mod host;
