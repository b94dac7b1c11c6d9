//! xd
#![no_std]
