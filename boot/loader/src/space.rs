//! The kernel's first address space, in which nothing is both writable and
//! executable.

use crate::memory::{OutOfMemory, PAGE, Pool};
use bootloader_api::config::Mapping;
use core::fmt;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::mapper::MapToError;
use x86_64::structures::paging::{
    Mapper, OffsetPageTable, Page, PageSize, PageTable, PageTableFlags as Flags, PhysFrame,
    Size2MiB, Size4KiB,
};
use x86_64::{PhysAddr, VirtAddr};

/// The addresses that the loader chooses from, unless the kernel's
/// configuration names a range.
const DYNAMIC: u64 = 0xffff_ff00_0000_0000;
/// Unmapped addresses between two such places.
const GAP: u64 = 2 << 20;

/// Read-only data.
pub const READ: Flags = Flags::PRESENT.union(Flags::NO_EXECUTE);
/// Writable data.
pub const WRITE: Flags = READ.union(Flags::WRITABLE);
/// Text.
pub const EXECUTE: Flags = Flags::PRESENT;

/// The reason why a mapping could not be made.
pub enum BadMap {
    /// No memory for tables.
    OutOfMemory,
    /// The page at this address has a mapping already.
    Twice(u64),
    /// An address that is not canonical, or not aligned.
    Address(u64),
}

impl fmt::Display for BadMap {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            BadMap::OutOfMemory => write!(f, "out of memory; give QEMU more by -m"),
            BadMap::Twice(at) => write!(f, "address {at:#x} is asked for twice"),
            BadMap::Address(at) => write!(f, "address {at:#x} cannot be mapped"),
        }
    }
}

impl From<OutOfMemory> for BadMap {
    fn from(_: OutOfMemory) -> Self {
        BadMap::OutOfMemory
    }
}

/// An address space under construction.
pub struct Space {
    tables: OffsetPageTable<'static>,
    root: PhysFrame,
    next_dynamic: u64,
}

impl Space {
    /// An empty address space, with its root from `pool`.
    pub fn new(pool: &mut Pool, dynamic: Option<u64>) -> Result<Space, BadMap> {
        let root = pool.take(PAGE)?.as_mut_ptr();
        // SAFETY: (1) the pool hands out this page once, aligned and mapped to
        // itself; (2) zeros are an empty page table; (3) all tables come from
        // the pool, so physical addresses are pointers: offset 0.
        let tables =
            unsafe { OffsetPageTable::new(&mut *root.cast::<PageTable>(), VirtAddr::zero()) };
        let root = PhysFrame::containing_address(PhysAddr::new(root as u64));
        Ok(Space {
            tables,
            root,
            next_dynamic: dynamic.unwrap_or(DYNAMIC),
        })
    }

    /// The address that `wish` names, or a free one for `size` bytes.
    pub fn place(&mut self, wish: Mapping, size: u64) -> u64 {
        match wish {
            Mapping::FixedAddress(address) => address,
            Mapping::Dynamic => {
                let address = self.next_dynamic;
                let taken = size.saturating_add(GAP).checked_next_multiple_of(GAP);
                self.next_dynamic = address.saturating_add(taken.unwrap_or(u64::MAX));
                address
            }
        }
    }

    /// Maps `size` bytes, rounded up to pages, from `address` to the physical
    /// memory at `physical`.
    pub fn map(
        &mut self,
        pool: &mut Pool,
        address: u64,
        physical: u64,
        size: u64,
        flags: Flags,
    ) -> Result<(), BadMap> {
        self.map_pages::<Size4KiB>(pool, address, physical, size, flags)
    }

    /// As `map`, in pages of 2 MiB.
    pub fn map_large(&mut self, pool: &mut Pool, address: u64, size: u64) -> Result<(), BadMap> {
        self.map_pages::<Size2MiB>(pool, address, 0, size, WRITE | Flags::HUGE_PAGE)
    }

    fn map_pages<S: PageSize>(
        &mut self,
        pool: &mut Pool,
        address: u64,
        physical: u64,
        size: u64,
        flags: Flags,
    ) -> Result<(), BadMap>
    where
        OffsetPageTable<'static>: Mapper<S>,
    {
        let parents = Flags::PRESENT | Flags::WRITABLE;
        for offset in (0..size).step_by(S::SIZE as usize) {
            let at = address
                .checked_add(offset)
                .ok_or(BadMap::Address(address))?;
            let page = VirtAddr::try_new(at)
                .ok()
                .and_then(|at| Page::<S>::from_start_address(at).ok())
                .ok_or(BadMap::Address(at))?;
            let frame = PhysAddr::try_new(physical + offset)
                .ok()
                .and_then(|at| PhysFrame::<S>::from_start_address(at).ok())
                .ok_or(BadMap::Address(at))?;
            // SAFETY: this space is not active, so no memory in use changes
            // its meaning; what the kernel makes of aliases is its affair.
            let mapped = unsafe {
                self.tables
                    .map_to_with_table_flags(page, frame, flags, parents, pool)
            };
            match mapped {
                Ok(flush) => flush.ignore(),
                Err(MapToError::FrameAllocationFailed) => return Err(BadMap::OutOfMemory),
                Err(_) => return Err(BadMap::Twice(at)),
            }
        }
        Ok(())
    }

    /// Activates this address space.
    ///
    /// # Safety
    /// It maps all memory that will still be used to the same physical memory
    /// as before.
    pub unsafe fn activate(&self) {
        // SAFETY: the caller's promise; the root is a whole page table.
        unsafe { Cr3::write(self.root, Cr3Flags::empty()) };
    }
}
