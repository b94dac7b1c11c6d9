//! Tokens to commands.

use crate::lex::{self, Op, Token};
use crate::tree::{
    Command, Direction, Item, Junction, List, Part, Pipeline, Redirection, Stage, Word,
};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Commands within commands, at most; a stack is finite.
pub const DEPTH_MAX: usize = 50;

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It may become right if more follows; what is missing.
    Incomplete(&'static str),
    /// It never will.
    Syntax(String),
}

impl core::fmt::Display for Wrong {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Wrong::Incomplete(what) => f.write_str(what),
            Wrong::Syntax(text) => f.write_str(text),
        }
    }
}

/// Understands a text.
pub fn parse(text: &str) -> Result<List, Wrong> {
    parse_at(text, 0)
}

/// Understands a text that is nested `depth` deep in another one.
pub(crate) fn parse_at(text: &str, depth: usize) -> Result<List, Wrong> {
    let tokens = lex::tokens(text, depth)?;
    let mut parser = Parser {
        tokens,
        at: 0,
        depth,
    };
    let list = parser.list(&[])?;
    match parser.peek() {
        None => Ok(list),
        Some(_) => Err(parser.unexpected()),
    }
}

/// Words with a meaning of their own where a command may begin.
const CLOSERS: [&str; 7] = ["then", "elif", "else", "fi", "do", "done", "}"];

/// May this be the name of a variable?
pub fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars
        .next()
        .is_some_and(|c| c == '_' || c.is_ascii_alphabetic())
        && chars.all(|c| c == '_' || c.is_ascii_alphanumeric())
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn take_op(&mut self, op: Op) -> bool {
        let is = self.peek() == Some(&Token::Op(op));
        self.at += usize::from(is);
        is
    }

    /// The plain word at hand, if it is one.
    fn plain(&self) -> Option<&str> {
        match self.peek()? {
            Token::Word(word) => word.plain(),
            _ => None,
        }
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let is = self.plain() == Some(wanted);
        self.at += usize::from(is);
        is
    }

    fn need_word(&mut self, wanted: &'static str) -> Result<(), Wrong> {
        self.skip_newlines();
        match self.take_word(wanted) {
            true => Ok(()),
            false => Err(self.expected(wanted)),
        }
    }

    fn skip_newlines(&mut self) {
        while self.take_op(Op::Newline) {}
    }

    fn line(&self) -> usize {
        let last = self.tokens.len().saturating_sub(1);
        self.tokens
            .get(self.at.min(last))
            .map_or(1, |(_, line)| *line)
    }

    fn found(&self) -> String {
        match self.peek() {
            None => "the end".into(),
            Some(Token::Op(Op::Newline)) => "the end of the line".into(),
            Some(Token::Op(op)) => format!("`{}`", op.text()),
            Some(Token::Descriptor(fd)) => format!("`{fd}`"),
            Some(Token::Word(word)) => match word.0.first() {
                Some(Part::Plain(text) | Part::Quoted(text)) => format!("`{text}`"),
                _ => "a value".into(),
            },
        }
    }

    fn unexpected(&self) -> Wrong {
        Wrong::Syntax(format!("line {}: unexpected {}", self.line(), self.found()))
    }

    fn expected(&self, what: &'static str) -> Wrong {
        match self.peek() {
            None => Wrong::Incomplete(what),
            Some(_) => Wrong::Syntax(format!(
                "line {}: `{what}` was expected, not {}",
                self.line(),
                self.found()
            )),
        }
    }

    /// Items up to a word of `ends`, a `)` or the end; not consumed.
    fn list(&mut self, ends: &[&str]) -> Result<List, Wrong> {
        let mut list = List::new();
        loop {
            while self.take_op(Op::Newline) || (!list.is_empty() && self.take_op(Op::Semicolon)) {}
            match self.peek() {
                None | Some(Token::Op(Op::Close)) => return Ok(list),
                Some(_) if self.plain().is_some_and(|word| ends.contains(&word)) => {
                    return Ok(list);
                }
                Some(_) => {}
            }
            let mut item = self.item()?;
            item.background = self.take_op(Op::Background);
            let parted = item.background
                || matches!(
                    self.peek(),
                    None | Some(Token::Op(Op::Semicolon | Op::Newline | Op::Close))
                );
            if !parted {
                return Err(self.unexpected());
            }
            list.push(item);
        }
    }

    /// A list with something in it, up to the word `end`, which is consumed.
    fn body(&mut self, end: &'static str) -> Result<List, Wrong> {
        let list = self.some(&[end])?;
        self.need_word(end)?;
        Ok(list)
    }

    fn some(&mut self, ends: &[&'static str]) -> Result<List, Wrong> {
        if self.depth >= DEPTH_MAX {
            return Err(Wrong::Syntax(format!(
                "line {}: nested too deeply",
                self.line()
            )));
        }
        self.depth += 1;
        let list = self.list(ends)?;
        self.depth -= 1;
        match list.is_empty() {
            false => Ok(list),
            true => Err(match self.peek() {
                None => Wrong::Incomplete("a command"),
                Some(_) => self.unexpected(),
            }),
        }
    }

    fn item(&mut self) -> Result<Item, Wrong> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            let junction = if self.take_op(Op::And) {
                Junction::And
            } else if self.take_op(Op::Or) {
                Junction::Or
            } else {
                return Ok(Item {
                    first,
                    rest,
                    background: false,
                });
            };
            self.skip_newlines();
            rest.push((junction, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Result<Pipeline, Wrong> {
        let negated = self.take_word("!");
        let mut stages = Vec::new();
        loop {
            stages.push(self.stage()?);
            if !self.take_op(Op::Pipe) {
                return Ok(Pipeline { negated, stages });
            }
            self.skip_newlines();
        }
    }

    fn stage(&mut self) -> Result<Stage, Wrong> {
        let command = match self.peek() {
            None => return Err(Wrong::Incomplete("a command")),
            Some(Token::Op(Op::Open)) => {
                self.at += 1;
                let list = self.some(&[])?;
                match self.take_op(Op::Close) {
                    true => Command::Subshell(list),
                    false => return Err(self.expected(")")),
                }
            }
            Some(_) => match self.plain() {
                Some("{") => {
                    self.at += 1;
                    Command::Group(self.body("}")?)
                }
                Some("if") => self.conditional()?,
                Some("for") => self.each()?,
                Some("while") => self.repeat(true)?,
                Some("until") => self.repeat(false)?,
                Some(word) if CLOSERS.contains(&word) => return Err(self.unexpected()),
                _ => return self.simple(),
            },
        };
        let mut redirections = Vec::new();
        while let Some(redirection) = self.redirection()? {
            redirections.push(redirection);
        }
        Ok(Stage {
            command: Box::new(command),
            redirections,
        })
    }

    fn conditional(&mut self) -> Result<Command, Wrong> {
        let mut arms = Vec::new();
        let mut otherwise = List::new();
        // At `if`, then at each `elif`.
        loop {
            self.at += 1;
            let condition = self.body("then")?;
            arms.push((condition, self.some(&["elif", "else", "fi"])?));
            if self.plain() == Some("elif") {
                continue;
            }
            if self.take_word("else") {
                otherwise = self.some(&["fi"])?;
            }
            self.need_word("fi")?;
            return Ok(Command::If { arms, otherwise });
        }
    }

    fn each(&mut self) -> Result<Command, Wrong> {
        self.at += 1;
        let name = match self.plain() {
            Some(name) if is_name(name) => name.to_string(),
            _ => return Err(self.expected("the name of a variable")),
        };
        self.at += 1;
        self.skip_newlines();
        let words = match self.take_word("in") {
            true => Some(self.words()),
            false => None,
        };
        self.take_op(Op::Semicolon);
        self.need_word("do")?;
        let body = self.body("done")?;
        Ok(Command::For { name, words, body })
    }

    fn repeat(&mut self, wanted: bool) -> Result<Command, Wrong> {
        self.at += 1;
        let condition = self.body("do")?;
        let body = self.body("done")?;
        Ok(Command::While {
            condition,
            wanted,
            body,
        })
    }

    /// All words at hand.
    fn words(&mut self) -> Vec<Word> {
        let mut words = Vec::new();
        while let Some(Token::Word(word)) = self.peek() {
            words.push(word.clone());
            self.at += 1;
        }
        words
    }

    fn simple(&mut self) -> Result<Stage, Wrong> {
        let mut assignments = Vec::new();
        let mut words = Vec::new();
        let mut redirections = Vec::new();
        loop {
            if let Some(redirection) = self.redirection()? {
                redirections.push(redirection);
                continue;
            }
            let Some(Token::Word(word)) = self.peek() else {
                break;
            };
            match assignment(word) {
                Some(assigned) if words.is_empty() => assignments.push(assigned),
                _ => words.push(word.clone()),
            }
            self.at += 1;
        }
        if words.is_empty() && assignments.is_empty() && redirections.is_empty() {
            return Err(self.unexpected());
        }
        Ok(Stage {
            command: Box::new(Command::Simple { assignments, words }),
            redirections,
        })
    }

    fn redirection(&mut self) -> Result<Option<Redirection>, Wrong> {
        let given = match self.peek() {
            Some(Token::Descriptor(fd)) => Some(*fd),
            _ => None,
        };
        let at = self.at + usize::from(given.is_some());
        let Some((Token::Op(op), _)) = self.tokens.get(at) else {
            return Ok(None);
        };
        let (direction, usual) = match op {
            Op::Less => (Direction::Read, 0),
            Op::Greater => (Direction::Write, 1),
            Op::Append => (Direction::Append, 1),
            Op::LessGreater => (Direction::Both, 0),
            Op::Same => (Direction::Same, 1),
            _ => return Ok(None),
        };
        self.at = at + 1;
        let Some(Token::Word(target)) = self.peek() else {
            return Err(self.expected("where to redirect"));
        };
        let redirection = Redirection {
            fd: given.unwrap_or(usual),
            direction,
            target: target.clone(),
        };
        self.at += 1;
        Ok(Some(redirection))
    }
}

/// `NAME=value`, taken apart.
fn assignment(word: &Word) -> Option<(String, Word)> {
    let (first, rest) = word.0.split_first()?;
    let Part::Plain(text) = first else {
        return None;
    };
    let (name, value) = text.split_once('=')?;
    if !is_name(name) {
        return None;
    }
    let mut parts = Vec::new();
    if !value.is_empty() {
        parts.push(Part::Plain(value.to_string()));
    }
    parts.extend_from_slice(rest);
    Some((name.to_string(), Word(parts)))
}
