//! Redirections.

use super::Parser;
use crate::lex::{Op, Pending, Token};
use crate::parse::Wrong;
use crate::tree::{Direction, Part, Redirection, Target, Word};
use crate::word::home;
use alloc::rc::Rc;
use alloc::string::String;

impl Parser<'_> {
    /// The redirection at hand, if one begins here.
    pub(super) fn redirection(&mut self) -> Result<Option<Redirection>, Wrong> {
        let given = match self.peek()? {
            Some(Token::Descriptor(fd)) => Some(*fd),
            _ => None,
        };
        if given.is_some() {
            self.ahead = None;
        }
        let Some(Token::Op(op)) = self.peek()? else {
            return Ok(None);
        };
        let op = *op;
        let (direction, usual) = match op {
            Op::Less => (Direction::Read, 0),
            Op::Greater => (Direction::Write, 1),
            Op::Append => (Direction::Append, 1),
            Op::LessGreater => (Direction::Both, 0),
            Op::SameOutput => (Direction::Same, 1),
            Op::SameInput => (Direction::Same, 0),
            Op::Document | Op::DocumentNoTabs => (Direction::Document, 0),
            _ => return Ok(None),
        };
        self.ahead = None;
        let word = self.word("where to redirect")?;
        let target = match direction {
            Direction::Document => self.document(&word, op == Op::DocumentNoTabs)?,
            _ => Target::Word(home(word)),
        };
        Ok(Some(Redirection {
            fd: given.unwrap_or(usual),
            direction,
            target,
        }))
    }

    /// Asks for the text that ends with a line that is `word`.
    fn document(&mut self, word: &Word, no_tabs: bool) -> Result<Target, Wrong> {
        let mut end = String::new();
        let mut quoted = false;
        for part in &word.0 {
            match part {
                Part::Plain(text) => end.push_str(text),
                Part::Quoted(text) => {
                    quoted = true;
                    end.push_str(text);
                }
                _ => {
                    let what = "a value in the word that ends a here-document";
                    return Err(self.lexer.unsupported(what));
                }
            }
        }
        let document = Rc::default();
        self.lexer.pending.push(Pending {
            end,
            quoted,
            no_tabs,
            document: Rc::clone(&document),
        });
        Ok(Target::Document(document))
    }
}
