//! Programs as text.

use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, str};
use core::fmt;

use crate::{FIRST_PAGE, Op, PAGE, PAGES, SEGMENT_PAGES, SPACES};

/// The error in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad(pub String);

/// A program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The sizes of the files; [`crate::content`] is in them.
    pub files: Vec<usize>,
    /// The operations, each with the text after a `!` on its line.
    pub steps: Vec<(Op, String)>,
    /// Words about how the kernel is made, for the model tests alone.
    pub config: String,
}

impl Program {
    /// Parses a program: a line `files SIZE...`, perhaps a line `config ...`,
    /// then one operation a line. Empty lines and lines that begin with `#` are
    /// ignored.
    ///
    /// # Errors
    /// The error and its line.
    pub fn parse(text: &str) -> Result<Program, Bad> {
        let mut program = Program::default();
        for (number, line) in text.lines().enumerate() {
            program
                .line(line.trim())
                .map_err(|Bad(why)| Bad(format!("line {}: {why}", number + 1)))?;
        }
        Ok(program)
    }

    fn line(&mut self, line: &str) -> Result<(), Bad> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if let Some(sizes) = line.strip_prefix("files ") {
            let mut words = Words::new(sizes);
            while !words.is_empty() {
                self.files.push(words.number()?);
            }
        } else if let Some(config) = line.strip_prefix("config ") {
            self.config = config.into();
        } else {
            let (op, rest) = line.split_once('!').unwrap_or((line, ""));
            let op = Op::parse(op)?;
            self.check(&op)?;
            self.steps.push((op, rest.trim().into()));
        }
        Ok(())
    }

    /// Checks that an operation stays within the files and segments.
    fn check(&self, op: &Op) -> Result<(), Bad> {
        let file = |file: usize| file < self.files.len();
        let part = |at: usize, n: usize| {
            let end = at.checked_add(n);
            end.is_some_and(|end| end <= PAGES * PAGE)
        };
        let fits = match *op {
            Op::Read { at, n, file: f, .. } | Op::Write { at, n, file: f, .. } => {
                part(at, n) && file(f)
            }
            Op::Store { at, n, .. } | Op::Load { at, n, .. } | Op::Free { at, n, .. } => {
                part(at, n)
            }
            Op::Foreign { file: f, .. } | Op::Truncate { file: f, .. } => file(f),
            Op::Remove { name } => file(name),
            Op::Rename { from, to } => file(from) && file(to) && from != to,
            Op::Evict { page, .. } => FIRST_PAGE + page < SEGMENT_PAGES,
            Op::PageOut { page, n, .. } => {
                let end = page.checked_add(n);
                end.is_some_and(|end| FIRST_PAGE + end <= SEGMENT_PAGES)
            }
            Op::Full { .. } | Op::Fork { .. } | Op::Exit { .. } => true,
        };
        let fits = fits && op.space().is_none_or(|space| space < SPACES);
        fits.then_some(())
            .ok_or_else(|| Bad(format!("{op} leaves what there is")))
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "files")?;
        self.files
            .iter()
            .try_for_each(|size| write!(f, " {size}"))?;
        writeln!(f)?;
        if !self.config.is_empty() {
            writeln!(f, "config {}", self.config)?;
        }
        for (op, more) in &self.steps {
            match more.as_str() {
                "" => writeln!(f, "{op}")?,
                more => writeln!(f, "{op} ! {more}")?,
            }
        }
        Ok(())
    }
}

/// The words of a line, one after the other.
pub struct Words<'a>(str::SplitWhitespace<'a>);

impl<'a> Words<'a> {
    /// The words of `text`.
    pub fn new(text: &'a str) -> Words<'a> {
        Words(text.split_whitespace())
    }

    /// Returns true if no word is left.
    pub fn is_empty(&self) -> bool {
        self.0.clone().next().is_none()
    }

    /// The next.
    ///
    /// # Errors
    /// There is none.
    pub fn word(&mut self) -> Result<&'a str, Bad> {
        self.0.next().ok_or_else(|| Bad("a word is missing".into()))
    }

    /// The next, a number.
    ///
    /// # Errors
    /// It is none.
    pub fn number<T: str::FromStr>(&mut self) -> Result<T, Bad> {
        let word = self.word()?;
        let number = word.parse();
        number.map_err(|_| Bad(format!("{word} is not such a number")))
    }

    fn file(&mut self) -> Result<usize, Bad> {
        let word = self.word()?;
        let number = word.strip_prefix("file").and_then(|n| n.parse().ok());
        number.ok_or_else(|| Bad(format!("{word} is not a file")))
    }

    /// Returns true if `word` is the rest of the text.
    fn last(&mut self, word: &str) -> bool {
        let mut ahead = self.0.clone();
        let found = ahead.next() == Some(word);
        if found {
            self.0 = ahead;
        }
        found
    }
}

impl Op {
    /// Parses one operation.
    ///
    /// # Errors
    /// The error.
    pub fn parse(text: &str) -> Result<Op, Bad> {
        let mut words = Words::new(text);
        let op = Op::parse_words(&mut words)?;
        match words.is_empty() {
            true => Ok(op),
            false => Err(Bad(format!("too many words: {text}"))),
        }
    }

    fn parse_words(w: &mut Words<'_>) -> Result<Op, Bad> {
        Ok(match w.word()? {
            "read" => Op::Read {
                space: w.number()?,
                at: w.number()?,
                n: w.number()?,
                file: w.file()?,
                off: w.number()?,
                eager: w.last("eager"),
            },
            "write" => Op::Write {
                space: w.number()?,
                at: w.number()?,
                n: w.number()?,
                file: w.file()?,
                off: match w.last("end") {
                    true => None,
                    false => Some(w.number()?),
                },
                eager: w.last("eager"),
            },
            "store" => Op::Store {
                space: w.number()?,
                at: w.number()?,
                n: w.number()?,
                value: w.number()?,
            },
            "load" => Op::Load {
                space: w.number()?,
                at: w.number()?,
                n: w.number()?,
            },
            "free" => Op::Free {
                space: w.number()?,
                at: w.number()?,
                n: w.number()?,
            },
            "foreign" => Op::Foreign {
                file: w.file()?,
                off: w.number()?,
                n: w.number()?,
                value: w.number()?,
            },
            "truncate" => Op::Truncate {
                file: w.file()?,
                size: w.number()?,
            },
            "remove" => Op::Remove { name: w.file()? },
            "rename" => Op::Rename {
                from: w.file()?,
                to: w.file()?,
            },
            "full" => Op::Full {
                on: w.last("on") || !w.last("off"),
            },
            "fork" => Op::Fork { space: w.number()? },
            "exit" => Op::Exit { space: w.number()? },
            "evict" => Op::Evict {
                space: w.number()?,
                page: w.number()?,
            },
            "page-out" => Op::PageOut {
                space: w.number()?,
                page: w.number()?,
                n: w.number()?,
            },
            other => return Err(Bad(format!("{other} is not an operation"))),
        })
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let eager = |eager: bool| if eager { " eager" } else { "" };
        match self {
            Op::Read {
                space,
                at,
                n,
                file,
                off,
                eager: e,
            } => write!(f, "read {space} {at} {n} file{file} {off}{}", eager(*e)),
            Op::Write {
                space,
                at,
                n,
                file,
                off: Some(off),
                eager: e,
            } => write!(f, "write {space} {at} {n} file{file} {off}{}", eager(*e)),
            Op::Write {
                space,
                at,
                n,
                file,
                off: None,
                eager: e,
            } => write!(f, "write {space} {at} {n} file{file} end{}", eager(*e)),
            Op::Store {
                space,
                at,
                n,
                value,
            } => write!(f, "store {space} {at} {n} {value}"),
            Op::Load { space, at, n } => write!(f, "load {space} {at} {n}"),
            Op::Free { space, at, n } => write!(f, "free {space} {at} {n}"),
            Op::Foreign {
                file,
                off,
                n,
                value,
            } => write!(f, "foreign file{file} {off} {n} {value}"),
            Op::Truncate { file, size } => write!(f, "truncate file{file} {size}"),
            Op::Remove { name } => write!(f, "remove file{name}"),
            Op::Rename { from, to } => write!(f, "rename file{from} file{to}"),
            Op::Full { on: true } => write!(f, "full on"),
            Op::Full { on: false } => write!(f, "full off"),
            Op::Fork { space } => write!(f, "fork {space}"),
            Op::Exit { space } => write!(f, "exit {space}"),
            Op::Evict { space, page } => write!(f, "evict {space} {page}"),
            Op::PageOut { space, page, n } => write!(f, "page-out {space} {page} {n}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "files 24576 100\n\
        config iounit 1000\n\
        read 0 4096 8192 file1 100\n\
        read 1 0 1 file0 0 eager\n\
        write 0 0 8192 file0 end\n\
        write 2 5 6 file0 7 eager\n\
        store 0 1 2 255\n\
        load 0 1 2 ! fail-message 3\n\
        free 0 0 4096\n\
        foreign file1 1 2 3\n\
        truncate file0 0\n\
        remove file1\n\
        rename file0 file1\n\
        full on\n\
        full off\n\
        fork 0\n\
        exit 2\n\
        evict 1 5\n";

    #[test]
    fn what_is_printed_is_read_again() {
        let program = Program::parse(TEXT).unwrap();
        assert_eq!(program.steps.len(), 16);
        assert_eq!(format!("{program}"), TEXT);
        assert_eq!(Program::parse(&format!("# why\n\n{program}")), Ok(program));
    }

    #[test]
    fn what_leaves_the_world_is_refused() {
        for line in [
            "read 3 0 1 file0 0",
            "load 0 24576 1",
            "store 0 0 1 256",
            "free 0 18446744073709551615 2",
            "truncate file1 0",
            "rename file0 file0",
            "load 0 0",
            "load 0 0 1 2",
            "sleep 0",
        ] {
            let text = format!("files 10\n{line}");
            assert!(Program::parse(&text).is_err(), "{line}");
        }
    }
}
