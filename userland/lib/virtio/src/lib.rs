//! The parts that all drivers of virtio devices have in common: memory that a
//! device shares with its driver, and devices on the PCI bus with their registers
//! and interrupts. The transport comes from `virtio-drivers`.
//!
//! A process drives one device: its DMA memory is attached once ([`memory`]).
//! Without an IOMMU the device, that is QEMU, is trusted with all memory.
#![no_std]

pub mod memory;
pub mod pci;
pub mod queue;
