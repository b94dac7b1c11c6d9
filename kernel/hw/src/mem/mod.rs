//! Physical memory, address spaces, kernel stacks, the heap.
//!
//! | addresses | what |
//! |---|---|
//! | up to `abi::USER_END` | the running program |
//! | `PHYSICAL_MAP` up | all physical memory, and devices below 4 GiB |
//! | `LARGE` up | kernel objects of more than a page |
//! | `STACKS` up | kernel stacks, each below an unmapped guard |
//! | top 2 GiB | the kernel |
//!
//! What safe code can do to frames is written down in [`named`].

pub mod ahead;
pub mod cache;
pub mod chance;
mod edit;
pub mod frames;
pub mod heap;
mod large;
pub mod named;
pub(crate) mod own;
pub mod owners;
mod page;
pub mod paging;
pub(crate) mod payer;
mod pool;
pub(crate) mod stack;
mod table;
mod words;

use bootloader_api::BootInfo;

/// Where the kernel asks the loader to map physical memory.
pub(crate) const PHYSICAL_MAP: u64 = 0xffff_8000_0000_0000;
/// Where large objects are: a top-level page-table entry of its own.
const LARGE: u64 = 0xffff_fd00_0000_0000;
/// Where kernel stacks are: a top-level page-table entry of its own.
const STACKS: u64 = 0xffff_fe00_0000_0000;

/// Takes over memory management from the loader.
///
/// Panics with a message if the loader did not satisfy the kernel's
/// configuration, or memory is too small.
pub(crate) fn init(boot: &BootInfo) {
    let offset = boot.physical_memory_offset.into_option();
    assert!(
        offset == Some(PHYSICAL_MAP),
        "physical memory is mapped at {offset:x?}"
    );
    pool::init(&boot.memory_regions);
    own::init();
    heap::init();
    pool::on_low(stack::give_back);
    pool::set_limits();
}

/// The bundle of files, through the physical map: the loader's mapping goes
/// away with its other low mappings. Panics if there is none.
pub(crate) fn bundle(boot: &BootInfo) -> &'static [u8] {
    let Some(address) = boot.ramdisk_addr.into_option() else {
        panic!("the loader gave no bundle");
    };
    let len = boot.ramdisk_len;
    let Some(pa) = own::contiguous(address, len) else {
        panic!("the bundle at {address:#x} is not mapped in one piece");
    };
    // SAFETY: 1. mapped permanently; 2. the loader marked it as used, so none
    // of its frames is handed out and nothing writes to it.
    unsafe { core::slice::from_raw_parts(physical(pa), len as usize) }
}

/// Address of physical address `pa` in the physical map.
#[inline]
pub(crate) fn physical(pa: u64) -> *mut u8 {
    (PHYSICAL_MAP + pa) as *mut u8
}
