//! `sort [-nru] [-o OUTPUT] [FILE...]`: the lines of all files in the order of
//! their bytes; `-n`: of the numbers at their beginnings; `-r`: backwards; `-u`:
//! equal lines once; `-o`: into the file OUTPUT, which may be one of the others.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use rt::io;
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
    let mut texts = Vec::new();
    let status = inputs::each("sort", files, |name, file| {
        texts.push(file.read_to_end().about(name)?);
        Ok(())
    });
    let all = sorted(&texts, flags);
    if let Some(path) = output {
        // Everything is read: from here on it may be overwritten.
        let file = File::create(path, mode::OWRITE, 0o644).about(path)?;
        file.dup_to(1).about(path)?.into_fd();
    }
    let name = output.unwrap_or("standard output".into());
    for (_, line) in &all {
        io::write(line).about(name)?;
        io::write(b"\n").about(name)?;
    }
    io::flush().about(name)?;
    Ok(status)
}

/// A line behind the number that it is compared by first.
type Line<'a> = (i128, &'a [u8]);

/// The lines of a text without their newlines.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    core::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = (!rest.is_empty()).then(|| &rest[..end]);
        rest = rest.get(end + 1..).unwrap_or(&[]);
        line
    })
}

/// The lines of all texts in the order that the options ask for.
fn sorted(texts: &[Vec<u8>], flags: Flags) -> Vec<Line<'_>> {
    let numeric = flags.has('n');
    let key = match numeric {
        true => number,
        false => beginning,
    };
    let mut all: Vec<Line<'_>> = Vec::new();
    for text in texts {
        all.extend(lines(text).map(|line| (key(line), line)));
    }
    match (numeric, flags.has('u')) {
        // The first of the lines with one number stays.
        (true, true) => {
            all.sort_by_key(|line| line.0);
            all.dedup_by_key(|line| line.0);
        }
        (false, true) => {
            all.sort_unstable();
            all.dedup();
        }
        // Equal lines cannot be told apart.
        (_, false) => all.sort_unstable(),
    }
    if flags.has('r') {
        all.reverse();
    }
    all
}

/// The first bytes as a number with the same order, so that most comparisons
/// need not look at the text. Zeros follow a shorter line.
fn beginning(line: &[u8]) -> i128 {
    let mut bytes = [0; 16];
    let len = line.len().min(bytes.len());
    bytes[..len].copy_from_slice(&line[..len]);
    // An i128 holds an unsigned number of 15 bytes.
    (u128::from_be_bytes(bytes) >> 8) as i128
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
