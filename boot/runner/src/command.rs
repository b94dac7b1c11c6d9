//! Runs other programs, printing their command lines on request.

use crate::failure::{self, Context, Failure};
use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

/// The amount of the runner's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Long actions.
    #[default]
    Normal,
    /// Every command it runs as well.
    Commands,
}

impl Verbosity {
    /// Prints `command` in the form in which it would be typed.
    pub fn show(self, command: &Command) {
        if self == Verbosity::Commands {
            failure::line(format_args!("+ {}", line(command)));
        }
    }

    /// Runs `command` to its end and returns its output; an error if it cannot
    /// be run or fails.
    pub fn output(self, command: &mut Command) -> Result<Output, Failure> {
        self.show(command);
        let output = command
            .stdin(Stdio::null())
            .output()
            .context(|| format!("cannot run {}", command.get_program().display()))?;
        if !output.status.success() {
            return Err(Failure::setup(format!(
                "{} failed ({}): {}",
                line(command),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            )));
        }
        Ok(output)
    }
}

/// The command in the form in which it would be typed.
pub fn line(command: &Command) -> String {
    let set = command
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    let mut words: Vec<String> = set
        .map(|(name, value)| format!("{}={}", name.display(), quoted(value)))
        .collect();
    words.push(quoted(command.get_program()));
    words.extend(command.get_args().map(quoted));
    words.join(" ")
}

/// Quotes a word for a shell.
fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_can_be_typed() {
        let mut command = Command::new("qemu");
        command.args(["-m", "2G", "it's", ""]).env("A", "b c");
        assert_eq!(line(&command), r"A='b c' qemu -m 2G 'it'\''s' ''");
    }
}
