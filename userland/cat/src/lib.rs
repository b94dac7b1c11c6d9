//! cat
#![no_std]
