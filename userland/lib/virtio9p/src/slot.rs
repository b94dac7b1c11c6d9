//! Slots: the memory of one request and its reply, reused for ever.
//!
//! A slot is a page and a data area. Data always starts at the data area, page
//! aligned, and what the protocol puts before it ends the page before, so that a
//! message is one piece of memory and its data can be handed on as it is:
//!
//! ```text
//! Shape::Reply  | request ....... |11: head| data of the reply ... |
//! Shape::Data   | reply ...... |23: head   | data of the request . |
//! ```
use crate::memory;
use core::cell::Cell;
use core::ptr::NonNull;
use ninep::consts::{IOHDRSZ, READ_HEAD, WRITE_HEAD};
use rt::Errno;

const PAGE: usize = rt::abi::PAGE as usize;

/// Most data bytes in one message.
pub const IOUNIT: usize = 128 * 1024;
/// The msize to offer the server behind the device.
pub const MSIZE: u32 = IOUNIT as u32 + IOHDRSZ;

/// Slots for one page of data.
const SMALL: usize = 48;
/// Slots for [`IOUNIT`] bytes of data.
const LARGE: usize = 8;
/// Slots of both kinds.
pub const SLOTS: usize = SMALL + LARGE;

const SMALL_LEN: usize = PAGE + PAGE;
const LARGE_LEN: usize = PAGE + IOUNIT;
/// Bytes of DMA memory of a pool.
pub const POOL_LEN: usize = SMALL * SMALL_LEN + LARGE * LARGE_LEN;

/// Where the data of a request of this shape is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// A short request; the reply may carry this many bytes of data.
    Reply(usize),
    /// The request carries this many bytes of data; the reply is short.
    Data(usize),
}

/// All slots of a device. Bit set in a mask: free.
pub struct Pool {
    start: NonNull<u8>,
    small: Cell<u64>,
    large: Cell<u64>,
}

impl Pool {
    /// Takes its memory from the DMA segment.
    pub(crate) fn new() -> Result<Pool, Errno> {
        let start = memory::take(POOL_LEN).ok_or(Errno::ENOMEM)?;
        let (small, large) = (Cell::new((1 << SMALL) - 1), Cell::new((1 << LARGE) - 1));
        Ok(Pool {
            start,
            small,
            large,
        })
    }

    /// A slot for a request of that shape, if one is free. A message that
    /// would fit a small slot may get a large one, not the other way.
    #[inline]
    pub fn take(&'static self, shape: Shape) -> Option<Slot> {
        let (Shape::Reply(count) | Shape::Data(count)) = shape;
        let small = count <= PAGE && self.small.get() != 0;
        if count > IOUNIT {
            return None;
        }
        let (mask, first, base, len) = if small {
            (&self.small, 0, 0, SMALL_LEN)
        } else {
            (&self.large, SMALL, SMALL * SMALL_LEN, LARGE_LEN)
        };
        let free = mask.get();
        if free == 0 {
            return None;
        }
        let place = free.trailing_zeros() as usize;
        mask.set(free & (free - 1));
        let at = base + place * len;
        // SAFETY: the slot is within the pool's memory.
        let start = unsafe { self.start.add(at) };
        let index = (first + place) as u16;
        Some(Slot {
            pool: self,
            start,
            len,
            index,
            data: matches!(shape, Shape::Data(_)),
        })
    }

    #[inline]
    fn give_back(&self, index: u16) {
        let index = usize::from(index);
        let (mask, place) = match index.checked_sub(SMALL) {
            None => (&self.small, index),
            Some(place) => (&self.large, place),
        };
        mask.set(mask.get() | 1 << place);
    }
}

/// Memory of one request and its reply, given back when dropped.
pub struct Slot {
    pool: &'static Pool,
    start: NonNull<u8>,
    len: usize,
    index: u16,
    data: bool,
}

impl Slot {
    /// Unlike every other slot's that is taken: a tag for its request.
    #[inline]
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Offsets of request and reply in the slot; they do not overlap.
    #[inline]
    fn layout(&self) -> (core::ops::Range<usize>, core::ops::Range<usize>) {
        if self.data {
            (PAGE - WRITE_HEAD..self.len, 0..PAGE - WRITE_HEAD)
        } else {
            (0..PAGE - READ_HEAD, PAGE - READ_HEAD..self.len)
        }
    }

    /// Where the request goes. For [`Shape::Data`], data goes to offset
    /// [`WRITE_HEAD`] of it.
    #[inline]
    pub fn request_mut(&mut self) -> &mut [u8] {
        let range = self.layout().0;
        // SAFETY: (1) within this slot, which only this handle refers to;
        // (2) the device has only handles that `submit` took.
        unsafe { memory::view_mut(self.start.add(range.start), range.len()) }
    }

    /// The request's first `len` bytes and where the device puts the reply.
    #[inline]
    pub(crate) fn buffers(&mut self, len: usize) -> (&[u8], &mut [u8]) {
        let (request, reply) = self.layout();
        let len = len.min(request.len());
        // SAFETY: as in `request_mut`; the two do not overlap.
        unsafe {
            (
                memory::view(self.start.add(request.start), len),
                memory::view_mut(self.start.add(reply.start), reply.len()),
            )
        }
    }

    /// The reply, `len` bytes of it (at most what fits). The data of an
    /// `Rread` begins at [`READ_HEAD`], page aligned.
    #[inline]
    pub fn reply(&self, len: usize) -> &[u8] {
        let range = self.layout().1;
        // SAFETY: as in `request_mut`: this handle is not with the device.
        unsafe { memory::view(self.start.add(range.start), len.min(range.len())) }
    }
}

impl Drop for Slot {
    #[inline]
    fn drop(&mut self) {
        self.pool.give_back(self.index);
    }
}
