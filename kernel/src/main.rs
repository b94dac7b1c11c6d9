//! The kernel: address spaces, the fault path, processes, channels, the mount
//! table. Everything else is a program.
#![no_std]
#![no_main]
// For the host (see `boot/stub`) there is no entry point.
#![cfg_attr(not(target_os = "none"), allow(dead_code))]

extern crate alloc;
#[cfg(not(target_os = "none"))]
extern crate stub;

#[macro_use]
mod log;
mod arch;
mod chan;
mod client;
mod file;
mod lock;
mod mem;
mod name;
mod options;
mod panic;
mod proc;
mod sched;
mod seg;
mod start;
mod syscall;
mod text;
mod trap;

use bootloader_api::config::Mapping;
use bootloader_api::{BootInfo, BootloaderConfig};
use spin::Once;

use mem::stack::KernelStack;

/// What the kernel asks of the loader.
static CONFIG: BootloaderConfig = {
    let mut config = BootloaderConfig::new_default();
    config.mappings.physical_memory = Some(Mapping::FixedAddress(mem::PHYSICAL_MAP));
    config.kernel_stack_size = 64 << 10;
    config
};

#[cfg(target_os = "none")]
bootloader_api::entry_point!(main, config = &CONFIG);

/// The files that came with the kernel.
static BUNDLE: Once<&'static [u8]> = Once::new();

/// On the loader's stack, in the loader's address space.
fn main(boot: &'static mut BootInfo) -> ! {
    arch::serial::init();
    arch::init();
    mem::init(boot);
    arch::interrupts::init();
    arch::clock::init();
    arch::guard_stacks();
    BUNDLE.call_once(|| mem::bundle(boot));
    match KernelStack::new() {
        Some(stack) => arch::run_on(&core::mem::ManuallyDrop::new(stack), on_own_stack, 0),
        None => panic!("no memory for the first stack"),
    }
}

/// From here on nothing of the loader's is in use, not even its mappings.
extern "C" fn on_own_stack(_: usize) -> ! {
    mem::paging::kernel_root().activate();
    let bundle: &'static [u8] = BUNDLE.get().copied().unwrap_or_default();
    start::start(bundle)
}
