//! Splits a command list: commands end at `;` or a newline, words at blanks.
//! `'...'` quotes everything, `"..."` all but `\`, `\` the next character;
//! `#` where a word may begin starts a comment.

use alloc::string::String;
use alloc::vec::Vec;
use core::{iter::Peekable, mem::take, str::Chars};

/// A command: its words, at least one.
pub type Command = Vec<String>;

/// The commands of a list, or what is wrong with it.
pub fn parse(list: &str) -> Result<Vec<Command>, &'static str> {
    let mut commands = Vec::new();
    let mut command = Command::new();
    let mut rest = list.chars().peekable();
    while let Some(next) = rest.peek().copied() {
        match next {
            ';' | '\n' => {
                rest.next();
                commands.push(take(&mut command));
            }
            '#' => while rest.next_if(|c| *c != '\n').is_some() {},
            blank if blank.is_whitespace() => {
                rest.next();
            }
            _ => command.push(word(&mut rest)?),
        }
    }
    commands.push(command);
    commands.retain(|command| !command.is_empty());
    Ok(commands)
}

/// One word, quotes taken off.
fn word(rest: &mut Peekable<Chars<'_>>) -> Result<String, &'static str> {
    let mut word = String::new();
    while let Some(c) = rest.next_if(|c| !c.is_whitespace() && *c != ';') {
        match c {
            '\'' => loop {
                match rest.next().ok_or("a ' is not closed")? {
                    '\'' => break,
                    quoted => word.push(quoted),
                }
            },
            '"' => loop {
                match rest.next().ok_or("a \" is not closed")? {
                    '"' => break,
                    '\\' => word.push(rest.next().ok_or("a \" is not closed")?),
                    quoted => word.push(quoted),
                }
            },
            '\\' => word.push(rest.next().ok_or("nothing follows the \\ at the end")?),
            plain => word.push(plain),
        }
    }
    Ok(word)
}
