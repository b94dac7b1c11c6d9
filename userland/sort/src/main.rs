//! `sort [-nru] [FILE...]`: the lines of all files in the order of their bytes;
//! `-n`: of the numbers at their beginnings; `-r`: backwards; `-u`: equal lines
//! once.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::cmp::Ordering;
use rt::io::{self, Lines};
use rt::{Args, Failure, Flags, Named, inputs};

rt::main!(main);

fn main(args: Args) -> Result<u8, Failure> {
    let (flags, files) = args.options("nru").flags("sort [-nru] [FILE...]")?;
    let mut all: Vec<Vec<u8>> = Vec::new();
    let status = inputs::each("sort", files, |name, file| {
        let mut lines = Lines::new(file);
        while let Some(line) = lines.next_line().about(name)? {
            all.push(line);
        }
        Ok(())
    });
    all.sort_by(|a, b| order(a, b, flags));
    if flags.has('u') {
        all.dedup_by(|a, b| order(a, b, flags) == Ordering::Equal);
    }
    for line in &all {
        io::write(line).about("standard output")?;
        io::write(b"\n").about("standard output")?;
    }
    Ok(status)
}

fn order(a: &[u8], b: &[u8], flags: Flags) -> Ordering {
    let order = match flags.has('n') {
        // Lines with the same number keep an order of their own.
        true => number(a)
            .cmp(&number(b))
            .then_with(|| match flags.has('u') {
                true => Ordering::Equal,
                false => a.cmp(b),
            }),
        false => a.cmp(b),
    };
    match flags.has('r') {
        true => order.reverse(),
        false => order,
    }
}

/// The whole number at the beginning, 0 if there is none.
fn number(line: &[u8]) -> i128 {
    let line = line.trim_ascii_start();
    let (sign, digits) = match line.strip_prefix(b"-") {
        Some(digits) => (-1, digits),
        None => (1, line),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    // Enough for every number of 64 bits; longer ones are as large as that.
    let value = digits.take(38).fold(0i128, |value, digit| {
        value
            .saturating_mul(10)
            .saturating_add(i128::from(digit - b'0'))
    });
    sign * value
}
