//! The loader: QEMU starts it by PVH, and it starts the kernel.
//!
//! It finds the kernel in the bundle (the first module: a tar archive), loads
//! its segments with their own permissions, maps physical memory, bundle and a
//! stack with an unmapped page below it, and enters the kernel by the contract
//! of `bootloader_api`. In the address space it leaves behind, nothing is both
//! writable and executable; the loader itself stays mapped at 1 MiB, outside
//! the usable memory, until the kernel drops the lower half.
#![no_std]
#![no_main]
// For the host (see `boot/stub`) there is no entry point.
#![cfg_attr(not(target_os = "none"), allow(dead_code))]

#[cfg(not(target_os = "none"))]
extern crate stub;

mod image;
mod memory;
mod pvh;
mod report;
mod space;
mod start;

use bootloader_api::BootInfo;
use bootloader_api::info::{MemoryRegion, MemoryRegions, Optional};
use core::fmt;
use core::ops::Range;
use image::{BadImage, Image};
use memory::{OutOfMemory, PAGE, Pool};
use pvh::Machine;
use space::{BadMap, EXECUTE, READ, Space, WRITE};

/// Memory regions that fit into their page.
const REGIONS_MAX: usize = PAGE as usize / size_of::<MemoryRegion>();
/// Physical memory is mapped at least this far: devices lie below it.
const PHYSICAL_MIN: u64 = 1 << 32;
/// Largest stack a kernel may ask for.
const STACK_MAX: u64 = 16 << 20;

/// Why the kernel could not be started.
enum Failure {
    Text(&'static str),
    Image(BadImage),
    Map(BadMap),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Failure::Text(text) => f.write_str(text),
            Failure::Image(bad) => bad.fmt(f),
            Failure::Map(bad) => bad.fmt(f),
        }
    }
}

impl From<&'static str> for Failure {
    fn from(text: &'static str) -> Self {
        Failure::Text(text)
    }
}

impl From<BadImage> for Failure {
    fn from(bad: BadImage) -> Self {
        Failure::Image(bad)
    }
}

impl From<BadMap> for Failure {
    fn from(bad: BadMap) -> Self {
        Failure::Map(bad)
    }
}

impl From<OutOfMemory> for Failure {
    fn from(_: OutOfMemory) -> Self {
        Failure::Map(BadMap::OutOfMemory)
    }
}

/// Called once by the entry code, with the physical address that PVH gave.
extern "C" fn load(start_info: u64) -> ! {
    // SAFETY: the entry code passes on what it got in ebx and has mapped the
    // first 4 GiB to themselves; nothing else runs.
    let machine = unsafe { pvh::read(start_info) };
    let plan = machine.map_err(Failure::from).and_then(prepare);
    match plan {
        Ok(plan) => enter(plan),
        Err(failure) => report::fail(format_args!("{failure}")),
    }
}

/// The result of the preparation.
struct Plan {
    machine: Machine,
    space: Space,
    taken: [Range<u64>; 2],
    entry: u64,
    stack: Range<u64>,
    /// Virtual address of a page for [`BootInfo`] and one for the regions.
    info: u64,
    physical: Optional<u64>,
    ramdisk: u64,
    /// The kernel's lowest address.
    kernel: u64,
    kernel_file: Range<u64>,
}

/// Loads the kernel and builds its address space.
fn prepare(machine: Machine) -> Result<Plan, Failure> {
    let own = start::extent();
    let bundle = machine.bundle.as_ptr_range();
    let bundle = bundle.start as u64..bundle.end as u64;
    let image = Image::find(machine.bundle)?;
    let wishes = &image.config.mappings;
    if wishes.page_table_recursive.is_some() || wishes.aslr {
        return Err("kernel: a recursive page table or random addresses are not supported".into());
    }

    // SAFETY: this is the only pool; the early tables map 4 GiB to themselves;
    // the loader and the bundle are all that is in use above 1 MiB.
    let mut pool = unsafe { Pool::new(machine.map, &own, bundle.clone()) }?;
    let mut space = Space::new(&mut pool, wishes.dynamic_range_start)?;

    map_loader(&own, &mut pool, &mut space)?;
    let kernel = load_segments(&image, &mut pool, &mut space)?;
    let stack = map_stack(&image, &mut pool, &mut space)?;
    let info_memory = pool.take(2 * PAGE)?.as_ptr() as u64;
    let info = space.place(wishes.boot_info, 2 * PAGE);
    space.map(&mut pool, info, info_memory, 2 * PAGE, WRITE)?;

    let ramdisk_size = bundle.end - bundle.start;
    let ramdisk = space.place(wishes.ramdisk_memory, ramdisk_size);
    if !bundle.start.is_multiple_of(PAGE) {
        return Err("bundle does not begin at a page".into());
    }
    space.map(&mut pool, ramdisk, bundle.start, ramdisk_size, READ)?;

    let mut physical = Optional::None;
    if let Some(wish) = wishes.physical_memory {
        let size = memory::end_of_ram(machine.map).max(PHYSICAL_MIN);
        let at = space.place(wish, size);
        space.map_large(&mut pool, at, size)?;
        physical = Optional::Some(at);
    }

    let file = image.file.as_ptr_range();
    Ok(Plan {
        taken: [own.start..pool.used_up_to(), bundle],
        entry: image.entry,
        kernel_file: file.start as u64..file.end as u64,
        machine,
        space,
        stack,
        info,
        physical,
        ramdisk,
        kernel,
    })
}

/// Identity-maps the loader, so that it can switch to the new space and go on.
fn map_loader(own: &start::Extent, pool: &mut Pool, space: &mut Space) -> Result<(), Failure> {
    for (range, flags) in [
        (own.start..own.rodata, EXECUTE),
        (own.rodata..own.data, READ),
        (own.data..own.end, WRITE),
    ] {
        space.map(
            pool,
            range.start,
            range.start,
            range.end - range.start,
            flags,
        )?;
    }
    Ok(())
}

/// Copies and maps every segment; the lowest address they take.
fn load_segments(image: &Image, pool: &mut Pool, space: &mut Space) -> Result<u64, Failure> {
    let mut lowest = u64::MAX;
    for segment in image.segments() {
        let segment = segment?;
        let size = segment.end - segment.start;
        let memory = pool.take(size)?;
        let skip = (segment.address - segment.start) as usize;
        memory
            .get_mut(skip..skip + segment.data.len())
            .ok_or("kernel: a segment is longer in the file than in memory")?
            .copy_from_slice(segment.data);
        let flags = match (segment.writable, segment.executable) {
            (true, _) => WRITE,
            (false, true) => EXECUTE,
            (false, false) => READ,
        };
        space.map(pool, segment.start, memory.as_ptr() as u64, size, flags)?;
        lowest = lowest.min(segment.start);
    }
    Ok(lowest)
}

/// The kernel's stack; the page below it stays unmapped.
fn map_stack(image: &Image, pool: &mut Pool, space: &mut Space) -> Result<Range<u64>, Failure> {
    let size = image.config.kernel_stack_size.max(PAGE);
    if size > STACK_MAX {
        return Err("kernel: asks for too large a stack".into());
    }
    let size = size.next_multiple_of(PAGE);
    let guard = space.place(image.config.mappings.kernel_stack, size + PAGE);
    let bottom = guard
        .checked_add(PAGE)
        .ok_or("kernel: asks for its stack at an impossible address")?;
    let memory = pool.take(size)?.as_ptr() as u64;
    space.map(pool, bottom, memory, size, WRITE)?;
    Ok(bottom..bottom + size)
}

/// Switches to the new address space, fills in the boot information at its
/// final place, and jumps.
fn enter(plan: Plan) -> ! {
    let mut regions = [MemoryRegion::empty(); REGIONS_MAX];
    let Some(count) = memory::regions(plan.machine.map, &plan.taken, &mut regions) else {
        report::fail(format_args!("the machine has too many memory regions"));
    };
    // SAFETY: text, constants, data and stack of the loader are mapped to
    // themselves in the new space, and nothing else is used from here on: the
    // regions are on the stack, the pool is gone.
    unsafe { plan.space.activate() };

    let target = (plan.info + PAGE) as *mut MemoryRegion;
    // SAFETY: `prepare` has mapped two writable pages at `info` that have no
    // other use; the regions fit into the second by REGIONS_MAX.
    let regions = unsafe {
        target.copy_from_nonoverlapping(regions.as_ptr(), count);
        core::slice::from_raw_parts_mut(target, count)
    };
    let mut info = BootInfo::new(MemoryRegions::from(regions));
    info.physical_memory_offset = plan.physical;
    info.rsdp_addr = match plan.machine.rsdp {
        0 => Optional::None,
        address => Optional::Some(address),
    };
    info.ramdisk_addr = Optional::Some(plan.ramdisk);
    info.ramdisk_len = plan.taken[1].end - plan.taken[1].start;
    info.kernel_addr = plan.kernel_file.start;
    info.kernel_len = plan.kernel_file.end - plan.kernel_file.start;
    info.kernel_image_offset = plan.kernel;
    info.kernel_stack_bottom = plan.stack.start;
    info.kernel_stack_len = plan.stack.end - plan.stack.start;
    let place = plan.info as *mut BootInfo;
    // SAFETY: (1) BootInfo fits into the first of the two pages; (2) the entry
    // was checked to lie in an executable segment, and by the contract takes
    // the boot information in rdi with the stack as after a call: top - 8;
    // (3) interrupts are off since the machine started.
    unsafe {
        place.write(info);
        core::arch::asm!(
            "mov rsp, {stack}",
            "xor ebp, ebp",
            "jmp {entry}",
            stack = in(reg) plan.stack.end - 8,
            entry = in(reg) plan.entry,
            in("rdi") place,
            options(noreturn),
        )
    }
}

const _: () = assert!(size_of::<BootInfo>() <= PAGE as usize);
