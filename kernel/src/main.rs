//! The kernel: address spaces, the fault path, processes, channels, the mount
//! table. Everything else is a program; the machine is in the crate `hw`.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
// For the host (see `boot/stub`) there is no entry point.
#![cfg_attr(not(target_os = "none"), allow(dead_code))]

extern crate alloc;
#[cfg(not(target_os = "none"))]
extern crate stub;

mod bundle;
mod chan;
mod client;
mod counters;
mod file;
mod name;
mod options;
mod proc;
mod run;
mod sched;
mod seg;
mod start;
mod syscall;
mod text;
mod trace;
mod trap;

use bootloader_api::BootInfo;

#[cfg(target_os = "none")]
bootloader_api::entry_point!(main, config = &hw::CONFIG);

fn main(boot: &'static mut BootInfo) -> ! {
    let kernel = hw::Kernel {
        start: start::start,
        process: run::run,
        interrupt: trap::interrupt,
    };
    hw::start(boot, kernel)
}
