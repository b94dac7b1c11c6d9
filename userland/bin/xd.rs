//! `xd [-s SKIP] [-n COUNT] [FILE]`: a hex dump, 16 bytes a line, with offsets
//! and characters; of COUNT bytes from SKIP on. Equal lines are shown as one
//! `*`. Standard input if no FILE is given.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec;
use rt::{Args, ByteStr, Errno, Failure, File, Named, inputs, manual, mode, print, println};

rt::main!(main, include_str!("xd.rs"));

/// Bytes in a line.
const LINE: usize = 16;
/// Bytes read at a time.
const PIECE: usize = 64 * 1024;

struct Order {
    skip: u64,
    count: u64,
    path: Option<ByteStr<'static>>,
}

/// Decimal, or hexadecimal after `0x`.
fn number(letter: char, value: ByteStr<'_>) -> Result<u64, Failure> {
    let parsed = match value.strip_prefix("0x") {
        Some(digits) => digits
            .to_str()
            .and_then(|digits| u64::from_str_radix(digits, 16).ok()),
        None => value.parse().ok(),
    };
    parsed.ok_or_else(|| Failure::usage(format_args!("-{letter} {value}: not a number")))
}

fn order(args: Args) -> Result<Order, Failure> {
    let mut order = Order {
        skip: 0,
        count: u64::MAX,
        path: None,
    };
    let mut options = args.options("s:n:");
    while let Some((letter, value)) = options.next_option()? {
        match letter {
            's' => order.skip = number(letter, value)?,
            _ => order.count = number(letter, value)?,
        }
    }
    let files = options.rest();
    order.path = files.get(0);
    match files.len() {
        0 | 1 => Ok(order),
        _ => Err(manual::misused()),
    }
}

fn main(args: Args) -> Result<(), Failure> {
    let order = order(args)?;
    match order.path {
        Some(path) => {
            let file = File::open(path, mode::OREAD).about(path)?;
            inputs::check_output(path, &file)?;
            let read = |buffer: &mut [u8], at| file.read_full_at(buffer, at);
            dump(read, order.skip, order.count).about(path)
        }
        None => {
            let input = File::borrowed(0);
            inputs::check_output("standard input".into(), &input)?;
            let mut discard = order.skip;
            let read = |buffer: &mut [u8], _| {
                skip(&input, &mut discard)?;
                fill(&input, buffer)
            };
            dump(read, order.skip, order.count).about("standard input")
        }
    }
}

/// Reads `left` bytes and throws them away.
fn skip(input: &File, left: &mut u64) -> Result<(), Errno> {
    let mut piece = [0; 512];
    while *left > 0 {
        let want = (*left).min(piece.len() as u64) as usize;
        match input.read(&mut piece[..want])? {
            0 => *left = 0,
            n => *left -= n as u64,
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the input ends.
fn fill(input: &File, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut done = 0;
    while done < buffer.len() {
        match input.read(&mut buffer[done..])? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done)
}

fn dump(
    mut read: impl FnMut(&mut [u8], u64) -> Result<usize, Errno>,
    start: u64,
    count: u64,
) -> Result<(), Errno> {
    let end = start.saturating_add(count);
    let mut piece = vec![0; PIECE];
    let mut at = start;
    let mut lines = Lines::default();
    while at < end {
        let want = (end - at).min(PIECE as u64) as usize;
        let n = read(&mut piece[..want], at)?;
        for line in piece[..n].chunks(LINE) {
            lines.show(at, line);
            at += line.len() as u64;
        }
        if n < want {
            break;
        }
    }
    println!("{at:010x}");
    Ok(())
}

/// Shows lines, runs of equal ones shortened.
#[derive(Default)]
struct Lines {
    last: Option<[u8; LINE]>,
    starred: bool,
}

impl Lines {
    fn show(&mut self, at: u64, line: &[u8]) {
        let whole: Option<[u8; LINE]> = line.try_into().ok();
        if whole.is_some() && whole == self.last {
            if !self.starred {
                println!("*");
            }
            self.starred = true;
            return;
        }
        self.last = whole;
        self.starred = false;
        print!("{at:010x} ");
        for index in 0..LINE {
            if index == LINE / 2 {
                print!(" ");
            }
            match line.get(index) {
                Some(byte) => print!(" {byte:02x}"),
                None => print!("   "),
            }
        }
        print!("  ");
        for byte in line {
            let shown = if (b' '..0x7f).contains(byte) {
                *byte
            } else {
                b'.'
            };
            print!("{}", char::from(shown));
        }
        println!();
    }
}
