//! `tail [-n COUNT] [FILE...]`: the last 10 or COUNT lines.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use rt::io::{self, Lines};
use rt::{Args, Failure, Named, inputs, println};

rt::main!(main);

/// The number of lines asked for: `-n COUNT` or `-COUNT`.
fn count(args: Args) -> Result<(usize, Args), Failure> {
    let wrong = |value: &str| Failure::usage(format_args!("{value}: not a number of lines"));
    if let Some(value) = args.get(0).and_then(|arg| arg.strip_prefix('-'))
        && value.starts_with(|c: char| c.is_ascii_digit())
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

fn main(args: Args) -> Result<u8, Failure> {
    let (count, files) = count(args)?;
    Ok(inputs::each("tail", files, |name, file| {
        if files.len() > 1 {
            println!("==> {name} <==");
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
