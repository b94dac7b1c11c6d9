//! The host build of kernel, loader and programs.
//!
//! Guest code has no standard library; it brings its own entry point, panic
//! handler and allocator, and exists for `x86_64-unknown-none` only. `cargo
//! check`, `cargo build` and editors, however, build the workspace for the
//! host. For that case this crate provides the missing parts: the standard
//! library's panic handler, unwinder and allocator, and a `main` that prints
//! where the code runs. The code itself is checked unchanged. For the guest
//! this crate is empty.
#![no_std]

#[cfg(not(target_os = "none"))]
mod host;
