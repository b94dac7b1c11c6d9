//! `${...}`.

use super::{Lexer, in_name, is_special};
use crate::parse::Wrong;
use crate::tree::{Change, Extent, Operator, Quoting, Value, Word};
use crate::word::{home, is_name};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

impl Lexer<'_> {
    /// After `${`.
    pub(super) fn braces(&mut self, quoting: Quoting) -> Result<Value, Wrong> {
        const END: &str = "the } of a ${";
        if self.starts_length() {
            self.at += 1;
            let name = self.braced_name(END)?;
            return match self.need(END)? {
                '}' => Ok(Value::Length(name)),
                c => Err(self.wrong(format!("${{#{name}{c}: `}}` was expected"))),
            };
        }
        let name = self.braced_name(END)?;
        if self.take('}') {
            return Ok(Value::Variable(name, None));
        }
        let empty_too = self.take(':');
        let operator = match self.need(END)? {
            '-' => Operator::Default,
            '=' => Operator::Assign,
            '?' => Operator::Require,
            '+' => Operator::Alternative,
            '%' if !empty_too => Operator::Suffix(self.extent('%')),
            '#' if !empty_too => Operator::Prefix(self.extent('#')),
            c => {
                let colon = if empty_too { ":" } else { "" };
                return Err(self.unsupported(&format!("${{{name}{colon}{c}...}}")));
            }
        };
        let is_pattern = matches!(operator, Operator::Suffix(_) | Operator::Prefix(_));
        let quoting = if is_pattern { Quoting::Bare } else { quoting };
        let word = self.braced_word(quoting, END)?;
        let change = Change {
            operator,
            empty_too,
            word,
        };
        Ok(Value::Variable(name, Some(change)))
    }

    /// Returns true for `${#NAME}`, as opposed to `$#` with an operator.
    fn starts_length(&self) -> bool {
        match self.rest() {
            ['#', c, ..] if in_name(*c) => true,
            ['#', c, '}', ..] => is_special(*c),
            _ => false,
        }
    }

    fn extent(&mut self, again: char) -> Extent {
        match self.take(again) {
            true => Extent::Longest,
            false => Extent::Shortest,
        }
    }

    /// The name of a variable or special value in braces.
    fn braced_name(&mut self, end: &str) -> Result<String, Wrong> {
        match self.peek() {
            None => Err(self.ends_before(end)),
            Some('!') if self.rest().get(1).is_some_and(|c| in_name(*c)) => {
                Err(self.unsupported("${!...}"))
            }
            Some(c) if is_special(c) => {
                self.at += 1;
                Ok(c.into())
            }
            Some(c) => {
                let name = self.name();
                let number = name.chars().all(|c| c.is_ascii_digit());
                match !name.is_empty() && (number || is_name(&name)) {
                    true => Ok(name),
                    false => Err(self.wrong(format!("${{{name}{c}: a name was expected"))),
                }
            }
        }
    }

    /// The word after an operator, and the `}`.
    fn braced_word(&mut self, quoting: Quoting, end: &str) -> Result<Word, Wrong> {
        let outer = self.depth;
        self.depth = self.deeper()?;
        let mut parts = Vec::new();
        loop {
            match self.need(end)? {
                '}' => break,
                '"' => self.double(&mut parts)?,
                c if quoting == Quoting::Bare => self.bare(c, &mut parts)?,
                c => self.quoted(c, "\"\\$`}", &mut parts, end)?,
            }
        }
        self.depth = outer;
        Ok(home(Word(parts)))
    }
}
