//! Heads: memory for the header and the status of each request to the device.

use crate::disk::Kind;
use crate::{PAGE, disk::QUEUE};
use core::ptr::NonNull;
use rt::Errno;
use virtio::memory;

/// Bytes of a header: type, reserved, sector. Virtio 1.2, 5.2.6.
const HEADER: usize = 16;
/// Bytes of the range of a discard: sector, number of sectors, flags. Virtio 1.2, 5.2.6.
const RANGE: usize = 16;
/// Bytes of a head: the header, the range of a discard, and the status after them.
const HEAD: usize = 64;
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
    pub fn take(&mut self, kind: Kind, block: u64) -> Option<Head> {
        if self.free == 0 {
            return None;
        }
        let head = Head(self.free.trailing_zeros() as usize);
        self.free &= self.free - 1;
        let Views { header, status, .. } = self.views(head);
        let kind: u32 = match kind {
            Kind::Read => 0,
            Kind::Write => 1,
            Kind::Discard => 11,
        };
        header[..4].copy_from_slice(&kind.to_le_bytes());
        header[4..8].fill(0);
        header[8..].copy_from_slice(&sector(block).to_le_bytes());
        status[0] = STATUS_NONE;
        Some(head)
    }

    /// The same for a discard of blocks.
    pub fn take_discard(&mut self, block: u64, blocks: u32) -> Option<Head> {
        // The header of a discard names no sector.
        let head = self.take(Kind::Discard, 0)?;
        let sectors = blocks.wrapping_mul((PAGE as u64 / SECTOR) as u32);
        let range = self.views(head).range;
        range[..8].copy_from_slice(&sector(block).to_le_bytes());
        range[8..12].copy_from_slice(&sectors.to_le_bytes());
        range[12..].fill(0);
        Some(head)
    }

    /// Gives a head back; whether the device has done its request.
    pub fn give_back(&mut self, head: Head) -> bool {
        let done = self.views(head).status[0] == STATUS_OK;
        self.free |= 1 << head.0;
        done
    }

    /// The parts of a head.
    pub fn views(&mut self, Head(index): Head) -> Views<'_> {
        let at = (index % HEADS) * HEAD;
        // SAFETY: (1) all are within the page, which is never unmapped, and apart;
        // (2) views of a head that the device has are made only to be given to the
        // queue, which does not look into them.
        unsafe {
            let header = self.start.add(at).cast::<[u8; HEADER]>();
            let range = self.start.add(at + HEADER).cast::<[u8; RANGE]>();
            let status = self.start.add(at + HEADER + RANGE).cast::<[u8; 1]>();
            Views {
                header: &mut *header.as_ptr(),
                range: &mut *range.as_ptr(),
                status: &mut *status.as_ptr(),
            }
        }
    }
}

/// The parts of a head.
pub(crate) struct Views<'a> {
    pub header: &'a mut [u8; HEADER],
    pub range: &'a mut [u8; RANGE],
    pub status: &'a mut [u8; 1],
}

/// The sector of a block.
const fn sector(block: u64) -> u64 {
    block.wrapping_mul(PAGE as u64 / SECTOR)
}
