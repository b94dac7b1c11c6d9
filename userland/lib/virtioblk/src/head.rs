//! Heads: memory for the header and the status of each request to the device.

use crate::disk::Direction;
use crate::{PAGE, disk::QUEUE};
use core::ptr::NonNull;
use rt::Errno;
use virtio::memory;

/// Bytes of a header: type, reserved, sector. Virtio 1.2, 5.2.6.
const HEADER: usize = 16;
/// Bytes of a head: the header, and the status after it.
const HEAD: usize = 32;
/// Requests at a time: each takes three descriptors.
pub(crate) const HEADS: usize = QUEUE / 3;
const _: () = assert!(HEADS * HEAD <= PAGE && HEADS <= 64, "one page, one mask");
/// Bytes in a sector, whatever the device's blocks.
const SECTOR: u64 = 512;

/// The request is done.
const STATUS_OK: u8 = 0;
/// No status of a device.
const STATUS_NONE: u8 = 0xff;

/// All heads. A set bit means that the head is free.
pub(crate) struct Heads {
    start: NonNull<u8>,
    free: u64,
}

/// The number of a head that was taken.
#[derive(Clone, Copy)]
pub(crate) struct Head(usize);

impl Heads {
    /// Takes a page of the DMA segment.
    pub fn new() -> Result<Heads, Errno> {
        let start = memory::take(PAGE).ok_or(Errno::ENOMEM)?;
        let free = (1 << HEADS) - 1;
        Ok(Heads { start, free })
    }

    /// Takes a free head, with the header of a request from that block on.
    pub fn take(&mut self, direction: Direction, block: u64) -> Option<Head> {
        if self.free == 0 {
            return None;
        }
        let head = Head(self.free.trailing_zeros() as usize);
        self.free &= self.free - 1;
        let (header, status) = self.views(head);
        let kind: u32 = match direction {
            Direction::Read => 0,
            Direction::Write => 1,
        };
        let sector = block.wrapping_mul(PAGE as u64 / SECTOR);
        header[..4].copy_from_slice(&kind.to_le_bytes());
        header[4..8].fill(0);
        header[8..].copy_from_slice(&sector.to_le_bytes());
        status[0] = STATUS_NONE;
        Some(head)
    }

    /// Gives a head back; whether the device has done its request.
    pub fn give_back(&mut self, head: Head) -> bool {
        let done = self.views(head).1[0] == STATUS_OK;
        self.free |= 1 << head.0;
        done
    }

    /// Header and status of a head.
    pub fn views(&mut self, Head(index): Head) -> (&mut [u8; HEADER], &mut [u8; 1]) {
        let at = (index % HEADS) * HEAD;
        // SAFETY: (1) both are within the page, which is never unmapped, and apart;
        // (2) views of a head that the device has are made only to be given to the
        // queue, which does not look into them.
        unsafe {
            let header = self.start.add(at).cast::<[u8; HEADER]>();
            let status = self.start.add(at + HEADER).cast::<[u8; 1]>();
            (&mut *header.as_ptr(), &mut *status.as_ptr())
        }
    }
}
