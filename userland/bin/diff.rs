//! `diff [-qu] FILE1 FILE2`: the lines that go from the first file and come in the second;
//! `-` is standard input. `-u`: with three lines around them, as `patch` reads it; `-q`:
//! only whether the files differ. In a directory it takes the file of the other's name. Exit
//! status 0: equal; 1: different; 2: trouble.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;
use memchr::memchr_iter;
use rt::io::{self, write_name};
use rt::{
    Args, ByteStr, ByteString, Errno, Failure, File, Named, copy, manual, mode, print, println,
};
use text::diff::{Change, changes, hunks};

rt::main!(main, include_str!("diff.rs"));

const DIFFERENT: u8 = 1;
const TROUBLE: u8 = 2;
/// Lines around a change in the output of `-u`.
const AROUND: usize = 3;

fn main(args: Args) -> Result<u8, Failure> {
    let (flags, files) = args.options("qu").flags()?;
    let (Some(one), Some(other), 2) = (files.get(0), files.get(1), files.len()) else {
        return Err(manual::misused());
    };
    let (first, second) = (path(one, other), path(other, one));
    let (old, new) = (content(&first)?, content(&second)?);
    if old == new {
        return Ok(0);
    }
    if flags.has('q') {
        let show = || {
            write_name(&first)?;
            io::write(b" and ")?;
            write_name(&second)
        };
        show().about("standard output")?;
        println!(" differ");
        return Ok(DIFFERENT);
    }
    let (old, new) = (lines(&old), lines(&new));
    let mut numbers = BTreeMap::new();
    let (a, b) = (numbered(&old, &mut numbers), numbered(&new, &mut numbers));
    let changes = changes(&a, &b);
    let shown = match flags.has('u') {
        true => unified((&first, &second), (&old, &new), &changes),
        false => changes
            .iter()
            .try_for_each(|change| normal(&old, &new, change)),
    };
    shown.about("standard output")?;
    Ok(DIFFERENT)
}

/// The path of a file, for which its directory may stand.
fn path(file: ByteStr<'_>, other: ByteStr<'_>) -> ByteString {
    let is_directory = |path| File::stat_path(path).is_ok_and(|stat: rt::Stat| stat.is_dir());
    match other != "-" && is_directory(file) && !is_directory(other) {
        true => copy::inside(file, copy::last_part(other)),
        false => file.to_owned(),
    }
}

fn content(path: &ByteString) -> Result<Vec<u8>, Failure> {
    let read = || match path.as_byte_str().bytes() {
        b"-" => File::borrowed(0).read_to_end(),
        path => File::open(path, mode::OREAD)?.read_to_end(),
    };
    read().map_err(|errno| Failure::with_status(TROUBLE, format_args!("{path}: {errno}")))
}

/// The lines, with their ends.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    let (mut lines, mut start) = (Vec::new(), 0);
    for end in memchr_iter(b'\n', text) {
        lines.push(&text[start..=end]);
        start = end + 1;
    }
    if start < text.len() {
        lines.push(&text[start..]);
    }
    lines
}

/// A number for each line, the same for equal ones.
fn numbered<'t>(lines: &[&'t [u8]], numbers: &mut BTreeMap<&'t [u8], u32>) -> Vec<u32> {
    let number = |line: &&'t [u8]| {
        let next = numbers.len() as u32;
        *numbers.entry(line).or_insert(next)
    };
    lines.iter().map(number).collect()
}

/// Lines with a mark in front of each.
fn marked(mark: &[u8], lines: &[&[u8]]) -> Result<(), Errno> {
    for line in lines {
        io::write(mark)?;
        io::write(line)?;
        if line.last() != Some(&b'\n') {
            io::write(b"\n\\ No newline at end of file\n")?;
        }
    }
    Ok(())
}

/// Line numbers as `diff` writes them: the first and, if it is another, the last; of none
/// the one before.
fn show(range: &Range<usize>) {
    match range.len() {
        0 => print!("{}", range.start),
        1 => print!("{}", range.end),
        _ => print!("{},{}", range.start + 1, range.end),
    }
}

fn normal(old: &[&[u8]], new: &[&[u8]], change: &Change) -> Result<(), Errno> {
    show(&change.old);
    print!(
        "{}",
        match (change.old.is_empty(), change.new.is_empty()) {
            (true, _) => 'a',
            (_, true) => 'd',
            _ => 'c',
        }
    );
    show(&change.new);
    println!();
    marked(b"< ", &old[change.old.clone()])?;
    if !change.old.is_empty() && !change.new.is_empty() {
        println!("---");
    }
    marked(b"> ", &new[change.new.clone()])
}

fn unified(
    (first, second): (&ByteString, &ByteString),
    (old, new): (&[&[u8]], &[&[u8]]),
    changes: &[Change],
) -> Result<(), Errno> {
    for (mark, name) in [(b"--- ", first), (b"+++ ", second)] {
        io::write(mark)?;
        write_name(name)?;
        io::write(b"\n")?;
    }
    for hunk in hunks(changes, AROUND, (old.len(), new.len())) {
        print!("@@ -");
        extent(&hunk.old);
        print!(" +");
        extent(&hunk.new);
        println!(" @@");
        let mut at = hunk.old.start;
        for change in &hunk.changes {
            marked(b" ", &old[at..change.old.start])?;
            marked(b"-", &old[change.old.clone()])?;
            marked(b"+", &new[change.new.clone()])?;
            at = change.old.end;
        }
        marked(b" ", &old[at..hunk.old.end])?;
    }
    Ok(())
}

/// The first line and, if it is not 1, their number.
fn extent(range: &Range<usize>) {
    match range.len() {
        0 => print!("{},0", range.start),
        1 => print!("{}", range.end),
        len => print!("{},{len}", range.start + 1),
    }
}
