//! Text to tokens, as the parser asks for them.

mod alias;
mod braces;
mod document;

use crate::alias::Aliases;
use crate::parse::{self, Wrong};
use crate::tree::{Document, List, Part, Quoting, Value, Word};
use crate::word::push;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytestr::text::{from_bytes, to_bytes};
use core::mem::take;

/// An operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Newline,
    Semicolon,
    /// `;;`
    ArmEnd,
    Background,
    And,
    Or,
    Pipe,
    Open,
    Close,
    Less,
    /// `>` and `>|`
    Greater,
    Append,
    LessGreater,
    /// `>&`
    SameOutput,
    /// `<&`
    SameInput,
    /// `<<`
    Document,
    /// `<<-`: tabs at the beginnings of lines do not count.
    DocumentNoTabs,
}

impl Op {
    pub fn text(self) -> &'static str {
        match self {
            Op::Newline => "end of line",
            Op::Semicolon => ";",
            Op::ArmEnd => ";;",
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
            Op::SameOutput => ">&",
            Op::SameInput => "<&",
            Op::Document => "<<",
            Op::DocumentNoTabs => "<<-",
        }
    }
}

/// Operators as they are written, the longest first.
const OPERATORS: &[(&str, Op)] = &[
    ("<<-", Op::DocumentNoTabs),
    (";;", Op::ArmEnd),
    ("&&", Op::And),
    ("||", Op::Or),
    (">>", Op::Append),
    (">|", Op::Greater),
    (">&", Op::SameOutput),
    ("<>", Op::LessGreater),
    ("<&", Op::SameInput),
    ("<<", Op::Document),
    ("\n", Op::Newline),
    (";", Op::Semicolon),
    ("&", Op::Background),
    ("|", Op::Pipe),
    ("(", Op::Open),
    (")", Op::Close),
    ("<", Op::Less),
    (">", Op::Greater),
];

/// Operators of other shells, which would be taken for something else.
const FOREIGN: &[&str] = &["<<<", "&>", "|&", "<(", ">(", ";;&", ";&"];

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Word(Word),
    Op(Op),
    /// A number directly before a redirection.
    Descriptor(u32),
}

/// A here-document whose text begins after the line at hand.
pub struct Pending {
    /// The line that ends it.
    pub end: String,
    /// Nothing in it is expanded.
    pub quoted: bool,
    /// Tabs at the beginnings of lines do not count.
    pub no_tabs: bool,
    /// Where the text is wanted.
    pub document: Document,
}

/// A place in a text.
pub struct Lexer<'a> {
    pub text: Vec<char>,
    pub at: usize,
    /// The beginning of the last token.
    pub start: usize,
    /// Counted from 1.
    pub line: usize,
    /// How many texts and commands are around this one.
    pub depth: usize,
    pub pending: Vec<Pending>,
    aliases: &'a Aliases,
    /// Texts of aliases that the place is in, or has just left.
    inside: Vec<alias::Inside>,
    /// Characters that aliases have put in.
    put_in: usize,
}

/// Ends a word that is not quoted.
fn ends_word(c: char) -> bool {
    c.is_ascii_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '<' | '>')
}

fn in_name(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

/// Returns true for the names of parameters that the shell itself sets.
fn is_special(c: char) -> bool {
    "?#$!@*-".contains(c)
}

impl<'a> Lexer<'a> {
    /// At the beginning of a text.
    pub fn new(text: Vec<char>, line: usize, depth: usize, aliases: &'a Aliases) -> Lexer<'a> {
        Lexer {
            text,
            at: 0,
            start: 0,
            line,
            depth,
            pending: Vec::new(),
            aliases,
            inside: Vec::new(),
            put_in: 0,
        }
    }

    /// At that place of its text.
    pub fn from(self, at: usize) -> Lexer<'a> {
        Lexer { at, ..self }
    }

    /// The text from a place up to the last token, on one line.
    pub fn since(&self, start: usize) -> String {
        let text: String = self
            .text
            .get(start..self.start)
            .unwrap_or(&[])
            .iter()
            .collect();
        text.trim_end().replace('\n', " ")
    }

    fn rest(&self) -> &[char] {
        self.text.get(self.at..).unwrap_or(&[])
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn take(&mut self, wanted: char) -> bool {
        let is = self.peek() == Some(wanted);
        self.at += usize::from(is);
        is
    }

    fn need(&mut self, what: &str) -> Result<char, Wrong> {
        self.next().ok_or_else(|| self.ends_before(what))
    }

    pub fn token(&mut self) -> Result<Option<Token>, Wrong> {
        self.skip_blanks();
        self.start = self.at;
        if self.peek().is_none() {
            return match self.pending.is_empty() {
                true => Ok(None),
                false => Err(self.ends_before("the here-document")),
            };
        }
        if let Some(op) = self.operator()? {
            if op == Op::Newline {
                self.line += 1;
                self.documents()?;
            }
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
                (Some(c), _) if c.is_ascii_whitespace() && c != '\n' => self.at += 1,
                _ => return,
            }
        }
    }

    fn operator(&mut self) -> Result<Option<Op>, Wrong> {
        let rest = self.rest();
        let comes = |text: &str| {
            let mut rest = rest.iter();
            text.chars().all(|c| rest.next() == Some(&c))
        };
        if let Some(foreign) = FOREIGN.iter().find(|text| comes(text)) {
            return Err(self.unsupported(foreign));
        }
        let found = OPERATORS.iter().find(|(text, _)| comes(text));
        Ok(found.map(|(text, op)| {
            self.at += text.len();
            *op
        }))
    }

    /// Returns true if the text continues with `c`, without a blank.
    pub fn joined_by(&self, c: char) -> bool {
        self.peek() == Some(c)
    }

    /// Digits directly before `<` or `>`.
    fn descriptor(&mut self) -> Option<u32> {
        let rest = self.rest();
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
        while let Some(c) = self.peek().filter(|c| !ends_word(*c)) {
            self.at += 1;
            self.bare(c, &mut parts)?;
        }
        Ok(Word(parts))
    }

    /// Lexes an unquoted part that begins with `c`.
    fn bare(&mut self, c: char, parts: &mut Vec<Part>) -> Result<(), Wrong> {
        match c {
            '\'' => parts.push(Part::Quoted(self.single()?)),
            '"' => self.double(parts)?,
            '\\' => match self.need("what the \\ is before")? {
                '\n' => {}
                c => push(parts, c, true),
            },
            '$' => self.dollar(parts, Quoting::Bare)?,
            '`' => self.backquote(parts, Quoting::Bare)?,
            c => push(parts, c, false),
        }
        Ok(())
    }

    fn single(&mut self) -> Result<String, Wrong> {
        let mut text = String::new();
        loop {
            match self.need("the second '")? {
                '\'' => return Ok(text),
                c => text.push(c),
            }
        }
    }

    /// After `$'`: a text with C's escapes.
    fn escaped(&mut self) -> Result<String, Wrong> {
        const END: &str = "the ' of a $'";
        let mut bytes = Vec::new();
        loop {
            let c = match self.need(END)? {
                '\'' => return Ok(from_bytes(&bytes)),
                '\\' => match self.need(END)? {
                    'a' => '\x07',
                    'b' => '\x08',
                    'e' => '\x1b',
                    'f' => '\x0c',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\x0b',
                    c @ ('\\' | '\'' | '"') => c,
                    'x' => {
                        bytes.push(self.digits(16, 2));
                        continue;
                    }
                    c if c.is_digit(8) => {
                        self.at -= 1;
                        bytes.push(self.digits(8, 3));
                        continue;
                    }
                    c => return Err(self.unsupported(&format!("\\{c} in $'...'"))),
                },
                c => c,
            };
            bytes.extend_from_slice(&to_bytes(c.encode_utf8(&mut [0; 4])));
        }
    }

    /// At most `count` digits; bits that do not fit in a byte are cut off.
    fn digits(&mut self, radix: u32, count: usize) -> u8 {
        let mut value = 0u32;
        for _ in 0..count {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(radix)) else {
                break;
            };
            self.at += 1;
            value = value * radix + digit;
        }
        value as u8
    }

    fn double(&mut self, parts: &mut Vec<Part>) -> Result<(), Wrong> {
        const END: &str = "the second \"";
        // Even an empty pair of quotes makes a word.
        parts.push(Part::Quoted(String::new()));
        loop {
            match self.need(END)? {
                '"' => return Ok(()),
                c => self.quoted(c, "\"\\$`", parts, END)?,
            }
        }
    }

    /// Lexes a part between double quotes that begins with `c`; a `\` escapes
    /// only the characters of `escapable`.
    fn quoted(
        &mut self,
        c: char,
        escapable: &str,
        parts: &mut Vec<Part>,
        end: &str,
    ) -> Result<(), Wrong> {
        match c {
            '\\' => match self.need(end)? {
                '\n' => {}
                c if escapable.contains(c) => push(parts, c, true),
                c => {
                    push(parts, '\\', true);
                    push(parts, c, true);
                }
            },
            '$' => self.dollar(parts, Quoting::Double)?,
            '`' => self.backquote(parts, Quoting::Double)?,
            c => push(parts, c, true),
        }
        Ok(())
    }

    /// After a `$`.
    fn dollar(&mut self, parts: &mut Vec<Part>, quoting: Quoting) -> Result<(), Wrong> {
        let value = match self.peek() {
            Some('{') => {
                self.at += 1;
                self.braces(quoting)?
            }
            Some('(') => {
                self.at += 1;
                self.parentheses()?
            }
            Some(c) if is_special(c) || c.is_ascii_digit() => {
                self.at += 1;
                Value::Variable(c.into(), None)
            }
            Some(c) if in_name(c) => Value::Variable(self.name(), None),
            Some('\'') if quoting == Quoting::Bare => {
                self.at += 1;
                parts.push(Part::Quoted(self.escaped()?));
                return Ok(());
            }
            Some('"') if quoting == Quoting::Bare => return Err(self.unsupported("$\"...\"")),
            _ => {
                push(parts, '$', quoting == Quoting::Double);
                return Ok(());
            }
        };
        parts.push(Part::Value(value, quoting));
        Ok(())
    }

    fn name(&mut self) -> String {
        let name: String = self.rest().iter().take_while(|c| in_name(**c)).collect();
        self.at += name.len();
        name
    }

    /// After `$(`.
    fn parentheses(&mut self) -> Result<Value, Wrong> {
        if self.peek() == Some('(') {
            // An expression, unless the two are not closed together.
            let (at, line) = (self.at, self.line);
            self.at += 1;
            if let Some(expression) = self.expression()? {
                return Ok(Value::Number(expression));
            }
            (self.at, self.line) = (at, line);
        }
        let text = take(&mut self.text);
        let mut inner = self.of(text, self.line)?.from(self.at);
        (inner.inside, inner.put_in) = (take(&mut self.inside), self.put_in);
        let (list, inner) = parse::enclosed(inner)?;
        (self.text, self.at, self.line) = (inner.text, inner.at, inner.line);
        (self.inside, self.put_in) = (inner.inside, inner.put_in);
        self.pending.extend(inner.pending);
        Ok(Value::Output(list))
    }

    /// The expression after `$((`, and its end; `None` if there is only one
    /// parenthesis.
    fn expression(&mut self) -> Result<Option<Word>, Wrong> {
        const END: &str = "the )) of a $((";
        let outer = self.depth;
        self.depth = self.deeper()?;
        let mut parts = Vec::new();
        let mut open = 0usize;
        loop {
            match self.need(END)? {
                ')' if open == 0 => break,
                '"' => {}
                c => {
                    open += usize::from(c == '(');
                    open -= usize::from(c == ')');
                    self.quoted(c, "\"\\$`", &mut parts, END)?;
                }
            }
        }
        self.depth = outer;
        Ok(self.take(')').then_some(Word(parts)))
    }

    /// After a backquote, up to the next one.
    fn backquote(&mut self, parts: &mut Vec<Part>, quoting: Quoting) -> Result<(), Wrong> {
        const END: &str = "the second `";
        let line = self.line;
        let mut text = Vec::new();
        loop {
            match self.need(END)? {
                '`' => break,
                '\\' => match self.need(END)? {
                    c @ ('$' | '`' | '\\') => text.push(c),
                    '"' if quoting == Quoting::Double => text.push('"'),
                    c => text.extend(['\\', c]),
                },
                c => text.push(c),
            }
        }
        let list = self.finished(parse::all(self.of(text, line)?))?;
        parts.push(Part::Value(Value::Output(list), quoting));
        Ok(())
    }

    /// A lexer of another text, one level further in.
    fn of(&self, text: Vec<char>, line: usize) -> Result<Lexer<'a>, Wrong> {
        Ok(Lexer::new(text, line, self.deeper()?, self.aliases))
    }

    /// Text after the end of this one would not help.
    fn finished(&self, parsed: Result<List, Wrong>) -> Result<List, Wrong> {
        parsed.map_err(|wrong| match wrong {
            Wrong::Incomplete(what) => Wrong::Syntax(what),
            wrong => wrong,
        })
    }

    /// One more level, if there may be one.
    fn deeper(&self) -> Result<usize, Wrong> {
        match self.depth < parse::DEPTH_MAX {
            true => Ok(self.depth + 1),
            false => Err(self.wrong("nested too deeply".into())),
        }
    }

    pub fn wrong(&self, text: String) -> Wrong {
        Wrong::Syntax(format!("line {}: {text}", self.line))
    }

    /// Something of other shells.
    pub fn unsupported(&self, what: &str) -> Wrong {
        self.wrong(format!("not supported: {what}"))
    }

    /// The text ends too early.
    pub fn ends_before(&self, what: &str) -> Wrong {
        Wrong::Incomplete(format!("line {}: the end comes before {what}", self.line))
    }
}
