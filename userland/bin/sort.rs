//! `sort [-nru] [-o OUTPUT] [FILE...]`: the lines of all files in the order of
//! their bytes; `-n`: of the numbers at their beginnings; `-r`: backwards; `-u`:
//! equal lines once; `-o`: into the file OUTPUT, which may be one of the others.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::cmp::Ordering;
use rt::io::{self, Lines};
use rt::{Args, Failure, File, Flags, Named, inputs, mode};

rt::main!(main, include_str!("sort.rs"));

fn main(args: Args) -> Result<u8, Failure> {
    let (mut flags, mut output) = (Flags::default(), None);
    let mut options = args.options("nruo:");
    while let Some((letter, value)) = options.next_option()? {
        match letter {
            'o' => output = Some(value),
            letter => flags.set(letter),
        }
    }
    let files = options.rest();
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
    if let Some(path) = output {
        // Everything is read: from here on it may be overwritten.
        let file = File::create(path, mode::OWRITE, 0o644).about(path)?;
        file.dup_to(1).about(path)?.into_fd();
    }
    let name = output.unwrap_or("standard output".into());
    for line in &all {
        io::write(line).about(name)?;
        io::write(b"\n").about(name)?;
    }
    io::flush().about(name)?;
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
    // Enough for every 64-bit number; longer ones count as that large.
    let value = digits.take(38).fold(0i128, |value, digit| {
        value
            .saturating_mul(10)
            .saturating_add(i128::from(digit - b'0'))
    });
    sign * value
}
