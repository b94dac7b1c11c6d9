//! `cmp [-s] FILE1 FILE2`: compares two files; `-` is standard input. Exit
//! status 0: equal; 1: different, and without `-s` the first difference is
//! printed; 2: an error.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec;
use core::mem::ManuallyDrop;
use rt::io::{self, write_name};
use rt::{Args, ByteStr, Errno, Failure, File, Named, eprintln, manual, mode, println};

rt::main!(main, include_str!("cmp.rs"));

/// Bytes compared at a time.
const PIECE: usize = 128 * 1024;
const DIFFERENT: u8 = 1;
const TROUBLE: u8 = 2;

fn main(args: Args) -> Result<u8, Failure> {
    let mut options = args.options("s");
    let mut silent = false;
    while options.next_option()?.is_some() {
        silent = true;
    }
    let files = options.rest();
    let (Some(a), Some(b), 2) = (files.get(0), files.get(1), files.len()) else {
        return Err(manual::misused());
    };
    match compare(a, b)? {
        Compared::Equal => return Ok(0),
        _ if silent => {}
        Compared::Byte { at, line } => {
            differ(a, b).about("standard output")?;
            println!(" differ: byte {at}, line {line}");
        }
        Compared::Ends { path, at } => eprintln!("cmp: end of file on {path} after byte {at}"),
    }
    Ok(DIFFERENT)
}

fn differ(a: ByteStr<'_>, b: ByteStr<'_>) -> Result<(), Errno> {
    write_name(a)?;
    io::write(b" ")?;
    write_name(b)
}

enum Compared {
    Equal,
    /// At byte `at`, counted from 1.
    Byte {
        at: u64,
        line: u64,
    },
    /// `path` is the beginning of the other one and has `at` bytes.
    Ends {
        path: ByteStr<'static>,
        at: u64,
    },
}

fn trouble(path: ByteStr<'_>) -> impl FnOnce(Errno) -> Failure {
    move |errno| Failure::with_status(TROUBLE, format_args!("{path}: {errno}"))
}

/// The file, or standard input; open until the end of the program.
fn open(path: ByteStr<'_>) -> Result<ManuallyDrop<File>, Failure> {
    match path.bytes() {
        b"-" => Ok(File::borrowed(0)),
        _ => File::open(path, mode::OREAD).map(ManuallyDrop::new),
    }
    .map_err(trouble(path))
}

fn compare(a: ByteStr<'static>, b: ByteStr<'static>) -> Result<Compared, Failure> {
    let (first, second) = (open(a)?, open(b)?);
    let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
    let (mut offset, mut line) = (0u64, 1u64);
    loop {
        let m = first.read_full(&mut left).map_err(trouble(a))?;
        let n = second.read_full(&mut right).map_err(trouble(b))?;
        let common = m.min(n);
        let (x, y) = (&left[..common], &right[..common]);
        if x != y {
            let same = x.iter().zip(y).take_while(|(p, q)| p == q).count();
            line += newlines(&x[..same]);
            let at = offset + same as u64 + 1;
            return Ok(Compared::Byte { at, line });
        }
        offset += common as u64;
        line += newlines(x);
        if m != n {
            let path = if m < n { a } else { b };
            return Ok(Compared::Ends { path, at: offset });
        }
        if m == 0 {
            return Ok(Compared::Equal);
        }
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}
