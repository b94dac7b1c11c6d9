//! `grep [-ivnclqr] PATTERN [FILE...]`: the lines in which the regular expression
//! is found (`text::Pattern` says which there are). `-i`: capitals are as small
//! letters; `-v`: the other lines; `-n`: with their numbers; `-c`: only how
//! many; `-l`: only the names of the files; `-q`: nothing; `-r`: in all ordinary files
//! of directories, at first of this one. Exit status 0: found; 1: not found; 2: trouble.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use memchr::{memchr, memrchr};
use rt::io::{self, Lines};
use rt::{
    Args, ByteStr, Directory, Errno, Failure, File, Flags, Named, copy, eprintln, inputs, manual,
    mode, print, println, tree,
};
use text::{Case, Pattern, Search};

rt::main!(main, include_str!("grep.rs"));

const NOT_FOUND: u8 = 1;
const TROUBLE: u8 = 2;

/// `kind` of an entry that is an ordinary file, or that its server does not say.
const ORDINARY: [u32; 2] = [8, 0];

fn main(args: Args) -> Result<u8, Failure> {
    let (flags, rest) = args.options("ivnclqrE").flags()?;
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
        titles: rest.len() > 2 || flags.has('r'),
        found: 0,
    };
    let files = rest.skip(1);
    let complete = match flags.has('r') {
        true if files.is_empty() => grep.tree(".".into())?,
        true => {
            let mut complete = true;
            for path in files.iter() {
                complete &= match File::stat_path(path).is_ok_and(|stat| stat.is_dir()) {
                    true => grep.tree(path)?,
                    false => reported(File::open(path, mode::OREAD), path, |file| {
                        grep.file(path, &file)
                    }),
                };
            }
            complete
        }
        false => inputs::each("grep", files, |name, file| grep.file(name, file)) == 0,
    };
    Ok(match (complete, grep.found) {
        (true, 0) => NOT_FOUND,
        (true, _) => 0,
        _ => TROUBLE,
    })
}

/// Does something with a file; a failure is reported. Returns true if there was none.
fn reported(
    file: Result<File, Errno>,
    name: ByteStr<'_>,
    body: impl FnOnce(File) -> Result<(), Failure>,
) -> bool {
    let done = file.about(name).and_then(body);
    if let Err(failure) = &done {
        eprintln!("grep: {failure}");
    }
    done.is_ok()
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
    /// Wanted lines so far.
    found: u64,
}

impl Grep<'_> {
    /// Looks into all ordinary files of a tree; returns true if nothing failed.
    fn tree(&mut self, path: ByteStr<'_>) -> Result<bool, Failure> {
        let mut complete = true;
        complete &= tree::walk(
            "grep",
            path,
            Directory::read_dir,
            |directory, path, entries| {
                if self.found > 0 && self.flags.has('q') {
                    entries.clear();
                }
                for entry in entries
                    .iter()
                    .filter(|entry| ORDINARY.contains(&entry.kind))
                {
                    let full = copy::inside(path, entry.name.as_byte_str());
                    let full = full.as_byte_str();
                    let open = || {
                        let file = directory.open_file(&entry.name, mode::OREAD)?;
                        let stat = file.stat()?;
                        Ok((copy::special(&stat).is_none() && !stat.is_dir()).then_some(file))
                    };
                    match open() {
                        Ok(Some(file)) => {
                            complete &= reported(Ok(file), full, |f| self.file(full, &f))
                        }
                        Ok(None) | Err(Errno::ENOENT | Errno::ELOOP) => {}
                        Err(errno) => complete &= reported(Err(errno), full, |_| Ok(())),
                    }
                    if self.found > 0 && self.flags.has('q') {
                        break;
                    }
                }
                Ok(())
            },
        )?;
        Ok(complete)
    }

    /// Prints the matching lines.
    fn file(&mut self, name: ByteStr<'_>, file: &File) -> Result<(), Failure> {
        let names = self.flags.has('l');
        if !self.flags.has('q') && !self.flags.has('c') && !names {
            inputs::check_output(name, file)?;
        }
        let mut lines = Lines::new(file);
        let mut count = Count::default();
        while let Some(done) = lines
            .with_some(|text| self.text(name, text, &mut count))
            .about(name)?
        {
            done.about("standard output")?;
            if count.found > 0 && (names || self.flags.has('q')) {
                break;
            }
        }
        self.found += count.found;
        if self.flags.has('q') {
            return Ok(());
        }
        if names {
            if count.found > 0 {
                io::write_name(name).about("standard output")?;
                println!();
            }
        } else if self.flags.has('c') {
            self.title(name).about("standard output")?;
            println!("{}", count.found);
        }
        Ok(())
    }

    /// The same for some lines of a file.
    fn text(&mut self, name: ByteStr<'_>, text: &[u8], count: &mut Count) -> Result<(), rt::Errno> {
        let silent = ['c', 'l', 'q'].iter().any(|flag| self.flags.has(*flag));
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
                if self.flags.has('q') || self.flags.has('l') {
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
