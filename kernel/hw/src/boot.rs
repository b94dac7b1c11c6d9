//! From the loader's entry to a kernel on a stack of its own.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bootloader_api::config::Mapping;
use bootloader_api::{BootInfo, BootloaderConfig};
use spin::Once;

use crate::arch::{self, Program};
use crate::mem::{self, stack::KernelStack};
use crate::task;

/// The kernel's requirements on the loader.
pub const CONFIG: BootloaderConfig = {
    let mut config = BootloaderConfig::new_default();
    config.mappings.physical_memory = Some(Mapping::FixedAddress(mem::PHYSICAL_MAP));
    config.kernel_stack_size = 64 << 10;
    config
};

/// The kernel proper, as the machine calls it.
#[derive(Clone, Copy)]
pub struct Kernel {
    /// Called once, with the files that came with the kernel.
    pub start: fn(&'static [u8]) -> !,
    /// The loop of a process on its own kernel stack: runs its program and
    /// serves it.
    pub process: fn(Program) -> !,
    /// Called with the vector of an interrupt that comes in [`idle`](crate::idle)
    /// or [`take_interrupts`](crate::take_interrupts). Interrupts are off.
    pub interrupt: fn(u8),
}

static STARTED: Once<(Kernel, &'static [u8])> = Once::new();

/// Prepares the machine and calls `kernel.start`. Called once, on the loader's
/// stack, in the loader's address space. The content of `boot` is trusted,
/// because it comes from the loader.
///
/// Panics with a message if the machine or the loader lacks a required feature.
pub fn start(boot: &'static mut BootInfo, kernel: Kernel) -> ! {
    static BEGUN: AtomicBool = AtomicBool::new(false);
    assert!(!BEGUN.swap(true, Relaxed), "the kernel starts once");
    arch::serial::init();
    arch::init(kernel.interrupt);
    task::init(kernel.process);
    mem::init(boot);
    arch::interrupts::init();
    arch::clock::init();
    arch::guard_stacks();
    STARTED.call_once(|| (kernel, mem::bundle(boot)));
    match KernelStack::new() {
        Some(stack) => arch::run_on(stack, on_own_stack, 0),
        None => panic!("no memory for the first stack"),
    }
}

/// From here on nothing of the loader's is in use, not even its mappings.
extern "C" fn on_own_stack(_: usize) -> ! {
    mem::own::activate();
    match STARTED.get() {
        Some((kernel, bundle)) => (kernel.start)(bundle),
        None => unreachable!("set before the stack was left"),
    }
}
