//! The profiler behind `cargo run -- profile`: a plugin of QEMU that counts each
//! instruction of the guest by its address and the program on whose behalf it runs.
//!
//! QEMU translates the guest's code block by block and tells the plugin of each block
//! that it translates and executes. The counts are written to a file when QEMU ends; the
//! runner gives them names.
//!
//! The crate is for the host. It is empty where everything is checked for the guest.
#![cfg_attr(target_os = "none", no_std)]

#[cfg(not(target_os = "none"))]
mod counts;
#[cfg(not(target_os = "none"))]
mod images;
#[cfg(not(target_os = "none"))]
mod plugin;
#[cfg(not(target_os = "none"))]
mod qemu;
