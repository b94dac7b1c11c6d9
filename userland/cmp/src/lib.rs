//! cmp
#![no_std]
