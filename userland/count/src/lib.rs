//! count
#![no_std]
