//! Patterns: `*` any characters, `?` one, `[a-z]` one of those, `[!a-z]` one
//! of the others, `[[:digit:]]` one of a class. In a path, a `/` and a leading
//! `.` are only matched by themselves.

use crate::tree::Extent;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// A character of a pattern; quoted ones mean themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The character.
    pub c: char,
    /// True if the character was quoted.
    pub quoted: bool,
}

/// A pattern without anything quoted.
pub fn marks(text: &str) -> Vec<Mark> {
    let mark = |c| Mark { c, quoted: false };
    text.chars().map(mark).collect()
}

/// Returns true if any character has a special meaning.
pub fn is_pattern(marks: &[Mark]) -> bool {
    marks
        .iter()
        .any(|mark| !mark.quoted && matches!(mark.c, '*' | '?' | '['))
}

/// Parses `[:NAME:]` at the start of `set`: the class, and the rest.
fn class(set: &[Mark]) -> Option<(Class, &[Mark])> {
    let text = |marks: &[Mark], wanted: &str| {
        let plain = marks.iter().all(|mark| !mark.quoted);
        plain && marks.iter().map(|mark| mark.c).eq(wanted.chars())
    };
    let inner = set.get(2..).filter(|_| text(&set[..2], "[:"))?;
    let len = inner.windows(2).position(|end| text(end, ":]"))?;
    let (name, rest) = (inner.get(..len)?, inner.get(len + 2..)?);
    let (_, class) = CLASSES.iter().find(|(known, _)| text(name, known))?;
    Some((*class, rest))
}

/// Tells whether a character belongs to a class.
type Class = fn(char) -> bool;

/// The classes of POSIX.
const CLASSES: &[(&str, Class)] = &[
    ("alnum", char::is_alphanumeric),
    ("alpha", char::is_alphabetic),
    ("blank", |c| c == ' ' || c == '\t'),
    ("cntrl", char::is_control),
    ("digit", |c| c.is_ascii_digit()),
    ("graph", |c| !c.is_control() && !c.is_whitespace()),
    ("lower", char::is_lowercase),
    ("print", |c| !c.is_control()),
    ("punct", |c| c.is_ascii_punctuation()),
    ("space", char::is_whitespace),
    ("upper", char::is_uppercase),
    ("xdigit", |c| c.is_ascii_hexdigit()),
];

/// Matches a `[...]` at the start of `set` (after the bracket) with `c`; the
/// rest of the pattern and the answer. `None`: no set after all.
fn in_set(set: &[Mark], c: char) -> Option<(&[Mark], bool)> {
    let mut rest = set;
    let negated = matches!(
        rest.first()?,
        Mark {
            c: '!' | '^',
            quoted: false
        }
    );
    if negated {
        rest = rest.get(1..)?;
    }
    let mut found = false;
    let mut first = true;
    loop {
        let (mark, after) = rest.split_first()?;
        if mark.c == ']' && !mark.quoted && !first {
            return Some((after, found != negated));
        }
        first = false;
        if let Some((class, after)) = class(rest) {
            found |= class(c);
            rest = after;
            continue;
        }
        let last = match after {
            [
                Mark {
                    c: '-',
                    quoted: false,
                },
                end,
                ..,
            ] if end.c != ']' || end.quoted => {
                rest = after.get(2..)?;
                end.c
            }
            _ => {
                rest = after;
                mark.c
            }
        };
        found |= (mark.c..=last).contains(&c);
    }
}

/// One character against the start of a pattern; the rest of the pattern.
fn one(pattern: &[Mark], c: char) -> Option<&[Mark]> {
    let (mark, rest) = pattern.split_first()?;
    match mark {
        Mark {
            c: '?',
            quoted: false,
        } => return Some(rest),
        Mark {
            c: '[',
            quoted: false,
        } => {
            if let Some((rest, is)) = in_set(rest, c) {
                return is.then_some(rest);
            }
        }
        _ => {}
    }
    (mark.c == c).then_some(rest)
}

/// Returns true if the whole of `name` matches.
pub fn matches(pattern: &[Mark], name: &str) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    // Where to go on if the last `*` has to take one character more.
    let mut again: Option<(&[Mark], &str)> = None;
    loop {
        if let Some((
            Mark {
                c: '*',
                quoted: false,
            },
            rest,
        )) = pattern.split_first()
        {
            again = Some((rest, name));
            pattern = rest;
            continue;
        }
        let mut chars = name.chars();
        let next = chars.next();
        match next {
            None if pattern.is_empty() => return true,
            None => return false,
            Some(c) => match one(pattern, c) {
                Some(rest) => {
                    pattern = rest;
                    name = chars.as_str();
                }
                None => {
                    let Some((rest, from)) = again else {
                        return false;
                    };
                    let mut taken = from.chars();
                    if taken.next().is_none() {
                        return false;
                    }
                    again = Some((rest, taken.as_str()));
                    (pattern, name) = (rest, taken.as_str());
                }
            },
        }
    }
}

/// `text` without an end that matches, if it has one.
pub fn without_suffix<'t>(text: &'t str, pattern: &[Mark], extent: Extent) -> &'t str {
    let starts = text.char_indices().map(|(at, _)| at);
    let mut starts = starts.chain([text.len()]);
    let is_end = |at: &usize| matches(pattern, text.get(*at..).unwrap_or(""));
    let found = match extent {
        Extent::Shortest => starts.rev().find(is_end),
        Extent::Longest => starts.find(is_end),
    };
    found.and_then(|at| text.get(..at)).unwrap_or(text)
}

/// `text` without a beginning that matches, if it has one.
pub fn without_prefix<'t>(text: &'t str, pattern: &[Mark], extent: Extent) -> &'t str {
    let ends = text.char_indices().map(|(at, _)| at);
    let mut ends = ends.chain([text.len()]);
    let is_beginning = |at: &usize| matches(pattern, text.get(..*at).unwrap_or(""));
    let found = match extent {
        Extent::Shortest => ends.find(is_beginning),
        Extent::Longest => ends.rev().find(is_beginning),
    };
    found.and_then(|at| text.get(at..)).unwrap_or(text)
}

/// The file system that patterns are matched against.
pub trait Names {
    /// The names in a directory; none if it cannot be read. `""` is the
    /// working directory.
    fn names(&mut self, directory: &str) -> Vec<String>;
    /// Returns true if a file of any type is at `path`.
    fn exists(&mut self, path: &str) -> bool;
    /// Returns true if a directory is at `path`.
    fn is_directory(&mut self, path: &str) -> bool;
}

/// The paths that match, sorted.
pub fn paths(pattern: &[Mark], files: &mut impl Names) -> Vec<String> {
    let mut found = vec![String::new()];
    let parts: Vec<&[Mark]> = pattern.split(|mark| mark.c == '/').collect();
    for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len();
        let mut next = Vec::new();
        for base in &found {
            let end = if last { "" } else { "/" };
            if !is_pattern(part) {
                let name: String = part.iter().map(|mark| mark.c).collect();
                let path = format!("{base}{name}{end}");
                // Before and after patterns it has to be there.
                let there = match name.is_empty() {
                    // A name followed by `/` must be a directory.
                    true => files.is_directory(base),
                    false => files.exists(&path),
                };
                if !last || index == 0 || there {
                    next.push(path);
                }
                continue;
            }
            let mut names = files.names(base);
            names.sort_unstable();
            let hidden = part.first().is_some_and(|mark| mark.c == '.');
            for name in names {
                let shown = hidden || !name.starts_with('.');
                if shown && name != "." && name != ".." && matches(part, &name) {
                    next.push(format!("{base}{name}{end}"));
                }
            }
        }
        found = next;
    }
    found
}
