//! The loader.
#![no_std]
