//! The arguments of a program, and a small option parser.

use crate::Failure;
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
/// `stack` points at argc, followed by argc pointers to NUL-terminated strings,
/// all of which stay unchanged for ever.
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
    fn raw(pointer: *const c_char) -> &'static CStr {
        // SAFETY: `rest` only holds pointers from `from_stack`.
        unsafe { CStr::from_ptr(pointer) }
    }

    pub(crate) fn first_not_utf8(&self) -> Option<usize> {
        let bad = |p: &*const c_char| Self::raw(*p).to_str().is_err();
        Some(self.rest.iter().position(bad)? + 1)
    }

    /// The last element of the path the program was started by.
    pub fn program(&self) -> &'static str {
        let path = self.program.to_str().unwrap_or("?");
        path.rsplit('/').next().unwrap_or(path)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The argument with that index, the first being 0.
    pub fn get(&self, index: usize) -> Option<&'static str> {
        let pointer = self.rest.get(index)?;
        Some(Self::raw(*pointer).to_str().unwrap_or("?"))
    }

    /// All of them in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'static str> {
        self.rest
            .iter()
            .map(|p| Self::raw(*p).to_str().unwrap_or("?"))
    }

    /// Without the first `count`.
    pub fn skip(&self, count: usize) -> Args {
        Args {
            program: self.program,
            rest: self.rest.get(count..).unwrap_or(&[]),
        }
    }

    /// Parses leading options. `letters` lists them, a `:` after one that
    /// takes a value, as in `"tn:m:"`.
    pub fn options(self, letters: &'static str) -> Options {
        Options {
            letters,
            args: self,
            cluster: "",
        }
    }
}

/// The options at the beginning of the arguments; ends at `--`, at `-` or at
/// the first argument that does not begin with `-`.
pub struct Options {
    letters: &'static str,
    args: Args,
    cluster: &'static str,
}

impl Options {
    /// The next option's letter and its value (empty for one without).
    /// An unknown letter or a missing value is an error.
    pub fn next_option(&mut self) -> Result<Option<(char, &'static str)>, Failure> {
        if self.cluster.is_empty() {
            match self.args.get(0) {
                Some("--") => {
                    self.args = self.args.skip(1);
                    return Ok(None);
                }
                Some(arg) if arg.len() > 1 && arg.starts_with('-') => {
                    self.args = self.args.skip(1);
                    self.cluster = &arg[1..];
                }
                _ => return Ok(None),
            }
        }
        let mut chars = self.cluster.chars();
        let Some(letter) = chars.next() else {
            return Ok(None);
        };
        self.cluster = chars.as_str();
        let mut spec = self.letters.chars().skip_while(|c| *c != letter);
        if letter == ':' || spec.next().is_none() {
            return Err(Failure::usage(format_args!("unknown option -{letter}")));
        }
        if spec.next() != Some(':') {
            return Ok(Some((letter, "")));
        }
        let value = match core::mem::take(&mut self.cluster) {
            "" => {
                let next = self.args.get(0);
                self.args = self.args.skip(1);
                next.ok_or_else(|| Failure::usage(format_args!("option -{letter} needs a value")))?
            }
            joined => joined,
        };
        Ok(Some((letter, value)))
    }

    /// What follows the options.
    pub fn rest(self) -> Args {
        self.args
    }

    /// For programs whose options have no values: a letter tells whether it
    /// was given. Wrong ones end in `usage`.
    pub fn flags(mut self, usage: &str) -> Result<(Flags, Args), Failure> {
        let mut flags = Flags::default();
        loop {
            match self.next_option() {
                Ok(None) => return Ok((flags, self.args)),
                Ok(Some((letter, _))) => flags.0 |= Flags::bit(letter),
                Err(failure) => {
                    return Err(Failure::usage(format_args!("{failure}\nusage: {usage}")));
                }
            }
        }
    }
}

/// Which options were given; see [`Options::flags`].
#[derive(Clone, Copy, Default)]
pub struct Flags(u64);

impl Flags {
    fn bit(letter: char) -> u64 {
        // Letters of ASCII differ in their low six bits.
        1 << (letter as u32 & 63)
    }

    /// Was this one?
    pub fn has(self, letter: char) -> bool {
        self.0 & Self::bit(letter) != 0
    }
}
