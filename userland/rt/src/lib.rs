//! rt
#![no_std]
