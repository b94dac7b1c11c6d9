//! Lines typed before.

use alloc::collections::VecDeque;
use alloc::string::String;

/// Lines kept.
const MAX: usize = 500;

/// The lines, oldest first.
#[derive(Debug, Default)]
pub struct History {
    lines: VecDeque<String>,
}

impl History {
    /// Remembers a line, unless it is blank or was the last one too.
    pub fn add(&mut self, line: &str) {
        let line = line.trim_end();
        if line.trim().is_empty() || self.lines.back().is_some_and(|last| last == line) {
            return;
        }
        if self.lines.len() == MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line.into());
    }

    /// The line `back` lines ago, the last one being 1.
    pub fn back(&self, back: usize) -> Option<&str> {
        let index = self.lines.len().checked_sub(back)?;
        self.lines.get(index).map(String::as_str)
    }

    /// All lines, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}
