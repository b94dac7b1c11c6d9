//! The start information from QEMU: `hvm_start_info`, version 1, with the
//! memory map and the modules (Xen's public header arch-x86/hvm/start_info.h).
//!
//! The records lie in memory below 4 GiB, which is identity-mapped while this
//! module reads them.

use core::slice;

const MAGIC: u32 = 0x336e_c578;
/// [`MapEntry::kind`] of ordinary memory, as in E820.
pub const RAM: u32 = 1;

#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    map: u64,
    map_entries: u32,
    reserved: u32,
}

#[repr(C)]
struct Module {
    address: u64,
    size: u64,
    command_line: u64,
    reserved: u64,
}

/// One range of physical addresses.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct MapEntry {
    /// Physical address of the first byte.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// [`RAM`], or another E820 type.
    pub kind: u32,
    reserved: u32,
}

/// The machine as the loader finds it.
pub struct Machine {
    /// Physical memory, as QEMU describes it; not sorted.
    pub map: &'static [MapEntry],
    /// The first module: the bundle.
    pub bundle: &'static [u8],
    /// Physical address of the ACPI root pointer, 0 if not given.
    pub rsdp: u64,
}

/// Reads the start information at physical address `address`.
///
/// # Safety
/// `address` is the value of `ebx` at the PVH entry, memory below 4 GiB is
/// identity-mapped, and no mutable reference to the records or the modules
/// exists.
pub unsafe fn read(address: u64) -> Result<Machine, &'static str> {
    // SAFETY: the caller says that this is a start_info, which is 4-byte
    // aligned or better in all implementations; read_unaligned needs neither.
    let info = unsafe { (address as *const StartInfo).read_unaligned() };
    if info.magic != MAGIC {
        return Err("not started by PVH: no start_info");
    }
    if info.version < 1 || info.map == 0 {
        return Err("start_info has no memory map");
    }
    if info.modules == 0 {
        return Err("no bundle: give QEMU one by -initrd");
    }
    // SAFETY: as for start_info; modules is at least 1.
    let module = unsafe { (info.module_list as *const Module).read_unaligned() };
    if module
        .address
        .checked_add(module.size)
        .is_none_or(|end| end > 1 << 32)
    {
        return Err("bundle lies above 4 GiB");
    }
    // SAFETY: (1) the caller vouches for the start information and so for the
    // addresses in it; (2) both are 8-byte aligned resp. bytes; (3) the bundle
    // is below 4 GiB, checked, and the map comes from QEMU's option ROM there.
    let (map, bundle) = unsafe {
        (
            slice::from_raw_parts(info.map as *const MapEntry, info.map_entries as usize),
            slice::from_raw_parts(module.address as *const u8, module.size as usize),
        )
    };
    Ok(Machine {
        map,
        bundle,
        rsdp: info.rsdp,
    })
}
