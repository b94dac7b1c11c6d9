//! Where texts are split: at the characters of the variable `IFS`. Blanks of
//! it go together and do not count at the ends; each other one ends a field.

use alloc::string::String;
use alloc::vec::Vec;

/// The name of the variable with the separators.
pub const NAME: &str = "IFS";
/// The separators if the variable is not set.
pub const USUAL: &str = " \t\n";

/// The role of a character in the splitting.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Part of a field.
    Text,
    /// A blank between fields.
    Blank,
    /// The end of a field.
    Mark,
}

pub(crate) fn class(c: char, separators: &str) -> Class {
    match separators.contains(c) {
        false => Class::Text,
        true if matches!(c, ' ' | '\t' | '\n') => Class::Blank,
        true => Class::Mark,
    }
}

/// A line of input, with the effects of its backslashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Characters, and whether each was after a backslash.
    chars: Vec<(char, bool)>,
}

impl Line {
    /// With all characters as they are.
    pub fn raw(text: &str) -> Line {
        let chars = text.chars().map(|c| (c, false)).collect();
        Line { chars }
    }

    /// Adds a line in which a `\` quotes the next character. Returns true if it
    /// ends in a `\`, so that another line follows.
    pub fn add(&mut self, text: &str) -> bool {
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some(c) => self.chars.push((c, true)),
                    None => return true,
                },
                c => self.chars.push((c, false)),
            }
        }
        false
    }

    /// At most `count` fields, the last of which is all that is left.
    pub fn fields(&self, separators: &str, count: usize) -> Vec<String> {
        let class = |(c, plain): (char, bool)| match plain {
            true => Class::Text,
            false => class(c, separators),
        };
        let mut rest = self.chars.as_slice();
        let trim = |rest: &[(char, bool)]| {
            let blanks = rest.iter().take_while(|c| class(**c) == Class::Blank);
            blanks.count()
        };
        rest = rest.get(trim(rest)..).unwrap_or(&[]);
        let mut fields = Vec::new();
        while fields.len() < count && !rest.is_empty() {
            let len = rest.iter().take_while(|c| class(**c) == Class::Text);
            let len = len.count();
            let mut after = rest.get(len..).unwrap_or(&[]);
            after = after.get(trim(after)..).unwrap_or(&[]);
            if after.first().is_some_and(|c| class(*c) == Class::Mark) {
                after = after.get(1..).unwrap_or(&[]);
                after = after.get(trim(after)..).unwrap_or(&[]);
            }
            let last = fields.len() + 1 == count;
            let field = match last && !after.is_empty() {
                // Without the blanks at the end.
                true => {
                    let blank = |c: &&(char, bool)| class(**c) == Class::Blank;
                    let blanks = rest.iter().rev().take_while(blank).count();
                    rest.get(..rest.len() - blanks).unwrap_or(&[])
                }
                false => rest.get(..len).unwrap_or(&[]),
            };
            fields.push(field.iter().map(|(c, _)| *c).collect());
            rest = after;
        }
        fields
    }
}
