//! Slots: memory for one request and its reply, reused.
//!
//! A slot is a page and a data area. Data always starts at the page-aligned
//! data area, and its protocol header ends the page before, so that a message
//! is contiguous and its data can be passed on without copying:
//!
//! ```text
//! Shape::Reply  | request ....... |11: head| data of the reply ... |
//! Shape::Data   | reply ...... |23: head   | data of the request . |
//! ```
use core::cell::Cell;
use core::ptr::NonNull;
use ninep::Shape;
use ninep::consts::{IOHDRSZ, READ_HEAD, WRITE_HEAD};
use rt::Errno;
use virtio::memory;
use virtio::queue::Part;

const PAGE: usize = rt::abi::PAGE as usize;

/// Most data bytes in one message.
pub const IOUNIT: usize = 128 * 1024;
/// The msize to offer to the server behind the device.
pub const MSIZE: u32 = IOUNIT as u32 + IOHDRSZ;

/// The number of slots with one page of data.
const SMALL: usize = 48;
/// The number of slots with [`IOUNIT`] bytes of data.
const LARGE: usize = 8;
/// The number of slots of both sizes.
pub const SLOTS: usize = SMALL + LARGE;

const SMALL_LEN: usize = PAGE + PAGE;
const LARGE_LEN: usize = PAGE + IOUNIT;
/// Bytes of DMA memory of a pool.
pub const POOL_LEN: usize = SMALL * SMALL_LEN + LARGE * LARGE_LEN;

/// All slots of a device. A set bit in a mask means that the slot is free.
pub struct Pool {
    start: NonNull<u8>,
    small: Cell<u64>,
    large: Cell<u64>,
}

impl Pool {
    /// Takes the memory of all slots from the DMA segment.
    pub(crate) fn new() -> Result<Pool, Errno> {
        let start = memory::take(POOL_LEN).ok_or(Errno::ENOMEM)?;
        let (small, large) = (Cell::new((1 << SMALL) - 1), Cell::new((1 << LARGE) - 1));
        Ok(Pool {
            start,
            small,
            large,
        })
    }

    /// Takes a free slot for a request of that shape. A message that would fit
    /// a small slot may get a large one, but not the reverse.
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

/// Memory for one request and its reply, given back when dropped.
pub struct Slot {
    pool: &'static Pool,
    start: NonNull<u8>,
    len: usize,
    index: u16,
    data: bool,
}

impl Slot {
    /// Offsets of request and reply in the slot; they do not overlap.
    #[inline]
    fn layout(&self) -> (core::ops::Range<usize>, core::ops::Range<usize>) {
        if self.data {
            (PAGE - WRITE_HEAD..self.len, 0..PAGE - WRITE_HEAD)
        } else {
            (0..PAGE - READ_HEAD, PAGE - READ_HEAD..self.len)
        }
    }

    /// The space for the request. For [`Shape::Data`], data starts at offset
    /// [`WRITE_HEAD`] in it.
    #[inline]
    pub fn request_mut(&mut self) -> &mut [u8] {
        let range = self.layout().0;
        // SAFETY: (1) within this slot, to which this handle is the only
        // reference; (2) the device has only slots that `submit` took.
        unsafe { memory::view_mut(self.start.add(range.start), range.len()) }
    }

    /// Makes the data of a reply that of a request: its bytes stay where they are.
    #[inline]
    pub fn turn_round(&mut self) {
        self.data = true;
    }

    /// Its number among the slots.
    #[inline]
    pub(crate) const fn index(&self) -> u16 {
        self.index
    }

    /// The request's first `len` bytes, for the device.
    #[inline]
    pub(crate) fn request_part(&self, len: usize) -> Part {
        let (request, _) = self.layout();
        self.part(request.start, len.min(request.len()))
    }

    /// The space for the reply, for the device.
    #[inline]
    pub(crate) fn reply_part(&self) -> Part {
        let (_, reply) = self.layout();
        self.part(reply.start, reply.len())
    }

    /// The space for the head of an `Rread`.
    #[inline]
    pub(crate) fn head_part(&self) -> Part {
        let (_, reply) = self.layout();
        self.part(reply.start, READ_HEAD)
    }

    #[inline]
    fn part(&self, start: usize, len: usize) -> Part {
        let at = self.start.as_ptr() as usize + start;
        Part {
            at: memory::physical(at, len),
            len: len as u32,
        }
    }

    /// The first `len` bytes of the reply, limited to its space. The data of an
    /// `Rread` starts at [`READ_HEAD`], page aligned.
    #[inline]
    pub fn reply(&self, len: usize) -> &[u8] {
        let range = self.layout().1;
        // SAFETY: as in `request_mut`: the device does not have this slot.
        unsafe { memory::view(self.start.add(range.start), len.min(range.len())) }
    }
}

impl Drop for Slot {
    #[inline]
    fn drop(&mut self) {
        self.pool.give_back(self.index);
    }
}
