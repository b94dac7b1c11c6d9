//! The arguments of a program, and a small option parser.

use crate::{Failure, manual};
use bytestr::ByteStr;
use core::ffi::{CStr, c_char};

/// The arguments, without the program's name. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Args {
    program: &'static CStr,
    rest: &'static [*const c_char],
}

/// Reads the arguments from the initial stack.
///
/// # Safety
/// `stack` points at argc, followed by argc pointers to NUL-terminated strings.
/// All of these stay valid and unchanged until the process ends.
pub(crate) unsafe fn from_stack(stack: *const u64) -> Args {
    // SAFETY: promised by the caller.
    let all = unsafe {
        let count = *stack as usize;
        core::slice::from_raw_parts(stack.add(1).cast::<*const c_char>(), count)
    };
    let Some((&first, rest)) = all.split_first() else {
        return Args {
            program: c"?",
            rest: &[],
        };
    };
    // SAFETY: promised by the caller.
    let program = unsafe { CStr::from_ptr(first) };
    Args { program, rest }
}

impl Args {
    fn bytes(pointer: *const c_char) -> ByteStr<'static> {
        // SAFETY: `rest` only holds pointers from `from_stack`.
        ByteStr(unsafe { CStr::from_ptr(pointer) }.to_bytes())
    }

    /// The last component of the path by which the program was started.
    pub fn program(&self) -> ByteStr<'static> {
        crate::copy::last_part(ByteStr(self.program.to_bytes()))
    }

    /// The number of arguments.
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// Returns true if there are no arguments.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The argument at `index`, counted from 0.
    pub fn get(&self, index: usize) -> Option<ByteStr<'static>> {
        self.rest.get(index).map(|pointer| Self::bytes(*pointer))
    }

    /// All arguments in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ByteStr<'static>> {
        self.rest.iter().map(|pointer| Self::bytes(*pointer))
    }

    /// The arguments after the first `count`.
    pub fn skip(&self, count: usize) -> Args {
        Args {
            program: self.program,
            rest: self.rest.get(count..).unwrap_or(&[]),
        }
    }

    /// Prints the [`manual`] and ends the process if the arguments ask for it;
    /// for programs whose arguments look like options.
    pub fn help(&self) {
        let asks = |arg: &ByteStr<'_>| matches!(arg.bytes(), b"--help" | b"-h");
        if manual::is_there() && self.get(0).as_ref().is_some_and(asks) {
            manual::show()
        }
    }

    /// Refuses any argument; for programs that take none.
    pub fn none(self) -> Result<(), Failure> {
        let (_, rest) = self.options("").flags()?;
        match rest.is_empty() {
            true => Ok(()),
            false => Err(manual::misused()),
        }
    }

    /// Parses leading options. `letters` lists them, a `:` after one that
    /// takes a value, as in `"tn:m:"`.
    pub fn options(self, letters: &'static str) -> Options {
        Options {
            letters,
            args: self,
            cluster: &[],
        }
    }
}

/// The options at the beginning of the arguments; ends at `--`, at `-` or at
/// the first argument that does not begin with `-`.
pub struct Options {
    letters: &'static str,
    args: Args,
    cluster: &'static [u8],
}

impl Options {
    /// The next option's letter and its value (empty for one without).
    ///
    /// # Errors
    /// An unknown letter or a missing value; the text includes the usage.
    /// `--help` and `-h` print the [`manual`] and end the process.
    pub fn next_option(&mut self) -> Result<Option<(char, ByteStr<'static>)>, Failure> {
        if self.cluster.is_empty() {
            match self.args.get(0).map(ByteStr::bytes) {
                Some(b"--") => {
                    self.args = self.args.skip(1);
                    return Ok(None);
                }
                Some(long @ [b'-', b'-', ..]) => {
                    self.args.help();
                    let long = ByteStr(long);
                    return Err(manual::misused_by(format_args!("unknown option {long}")));
                }
                Some([b'-', cluster @ ..]) if !cluster.is_empty() => {
                    self.args = self.args.skip(1);
                    self.cluster = cluster;
                }
                _ => return Ok(None),
            }
        }
        let Some(letter) = self.letter() else {
            return Ok(None);
        };
        let mut spec = self.letters.chars().skip_while(|c| *c != letter);
        if letter == ':' || spec.next().is_none() {
            if letter == 'h' && manual::is_there() {
                manual::show()
            }
            let mut utf8 = [0; 4];
            let shown = ByteStr(letter.encode_utf8(&mut utf8).as_bytes());
            return Err(manual::misused_by(format_args!("unknown option -{shown}")));
        }
        if spec.next() != Some(':') {
            return Ok(Some((letter, ByteStr::default())));
        }
        let value = match core::mem::take(&mut self.cluster) {
            [] => {
                let next = self.args.get(0);
                self.args = self.args.skip(1);
                next.ok_or_else(|| {
                    manual::misused_by(format_args!("option -{letter} needs a value"))
                })?
            }
            joined => ByteStr(joined),
        };
        Ok(Some((letter, value)))
    }

    /// Takes the next character of the argument. Bytes that are not UTF-8
    /// become the letter U+FFFD, which no program has as an option.
    fn letter(&mut self) -> Option<char> {
        let chunk = self.cluster.utf8_chunks().next()?;
        let letter = chunk.valid().chars().next();
        let taken = letter.map_or(chunk.invalid().len(), char::len_utf8);
        self.cluster = self.cluster.get(taken..).unwrap_or(&[]);
        Some(letter.unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// The arguments after the options.
    pub fn rest(self) -> Args {
        self.args
    }

    /// Parses options without values.
    pub fn flags(mut self) -> Result<(Flags, Args), Failure> {
        let mut flags = Flags::default();
        while let Some((letter, _)) = self.next_option()? {
            flags.set(letter);
        }
        Ok((flags, self.args))
    }
}

/// The options that were given; see [`Options::flags`].
#[derive(Clone, Copy, Default)]
pub struct Flags(u64);

impl Flags {
    #[inline]
    fn bit(letter: char) -> u64 {
        // ASCII letters differ in their low six bits.
        1 << (letter as u32 & 63)
    }

    /// Adds an option.
    pub fn set(&mut self, letter: char) {
        self.0 |= Self::bit(letter);
    }

    /// Returns true if the option was given.
    #[inline]
    pub fn has(self, letter: char) -> bool {
        self.0 & Self::bit(letter) != 0
    }
}
