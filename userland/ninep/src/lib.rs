//! ninep
#![no_std]
