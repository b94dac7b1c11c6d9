//! Segments: ranges of addresses with one kind of memory.

use crate::sys;
use abi::{Call, Errno};

/// A segment this process attached, detached when dropped.
///
/// A read into a segment of kind `"snapshot"` returns at once; its pages wake
/// when they are touched.
#[derive(Debug)]
pub struct Segment {
    address: u64,
    len: usize,
}

impl Segment {
    /// A segment of `kind` (`"memory"`, `"snapshot"`) and at least `len` bytes
    /// (whole pages) at an address the kernel chooses.
    pub fn attach(kind: &str, len: usize) -> Result<Segment, Errno> {
        Self::attach_with(kind, len, 0, 0)
    }

    /// As [`Segment::attach`], at `address` (0: the kernel's choice) and with
    /// the argument of kinds that take one (`"device"`: physical address).
    pub fn attach_with(
        kind: &str,
        len: usize,
        address: u64,
        argument: u64,
    ) -> Result<Segment, Errno> {
        let len = len
            .checked_next_multiple_of(abi::PAGE as usize)
            .ok_or(Errno::EINVAL)?;
        let (at, kind_len) = sys::of(kind.as_bytes());
        // SAFETY: the kernel never puts a segment over another one, so nothing
        // that exists changes.
        let address =
            unsafe { sys::call5(Call::SegAttach, at, kind_len, address, len as u64, argument) }?;
        Ok(Segment { address, len })
    }

    /// Its first address.
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// Bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Never: a segment has at least one page.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory. Looking at a sleeping page wakes it.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: (1) the range is attached, readable and writable until `self`
        // is dropped; (2) the handle is the only way to it; (3) any bytes are
        // valid `u8`s.
        unsafe { core::slice::from_raw_parts(self.address as *const u8, self.len) }
    }

    /// The memory, to change it or to read a file into it.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; `&mut self` makes it exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.address as *mut u8, self.len) }
    }

    /// Makes a page-aligned range read as zeros and hold nothing.
    pub fn free(&mut self, offset: usize, len: usize) -> Result<(), Errno> {
        let end = offset.checked_add(len).ok_or(Errno::EINVAL)?;
        if end > self.len {
            return Err(Errno::EINVAL);
        }
        let at = self.address + offset as u64;
        // SAFETY: changes only memory that this handle owns, and `&mut self`
        // excludes other references.
        unsafe { sys::call2(Call::SegFree, at, len as u64) }.map(drop)
    }

    /// Moves the changed pages of a range to swap, as if memory were short; how many.
    /// They come back when they are touched.
    pub fn page_out(&self, offset: usize, len: usize) -> Result<u64, Errno> {
        let end = offset.checked_add(len).ok_or(Errno::EINVAL)?;
        if end > self.len {
            return Err(Errno::EINVAL);
        }
        // SAFETY: changes no content.
        unsafe { sys::call2(Call::PageOut, self.address + offset as u64, len as u64) }
    }

    /// The physical address of a byte of a `dma` or `device` segment.
    pub fn physical(&self, offset: usize) -> Result<u64, Errno> {
        if offset >= self.len {
            return Err(Errno::EINVAL);
        }
        // SAFETY: touches no memory.
        unsafe { sys::call1(Call::Physical, self.address + offset as u64) }
    }

    /// Detaches a segment whose handle is gone, by its first address.
    ///
    /// # Safety
    /// Nothing uses its memory any more.
    pub unsafe fn detach(address: u64) {
        drop(Segment { address, len: 0 });
    }

    /// Keeps the segment attached until the process ends.
    pub fn leak(self) -> &'static mut [u8] {
        let mut kept = core::mem::ManuallyDrop::new(self);
        let bytes = kept.bytes_mut();
        // SAFETY: the handle is gone and never detaches, so the slice is valid
        // and exclusive for ever.
        unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr(), bytes.len()) }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: all references into it borrow from `self` and are gone.
        let _ = unsafe { sys::call1(Call::SegDetach, self.address) };
    }
}
