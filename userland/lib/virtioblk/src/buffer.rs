//! Buffers: pages of DMA memory for a device, with room for a header before them, so
//! that a message of which they are the payload is contiguous.

use crate::PAGE;
use core::cell::Cell;
use core::ops::Range;
use core::ptr::NonNull;
use rt::Errno;
use virtio::memory;

/// Buffers of one size. A set bit in the mask means that the buffer is free.
pub struct Pool {
    start: NonNull<u8>,
    free: Cell<u64>,
    /// Pages of a buffer, without that of the header.
    pages: usize,
}

impl Pool {
    /// Bytes of DMA memory of `count` buffers of `pages` pages.
    pub const fn memory(count: usize, pages: usize) -> usize {
        count * (1 + pages) * PAGE
    }

    /// Takes the memory of `count` buffers, at most 64, from the DMA segment.
    ///
    /// # Errors
    /// `ENOMEM`, `EINVAL`.
    pub fn new(count: usize, pages: usize) -> Result<Pool, Errno> {
        if count == 0 || count > 64 || pages == 0 {
            return Err(Errno::EINVAL);
        }
        let start = memory::take(Pool::memory(count, pages)).ok_or(Errno::ENOMEM)?;
        let free = Cell::new(u64::MAX >> (64 - count));
        Ok(Pool { start, free, pages })
    }

    /// Takes a free buffer.
    pub fn take(&'static self) -> Option<Buffer> {
        let free = self.free.get();
        if free == 0 {
            return None;
        }
        self.free.set(free & (free - 1));
        let index = free.trailing_zeros();
        let at = Pool::memory(index as usize, self.pages);
        // SAFETY: buffer `index` is within the pool's memory.
        let start = unsafe { self.start.add(at) };
        let pool = self;
        Some(Buffer { pool, index, start })
    }
}

/// Memory for the pages of a message and its header, given back when dropped.
pub struct Buffer {
    pool: &'static Pool,
    index: u32,
    start: NonNull<u8>,
}

impl Buffer {
    /// Pages of data.
    pub fn pages(&self) -> usize {
        self.pool.pages
    }

    /// The space for a message whose payload begins after `head` bytes. Panics if
    /// `head` is more than a page.
    pub fn message_mut(&mut self, head: usize) -> &mut [u8] {
        self.view_mut(PAGE - head..(1 + self.pool.pages) * PAGE)
    }

    /// The first `len` bytes of that message, limited to its space.
    pub fn message(&self, head: usize, len: usize) -> &[u8] {
        let end = (1 + self.pool.pages) * PAGE;
        let start = PAGE - head;
        // SAFETY: (1) within this buffer, whose memory is never unmapped; (2) a
        // buffer that the device has is not accessible, and `&self` excludes views
        // to write.
        unsafe { memory::view(self.start.add(start), len.min(end - start)) }
    }

    /// A range of the pages of data.
    pub(crate) fn data_mut(&mut self, pages: Range<usize>) -> &mut [u8] {
        let end = pages.end.min(self.pool.pages);
        self.view_mut((1 + pages.start.min(end)) * PAGE..(1 + end) * PAGE)
    }

    /// Fills pages with zeros.
    pub fn zero(&mut self, pages: Range<usize>) {
        self.data_mut(pages).fill(0);
    }

    fn view_mut(&mut self, bytes: Range<usize>) -> &mut [u8] {
        // SAFETY: (1) within this buffer, whose memory is never unmapped; (2) a
        // buffer that the device has is not accessible, and `&mut self` excludes
        // other views.
        unsafe { memory::view_mut(self.start.add(bytes.start), bytes.len()) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let free = &self.pool.free;
        free.set(free.get() | 1 << self.index);
    }
}
