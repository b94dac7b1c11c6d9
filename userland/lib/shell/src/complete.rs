//! Completes the word before the cursor with the name of a file or command.

use crate::glob::Names;
use crate::split::USUAL;
use crate::word::is_name;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytestr::text::{from_bytes, to_bytes};
use bytestr::{ByteStr, shown};

/// The commands to choose from.
pub trait Commands {
    /// Names of commands that begin so, in any order.
    fn commands(&mut self, start: &str) -> Vec<String>;
    /// The directory that `~` stands for.
    fn home(&self) -> String;
}

/// A change of the text before the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Where the replaced text begins; it ends at the cursor.
    pub from: usize,
    /// The text in its place.
    pub text: String,
    /// The names that it may become, if nothing can be added.
    pub choices: Vec<String>,
}

/// The completion of the word at the end of `before`; `None` if no name begins so.
pub fn complete(before: &[char], host: &mut (impl Names + Commands)) -> Option<Completion> {
    let word = last_word(before)?;
    let (directory, start) = match word.text.rfind('/') {
        Some(slash) => word.text.split_at(slash + 1),
        None => ("", &*word.text),
    };
    let is_command = word.is_command && directory.is_empty();
    let path = match directory.strip_prefix("~/") {
        Some(rest) if word.home => format!("{}/{rest}", host.home()),
        _ => directory.to_string(),
    };
    let names = match is_command {
        true => host.commands(start),
        false => host.names(&path),
    };
    let hidden = start.starts_with('.');
    let fits = |name: &String| name.starts_with(start) && (hidden || !name.starts_with('.'));
    // Sorted, each once.
    let names: BTreeSet<String> = names.into_iter().filter(fits).collect();
    let others = names.iter().skip(1);
    let common = others.fold(names.first()?.as_str(), |common, name| shared(common, name));
    let end = match names.len() {
        1 if !is_command && host.is_directory(&format!("{path}{common}")) => "/",
        1 => " ",
        _ => "",
    };
    let whole = format!("{directory}{common}");
    let quoted = match whole.strip_prefix("~/") {
        Some(rest) if word.home => format!("~/{}", quote(rest)),
        _ => quote(&whole),
    };
    let choices = match names.len() > 1 && common == start {
        true => names.iter().cloned().collect(),
        false => Vec::new(),
    };
    Some(Completion {
        from: word.from,
        text: quoted + end,
        choices,
    })
}

/// The longest text with which both begin.
fn shared<'a>(one: &'a str, other: &str) -> &'a str {
    let same = one.chars().zip(other.chars()).take_while(|(a, b)| a == b);
    let len = same.map(|(c, _)| c.len_utf8()).sum();
    &one[..len]
}

/// The text, so that the shell reads it back as it is.
fn quote(text: &str) -> String {
    let bytes = to_bytes(text);
    if shown::plain(&bytes).is_none() {
        return ByteStr(&bytes).to_string();
    }
    let mut quoted = String::new();
    for (index, c) in text.chars().enumerate() {
        if " |&;<>()$`\\\"'*?[]{}!".contains(c) || (index == 0 && "~#".contains(c)) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

/// A word that is being typed.
#[derive(Default)]
struct Typed {
    /// Where it begins.
    from: usize,
    /// Its text so far, without quotes.
    text: String,
    /// It has begun, perhaps with an empty pair of quotes.
    begun: bool,
    /// It names a command.
    is_command: bool,
    /// It begins with a `~` that stands for the home directory.
    home: bool,
}

/// Words after which a command may begin.
const BEFORE_COMMANDS: [&str; 9] = [
    "!", "{", "do", "elif", "else", "if", "then", "until", "while",
];

impl Typed {
    /// Whether the word after this one, which ended, names a command.
    fn next_is_command(&self) -> bool {
        let assignment = |text: &str| text.split_once('=').is_some_and(|(name, _)| is_name(name));
        match self.begun {
            false => self.is_command,
            true => {
                self.is_command
                    && (assignment(&self.text) || BEFORE_COMMANDS.contains(&&*self.text))
            }
        }
    }
}

/// The last word; `None` where its value is not known before the command runs.
fn last_word(before: &[char]) -> Option<Typed> {
    let first = Typed {
        is_command: true,
        ..Typed::default()
    };
    let mut word = first;
    // The next word is a file, and the one after it as the former would have been.
    let mut after_file = None;
    let mut at = 0;
    while let Some(&c) = before.get(at) {
        let begins = !word.begun;
        let rest = &before[at + 1..];
        at += 1;
        if USUAL.contains(c) || ";|&(<>)".contains(c) {
            let next = match after_file {
                Some(was) if word.begun => {
                    after_file = None;
                    was
                }
                _ => word.next_is_command(),
            };
            let is_command = match c {
                '<' | '>' => {
                    after_file.get_or_insert(next);
                    false
                }
                c if USUAL.contains(c) && after_file.is_some() => false,
                c if USUAL.contains(c) && c != '\n' => next,
                _ => {
                    after_file = None;
                    true
                }
            };
            word = Typed {
                from: at,
                is_command,
                ..Typed::default()
            };
            continue;
        }
        word.begun = true;
        match c {
            '\\' => {
                word.text.extend(rest.first());
                at += rest.len().min(1);
            }
            '\'' => at += until(rest, '\'', &mut word.text),
            '"' => at += double(rest, &mut word.text)?,
            '$' if rest.first() == Some(&'\'') => at += 1 + escaped(&rest[1..], &mut word.text),
            '$' | '`' => return None,
            c => {
                word.home |= begins && c == '~';
                word.text.push(c);
            }
        }
    }
    Some(word)
}

/// Takes characters up to `end`; how many, with it.
fn until(rest: &[char], end: char, text: &mut String) -> usize {
    let len = rest.iter().position(|c| *c == end);
    text.extend(&rest[..len.unwrap_or(rest.len())]);
    len.map_or(rest.len(), |len| len + 1)
}

/// The same between double quotes; `None` if there is a value.
fn double(rest: &[char], text: &mut String) -> Option<usize> {
    let mut chars = rest.iter().enumerate();
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return Some(index + 1),
            '$' | '`' => return None,
            '\\' => match chars.next() {
                Some((_, c)) if "\"\\$`".contains(*c) => text.push(*c),
                next => {
                    text.push('\\');
                    text.extend(next.map(|(_, c)| c));
                }
            },
            c => text.push(*c),
        }
    }
    Some(rest.len())
}

/// The same after `$'`, with the escapes that completion itself writes.
fn escaped(rest: &[char], text: &mut String) -> usize {
    let mut bytes = Vec::new();
    let mut at = 0;
    while let Some(c) = rest.get(at) {
        at += 1;
        let c = match c {
            '\'' => break,
            '\\' => {
                let next = rest.get(at).copied();
                at += 1;
                match next {
                    Some('x') => {
                        let digits = rest.get(at..).unwrap_or(&[]).iter().take(2);
                        let digits: Vec<u32> = digits.map_while(|c| c.to_digit(16)).collect();
                        at += digits.len();
                        bytes.push(digits.iter().fold(0, |value, digit| value * 16 + digit) as u8);
                        continue;
                    }
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('r') => '\r',
                    Some('e') => '\x1b',
                    Some(c) => c,
                    None => break,
                }
            }
            c => *c,
        };
        bytes.extend_from_slice(&to_bytes(c.encode_utf8(&mut [0; 4])));
    }
    text.push_str(&from_bytes(&bytes));
    at.min(rest.len())
}
