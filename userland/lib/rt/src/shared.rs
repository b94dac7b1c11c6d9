//! Memory that a process shares with the children it makes afterwards, and
//! semaphores in it.

use crate::{Segment, sys};
use abi::{Call, Errno};
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

/// A `shared` segment. Other processes may change it at any time, so there are
/// no plain references into it.
#[derive(Debug)]
pub struct Shared(Segment);

impl Shared {
    /// At least `len` bytes of zeros.
    pub fn new(len: usize) -> Result<Shared, Errno> {
        Segment::attach("shared", len).map(Shared)
    }

    /// Bytes, whole pages.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Always false: the segment has at least one page.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Its first address.
    pub const fn address(&self) -> u64 {
        self.0.address()
    }

    /// The bytes, each as an atomic.
    pub fn bytes(&self) -> &[AtomicU8] {
        // SAFETY: attached, readable and writable until `self` is dropped; an
        // `AtomicU8` may be any byte and may be changed by others.
        unsafe { core::slice::from_raw_parts(self.address() as *const AtomicU8, self.len()) }
    }

    /// The number at `offset`, a multiple of 4 within the segment; else
    /// `EINVAL`.
    pub fn number(&self, offset: usize) -> Result<&AtomicU32, Errno> {
        if !offset.is_multiple_of(4) || offset >= self.len() {
            return Err(Errno::EINVAL);
        }
        // SAFETY: as in `bytes`; the segment begins at a page, so it is aligned,
        // and its length is a multiple of 4.
        Ok(unsafe { &*((self.address() + offset as u64) as *const AtomicU32) })
    }

    /// The semaphore at `offset`, as [`Shared::number`].
    pub fn semaphore(&self, offset: usize) -> Result<Semaphore<'_>, Errno> {
        self.number(offset).map(Semaphore)
    }
}

/// A counter; processes wait while it is zero. Its initial value is the number
/// in its memory.
#[derive(Clone, Copy, Debug)]
pub struct Semaphore<'s>(&'s AtomicU32);

impl Semaphore<'_> {
    fn va(self) -> u64 {
        core::ptr::from_ref(self.0) as u64
    }

    /// Decrements the counter, waiting while it is zero. `EINTR`: a note came
    /// first.
    pub fn acquire(self) -> Result<(), Errno> {
        // SAFETY: the kernel changes the number, which is atomic.
        unsafe { sys::call2(Call::SemAcquire, self.va(), u64::MAX) }.map(drop)
    }

    /// Decrements the counter unless it is zero; returns true if it did.
    pub fn try_acquire(self) -> Result<bool, Errno> {
        // SAFETY: as above.
        unsafe { sys::call2(Call::SemAcquire, self.va(), 0) }.map(|got| got == 1)
    }

    /// Adds `count`; waiting processes are served first.
    pub fn release(self, count: u32) -> Result<(), Errno> {
        // SAFETY: as above.
        unsafe { sys::call2(Call::SemRelease, self.va(), u64::from(count)) }.map(drop)
    }

    /// The present value.
    pub fn value(self) -> u32 {
        self.0.load(Relaxed)
    }
}
