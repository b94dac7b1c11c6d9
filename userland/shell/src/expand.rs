//! Words to texts: values put in, split at blanks, patterns replaced by the
//! names they match.

use crate::arithmetic;
use crate::glob::{self, Mark, Names};
use crate::tree::{List, Part, Quoting, Value, Word};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Where values come from.
pub trait Host: Names {
    /// The value of a variable, or of a special one: `?`, `#`, `$`, `!` and
    /// digits.
    fn variable(&self, name: &str) -> Option<String>;
    /// The arguments, `$1` and so on.
    fn arguments(&self) -> Vec<String>;
    /// What the commands print; an error ends the expansion.
    fn output(&mut self, list: &List) -> Result<String, String>;
}

/// Expands words to any number of texts.
pub fn expand(words: &[Word], host: &mut impl Host) -> Result<Vec<String>, String> {
    let mut texts = Vec::new();
    for word in words {
        let mut fields = Fields::new(Splitting::AtBlanks);
        fields.add(word, host)?;
        for field in fields.done() {
            let found = match glob::is_pattern(&field) {
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
    let mut fields = Fields::new(Splitting::Never);
    fields.add(word, host)?;
    Ok(fields
        .done()
        .first()
        .map(|field| text(field))
        .unwrap_or_default())
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
    finished: Vec<Vec<Mark>>,
    /// The one being made; `None` between two.
    open: Option<Vec<Mark>>,
}

impl Fields {
    fn new(splitting: Splitting) -> Self {
        Fields {
            splitting,
            finished: Vec::new(),
            open: None,
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
        let open = self.open.get_or_insert_default();
        open.extend(text.chars().map(|c| Mark { c, quoted }));
    }

    /// A value: between quotes as it is, else split at blanks.
    fn put(&mut self, text: &str, quoting: Quoting) {
        if quoting == Quoting::Double || self.splitting == Splitting::Never {
            return self.push(text, quoting == Quoting::Double);
        }
        for (index, piece) in text.split(char::is_whitespace).enumerate() {
            if index > 0 {
                self.finish();
            }
            if !piece.is_empty() {
                self.push(piece, false);
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
                Part::Value(value, quoting) => self.value(value, *quoting, host)?,
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
            Value::Variable(name, None) if name == "@" || name == "*" => {
                self.arguments(name, quoting, host);
            }
            Value::Variable(name, default) => {
                match (host.variable(name).filter(|text| !text.is_empty()), default) {
                    (Some(text), _) => self.put(&text, quoting),
                    (None, Some(word)) => {
                        let text = expand_one(word, host)?;
                        self.put(&text, quoting);
                    }
                    (None, None) => self.put("", quoting),
                }
            }
            Value::Length(name) => {
                let len = host.variable(name).map_or(0, |text| text.chars().count());
                self.put(&len.to_string(), quoting);
            }
            Value::Output(list) => {
                let text = host.output(list)?;
                self.put(text.trim_end_matches('\n'), quoting);
            }
            Value::Number(expression) => {
                let number = arithmetic::evaluate(expression, &|name| host.variable(name))?;
                self.put(&number.to_string(), quoting);
            }
        }
        Ok(())
    }

    fn arguments(&mut self, name: &str, quoting: Quoting, host: &impl Host) {
        let arguments = host.arguments();
        let separate =
            self.splitting == Splitting::AtBlanks && (name == "@" || quoting == Quoting::Bare);
        if !separate {
            return self.push(&arguments.join(" "), quoting == Quoting::Double);
        }
        for (index, argument) in arguments.iter().enumerate() {
            if index > 0 {
                self.finish();
            }
            self.put(argument, quoting);
        }
    }
}

/// Is the word just `"$@"`?
fn is_arguments(word: &Word) -> bool {
    word.0.iter().all(|part| match part {
        Part::Quoted(text) => text.is_empty(),
        Part::Value(Value::Variable(name, None), Quoting::Double) => name == "@",
        _ => false,
    }) && word.0.len() > 1
}
