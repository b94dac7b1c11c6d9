//! lazy
#![no_std]
