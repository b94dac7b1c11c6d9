//! virtio9p
#![no_std]
