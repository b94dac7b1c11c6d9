//! Words and their parts.

use crate::tree::{Part, Word};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Returns true if the text is a valid variable name.
pub fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars
        .next()
        .is_some_and(|c| c == '_' || c.is_ascii_alphabetic())
        && chars.all(|c| c == '_' || c.is_ascii_alphanumeric())
}

/// Adds a character to the last part if that is of the same kind.
pub(crate) fn push(parts: &mut Vec<Part>, c: char, quoted: bool) {
    match (parts.last_mut(), quoted) {
        (Some(Part::Plain(text)), false) | (Some(Part::Quoted(text)), true) => text.push(c),
        (_, false) => parts.push(Part::Plain(c.into())),
        (_, true) => parts.push(Part::Quoted(c.into())),
    }
}

/// The word, with a `~` at its beginning as the home directory. (That of
/// another user is not known: there are no users.)
pub(crate) fn home(mut word: Word) -> Word {
    let only = word.0.len() == 1;
    let Some(Part::Plain(text)) = word.0.first_mut() else {
        return word;
    };
    let is_home = text.starts_with("~/") || (only && text == "~");
    if !is_home {
        return word;
    }
    text.remove(0);
    if text.is_empty() {
        word.0.clear();
    }
    word.0.insert(0, Part::Home);
    word
}

/// `NAME=value`, taken apart. A `~` stands for the home directory at the
/// beginning of the value and after each `:`.
pub(crate) fn assignment(word: &Word) -> Option<(String, Word)> {
    let (first, rest) = word.0.split_first()?;
    let Part::Plain(text) = first else {
        return None;
    };
    let (name, value) = text.split_once('=')?;
    if !is_name(name) {
        return None;
    }
    let mut parts = Vec::new();
    for (index, piece) in value.split_inclusive(':').enumerate() {
        let bare = piece.strip_suffix(':').unwrap_or(piece);
        let at_end = rest.is_empty() || bare.len() < piece.len();
        let is_home = bare.starts_with("~/") || (bare == "~" && at_end);
        let text = match is_home {
            true => {
                parts.push(Part::Home);
                &piece[1..]
            }
            false => piece,
        };
        match (parts.last_mut(), index) {
            (Some(Part::Plain(before)), 1..) if !is_home => before.push_str(text),
            _ if text.is_empty() => {}
            _ => parts.push(Part::Plain(text.to_string())),
        }
    }
    parts.extend_from_slice(rest);
    Some((name.to_string(), Word(parts)))
}
