//! Display of bytes: unchanged if that is harmless, otherwise as `$'...'`, the
//! form that shells read back.
//!
//! A name must not move a terminal's cursor, reverse the direction of the text
//! after it, or look like another name. Text is therefore displayed unchanged
//! only if all of it is UTF-8 that a terminal prints and it does not begin like
//! the escaped form. Between the quotes there are `\n`, `\t`, `\r`, `\e`, `\'`,
//! `\\` and `\xHH` for a byte.

use alloc::vec::Vec;
use core::fmt::{self, Write};

/// Begins the escaped form.
const OPEN: &str = "$'";

/// Returns true if a terminal prints the character, alone or combined with the
/// one before it.
fn printable(c: char) -> bool {
    // Nearly all are.
    if matches!(c, ' '..='~') {
        return true;
    }
    // Printable is what `Debug` leaves unescaped, except quotes. The character
    // is tested after another one, because a combining accent is harmless
    // there.
    let mut pair = [0; 8];
    pair[0] = b'a';
    let after = c.encode_utf8(&mut pair[1..]).len();
    let text = core::str::from_utf8(&pair[..1 + after]).unwrap_or_default();
    matches!(c, '\'' | '"' | '\\') || text.escape_debug().skip(1).eq([c])
}

/// The bytes as text, if they are displayed unchanged.
pub fn plain(bytes: &[u8]) -> Option<&str> {
    let text = core::str::from_utf8(bytes).ok()?;
    (text.chars().all(printable) && !text.starts_with(OPEN)).then_some(text)
}

/// Writes the bytes, escaped if necessary.
pub fn show(bytes: &[u8], to: &mut impl Write) -> fmt::Result {
    if let Some(text) = plain(bytes) {
        return to.write_str(text);
    }
    to.write_str(OPEN)?;
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().try_for_each(|c| escape(c, to))?;
        chunk.invalid().iter().try_for_each(|b| byte(*b, to))?;
    }
    to.write_char('\'')
}

fn byte(byte: u8, to: &mut impl Write) -> fmt::Result {
    write!(to, "\\x{byte:02x}")
}

fn escape(c: char, to: &mut impl Write) -> fmt::Result {
    match c {
        '\n' => to.write_str("\\n"),
        '\t' => to.write_str("\\t"),
        '\r' => to.write_str("\\r"),
        '\x1b' => to.write_str("\\e"),
        '\'' => to.write_str("\\'"),
        '\\' => to.write_str("\\\\"),
        c if printable(c) => to.write_char(c),
        c => {
            let mut utf8 = [0; 4];
            let bytes = c.encode_utf8(&mut utf8).bytes();
            bytes.into_iter().try_for_each(|b| byte(b, to))
        }
    }
}

/// The bytes that are displayed as `text`; `None` if there are none.
pub fn read_back(text: &str) -> Option<Vec<u8>> {
    let Some(inner) = text.strip_prefix(OPEN) else {
        return plain(text.as_bytes()).map(|text| text.into());
    };
    let mut rest = inner.strip_suffix('\'')?.chars();
    let mut bytes = Vec::new();
    while let Some(c) = rest.next() {
        let c = match c {
            '\'' => return None,
            '\\' => match rest.next()? {
                'x' => {
                    let digits = rest.as_str().get(..2)?;
                    rest = rest.as_str().get(2..)?.chars();
                    bytes.push(u8::from_str_radix(digits, 16).ok()?);
                    continue;
                }
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'e' => '\x1b',
                c @ ('\'' | '\\') => c,
                _ => return None,
            },
            c => c,
        };
        bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(bytes)
}
