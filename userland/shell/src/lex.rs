//! Text to tokens.

use crate::parse::{self, Wrong};
use crate::tree::{Part, Quoting, Value, Word};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// An operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Newline,
    Semicolon,
    Background,
    And,
    Or,
    Pipe,
    Open,
    Close,
    Less,
    Greater,
    Append,
    LessGreater,
    /// `>&` or `<&`
    Same,
}

impl Op {
    pub fn text(self) -> &'static str {
        match self {
            Op::Newline => "end of line",
            Op::Semicolon => ";",
            Op::Background => "&",
            Op::And => "&&",
            Op::Or => "||",
            Op::Pipe => "|",
            Op::Open => "(",
            Op::Close => ")",
            Op::Less => "<",
            Op::Greater => ">",
            Op::Append => ">>",
            Op::LessGreater => "<>",
            Op::Same => ">&",
        }
    }
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Word(Word),
    Op(Op),
    /// A number directly before a redirection.
    Descriptor(u32),
}

/// All tokens of `text` with their lines, counted from 1.
pub fn tokens(text: &str, depth: usize) -> Result<Vec<(Token, usize)>, Wrong> {
    let text: Vec<char> = text.chars().collect();
    let mut lexer = Lexer {
        text: &text,
        at: 0,
        line: 1,
        depth,
    };
    let mut all = Vec::new();
    while let Some(token) = lexer.token()? {
        all.push((token, lexer.line));
        if all
            .last()
            .is_some_and(|(t, _)| *t == Token::Op(Op::Newline))
        {
            lexer.line += 1;
        }
    }
    Ok(all)
}

struct Lexer<'a> {
    text: &'a [char],
    at: usize,
    line: usize,
    depth: usize,
}

/// Ends a word that is not quoted.
fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '<' | '>')
}

fn in_name(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn take(&mut self, wanted: char) -> bool {
        let is = self.peek() == Some(wanted);
        self.at += usize::from(is);
        is
    }

    fn need(&mut self, what: &'static str) -> Result<char, Wrong> {
        let c = self.next().ok_or(Wrong::Incomplete(what))?;
        self.line += usize::from(c == '\n');
        Ok(c)
    }

    fn token(&mut self) -> Result<Option<Token>, Wrong> {
        self.skip_blanks();
        let Some(first) = self.peek() else {
            return Ok(None);
        };
        if let Some(op) = self.operator(first) {
            return Ok(Some(Token::Op(op)));
        }
        if let Some(fd) = self.descriptor() {
            return Ok(Some(Token::Descriptor(fd)));
        }
        self.word().map(|word| Some(Token::Word(word)))
    }

    /// Blanks, comments, and lines that are joined by a `\` at their end.
    fn skip_blanks(&mut self) {
        loop {
            match (self.peek(), self.text.get(self.at + 1)) {
                (Some('\\'), Some('\n')) => {
                    self.at += 2;
                    self.line += 1;
                }
                (Some('#'), _) => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                (Some(c), _) if c.is_whitespace() && c != '\n' => self.at += 1,
                _ => return,
            }
        }
    }

    fn operator(&mut self, first: char) -> Option<Op> {
        let one = match first {
            '\n' => Op::Newline,
            ';' => Op::Semicolon,
            '&' => Op::Background,
            '|' => Op::Pipe,
            '(' => Op::Open,
            ')' => Op::Close,
            '<' => Op::Less,
            '>' => Op::Greater,
            _ => return None,
        };
        self.at += 1;
        let two = match (first, self.peek()) {
            ('&', Some('&')) => Op::And,
            ('|', Some('|')) => Op::Or,
            ('>', Some('>')) => Op::Append,
            ('<', Some('>')) => Op::LessGreater,
            ('>' | '<', Some('&')) => Op::Same,
            _ => return Some(one),
        };
        self.at += 1;
        Some(two)
    }

    /// Digits directly before `<` or `>`.
    fn descriptor(&mut self) -> Option<u32> {
        let rest = self.text.get(self.at..)?;
        let len = rest.iter().take_while(|c| c.is_ascii_digit()).count();
        if len == 0 || !matches!(rest.get(len), Some('<' | '>')) {
            return None;
        }
        let fd = rest.iter().take(len).collect::<String>().parse().ok()?;
        self.at += len;
        Some(fd)
    }

    fn word(&mut self) -> Result<Word, Wrong> {
        let mut parts = Vec::new();
        while let Some(c) = self.peek() {
            if ends_word(c) {
                break;
            }
            self.at += 1;
            match c {
                '\'' => parts.push(Part::Quoted(self.single()?)),
                '"' => self.double(&mut parts)?,
                '\\' => match self.next() {
                    Some('\n') => self.line += 1,
                    Some(c) => push(&mut parts, c, true),
                    None => return Err(Wrong::Incomplete("nothing follows the \\ at the end")),
                },
                '$' => self.dollar(&mut parts, Quoting::Bare)?,
                c => push(&mut parts, c, false),
            }
        }
        Ok(Word(parts))
    }

    fn single(&mut self) -> Result<String, Wrong> {
        let mut text = String::new();
        loop {
            match self.need("a ' is not closed")? {
                '\'' => return Ok(text),
                c => text.push(c),
            }
        }
    }

    fn double(&mut self, parts: &mut Vec<Part>) -> Result<(), Wrong> {
        const OPEN: &str = "a \" is not closed";
        // Even an empty pair of quotes makes a word.
        parts.push(Part::Quoted(String::new()));
        loop {
            match self.need(OPEN)? {
                '"' => return Ok(()),
                '\\' => match self.need(OPEN)? {
                    '\n' => {}
                    c @ ('"' | '\\' | '$' | '`') => push(parts, c, true),
                    c => {
                        push(parts, '\\', true);
                        push(parts, c, true);
                    }
                },
                '$' => self.dollar(parts, Quoting::Double)?,
                c => push(parts, c, true),
            }
        }
    }

    /// After a `$`.
    fn dollar(&mut self, parts: &mut Vec<Part>, quoting: Quoting) -> Result<(), Wrong> {
        let value = match self.peek() {
            Some('{') => {
                self.at += 1;
                self.braces()?
            }
            Some('(') => {
                self.at += 1;
                self.parentheses()?
            }
            Some(c) if "?#$!@*".contains(c) || c.is_ascii_digit() => {
                self.at += 1;
                Value::Variable(c.into(), None)
            }
            Some(c) if in_name(c) => Value::Variable(self.name(), None),
            _ => {
                push(parts, '$', quoting == Quoting::Double);
                return Ok(());
            }
        };
        parts.push(Part::Value(value, quoting));
        Ok(())
    }

    fn name(&mut self) -> String {
        let rest = self.text.get(self.at..).unwrap_or(&[]);
        let name: String = rest.iter().take_while(|c| in_name(**c)).collect();
        self.at += name.len();
        name
    }

    /// After `${`.
    fn braces(&mut self) -> Result<Value, Wrong> {
        const OPEN: &str = "a ${ is not closed";
        let length = self.peek() == Some('#') && self.text.get(self.at + 1) != Some(&'}');
        self.at += usize::from(length);
        let name = match self.peek() {
            Some(c) if "?#$!@*".contains(c) => {
                self.at += 1;
                c.into()
            }
            _ => self.name(),
        };
        if name.is_empty() {
            return match self.peek() {
                None => Err(Wrong::Incomplete(OPEN)),
                Some(c) => Err(self.wrong(format!("${{{c}: a name was expected"))),
            };
        }
        if length {
            return match self.need(OPEN)? {
                '}' => Ok(Value::Length(name)),
                c => Err(self.wrong(format!("${{#{name}{c}: `}}` was expected"))),
            };
        }
        if self.take('}') {
            return Ok(Value::Variable(name, None));
        }
        if !(self.take(':') && self.take('-')) {
            return match self.peek() {
                None => Err(Wrong::Incomplete(OPEN)),
                Some(_) => Err(self.wrong(format!("${{{name}: only :- may follow the name"))),
            };
        }
        let from = self.at;
        let text = self.nested(from, '{', '}', OPEN)?;
        let word = Lexer::whole(&text, self.line, self.deeper()?)?;
        Ok(Value::Variable(name, Some(word)))
    }

    /// After `$(`.
    fn parentheses(&mut self) -> Result<Value, Wrong> {
        const OPEN: &str = "a $( is not closed";
        if self.peek() == Some('(') {
            // `$((`: an expression, unless the two are not closed together.
            let (at, line) = (self.at, self.line);
            let text = self.nested(at + 1, '(', ')', OPEN)?;
            if self.take(')') {
                return Ok(Value::Number(text));
            }
            (self.at, self.line) = (at, line);
        }
        let depth = self.deeper()?;
        let text = self.nested(self.at, '(', ')', OPEN)?;
        parse::parse_at(&text, depth).map(Value::Output)
    }

    /// One more level, if there may be one.
    fn deeper(&self) -> Result<usize, Wrong> {
        match self.depth < parse::DEPTH_MAX {
            true => Ok(self.depth + 1),
            false => Err(self.wrong("nested too deeply".into())),
        }
    }

    /// The text from `from` to the `close` that belongs to an `open` before
    /// it; quotes are respected.
    fn nested(
        &mut self,
        from: usize,
        open: char,
        close: char,
        what: &'static str,
    ) -> Result<String, Wrong> {
        self.at = from;
        let mut level = 1;
        loop {
            let c = self.need(what)?;
            match c {
                '\\' => {
                    self.need(what)?;
                }
                '\'' => {
                    self.single()?;
                }
                '"' => loop {
                    match self.need(what)? {
                        '"' => break,
                        '\\' => {
                            self.need(what)?;
                        }
                        _ => {}
                    }
                },
                c if c == open => level += 1,
                c if c == close => level -= 1,
                _ => {}
            }
            if level == 0 {
                let text = self.text.get(from..self.at - 1).unwrap_or(&[]);
                return Ok(text.iter().collect());
            }
        }
    }

    /// One word that goes to the end of `text`, blanks included.
    fn whole(text: &str, line: usize, depth: usize) -> Result<Word, Wrong> {
        let text: Vec<char> = text.chars().collect();
        let mut lexer = Lexer {
            text: &text,
            at: 0,
            line,
            depth,
        };
        let mut word = Word::default();
        loop {
            word.0.extend(lexer.word()?.0);
            match lexer.next() {
                None => return Ok(word),
                Some(c) => push(&mut word.0, c, false),
            }
        }
    }

    fn wrong(&self, text: String) -> Wrong {
        Wrong::Syntax(format!("line {}: {text}", self.line))
    }
}

/// Adds a character to the last part if that is of the same kind.
fn push(parts: &mut Vec<Part>, c: char, quoted: bool) {
    match (parts.last_mut(), quoted) {
        (Some(Part::Plain(text)), false) | (Some(Part::Quoted(text)), true) => text.push(c),
        (_, false) => parts.push(Part::Plain(c.into())),
        (_, true) => parts.push(Part::Quoted(c.into())),
    }
}
