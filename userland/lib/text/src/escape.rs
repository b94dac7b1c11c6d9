//! Backslash escapes, as `printf` and `echo -e` have them.

use alloc::vec::Vec;

/// The context of escapes: it decides how octal numbers are written, and the
/// effect of `\c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escapes {
    /// In the format of `printf`: `\NNN`.
    Format,
    /// In an argument for `%b`, or of `echo -e`: `\0NNN`, and `\c` ends all
    /// output.
    Argument,
}

/// Whether output continues after a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Output {
    /// No `\c` was found.
    GoesOn,
    /// No: there was a `\c`.
    Ends,
}

/// Appends `text` to `out` with escapes replaced. Unknown escapes stay
/// unchanged.
pub fn unescape(text: &[u8], escapes: Escapes, out: &mut Vec<u8>) -> Output {
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        match one(rest, escapes) {
            Some((byte, len)) => {
                out.push(byte);
                rest = rest.get(len..).unwrap_or(&[]);
            }
            None if escapes == Escapes::Argument && rest.first() == Some(&b'c') => {
                return Output::Ends;
            }
            None => out.push(b'\\'),
        }
    }
    Output::GoesOn
}

/// The byte that the text after a `\` stands for, and how long that text is.
pub(crate) fn one(text: &[u8], escapes: Escapes) -> Option<(u8, usize)> {
    let byte = match text.first()? {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'\\' => b'\\',
        b'"' if escapes == Escapes::Format => b'"',
        b'0' if escapes == Escapes::Argument => return Some(octal(text, 4)),
        b'0'..=b'7' => return Some(octal(text, 3)),
        _ => return None,
    };
    Some((byte, 1))
}

/// The value of at most `len_max` octal digits, cut to 8 bits, and their
/// number.
fn octal(text: &[u8], len_max: usize) -> (u8, usize) {
    let digits = text.iter().take(len_max);
    let digits = digits.take_while(|byte| (b'0'..=b'7').contains(byte));
    digits.fold((0, 0), |(value, len): (u8, usize), digit| {
        (value.wrapping_mul(8).wrapping_add(digit - b'0'), len + 1)
    })
}
