//! The options of a script: `getopts`.

use alloc::string::{String, ToString};

/// How far the arguments have been looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the next argument, counted from 1: `OPTIND`.
    pub index: usize,
    /// Letters already taken of the argument before; 0: it is finished.
    taken: usize,
}

impl Place {
    /// Before the argument of that number.
    pub fn at(index: usize) -> Place {
        let index = index.max(1);
        Place { index, taken: 0 }
    }
}

/// A step through the options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// An option, with its value if it takes one.
    Option(char, Option<String>),
    /// A letter that is no option.
    Unknown(char),
    /// An option whose value is missing.
    NoValue(char),
    /// The arguments from the place on are no options.
    End,
}

/// The next option in `arguments`. In `letters` are the options; a `:` follows those
/// that take a value.
pub fn next(letters: &str, arguments: &[&str], place: &mut Place) -> Step {
    let begun = match place.taken {
        0 => None,
        taken => place
            .index
            .checked_sub(2)
            .and_then(|index| arguments.get(index))
            .map(|argument| (*argument, taken))
            .filter(|(argument, taken)| argument.chars().count() > *taken),
    };
    let (argument, taken) = match begun {
        Some(begun) => begun,
        None => {
            place.taken = 0;
            let argument = arguments.get(place.index - 1).copied().unwrap_or_default();
            if argument == "--" {
                place.index += 1;
            }
            if argument == "--" || argument == "-" || !argument.starts_with('-') {
                return Step::End;
            }
            place.index += 1;
            (argument, 1)
        }
    };
    let mut rest = argument.chars().skip(taken);
    let Some(letter) = rest.next() else {
        return Step::End;
    };
    let rest: String = rest.collect();
    place.taken = if rest.is_empty() { 0 } else { taken + 1 };
    match takes_value(letters, letter) {
        None => Step::Unknown(letter),
        Some(false) => Step::Option(letter, None),
        Some(true) if !rest.is_empty() => {
            place.taken = 0;
            Step::Option(letter, Some(rest))
        }
        Some(true) => match arguments.get(place.index - 1) {
            Some(value) => {
                place.index += 1;
                Step::Option(letter, Some(value.to_string()))
            }
            None => Step::NoValue(letter),
        },
    }
}

/// Returns true if the option takes a value; `None` if the letter is no option.
fn takes_value(letters: &str, letter: char) -> Option<bool> {
    let (_, after) = letters.split_once(letter).filter(|_| letter != ':')?;
    Some(after.starts_with(':'))
}
