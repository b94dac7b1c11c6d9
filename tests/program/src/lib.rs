//! Programs that test deferred input and output: a list of operations of some
//! processes on some files, and what must come of them.
//!
//! The model tests make such programs and run them on the VM core; the guest's
//! `suite replay` runs the same ones on the real kernel. Both compare with the
//! same [`eager`] model. A program is written as text ([`Program::parse`]), one
//! operation a line:
//!
//! ```text
//! files 24576 5000
//! read 0 4096 8192 file1 100
//! store 0 5000 20 77
//! fork 0
//! write 1 0 8192 file0 end
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod eager;
mod op;
mod text;

pub use op::{Op, Outcome, pattern};
pub use text::{Bad, Program, Words};

/// Bytes in a page.
pub const PAGE: usize = 4096;
/// The largest number of processes.
pub const SPACES: usize = 3;
/// Pages of the part of a segment that programs use; it lies across the border
/// of two overlay leaves.
pub const PAGES: usize = 6;
/// The first of them.
pub const FIRST_PAGE: usize = 509;
/// Pages in the segment.
pub const SEGMENT_PAGES: usize = 520;

/// A small generator (SplitMix64): the same numbers on every machine.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The content of file `number` when a program begins.
pub fn content(number: usize, size: usize) -> alloc::vec::Vec<u8> {
    let mut random = Random(number as u64);
    (0..size).map(|_| random.number() as u8).collect()
}
