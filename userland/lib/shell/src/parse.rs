//! Tokens to commands.

mod redirection;
mod script;
mod substitution;

pub use script::Script;

use crate::alias::Aliases;
use crate::lex::{Lexer, Op, Token};
use crate::tree::{Command, Item, Junction, List, Part, Pipeline, Stage, Word};
use crate::word::{assignment, home, is_name};
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Commands within commands, at most; a stack is finite.
pub const DEPTH_MAX: usize = 50;

/// The reason why a text cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// More input is needed; names the missing part.
    Incomplete(String),
    /// A syntax error; more input cannot repair it.
    Syntax(String),
}

impl core::fmt::Display for Wrong {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Wrong::Incomplete(text) | Wrong::Syntax(text) => f.write_str(text),
        }
    }
}

/// Understands a whole text.
pub fn parse(text: &str, aliases: &Aliases) -> Result<List, Wrong> {
    all(Lexer::new(text.chars().collect(), 1, 0, aliases))
}

/// Understands all that is left of a text.
pub(crate) fn all(lexer: Lexer<'_>) -> Result<List, Wrong> {
    let mut parser = Parser::new(lexer);
    let list = parser.list(&[])?;
    match parser.peek()? {
        None => Ok(list),
        Some(_) => Err(parser.unexpected()),
    }
}

/// Understands a list up to its `)`; also the place after that.
pub(crate) fn enclosed(lexer: Lexer<'_>) -> Result<(List, Lexer<'_>), Wrong> {
    let mut parser = Parser::new(lexer);
    let list = parser.list(&[])?;
    parser.need_op(Op::Close, "`)`")?;
    Ok((list, parser.lexer))
}

/// Words that begin a command of several parts.
const OPENERS: [&str; 7] = ["!", "{", "case", "for", "if", "until", "while"];
/// Words with a meaning of their own where a command may begin.
const CLOSERS: [&str; 8] = ["then", "elif", "else", "fi", "do", "done", "}", "esac"];
/// Those of other shells.
const FOREIGN: [&str; 4] = ["[[", "function", "select", "coproc"];

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The token at hand and its line, if the lexer has been asked for it.
    ahead: Option<(Option<Token>, usize)>,
}

impl<'a> Parser<'a> {
    fn new(lexer: Lexer<'a>) -> Parser<'a> {
        Parser { lexer, ahead: None }
    }

    /// The token at hand; `None` at the end.
    fn peek(&mut self) -> Result<Option<&Token>, Wrong> {
        if self.ahead.is_none() {
            let line = self.lexer.line;
            let token = self.lexer.token()?;
            // A word may go over lines; an operator is where the last one was.
            let line = match token {
                Some(Token::Op(_)) => line,
                _ => self.lexer.line,
            };
            self.ahead = Some((token, line));
        }
        Ok(self.ahead.as_ref().and_then(|(token, _)| token.as_ref()))
    }

    fn take(&mut self) -> Result<Option<Token>, Wrong> {
        self.peek()?;
        Ok(self.ahead.take().and_then(|(token, _)| token))
    }

    fn is_op(&mut self, op: Op) -> Result<bool, Wrong> {
        Ok(self.peek()? == Some(&Token::Op(op)))
    }

    fn take_op(&mut self, op: Op) -> Result<bool, Wrong> {
        let is = self.is_op(op)?;
        if is {
            self.ahead = None;
        }
        Ok(is)
    }

    fn need_op(&mut self, op: Op, what: &str) -> Result<(), Wrong> {
        match self.take_op(op)? {
            true => Ok(()),
            false => Err(self.expected(what)),
        }
    }

    /// The plain word at hand, if it is one.
    fn plain(&mut self) -> Result<Option<&str>, Wrong> {
        Ok(match self.peek()? {
            Some(Token::Word(word)) => word.plain(),
            _ => None,
        })
    }

    fn take_word(&mut self, wanted: &str) -> Result<bool, Wrong> {
        let is = self.plain()? == Some(wanted);
        if is {
            self.ahead = None;
        }
        Ok(is)
    }

    fn need_word(&mut self, wanted: &str) -> Result<(), Wrong> {
        self.skip_newlines()?;
        match self.take_word(wanted)? {
            true => Ok(()),
            false => Err(self.expected(&format!("`{wanted}`"))),
        }
    }

    /// Takes any word.
    fn word(&mut self, what: &str) -> Result<Word, Wrong> {
        match self.peek()? {
            Some(Token::Word(_)) => {}
            _ => return Err(self.expected(what)),
        }
        match self.take()? {
            Some(Token::Word(word)) => Ok(word),
            _ => Err(self.expected(what)),
        }
    }

    fn skip_newlines(&mut self) -> Result<(), Wrong> {
        while self.take_op(Op::Newline)? {}
        Ok(())
    }

    /// The line of the token at hand.
    fn at_line(&self) -> usize {
        self.ahead
            .as_ref()
            .map_or(self.lexer.line, |(_, line)| *line)
    }

    fn found(&self) -> String {
        match self.ahead.as_ref().and_then(|(token, _)| token.as_ref()) {
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

    fn wrong(&self, text: String) -> Wrong {
        Wrong::Syntax(format!("line {}: {text}", self.at_line()))
    }

    fn unexpected(&self) -> Wrong {
        self.wrong(format!("unexpected {}", self.found()))
    }

    /// An error: something other than `what`, or nothing, is at this place.
    fn expected(&self, what: &str) -> Wrong {
        match &self.ahead {
            Some((None, _)) => self.lexer.ends_before(what),
            _ => self.wrong(format!("{what} was expected, not {}", self.found())),
        }
    }

    /// Items up to the end of a line that is one; `None` at the end.
    fn line(&mut self) -> Result<Option<List>, Wrong> {
        self.skip_newlines()?;
        if self.peek()?.is_none() {
            return Ok(None);
        }
        let mut list = List::new();
        loop {
            // An alias may stand for nothing.
            if self.substitute()? && (self.peek()?.is_none() || self.take_op(Op::Newline)?) {
                return Ok(Some(list));
            }
            let item = self.item()?;
            let parted = item.background || self.take_op(Op::Semicolon)?;
            list.push(item);
            match self.peek()? {
                None => return Ok(Some(list)),
                Some(Token::Op(Op::Newline)) => {
                    self.ahead = None;
                    return Ok(Some(list));
                }
                Some(_) if parted => {}
                Some(_) => return Err(self.unexpected()),
            }
        }
    }

    /// Items up to a word of `ends`, a `)`, a `;;` or the end; not consumed.
    fn list(&mut self, ends: &[&str]) -> Result<List, Wrong> {
        let mut list = List::new();
        loop {
            while self.take_op(Op::Newline)? || (!list.is_empty() && self.take_op(Op::Semicolon)?) {
            }
            if self.substitute()? {
                continue;
            }
            let ended = matches!(self.peek()?, None | Some(Token::Op(Op::Close | Op::ArmEnd)));
            if ended || self.plain()?.is_some_and(|word| ends.contains(&word)) {
                return Ok(list);
            }
            let item = self.item()?;
            let parted = item.background
                || matches!(
                    self.peek()?,
                    None | Some(Token::Op(
                        Op::Semicolon | Op::Newline | Op::Close | Op::ArmEnd
                    ))
                );
            if !parted {
                return Err(self.unexpected());
            }
            list.push(item);
        }
    }

    /// A list with something in it, up to the word `end`, which is consumed.
    fn body(&mut self, end: &str) -> Result<List, Wrong> {
        let list = self.some(&[end])?;
        self.need_word(end)?;
        Ok(list)
    }

    fn some(&mut self, ends: &[&str]) -> Result<List, Wrong> {
        let list = self.deeper(|parser| parser.list(ends))?;
        match list.is_empty() {
            false => Ok(list),
            true => Err(match self.peek()? {
                None => self.lexer.ends_before("a command"),
                Some(_) => self.unexpected(),
            }),
        }
    }

    /// Parses one level further in, if there may be one more.
    fn deeper<R>(&mut self, parse: impl FnOnce(&mut Self) -> Result<R, Wrong>) -> Result<R, Wrong> {
        if self.lexer.depth >= DEPTH_MAX {
            return Err(self.wrong("nested too deeply".into()));
        }
        self.lexer.depth += 1;
        let parsed = parse(self);
        self.lexer.depth -= 1;
        parsed
    }

    /// Pipelines, and the `&` after them.
    fn item(&mut self) -> Result<Item, Wrong> {
        self.peek()?;
        let start = self.lexer.start;
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            let junction = if self.take_op(Op::And)? {
                Junction::And
            } else if self.take_op(Op::Or)? {
                Junction::Or
            } else {
                let background = self.is_op(Op::Background)?;
                let text = match background {
                    true => self.lexer.since(start),
                    false => String::new(),
                };
                self.take_op(Op::Background)?;
                return Ok(Item {
                    first,
                    rest,
                    background,
                    text,
                });
            };
            self.skip_newlines()?;
            rest.push((junction, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Result<Pipeline, Wrong> {
        self.substitute()?;
        let negated = self.take_word("!")?;
        let mut stages = Vec::new();
        loop {
            stages.push(self.stage()?);
            if !self.take_op(Op::Pipe)? {
                return Ok(Pipeline { negated, stages });
            }
            self.skip_newlines()?;
        }
    }

    fn stage(&mut self) -> Result<Stage, Wrong> {
        self.substitute()?;
        match self.compound()? {
            Some(command) => self.with_redirections(command),
            None => self.simple(),
        }
    }

    fn with_redirections(&mut self, command: Command) -> Result<Stage, Wrong> {
        let mut redirections = Vec::new();
        while let Some(redirection) = self.redirection()? {
            redirections.push(redirection);
        }
        Ok(Stage {
            command: Box::new(command),
            redirections,
        })
    }

    /// A command with parts that are commands, if one begins here.
    fn compound(&mut self) -> Result<Option<Command>, Wrong> {
        if self.peek()?.is_none() {
            return Err(self.lexer.ends_before("a command"));
        }
        if self.take_op(Op::Open)? {
            if self.lexer.joined_by('(') {
                return Err(self.lexer.unsupported("((; write ( ( for two subshells"));
            }
            let list = self.some(&[])?;
            self.need_op(Op::Close, "`)`")?;
            return Ok(Some(Command::Subshell(list)));
        }
        let Some(word) = self.plain()? else {
            return Ok(None);
        };
        let parse: fn(&mut Self) -> Result<Command, Wrong> = match word {
            "{" => |parser| Ok(Command::Group(parser.body("}")?)),
            "if" => Parser::conditional,
            "for" => Parser::each,
            "while" => |parser| parser.repeat(true),
            "until" => |parser| parser.repeat(false),
            "case" => Parser::case,
            word if CLOSERS.contains(&word) => return Err(self.unexpected()),
            word => match FOREIGN.iter().find(|foreign| **foreign == word) {
                Some(foreign) => return Err(self.lexer.unsupported(foreign)),
                None => return Ok(None),
            },
        };
        self.ahead = None;
        parse(self).map(Some)
    }

    /// After `if`.
    fn conditional(&mut self) -> Result<Command, Wrong> {
        let mut arms = Vec::new();
        let mut otherwise = List::new();
        loop {
            let condition = self.body("then")?;
            arms.push((condition, self.some(&["elif", "else", "fi"])?));
            if self.take_word("elif")? {
                continue;
            }
            if self.take_word("else")? {
                otherwise = self.some(&["fi"])?;
            }
            self.need_word("fi")?;
            return Ok(Command::If { arms, otherwise });
        }
    }

    /// After `for`.
    fn each(&mut self) -> Result<Command, Wrong> {
        let name = match self.plain()? {
            Some(name) if is_name(name) => name.to_string(),
            _ => return Err(self.expected("the name of a variable")),
        };
        self.ahead = None;
        self.skip_newlines()?;
        let words = match self.take_word("in")? {
            true => Some(self.words()?),
            false => None,
        };
        self.take_op(Op::Semicolon)?;
        self.need_word("do")?;
        let body = self.body("done")?;
        Ok(Command::For { name, words, body })
    }

    /// After `while` or `until`.
    fn repeat(&mut self, wanted: bool) -> Result<Command, Wrong> {
        let condition = self.body("do")?;
        let body = self.body("done")?;
        Ok(Command::While {
            condition,
            wanted,
            body,
        })
    }

    /// After `case`.
    fn case(&mut self) -> Result<Command, Wrong> {
        let word = home(self.word("a word")?);
        self.need_word("in")?;
        let mut arms = Vec::new();
        loop {
            self.skip_newlines()?;
            if self.take_word("esac")? {
                break;
            }
            self.take_op(Op::Open)?;
            let mut patterns = Vec::from([home(self.word("a pattern or `esac`")?)]);
            while self.take_op(Op::Pipe)? {
                patterns.push(home(self.word("a pattern")?));
            }
            self.need_op(Op::Close, "`)`")?;
            let list = self.deeper(|parser| parser.list(&["esac"]))?;
            arms.push((patterns, list));
            if !self.take_op(Op::ArmEnd)? {
                self.need_word("esac")?;
                break;
            }
        }
        Ok(Command::Case { word, arms })
    }

    /// All words at hand.
    fn words(&mut self) -> Result<Vec<Word>, Wrong> {
        let mut words = Vec::new();
        while let Some(Token::Word(_)) = self.peek()? {
            words.push(home(self.word("a word")?));
        }
        Ok(words)
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
            let Some(Token::Word(_)) = self.peek()? else {
                break;
            };
            if (words.is_empty() || self.after_blank()) && self.substitute()? {
                continue;
            }
            let word = self.word("a word")?;
            let assigned = match words.is_empty() {
                true => assignment(&word),
                false => None,
            };
            match assigned {
                Some(assigned) => assignments.push(assigned),
                None => words.push(home(word)),
            }
        }
        if let [word] = words.as_slice()
            && let Some(name) = word.plain().filter(|name| is_name(name))
            && assignments.is_empty()
            && redirections.is_empty()
            && self.take_op(Op::Open)?
        {
            return self.function(name.to_string());
        }
        if words.is_empty() && assignments.is_empty() && redirections.is_empty() {
            return Err(self.unexpected());
        }
        Ok(Stage {
            command: Box::new(Command::Simple { assignments, words }),
            redirections,
        })
    }

    /// After `name(`.
    fn function(&mut self, name: String) -> Result<Stage, Wrong> {
        self.need_op(Op::Close, "`)`")?;
        self.skip_newlines()?;
        let body = match self.compound()? {
            Some(command) => self.with_redirections(command)?,
            None => return Err(self.expected("a command in { } or the like")),
        };
        Ok(Stage {
            command: Box::new(Command::Function {
                name,
                body: Rc::new(body),
            }),
            redirections: Vec::new(),
        })
    }
}
