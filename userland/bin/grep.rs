//! `grep [-ivncq] PATTERN [FILE...]`: the lines in which the regular expression
//! is found (`text::Pattern` says which there are). `-i`: capitals are as small
//! letters; `-v`: the other lines; `-n`: with their numbers; `-c`: only how
//! many; `-q`: nothing. Exit status 0: found; 1: not found; 2: trouble.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use rt::io::{self, Lines};
use rt::{Args, ByteStr, Failure, File, Flags, Named, inputs, manual, print, println};
use text::{Case, Pattern};

rt::main!(main, include_str!("grep.rs"));

const NOT_FOUND: u8 = 1;
const TROUBLE: u8 = 2;

fn main(args: Args) -> Result<u8, Failure> {
    let (flags, rest) = args.options("ivncqE").flags()?;
    let Some(pattern) = rest.get(0) else {
        return Err(manual::misused());
    };
    let case = if flags.has('i') {
        Case::Ignored
    } else {
        Case::Differs
    };
    let search = Search {
        pattern: pattern
            .to_str()
            .ok_or_else(|| Failure::usage(format_args!("{pattern}: not UTF-8")))
            .and_then(|text| new(text, case))?,
        flags,
        titles: rest.len() > 2,
    };
    let mut found = 0;
    let status = inputs::each("grep", rest.skip(1), |name, file| {
        if !search.flags.has('q') && !search.flags.has('c') {
            inputs::check_output(name, file)?;
        }
        found += search.file(name, file)?;
        Ok(())
    });
    Ok(match (status, found) {
        (0, 0) => NOT_FOUND,
        (0, _) => 0,
        _ => TROUBLE,
    })
}

fn new(pattern: &str, case: Case) -> Result<Pattern, Failure> {
    let pattern_of = Pattern::new(pattern, case);
    pattern_of.map_err(|wrong| Failure::usage(format_args!("{}: {wrong}", ByteStr::from(pattern))))
}

struct Search {
    pattern: Pattern,
    flags: Flags,
    /// Several files: say which one a line is from.
    titles: bool,
}

impl Search {
    /// Prints the matching lines; returns their number.
    fn file(&self, name: ByteStr<'_>, file: &File) -> Result<u64, Failure> {
        let silent = self.flags.has('c') || self.flags.has('q');
        let mut lines = Lines::new(file);
        let (mut number, mut found) = (0u64, 0);
        loop {
            number += 1;
            let wanted = lines.with_next(|line| {
                let body = line.strip_suffix(b"\n").unwrap_or(line);
                let wanted = self.pattern.is_in(body) != self.flags.has('v');
                if wanted && !silent {
                    self.show(name, number, body)?;
                }
                Ok::<_, rt::Errno>(wanted)
            });
            match wanted.about(name)? {
                Some(wanted) => found += u64::from(wanted.about("standard output")?),
                None => break,
            }
            if found > 0 && self.flags.has('q') {
                break;
            }
        }
        if self.flags.has('c') && !self.flags.has('q') {
            self.title(name).about("standard output")?;
            println!("{found}");
        }
        Ok(found)
    }

    fn title(&self, name: ByteStr<'_>) -> Result<(), rt::Errno> {
        if self.titles {
            io::write_name(name)?;
            io::write(b":")?;
        }
        Ok(())
    }

    fn show(&self, name: ByteStr<'_>, number: u64, body: &[u8]) -> Result<(), rt::Errno> {
        self.title(name)?;
        if self.flags.has('n') {
            print!("{number}:");
        }
        io::write(body)?;
        io::write(b"\n")
    }
}
