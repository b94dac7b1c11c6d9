//! The formats of `printf`: POSIX's, except floating point.

use crate::escape::{Escapes, Output, one, unescape};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// Widest field, and most digits.
const WIDTH_MAX: usize = 1 << 16;

/// The result of `printf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// The printed bytes.
    pub bytes: Vec<u8>,
    /// Complaints about arguments, which count as 0.
    pub wrong: Vec<String>,
}

/// Prints `arguments` as `format` says, repeating the format while arguments
/// are left. Missing arguments are empty or 0. The error describes a mistake in
/// the format; `printed` has the output up to there.
pub fn printf(format: &[u8], arguments: &[&[u8]], printed: &mut Printed) -> Result<(), String> {
    let mut run = Run {
        arguments,
        taken: false,
        printed,
    };
    loop {
        run.taken = false;
        if run.once(format)? == Output::Ends || run.arguments.is_empty() || !run.taken {
            return Ok(());
        }
    }
}

struct Run<'a> {
    arguments: &'a [&'a [u8]],
    /// Set when this use of the format has taken an argument.
    taken: bool,
    printed: &'a mut Printed,
}

/// Between `%` and the letter.
#[derive(Clone, Debug, Default)]
struct Field {
    left: bool,
    plus: bool,
    blank: bool,
    alternative: bool,
    zeros: bool,
    width: usize,
    precision: Option<usize>,
}

impl Run<'_> {
    fn once(&mut self, format: &[u8]) -> Result<Output, String> {
        let mut rest = format;
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            match (first, rest.first()) {
                (b'%', Some(b'%')) => {
                    self.printed.bytes.push(b'%');
                    rest = &rest[1..];
                }
                (b'%', _) => {
                    let (field, letter, after) = self.field(rest)?;
                    rest = after;
                    if self.convert(&field, letter)? == Output::Ends {
                        return Ok(Output::Ends);
                    }
                }
                (b'\\', _) => match one(rest, Escapes::Format) {
                    Some((byte, len)) => {
                        self.printed.bytes.push(byte);
                        rest = rest.get(len..).unwrap_or(&[]);
                    }
                    None => self.printed.bytes.push(b'\\'),
                },
                (byte, _) => self.printed.bytes.push(*byte),
            }
        }
        Ok(Output::GoesOn)
    }

    /// The next argument; none left is empty.
    fn next(&mut self) -> &'_ [u8] {
        self.taken = true;
        match self.arguments.split_first() {
            Some((first, rest)) => {
                self.arguments = rest;
                first
            }
            None => &[],
        }
    }

    /// Parses the text after a `%`: the field, its letter, and the rest of the
    /// format.
    fn field<'f>(&mut self, format: &'f [u8]) -> Result<(Field, u8, &'f [u8]), String> {
        let mut field = Field::default();
        let mut rest = format;
        while let Some((flag, after)) = rest.split_first() {
            match flag {
                b'-' => field.left = true,
                b'+' => field.plus = true,
                b' ' => field.blank = true,
                b'#' => field.alternative = true,
                b'0' => field.zeros = true,
                _ => break,
            }
            rest = after;
        }
        let (width, after) = self.length(rest)?;
        field.left |= width < 0;
        field.width = width.unsigned_abs();
        rest = after;
        if let Some(after) = rest.strip_prefix(b".") {
            let (precision, after) = self.length(after)?;
            field.precision = usize::try_from(precision).ok();
            rest = after;
        }
        match rest.split_first() {
            Some((letter, rest)) => Ok((field, *letter, rest)),
            None => Err("a % at the end".into()),
        }
    }

    /// A number of the format, or `*` for that of an argument.
    fn length<'f>(&mut self, format: &'f [u8]) -> Result<(isize, &'f [u8]), String> {
        let (length, rest) = match format.strip_prefix(b"*") {
            Some(rest) => (self.number(), rest),
            None => {
                let digits = format.iter().take_while(|byte| byte.is_ascii_digit());
                let (digits, rest) = format.split_at(digits.count());
                let text = core::str::from_utf8(digits).unwrap_or("");
                let length = if text.is_empty() { Ok(0) } else { text.parse() };
                (length.unwrap_or(i128::MAX), rest)
            }
        };
        match isize::try_from(length) {
            Ok(length) if length.unsigned_abs() <= WIDTH_MAX => Ok((length, rest)),
            _ => Err(format!("a field is wider than {WIDTH_MAX}")),
        }
    }

    fn convert(&mut self, field: &Field, letter: u8) -> Result<Output, String> {
        let mut output = Output::GoesOn;
        match letter {
            b's' => {
                let text = self.next().to_vec();
                self.put_text(field, &text);
            }
            b'c' => {
                let text = self.next().to_vec();
                self.put(field, text.get(..1).unwrap_or(&[]));
            }
            b'b' => {
                let mut text = Vec::new();
                output = unescape(self.next(), Escapes::Argument, &mut text);
                self.put_text(field, &text);
            }
            b'd' | b'i' => {
                let number = self.in_range(i128::from(i64::MIN), i128::from(i64::MAX));
                let sign = match number {
                    ..0 => "-",
                    _ if field.plus => "+",
                    _ if field.blank => " ",
                    _ => "",
                };
                self.put_number(field, sign, &number.unsigned_abs().to_string());
            }
            b'u' | b'o' | b'x' | b'X' => {
                // A negative number is printed as its 64 bits.
                let number = self.in_range(i128::from(i64::MIN), i128::from(u64::MAX)) as u64;
                let alternative = field.alternative && number != 0;
                let (prefix, digits) = match letter {
                    b'u' => ("", format!("{number}")),
                    b'o' if alternative => ("", format!("0{number:o}")),
                    b'o' => ("", format!("{number:o}")),
                    b'x' => (if alternative { "0x" } else { "" }, format!("{number:x}")),
                    _ => (if alternative { "0X" } else { "" }, format!("{number:X}")),
                };
                self.put_number(field, prefix, &digits);
            }
            letter => return Err(format!("not supported: %{}", char::from(letter))),
        }
        Ok(output)
    }

    /// The next argument as a number, or 0.
    fn number(&mut self) -> i128 {
        let text = self.next().to_vec();
        let text = String::from_utf8_lossy(&text).into_owned();
        match parse(&text) {
            Some(number) => number,
            None => {
                self.printed.wrong.push(format!("{text}: not a number"));
                0
            }
        }
    }

    fn in_range(&mut self, least: i128, most: i128) -> i128 {
        let number = self.number();
        if number < least || number > most {
            self.printed.wrong.push(format!("{number}: too large"));
        }
        number.clamp(least, most)
    }

    /// A text, cut to the precision.
    fn put_text(&mut self, field: &Field, text: &[u8]) {
        let len = field.precision.unwrap_or(text.len()).min(text.len());
        self.put(field, text.get(..len).unwrap_or(&[]));
    }

    /// A number: the precision is the least number of digits.
    fn put_number(&mut self, field: &Field, sign: &str, digits: &str) {
        let least = match field.precision {
            Some(precision) => precision,
            None if field.zeros && !field.left => field.width.saturating_sub(sign.len()),
            None => 1,
        };
        let zeros = least.saturating_sub(digits.len());
        let mut text = Vec::from(sign);
        text.resize(sign.len() + zeros, b'0');
        // A zero with no digits at all is nothing.
        if !(field.precision == Some(0) && digits == "0") {
            text.extend_from_slice(digits.as_bytes());
        }
        self.put(field, &text);
    }

    fn put(&mut self, field: &Field, text: &[u8]) {
        let blanks = vec![b' '; field.width.saturating_sub(text.len())];
        let (before, after) = match field.left {
            true => (text, blanks.as_slice()),
            false => (blanks.as_slice(), text),
        };
        self.printed.bytes.extend_from_slice(before);
        self.printed.bytes.extend_from_slice(after);
    }
}

/// A number as C writes it, or the code of the character after a quote; an
/// empty text is 0.
fn parse(text: &str) -> Option<i128> {
    if let Some(rest) = text.strip_prefix(['"', '\'']) {
        return Some(rest.chars().next().map_or(0, |c| i128::from(u32::from(c))));
    }
    if text.is_empty() {
        return Some(0);
    }
    let text = text.trim_start();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match digits.strip_prefix('0') {
        Some("") | None => (digits, 10),
        Some(rest) => match rest.strip_prefix(['x', 'X']) {
            Some(digits) => (digits, 16),
            None => (rest, 8),
        },
    };
    let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    let value = i128::from_str_radix(digits, radix).unwrap_or(i128::MAX);
    is_number.then(|| value.saturating_mul(sign))
}
