//! `tee [-a] [FILE...]`: copies standard input to standard output and to the
//! files; `-a`: to their ends.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec;
use alloc::vec::Vec;
use rt::{Args, Failure, File, Named, inputs, io, mode};

rt::main!(main, include_str!("tee.rs"));

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;

fn main(args: Args) -> Result<(), Failure> {
    let (flags, paths) = args.options("a").flags()?;
    let input = File::borrowed(0);
    let mut files = Vec::new();
    for path in paths.iter() {
        // Opening it would empty it.
        if File::open(path, mode::OREAD).is_ok_and(|file| inputs::feeds(&input, &file)) {
            return Err(Failure::new(format_args!(
                "{path}: input file is output file"
            )));
        }
        let way = match flags.has('a') {
            true => mode::OWRITE | mode::OAPPEND | mode::OKEEP,
            false => mode::OWRITE,
        };
        files.push((path, File::create(path, way, 0o644).about(path)?));
    }
    let mut piece = vec![0; PIECE];
    loop {
        let n = input.read(&mut piece).about("standard input")?;
        if n == 0 {
            return Ok(());
        }
        for (path, file) in &files {
            file.write_all(&piece[..n]).about(path)?;
        }
        io::write(&piece[..n]).about("standard output")?;
        io::flush().about("standard output")?;
    }
}
