//! ls
#![no_std]
