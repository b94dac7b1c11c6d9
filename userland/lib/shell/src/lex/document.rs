//! The texts of here-documents.

use super::{Lexer, Pending};
use crate::parse::Wrong;
use crate::tree::{Part, Word};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem::take;

impl Lexer<'_> {
    /// Reads the here-documents that the line before asked for.
    pub(super) fn documents(&mut self) -> Result<(), Wrong> {
        for pending in take(&mut self.pending) {
            let line = self.line;
            let text = self.document_text(&pending)?;
            let word = match pending.quoted {
                true => Word(Vec::from([Part::Quoted(text.iter().collect())])),
                false => self.of(text, line)?.document()?,
            };
            // Each is asked for once.
            let _ = pending.document.set(word);
        }
        Ok(())
    }

    /// Lines up to the one that ends a here-document.
    fn document_text(&mut self, pending: &Pending) -> Result<Vec<char>, Wrong> {
        let mut text = Vec::new();
        loop {
            if self.peek().is_none() {
                return Err(self.ends_before(&format!("the line `{}`", pending.end)));
            }
            while pending.no_tabs && self.take('\t') {}
            let start = text.len();
            let ended = loop {
                match self.next() {
                    Some('\n') => break true,
                    Some(c) => text.push(c),
                    None => break false,
                }
            };
            let line = text.get(start..).unwrap_or(&[]);
            if line.iter().copied().eq(pending.end.chars()) {
                text.truncate(start);
                return Ok(text);
            }
            if ended {
                text.push('\n');
            }
        }
    }

    /// The whole text as a here-document that is expanded.
    fn document(mut self) -> Result<Word, Wrong> {
        const END: &str = "the end of what the here-document begins";
        let mut parts = Vec::from([Part::Quoted(String::new())]);
        while let Some(c) = self.next() {
            match self.quoted(c, "\\$`", &mut parts, END) {
                Err(Wrong::Incomplete(what)) => return Err(Wrong::Syntax(what)),
                taken => taken?,
            }
        }
        Ok(Word(parts))
    }
}
