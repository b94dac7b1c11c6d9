//! Scripts, parsed line by line.

use super::{Parser, Wrong};
use crate::alias::Aliases;
use crate::lex::Lexer;
use crate::tree::List;
use alloc::vec::Vec;
use core::mem::take;

/// A script that is parsed line by line, so that its beginning runs whatever
/// follows, and aliases that it makes count for the next line.
pub struct Script {
    text: Vec<char>,
    at: usize,
    line: usize,
}

impl Script {
    /// At the beginning of `text`.
    pub fn new(text: &str) -> Script {
        let text = text.chars().collect();
        Script {
            text,
            at: 0,
            line: 1,
        }
    }

    /// The commands up to the next line end at which a command may end; `None` at
    /// the end, and after an error.
    pub fn next_line(&mut self, aliases: &Aliases) -> Option<Result<List, Wrong>> {
        let text = take(&mut self.text);
        let lexer = Lexer::new(text, self.line, 0, aliases).from(self.at);
        let mut parser = Parser::new(lexer);
        let line = parser.line().transpose()?;
        if line.is_ok() {
            let lexer = parser.lexer;
            (self.text, self.at, self.line) = (lexer.text, lexer.at, lexer.line);
        }
        Some(line)
    }
}
