//! `mount PLACE numbers`: a terabyte of numbers, each computed when it is touched.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use pager::Computed;
use rt::{Args, Errno, Failure};

rt::main!(main, include_str!("main.rs"));

fn main(args: Args) -> Result<(), Failure> {
    args.none()?;
    pager::serve([Computed::new("numbers", 1 << 40, numbers)])
}

/// Number `n` is `n` times a large odd number, in 8 bytes.
fn numbers(offset: u64, page: &mut [u8]) -> Result<(), Errno> {
    for (n, bytes) in (offset / 8..).zip(page.chunks_mut(8)) {
        let number = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        bytes.copy_from_slice(&number[..bytes.len()]);
    }
    Ok(())
}
