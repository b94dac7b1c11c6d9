//! consfs
#![no_std]
