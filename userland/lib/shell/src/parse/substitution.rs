//! Where the name of an alias counts.

use super::{CLOSERS, FOREIGN, OPENERS, Parser};
use crate::parse::Wrong;
use alloc::string::ToString;

impl Parser<'_> {
    /// Where a command may begin: puts the texts of aliases in place of their names.
    /// Returns true if it did. Words with a meaning of their own keep it.
    pub(super) fn substitute(&mut self) -> Result<bool, Wrong> {
        let mut any = false;
        self.peek()?;
        self.after_blank();
        while let Some(name) = self.plain()? {
            let reserved = [&OPENERS[..], &CLOSERS, &FOREIGN];
            if reserved.iter().any(|words| words.contains(&name)) {
                break;
            }
            let name = name.to_string();
            if !self.lexer.substitute(&name)? {
                break;
            }
            self.ahead = None;
            any = true;
        }
        Ok(any)
    }

    /// Returns true if the token at hand is the first after an alias whose text ends
    /// with a blank.
    pub(super) fn after_blank(&mut self) -> bool {
        self.lexer.after_blank()
    }
}
