//! A virtio-blk device with many requests in flight.
//!
//! Queue layout and PCI transport come from `virtio-drivers`; its own block device
//! takes one piece of memory a request and has a short queue, so this crate puts
//! another one on the same queue. What is owned here: the device's DMA memory, cut
//! into [`Buffer`]s, the queue, and one MSI-X vector.
//!
//! A [`Job`] moves the pages of one buffer to or from any blocks. Its buffer belongs
//! to the device from [`Disk::begin`] until [`Disk::completed`] gives it back, so
//! nobody looks at memory that the device may write. All `unsafe` is in `buffer`
//! (views of DMA memory) and in `disk` (handing such memory to the queue). Without
//! an IOMMU the device, that is QEMU, is trusted with all memory; what it *says* is
//! checked.
#![no_std]

extern crate alloc;

mod buffer;
mod disk;
mod head;

pub use buffer::{Buffer, Pool};
pub use disk::{Completion, Direction, Disk, Done, Job, PAGES_MAX, Piece};
pub use virtio::memory::end;

/// Bytes of a page of a buffer, and of a block.
pub const PAGE: usize = rt::abi::PAGE as usize;
