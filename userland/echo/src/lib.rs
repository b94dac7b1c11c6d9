//! echo
#![no_std]
