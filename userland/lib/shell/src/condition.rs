//! `test` and `[`: conditions on texts, numbers and files.

use alloc::format;
use alloc::string::String;

/// Parentheses within each other, at most; a stack is finite.
const DEPTH_MAX: usize = 50;

/// The type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// An ordinary file.
    Ordinary,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device that is read and written character by character.
    CharacterDevice,
    /// A device of blocks.
    BlockDevice,
    /// A pipe.
    Pipe,
    /// A socket.
    Socket,
}

/// The attributes of an existing file that conditions test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The type.
    pub kind: FileType,
    /// Bytes.
    pub size: u64,
    /// When its content changed last.
    pub changed: u64,
    /// The same for two names of one file: its server and its number there.
    pub identity: (u64, u64),
}

/// A kind of access to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read it.
    Read,
    /// Write to it.
    Write,
    /// Run it, or go into the directory.
    Run,
}

/// The file system that conditions test.
pub trait Files {
    /// The attributes of the file at `path`.
    fn facts(&self, path: &str) -> Option<Facts>;
    /// The same, without following a link there.
    fn link_facts(&self, path: &str) -> Option<Facts>;
    /// Returns true if the file at `path` permits the access.
    fn may(&self, path: &str, access: Access) -> bool;
    /// Returns true if the descriptor is a terminal.
    fn is_terminal(&self, fd: u32) -> bool;
}

/// Evaluates the arguments of `test`.
pub fn evaluate(args: &[&str], files: &dyn Files) -> Result<bool, String> {
    let mut args = args;
    let mut negated = false;
    // By their number first, as POSIX has it: an operator may be an operand.
    loop {
        let is = match args {
            [] => false,
            [text] => !text.is_empty(),
            [a, operator, b] if is_binary(operator) => binary(a, operator, b, files)?,
            ["!", rest @ ..] if rest.len() < 4 => {
                negated = !negated;
                args = rest;
                continue;
            }
            ["(", rest @ .., ")"] if rest.len() < 3 => {
                args = rest;
                continue;
            }
            [operator, operand] => unary(operator, operand, files)?,
            [a, operator, b] => binary(a, operator, b, files)?,
            args => longer(args, files)?,
        };
        return Ok(is != negated);
    }
}

/// Any number of arguments, with `-o`, `-a`, `!` and parentheses.
fn longer(args: &[&str], files: &dyn Files) -> Result<bool, String> {
    let mut expression = Expression {
        args,
        files,
        depth: 0,
    };
    let is = expression.either()?;
    match expression.args {
        [] => Ok(is),
        [extra, ..] => Err(format!("{extra}: too many arguments")),
    }
}

struct Expression<'a> {
    args: &'a [&'a str],
    files: &'a dyn Files,
    depth: usize,
}

impl<'a> Expression<'a> {
    fn take(&mut self, wanted: &str) -> bool {
        let is = self.args.first() == Some(&wanted);
        if is {
            self.skip(1);
        }
        is
    }

    fn skip(&mut self, count: usize) {
        self.args = self.args.get(count..).unwrap_or(&[]);
    }

    fn either(&mut self) -> Result<bool, String> {
        let mut is = self.both()?;
        while self.take("-o") {
            is |= self.both()?;
        }
        Ok(is)
    }

    fn both(&mut self) -> Result<bool, String> {
        let mut is = self.one()?;
        while self.take("-a") {
            is &= self.one()?;
        }
        Ok(is)
    }

    fn one(&mut self) -> Result<bool, String> {
        let mut negated = false;
        while self.args.len() > 1 && self.take("!") {
            negated = !negated;
        }
        let is = match *self.args {
            [a, operator, b, ..] if is_binary(operator) && !["-a", "-o"].contains(&operator) => {
                self.skip(3);
                binary(a, operator, b, self.files)?
            }
            ["(", _, ..] => {
                self.skip(1);
                self.parenthesized()?
            }
            [operator, operand, ..] if is_unary(operator) => {
                self.skip(2);
                unary(operator, operand, self.files)?
            }
            [text, ..] => {
                self.skip(1);
                !text.is_empty()
            }
            [] => return Err("a condition is missing".into()),
        };
        Ok(is != negated)
    }

    fn parenthesized(&mut self) -> Result<bool, String> {
        if self.depth == DEPTH_MAX {
            return Err("nested too deeply".into());
        }
        self.depth += 1;
        let is = self.either()?;
        self.depth -= 1;
        match self.take(")") {
            true => Ok(is),
            false => Err("a ( is not closed".into()),
        }
    }
}

fn is_unary(operator: &str) -> bool {
    matches!(operator.strip_prefix('-'), Some(letter) if letter.len() == 1
        && "nzefdshLprwxSbct".contains(letter))
}

fn is_binary(operator: &str) -> bool {
    matches!(
        operator,
        "=" | "=="
            | "!="
            | "-a"
            | "-o"
            | "-eq"
            | "-ne"
            | "-lt"
            | "-le"
            | "-gt"
            | "-ge"
            | "-nt"
            | "-ot"
            | "-ef"
    )
}

fn unary(operator: &str, operand: &str, files: &dyn Files) -> Result<bool, String> {
    let is = |kind| files.facts(operand).is_some_and(|facts| facts.kind == kind);
    Ok(match operator {
        "-n" => !operand.is_empty(),
        "-z" => operand.is_empty(),
        "-e" => files.facts(operand).is_some(),
        "-f" => is(FileType::Ordinary),
        "-d" => is(FileType::Directory),
        "-p" => is(FileType::Pipe),
        "-S" => is(FileType::Socket),
        "-b" => is(FileType::BlockDevice),
        "-c" => is(FileType::CharacterDevice),
        "-h" | "-L" => {
            let facts = files.link_facts(operand);
            facts.is_some_and(|facts| facts.kind == FileType::Link)
        }
        "-s" => files.facts(operand).is_some_and(|facts| facts.size > 0),
        "-r" => files.may(operand, Access::Read),
        "-w" => files.may(operand, Access::Write),
        "-x" => files.may(operand, Access::Run),
        "-t" => match number(operand)?.try_into() {
            Ok(fd) => files.is_terminal(fd),
            Err(_) => false,
        },
        _ => return Err(format!("{operator}: not a condition")),
    })
}

fn number(text: &str) -> Result<i64, String> {
    let parsed = text.trim().parse::<i64>();
    parsed.map_err(|_| format!("{text}: not a number"))
}

fn binary(a: &str, operator: &str, b: &str, files: &dyn Files) -> Result<bool, String> {
    let numbers = || Ok::<_, String>((number(a)?, number(b)?));
    let (left, right) = (|| files.facts(a), || files.facts(b));
    Ok(match operator {
        "=" | "==" => a == b,
        "!=" => a != b,
        "-a" => !a.is_empty() && !b.is_empty(),
        "-o" => !a.is_empty() || !b.is_empty(),
        "-eq" => numbers().map(|(a, b)| a == b)?,
        "-ne" => numbers().map(|(a, b)| a != b)?,
        "-lt" => numbers().map(|(a, b)| a < b)?,
        "-le" => numbers().map(|(a, b)| a <= b)?,
        "-gt" => numbers().map(|(a, b)| a > b)?,
        "-ge" => numbers().map(|(a, b)| a >= b)?,
        // An existing file is newer than a missing one.
        "-nt" => left().map(|facts| facts.changed) > right().map(|facts| facts.changed),
        "-ot" => left().map(|facts| facts.changed) < right().map(|facts| facts.changed),
        "-ef" => matches!((left(), right()), (Some(a), Some(b)) if a.identity == b.identity),
        _ => return Err(format!("{operator}: not a condition")),
    })
}
