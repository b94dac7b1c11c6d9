//! snapfs
#![no_std]
