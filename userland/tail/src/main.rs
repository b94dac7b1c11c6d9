//! `tail [-n COUNT] [FILE...]`: the last 10 or COUNT lines.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use rt::io::{self, Lines};
use rt::{Args, ByteStr, Failure, Named, inputs};

rt::main!(main);

/// The number of lines asked for: `-n COUNT` or `-COUNT`.
fn count(args: Args) -> Result<(usize, Args), Failure> {
    let wrong = |value: ByteStr<'_>| Failure::usage(format_args!("{value}: not a number of lines"));
    if let Some(value) = args.get(0).and_then(|arg| arg.strip_prefix("-"))
        && value.first().is_some_and(u8::is_ascii_digit)
    {
        return Ok((value.parse().map_err(|_| wrong(value))?, args.skip(1)));
    }
    let mut count = 10;
    let mut options = args.options("n:");
    while let Some((_, value)) = options.next_option()? {
        count = value.parse().map_err(|_| wrong(value))?;
    }
    Ok((count, options.rest()))
}

fn title(name: ByteStr<'_>) -> Result<(), rt::Errno> {
    io::write(b"==> ")?;
    io::write_name(name)?;
    io::write(b" <==\n")
}

fn main(args: Args) -> Result<u8, Failure> {
    let (count, files) = count(args)?;
    Ok(inputs::each("tail", files, |name, file| {
        if files.len() > 1 {
            title(name).about("standard output")?;
        }
        let mut lines = Lines::new(file);
        let mut last: VecDeque<Vec<u8>> = VecDeque::new();
        while let Some(line) = lines.with_next(<[u8]>::to_vec).about(name)? {
            last.push_back(line);
            if last.len() > count {
                last.pop_front();
            }
        }
        for line in &last {
            io::write(line).about("standard output")?;
        }
        Ok(())
    }))
}
