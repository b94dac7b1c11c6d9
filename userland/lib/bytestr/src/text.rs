//! Conversion of bytes to text and back, without loss, for code that works on
//! characters.
//!
//! UTF-8 stays unchanged. Any other byte becomes one character of a private-use
//! range (Python's `surrogateescape` does the same with characters that Rust's
//! `str` cannot hold). Characters of that range in the input are treated as
//! bytes that are not UTF-8, so that the mapping between byte strings and texts
//! is one to one.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// The character of byte 0; private use, plane 16.
const BASE: u32 = 0x10_FE00;
/// The first byte in UTF-8 of all characters of the range.
const LEAD: u8 = 0xF4;

fn stands_for(c: char) -> Option<u8> {
    match u8::try_from((c as u32).checked_sub(BASE)?) {
        Ok(byte) if byte >= 0x80 => Some(byte),
        _ => None,
    }
}

/// Returns true if the character stands for a byte that is not UTF-8.
pub fn stands_for_byte(c: char) -> bool {
    stands_for(c).is_some()
}

fn push_byte(byte: u8, to: &mut String) {
    // Every number in the range is a character.
    to.extend(char::from_u32(BASE + u32::from(byte)));
}

/// The text that stands for the bytes.
pub fn from_bytes(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match stands_for(c) {
                None => text.push(c),
                Some(_) => {
                    let mut utf8 = [0; 4];
                    let bytes = c.encode_utf8(&mut utf8).bytes();
                    bytes.for_each(|byte| push_byte(byte, &mut text));
                }
            }
        }
        for byte in chunk.invalid() {
            push_byte(*byte, &mut text);
        }
    }
    text
}

/// The bytes that the text stands for.
pub fn to_bytes(text: &str) -> Cow<'_, [u8]> {
    if !text.as_bytes().contains(&LEAD) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match stands_for(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}
