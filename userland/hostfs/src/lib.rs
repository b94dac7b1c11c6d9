//! hostfs
#![no_std]
