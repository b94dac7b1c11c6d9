//! `wc [-lwc] [FILE...]`: counts lines (newlines), words (separated by blanks)
//! and bytes, and the sum over several files.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};
use rt::{Args, ByteStr, Errno, Failure, File, Flags, Named, inputs, io, print};
use text::Counts;

rt::main!(main, include_str!("wc.rs"));

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;

fn main(args: Args) -> Result<u8, Failure> {
    let (flags, files) = args.options("lwc").flags()?;
    let mut sum = Counts::default();
    let status = inputs::each("wc", files, |name, file| {
        let counts = count(file).about(name)?;
        let name = if files.is_empty() {
            ByteStr::default()
        } else {
            name
        };
        show(&counts, flags, name).about("standard output")?;
        sum.lines += counts.lines;
        sum.words += counts.words;
        sum.bytes += counts.bytes;
        Ok(())
    });
    if files.len() > 1 {
        show(&sum, flags, "total".into()).about("standard output")?;
    }
    Ok(status)
}

fn count(file: &File) -> Result<Counts, Errno> {
    let mut counts = Counts::default();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(counts),
            n => counts.add(&piece[..n]),
        }
    }
}

fn show(counts: &Counts, flags: Flags, name: ByteStr<'_>) -> Result<(), Errno> {
    let columns = [
        ('l', counts.lines),
        ('w', counts.words),
        ('c', counts.bytes),
    ];
    let wanted = columns.iter().filter(|(letter, _)| flags.has(*letter));
    let text = match wanted.clone().count() {
        0 => columns.map(|(_, count)| format!("{count:7}")).join(" "),
        // A single number needs no column, and scripts want it bare.
        1 => wanted.map(|(_, count)| format!("{count}")).collect(),
        _ => wanted
            .map(|(_, count)| format!("{count:7}"))
            .collect::<Vec<String>>()
            .join(" "),
    };
    print!("{text}");
    if !name.is_empty() {
        io::write(b" ")?;
        io::write_name(name)?;
    }
    io::write(b"\n")
}
