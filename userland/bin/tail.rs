//! `tail [-n LINES | -c BYTES] [FILE...]`: the last 10 or LINES lines, or the
//! last BYTES bytes; `-n +LINE` and `-c +BYTE`: all from that one on, the first
//! being 1. `-LINES` is `-n LINES`.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use rt::abi::whence;
use rt::io::{self, Lines};
use rt::{Args, ByteStr, Errno, Failure, File, Named, copy, inputs};

rt::main!(main, include_str!("tail.rs"));

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;
const OUTPUT: &str = "standard output";

/// The part to print.
#[derive(Clone, Copy)]
enum Part {
    LastLines(u64),
    LastBytes(u64),
    FromLine(u64),
    FromByte(u64),
}

fn part(args: Args) -> Result<(Part, Args), Failure> {
    let number = |value: ByteStr<'_>, what: &str| {
        let digits = value.strip_prefix("+").or(value.strip_prefix("-"));
        let digits = digits.unwrap_or(value);
        // Not a second sign.
        let is_number = digits.first().is_some_and(u8::is_ascii_digit);
        let number = digits.parse::<u64>().ok().filter(|_| is_number);
        number.ok_or_else(|| Failure::usage(format_args!("{value}: not a number of {what}")))
    };
    if let Some(value) = args.get(0).and_then(|arg| arg.strip_prefix("-"))
        && value.first().is_some_and(u8::is_ascii_digit)
    {
        return Ok((Part::LastLines(number(value, "lines")?), args.skip(1)));
    }
    let mut part = Part::LastLines(10);
    let mut options = args.options("n:c:");
    while let Some((letter, value)) = options.next_option()? {
        let from = value.first() == Some(&b'+');
        part = match (letter, from) {
            ('n', false) => Part::LastLines(number(value, "lines")?),
            ('n', true) => Part::FromLine(number(value, "lines")?),
            (_, false) => Part::LastBytes(number(value, "bytes")?),
            (_, true) => Part::FromByte(number(value, "bytes")?),
        };
    }
    Ok((part, options.rest()))
}

fn main(args: Args) -> Result<u8, Failure> {
    let (part, files) = part(args)?;
    Ok(inputs::each("tail", files, |name, file| {
        if files.len() > 1 {
            inputs::title(name).about(OUTPUT)?;
        }
        match part {
            Part::LastLines(count) => last_lines(name, file, count),
            Part::LastBytes(count) => last_bytes(name, file, count),
            Part::FromLine(line) => {
                inputs::check_output(name, file)?;
                from_line(name, file, line)
            }
            Part::FromByte(byte) => {
                inputs::check_output(name, file)?;
                from_byte(name, file, byte)
            }
        }
    }))
}

fn last_lines(name: ByteStr<'_>, file: &File, count: u64) -> Result<(), Failure> {
    let mut lines = Lines::new(file);
    let mut last: VecDeque<Vec<u8>> = VecDeque::new();
    while let Some(line) = lines.with_next(<[u8]>::to_vec).about(name)? {
        last.push_back(line);
        if last.len() as u64 > count {
            last.pop_front();
        }
    }
    for line in &last {
        io::write(line).about(OUTPUT)?;
    }
    Ok(())
}

fn last_bytes(name: ByteStr<'_>, file: &File, count: u64) -> Result<(), Failure> {
    skip_most(file, count);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let mut last: Vec<u8> = Vec::new();
    let mut piece = vec![0; PIECE];
    loop {
        let n = file.read(&mut piece).about(name)?;
        if n == 0 {
            break;
        }
        let room = last.try_reserve(n);
        room.map_err(|_| Errno::ENOMEM).about(name)?;
        last.extend_from_slice(&piece[..n]);
        // Not for each piece, because it moves the bytes that are kept.
        if last.len() / 2 > count.max(PIECE) {
            last.drain(..last.len() - count);
        }
    }
    let from = last.len().saturating_sub(count);
    io::write(&last[from..]).about(OUTPUT)
}

/// Seeks an ordinary file to its last `count` bytes.
fn skip_most(file: &File, count: u64) {
    let (Ok(stat), Ok(at)) = (file.stat(), file.seek(0, whence::CURRENT)) else {
        return;
    };
    let from = stat.size.saturating_sub(count);
    if copy::special(&stat).is_none() && from > at {
        // If that is not possible, all of it is read.
        let _ = file.seek((from - at) as i64, whence::CURRENT);
    }
}

fn from_line(name: ByteStr<'_>, file: &File, line: u64) -> Result<(), Failure> {
    let mut lines = Lines::new(file);
    for _ in 1..line {
        if lines.with_next(|_| ()).about(name)?.is_none() {
            return Ok(());
        }
    }
    while let Some(written) = lines.with_next(io::write).about(name)? {
        written.about(OUTPUT)?;
    }
    Ok(())
}

fn from_byte(name: ByteStr<'_>, file: &File, byte: u64) -> Result<(), Failure> {
    let mut piece = vec![0; PIECE];
    let mut skip = byte.saturating_sub(1);
    loop {
        let n = file.read(&mut piece).about(name)?;
        if n == 0 {
            return Ok(());
        }
        let skipped = usize::try_from(skip).unwrap_or(n).min(n);
        skip -= skipped as u64;
        io::write(&piece[skipped..n]).about(OUTPUT)?;
    }
}
