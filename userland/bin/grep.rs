//! `grep [-ivncq] PATTERN [FILE...]`: the lines in which the regular expression
//! is found (`text::Pattern` says which there are). `-i`: capitals are as small
//! letters; `-v`: the other lines; `-n`: with their numbers; `-c`: only how
//! many; `-q`: nothing. Exit status 0: found; 1: not found; 2: trouble.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use memchr::{memchr, memrchr};
use rt::io::{self, Lines};
use rt::{Args, ByteStr, Failure, File, Flags, Named, inputs, manual, print, println};
use text::{Case, Pattern, Search};

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
    let pattern = pattern
        .to_str()
        .ok_or_else(|| Failure::usage(format_args!("{pattern}: not UTF-8")))
        .and_then(|text| new(text, case))?;
    let mut grep = Grep {
        search: Search::new(&pattern),
        flags,
        titles: rest.len() > 2,
    };
    let mut found = 0;
    let status = inputs::each("grep", rest.skip(1), |name, file| {
        if !flags.has('q') && !flags.has('c') {
            inputs::check_output(name, file)?;
        }
        found += grep.file(name, file)?;
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

/// The lines of a file so far.
#[derive(Default)]
struct Count {
    /// Lines that were looked at.
    lines: u64,
    /// Those that are wanted.
    found: u64,
}

struct Grep<'p> {
    search: Search<'p>,
    flags: Flags,
    /// Several files: say which one a line is from.
    titles: bool,
}

impl Grep<'_> {
    /// Prints the matching lines; returns their number.
    fn file(&mut self, name: ByteStr<'_>, file: &File) -> Result<u64, Failure> {
        let mut lines = Lines::new(file);
        let mut count = Count::default();
        while let Some(done) = lines
            .with_some(|text| self.text(name, text, &mut count))
            .about(name)?
        {
            done.about("standard output")?;
            if count.found > 0 && self.flags.has('q') {
                break;
            }
        }
        if self.flags.has('c') && !self.flags.has('q') {
            self.title(name).about("standard output")?;
            println!("{}", count.found);
        }
        Ok(count.found)
    }

    /// The same for some lines of a file.
    fn text(&mut self, name: ByteStr<'_>, text: &[u8], count: &mut Count) -> Result<(), rt::Errno> {
        let silent = self.flags.has('c') || self.flags.has('q');
        let inverted = self.flags.has('v');
        // Lines without a match need not be seen.
        let all = inverted || self.flags.has('n');
        let mut rest = text;
        while !rest.is_empty() {
            if !all {
                let Some(at) = self.search.find(rest) else {
                    break;
                };
                rest = &rest[memrchr(b'\n', &rest[..at]).map_or(0, |end| end + 1)..];
            }
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            let body = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or(&[]);
            count.lines += 1;
            if !all || self.search.is_in(body) != inverted {
                count.found += 1;
                if !silent {
                    self.show(name, count.lines, body)?;
                }
                if self.flags.has('q') {
                    break;
                }
            }
        }
        Ok(())
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
