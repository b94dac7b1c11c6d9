//! `find [PATH...] [-name PATTERN] [-type LETTER]`: prints the paths of all files in these
//! trees, at first in that of this directory, that are as asked for. `-name`: the name
//! matches the shell's pattern; `-type`: it is a file (`f`), directory (`d`), symbolic
//! link (`l`), device (`b`, `c`), pipe (`p`) or socket (`s`). Links are not followed.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use rt::{Args, ByteStr, Directory, Failure, File, Named, copy, eprintln, io, manual, tree};
use shell::glob::{self, Mark};

rt::main!(main, include_str!("find.rs"));

/// The letters of `-type`, and the kind of entries that each means.
const TYPES: [(u8, u32); 7] = [
    (b'f', 8),
    (b'd', 4),
    (b'l', 10),
    (b'b', 6),
    (b'c', 2),
    (b'p', 1),
    (b's', 12),
];

/// What is asked of a file.
#[derive(Default)]
struct Asked {
    name: Option<Vec<Mark>>,
    kind: Option<u32>,
}

impl Asked {
    /// From the arguments after the paths.
    fn of(args: Args) -> Result<Asked, Failure> {
        let mut asked = Asked::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let value = args.next();
            let value = value.ok_or_else(|| manual::misused_by(format_args!("{arg}: no value")));
            match arg.bytes() {
                b"-name" => asked.name = Some(glob::marks(&String::from_utf8_lossy(&value?))),
                b"-type" => asked.kind = Some(kind(value?)?),
                _ => return Err(manual::misused_by(format_args!("not supported: {arg}"))),
            }
        }
        Ok(asked)
    }

    fn is_met(&self, name: &[u8], kind: u32) -> bool {
        let of_kind = self.kind.is_none_or(|asked| asked == kind);
        let name = || String::from_utf8_lossy(name);
        of_kind
            && self
                .name
                .as_deref()
                .is_none_or(|asked| glob::matches(asked, &name()))
    }
}

fn kind(letter: ByteStr<'_>) -> Result<u32, Failure> {
    let mut types = TYPES.iter();
    let found = types.find(|(known, _)| letter.bytes() == [*known]);
    let unknown = || manual::misused_by(format_args!("-type: not supported: {letter}"));
    found.map(|(_, kind)| *kind).ok_or_else(unknown)
}

fn main(args: Args) -> Result<u8, Failure> {
    args.help();
    let options = args.iter().position(|arg| arg.starts_with(b"-"));
    let paths: Vec<ByteStr<'_>> = args.iter().take(options.unwrap_or(args.len())).collect();
    let asked = Asked::of(args.skip(paths.len()))?;
    let mut complete = true;
    for path in if paths.is_empty() {
        Vec::from([".".into()])
    } else {
        paths
    } {
        complete &= all_of(path, &asked)?;
    }
    Ok(u8::from(!complete))
}

/// Prints those of a tree; returns true if all of it was read.
fn all_of(path: ByteStr<'_>, asked: &Asked) -> Result<bool, Failure> {
    let stat = match File::lstat_path(path).about(path) {
        Ok(stat) => stat,
        Err(failure) => {
            eprintln!("find: {failure}");
            return Ok(false);
        }
    };
    if asked.is_met(&copy::last_part(path), stat.mode >> 12) {
        show(path)?;
    }
    if !stat.is_dir() {
        return Ok(true);
    }
    tree::walk(
        "find",
        path,
        Directory::read_dir,
        |directory, path, entries| {
            entries.retain(|entry| entry.name != "." && entry.name != "..");
            for entry in entries.iter() {
                let kind = match (entry.kind, asked.kind) {
                    // Its server does not say.
                    (0, Some(_)) => match directory.stat_of(&entry.name) {
                        Ok(stat) => stat.mode >> 12,
                        // Removed since it was listed.
                        Err(_) => continue,
                    },
                    (kind, _) => kind,
                };
                if asked.is_met(&entry.name, kind) {
                    show(copy::inside(path, entry.name.as_byte_str()).as_byte_str())?;
                }
            }
            Ok(())
        },
    )
}

fn show(path: ByteStr<'_>) -> Result<(), Failure> {
    io::write_name(path)
        .and_then(|()| io::write(b"\n"))
        .about("standard output")
}
