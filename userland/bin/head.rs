//! `head [-n LINES | -c BYTES] [FILE...]`: the first 10 or LINES lines, or the
//! first BYTES bytes; `-LINES` is `-n LINES`.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec;
use rt::io::{self, Lines};
use rt::{Args, ByteStr, Failure, File, Named, inputs};

rt::main!(main, include_str!("head.rs"));

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;

/// How much is asked for.
enum Count {
    Lines(u64),
    Bytes(u64),
}

fn count(args: Args) -> Result<(Count, Args), Failure> {
    let number = |value: ByteStr<'_>, what: &str| {
        let wrong = |_| Failure::usage(format_args!("{value}: not a number of {what}"));
        value.parse::<u64>().map_err(wrong)
    };
    if let Some(value) = args.get(0).and_then(|arg| arg.strip_prefix("-"))
        && value.first().is_some_and(u8::is_ascii_digit)
    {
        return Ok((Count::Lines(number(value, "lines")?), args.skip(1)));
    }
    let mut count = Count::Lines(10);
    let mut options = args.options("n:c:");
    while let Some((letter, value)) = options.next_option()? {
        count = match letter {
            'n' => Count::Lines(number(value, "lines")?),
            _ => Count::Bytes(number(value, "bytes")?),
        };
    }
    Ok((count, options.rest()))
}

fn main(args: Args) -> Result<u8, Failure> {
    let (count, files) = count(args)?;
    Ok(inputs::each("head", files, |name, file| {
        if files.len() > 1 {
            inputs::title(name).about("standard output")?;
        }
        match count {
            Count::Lines(count) => lines(name, file, count),
            Count::Bytes(count) => bytes(name, file, count),
        }
    }))
}

fn lines(name: ByteStr<'_>, file: &File, count: u64) -> Result<(), Failure> {
    let mut lines = Lines::new(file);
    for _ in 0..count {
        match lines.with_next(io::write).about(name)? {
            Some(written) => written.about("standard output")?,
            None => break,
        }
    }
    Ok(())
}

fn bytes(name: ByteStr<'_>, file: &File, count: u64) -> Result<(), Failure> {
    let mut piece = vec![0; PIECE];
    let mut left = count;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        match file.read(&mut piece[..want]).about(name)? {
            0 => break,
            n => {
                io::write(&piece[..n]).about("standard output")?;
                left -= n as u64;
            }
        }
    }
    Ok(())
}
