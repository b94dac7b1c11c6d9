//! The text of an alias in place of its name.

use super::Lexer;
use crate::parse::Wrong;
use alloc::string::{String, ToString};

/// Characters that aliases may put into a text, all together: each may contain
/// others, twice.
const PUT_IN_MAX: usize = 256 << 10;

/// The text of an alias within the text.
pub(super) struct Inside {
    name: String,
    /// One past its last character.
    end: usize,
    /// It ends with a blank, so that the next word may be an alias too.
    blank: bool,
}

impl Lexer<'_> {
    /// Forgets the aliases that end before the last token. Returns true if one of
    /// them ended with a blank.
    pub fn after_blank(&mut self) -> bool {
        let mut blank = false;
        self.inside.retain(|alias| {
            let passed = alias.end <= self.start;
            blank |= passed && alias.blank;
            !passed
        });
        blank
    }

    /// If the last token, a word without quotes, is the name of an alias, puts the
    /// alias's text in its place, where the next token begins. A name within its own
    /// text stands for itself.
    pub fn substitute(&mut self, name: &str) -> Result<bool, Wrong> {
        let Some(text) = self.aliases.get(name) else {
            return Ok(false);
        };
        let within = |alias: &Inside| self.start < alias.end && alias.name == name;
        if self.inside.iter().any(within) {
            return Ok(false);
        }
        let (old, new) = (self.at - self.start, text.chars().count());
        self.put_in = self.put_in.saturating_add(new);
        if self.put_in > PUT_IN_MAX {
            return Err(self.wrong("the texts of aliases are too long".into()));
        }
        self.text.splice(self.start..self.at, text.chars());
        for alias in self
            .inside
            .iter_mut()
            .filter(|alias| alias.end > self.start)
        {
            alias.end = (alias.end + new).saturating_sub(old);
        }
        self.inside.push(Inside {
            name: name.to_string(),
            end: self.start + new,
            blank: text.ends_with([' ', '\t']),
        });
        self.at = self.start;
        Ok(true)
    }
}
