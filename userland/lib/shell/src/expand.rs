//! Words to texts: values put in, split at blanks, patterns replaced by the
//! names they match.

use crate::arithmetic::{self, Variables};
use crate::glob::{self, Mark, Names};
use crate::split::{self, Class};
use crate::tree::{Change, List, Operator, Part, Quoting, Value, Word};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The shell's options for expansion.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// A variable that is not set is an error: `set -u`.
    pub unset_is_wrong: bool,
    /// Patterns stand for themselves: `set -f`.
    pub no_patterns: bool,
}

/// Where values come from.
pub trait Host: Names {
    /// The value of a variable, or of a special one: `?`, `#`, `$`, `!`, `-`
    /// and digits.
    fn variable(&self, name: &str) -> Option<String>;
    /// Sets a variable; an error says why that is not possible.
    fn set_variable(&mut self, name: &str, text: String) -> Result<(), String>;
    /// The arguments, `$1` and so on.
    fn arguments(&self) -> Vec<String>;
    /// The output of commands; an error ends the expansion.
    fn output(&mut self, list: &List) -> Result<String, String>;
    /// The shell's options.
    fn settings(&self) -> Settings;
}

/// Expands words to any number of texts.
pub fn expand(words: &[Word], host: &mut impl Host) -> Result<Vec<String>, String> {
    let mut texts = Vec::new();
    for word in words {
        let mut fields = Fields::new(Splitting::AtBlanks, host);
        fields.add(word, host)?;
        for field in fields.done() {
            let found = match glob::is_pattern(&field) && !host.settings().no_patterns {
                true => glob::paths(&field, host),
                false => Vec::new(),
            };
            // A pattern that matches nothing stands for itself.
            match found.is_empty() {
                true => texts.push(text(&field)),
                false => texts.extend(found),
            }
        }
    }
    Ok(texts)
}

/// Expands a word to exactly one text: nothing is split or matched.
pub fn expand_one(word: &Word, host: &mut impl Host) -> Result<String, String> {
    pattern(word, host).map(|marks| text(&marks))
}

/// Expands a word to a pattern, in which unquoted characters keep their special
/// meaning.
pub fn pattern(word: &Word, host: &mut impl Host) -> Result<Vec<Mark>, String> {
    let mut fields = Fields::new(Splitting::Never, host);
    fields.add(word, host)?;
    Ok(fields.done().into_iter().next().unwrap_or_default())
}

fn text(field: &[Mark]) -> String {
    field.iter().map(|mark| mark.c).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Splitting {
    AtBlanks,
    Never,
}

/// The texts one word becomes.
struct Fields {
    splitting: Splitting,
    /// The characters that separate.
    separators: String,
    finished: Vec<Vec<Mark>>,
    /// The one being made; `None` between two.
    open: Option<Vec<Mark>>,
    /// Only blanks came since the last one ended, by a blank.
    ended_by_blank: bool,
}

impl Fields {
    fn new(splitting: Splitting, host: &impl Host) -> Self {
        let separators = host.variable(split::NAME);
        Fields {
            splitting,
            separators: separators.unwrap_or_else(|| split::USUAL.into()),
            finished: Vec::new(),
            open: None,
            ended_by_blank: false,
        }
    }

    fn done(mut self) -> Vec<Vec<Mark>> {
        self.finish();
        self.finished
    }

    fn finish(&mut self) {
        self.finished.extend(self.open.take());
    }

    fn push(&mut self, text: &str, quoted: bool) {
        self.ended_by_blank = false;
        let open = self.open.get_or_insert_default();
        open.extend(text.chars().map(|c| Mark { c, quoted }));
    }

    /// A value: between quotes as it is, else split.
    fn put(&mut self, text: &str, quoting: Quoting) {
        if quoting == Quoting::Double || self.splitting == Splitting::Never {
            return self.push(text, quoting == Quoting::Double);
        }
        for c in text.chars() {
            match split::class(c, &self.separators) {
                Class::Text => {
                    self.ended_by_blank = false;
                    let open = self.open.get_or_insert_default();
                    open.push(Mark { c, quoted: false });
                }
                Class::Blank => {
                    self.ended_by_blank |= self.open.is_some();
                    self.finish();
                }
                Class::Mark => {
                    if self.open.is_none() && !self.ended_by_blank {
                        self.open = Some(Vec::new());
                    }
                    self.finish();
                    self.ended_by_blank = false;
                }
            }
        }
    }

    fn add(&mut self, word: &Word, host: &mut impl Host) -> Result<(), String> {
        for part in &word.0 {
            match part {
                Part::Plain(text) => self.push(text, false),
                Part::Quoted(text) => {
                    // `"$@"` without arguments is nothing at all.
                    let only_arguments = text.is_empty() && is_arguments(word);
                    if !only_arguments {
                        self.push(text, true);
                    }
                }
                Part::Home => self.push(&home(host), true),
                Part::Value(value, quoting) => self.value(value, *quoting, host)?,
            }
        }
        Ok(())
    }

    /// The word of an operator, which is part of a value: between quotes, or
    /// split where it is not quoted itself.
    fn add_inner(
        &mut self,
        word: &Word,
        quoting: Quoting,
        host: &mut impl Host,
    ) -> Result<(), String> {
        for part in &word.0 {
            match part {
                Part::Plain(text) => self.put(text, quoting),
                Part::Quoted(text) => self.push(text, true),
                Part::Home => self.push(&home(host), true),
                Part::Value(value, own) => {
                    let quoting = match quoting {
                        Quoting::Bare => *own,
                        Quoting::Double => Quoting::Double,
                    };
                    self.value(value, quoting, host)?;
                }
            }
        }
        Ok(())
    }

    fn value(
        &mut self,
        value: &Value,
        quoting: Quoting,
        host: &mut impl Host,
    ) -> Result<(), String> {
        match value {
            Value::Variable(name, change) => self.variable(name, change.as_ref(), quoting, host)?,
            Value::Length(name) => {
                let text = set_or_wrong(name, host)?.unwrap_or_default();
                self.put(&text.chars().count().to_string(), quoting);
            }
            Value::Output(list) => {
                let text = host.output(list)?;
                self.put(text.trim_end_matches('\n'), quoting);
            }
            Value::Number(expression) => {
                let expression = expand_one(expression, host)?;
                let number = arithmetic::evaluate(&expression, &mut Numbers(host))?;
                self.put(&number.to_string(), quoting);
            }
        }
        Ok(())
    }

    fn variable(
        &mut self,
        name: &str,
        change: Option<&Change>,
        quoting: Quoting,
        host: &mut impl Host,
    ) -> Result<(), String> {
        let Some(change) = change else {
            match is_all(name) {
                true => self.arguments(name, quoting, host),
                false => {
                    let text = set_or_wrong(name, host)?.unwrap_or_default();
                    self.put(&text, quoting);
                }
            }
            return Ok(());
        };
        let text = match is_all(name) {
            true => Some(host.arguments().join(" ")).filter(|_| !host.arguments().is_empty()),
            false => host.variable(name),
        };
        let is_set = text
            .as_ref()
            .is_some_and(|text| !(change.empty_too && text.is_empty()));
        match (change.operator, is_set) {
            (Operator::Default, false) | (Operator::Alternative, true) => {
                self.add_inner(&change.word, quoting, host)?;
            }
            (Operator::Alternative, false) => self.put("", quoting),
            (Operator::Default | Operator::Assign | Operator::Require, true) => {
                self.variable(name, None, quoting, host)?;
            }
            (Operator::Assign, false) => {
                let text = expand_one(&change.word, host)?;
                host.set_variable(name, text.clone())?;
                self.put(&text, quoting);
            }
            (Operator::Require, false) => {
                let text = expand_one(&change.word, host)?;
                let text = if text.is_empty() { "not set" } else { &text };
                return Err(format!("{name}: {text}"));
            }
            (Operator::Suffix(_) | Operator::Prefix(_), _) if is_all(name) => {
                return Err(format!("not supported: a pattern after ${{{name}"));
            }
            (Operator::Suffix(extent), _) => {
                let text = set_or_wrong(name, host)?.unwrap_or_default();
                let pattern = pattern(&change.word, host)?;
                self.put(glob::without_suffix(&text, &pattern, extent), quoting);
            }
            (Operator::Prefix(extent), _) => {
                let text = set_or_wrong(name, host)?.unwrap_or_default();
                let pattern = pattern(&change.word, host)?;
                self.put(glob::without_prefix(&text, &pattern, extent), quoting);
            }
        }
        Ok(())
    }

    fn arguments(&mut self, name: &str, quoting: Quoting, host: &impl Host) {
        let arguments = host.arguments();
        let separate =
            self.splitting == Splitting::AtBlanks && (name == "@" || quoting == Quoting::Bare);
        if !separate {
            let between: String = match name {
                "*" => self.separators.chars().take(1).collect(),
                _ => " ".into(),
            };
            return self.push(&arguments.join(&between), quoting == Quoting::Double);
        }
        for (index, argument) in arguments.iter().enumerate() {
            if index > 0 {
                self.finish();
            }
            self.put(argument, quoting);
        }
    }
}

/// Returns true for `@` and `*`, which stand for all arguments.
fn is_all(name: &str) -> bool {
    name == "@" || name == "*"
}

fn home(host: &impl Host) -> String {
    host.variable("HOME").unwrap_or_else(|| "~".into())
}

/// The value of a variable; an error if it has to be set and is not.
fn set_or_wrong(name: &str, host: &impl Host) -> Result<Option<String>, String> {
    match host.variable(name) {
        None if host.settings().unset_is_wrong && !is_all(name) => Err(format!("{name}: not set")),
        text => Ok(text),
    }
}

/// The variables of an expression.
struct Numbers<'a, H>(&'a mut H);

impl<H: Host> Variables for Numbers<'_, H> {
    fn value(&self, name: &str) -> Result<Option<String>, String> {
        set_or_wrong(name, self.0)
    }

    fn assign(&mut self, name: &str, number: i64) -> Result<(), String> {
        self.0.set_variable(name, number.to_string())
    }
}

/// Returns true if the word is just `"$@"`.
fn is_arguments(word: &Word) -> bool {
    word.0.iter().all(|part| match part {
        Part::Quoted(text) => text.is_empty(),
        Part::Value(Value::Variable(name, None), Quoting::Double) => name == "@",
        _ => false,
    }) && word.0.len() > 1
}
