//! A virtio-9p device with many requests in flight.
//!
//! The PCI transport comes from `virtio-drivers`; its own 9P device waits for each
//! answer, so this crate has another one.
//! What is owned here: the device's DMA memory, cut into [`Slot`]s (one request
//! and its reply each), the queue, and one MSI-X vector. What is not: 9P fids and
//! what requests mean.
//!
//! ```text
//! Pool::take -> Slot -> encode into request_mut() -> Device::submit
//!      ^                                                  |
//!      drop <- reply(len) <- (Slot, len) <- Device::completed
//! ```
//!
//! A slot belongs either to the program or to the device: `submit` takes it and
//! `completed` gives it back, so nobody looks at memory the device may write.
//! The data of a `Tread` may go elsewhere: to pages that the kernel has lent for it.
//!
//! All `unsafe` is in `slot` (views of DMA memory) and in `device` (handing such
//! memory to the queue). Without an IOMMU the device, that is QEMU, is trusted with
//! all memory; what it *says* is checked.
#![no_std]

extern crate alloc;

mod device;
mod slot;

pub use device::{Completion, Device};
pub use slot::{IOUNIT, MSIZE, Pool, SLOTS, Slot};
