//! Runs what the parser made of a text.

use crate::builtin;
use crate::state::Shell;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use rt::eprintln;
use shell::tree::{Command, Item, Junction, List, Pipeline, Stage, Word};
use shell::{expand, expand_one};

/// Why the commands that follow are not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// The shell ends.
    Exit(u8),
    /// So many loops are left.
    Break(usize),
    /// So many loops are left, but for the last one, which goes on.
    Continue(usize),
    /// The person has had enough of it.
    Interrupted,
}

impl Leave {
    /// The status of what was left.
    pub fn status(self) -> u8 {
        match self {
            Leave::Exit(status) => status,
            Leave::Break(_) | Leave::Continue(_) => 0,
            Leave::Interrupted => 130,
        }
    }
}

/// A status, or why it stops here.
pub type Ran = Result<u8, Leave>;

/// Status of a command that was not even begun: a bad word or redirection.
pub const NOT_BEGUN: u8 = 1;

impl Shell {
    /// Runs items one after another; the status of the last.
    pub fn list(&mut self, list: &List) -> Ran {
        let mut status = 0;
        for item in list {
            if self.take_interrupt() {
                return Err(Leave::Interrupted);
            }
            status = match item.background {
                true => self.background(item),
                false => self.item(item)?,
            };
            self.status = status;
        }
        Ok(status)
    }

    pub fn item(&mut self, item: &Item) -> Ran {
        self.status = self.pipeline(&item.first)?;
        for (junction, pipeline) in &item.rest {
            if (*junction == Junction::And) == (self.status == 0) {
                self.status = self.pipeline(pipeline)?;
            }
        }
        Ok(self.status)
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Ran {
        let status = match pipeline.stages.as_slice() {
            [stage] => self.stage(stage)?,
            stages => self.stages(stages)?,
        };
        Ok(match pipeline.negated {
            true => u8::from(status == 0),
            false => status,
        })
    }

    /// Runs a command in this process as far as that is possible.
    pub fn stage(&mut self, stage: &Stage) -> Ran {
        match &*stage.command {
            Command::Simple { assignments, words } => self.simple(stage, assignments, words),
            Command::Subshell(_) => self.foreground(stage),
            compound => self.redirected(stage, |shell| shell.compound(compound)),
        }
    }

    /// A command with parts that are commands.
    pub fn compound(&mut self, command: &Command) -> Ran {
        match command {
            Command::Group(list) | Command::Subshell(list) => self.list(list),
            Command::If { arms, otherwise } => {
                for (condition, then) in arms {
                    if self.list(condition)? == 0 {
                        return self.list(then);
                    }
                }
                self.list(otherwise)
            }
            Command::For { name, words, body } => self.each(name, words.as_deref(), body),
            Command::While {
                condition,
                wanted,
                body,
            } => self.repeat(condition, *wanted, body),
            Command::Simple { .. } => Ok(0),
        }
    }

    fn each(&mut self, name: &str, words: Option<&[Word]>, body: &List) -> Ran {
        let texts = match words {
            Some(words) => match self.words(words) {
                Some(texts) => texts,
                None => return Ok(NOT_BEGUN),
            },
            None => self.arguments.clone(),
        };
        let mut status = 0;
        for text in texts {
            self.set(name, text);
            match self.turn(body)? {
                Some(turned) => status = turned,
                None => break,
            }
        }
        Ok(status)
    }

    fn repeat(&mut self, condition: &List, wanted: bool, body: &List) -> Ran {
        let mut status = 0;
        loop {
            if (self.list(condition)? == 0) != wanted {
                return Ok(status);
            }
            match self.turn(body)? {
                Some(turned) => status = turned,
                None => return Ok(status),
            }
        }
    }

    /// One turn of a loop; `None` if the loop is over.
    fn turn(&mut self, body: &List) -> Result<Option<u8>, Leave> {
        self.loops += 1;
        let ran = self.list(body);
        self.loops -= 1;
        match ran {
            Ok(status) => Ok(Some(status)),
            Err(Leave::Continue(1)) => Ok(Some(0)),
            Err(Leave::Break(1)) => Ok(None),
            Err(Leave::Continue(loops)) => Err(Leave::Continue(loops - 1)),
            Err(Leave::Break(loops)) => Err(Leave::Break(loops - 1)),
            Err(leave) => Err(leave),
        }
    }

    /// The texts of words; what is wrong is said.
    pub fn words(&mut self, words: &[Word]) -> Option<Vec<String>> {
        match expand(words, self) {
            Ok(texts) => Some(texts),
            Err(wrong) => {
                eprintln!("{}: {wrong}", self.name);
                None
            }
        }
    }

    fn simple(&mut self, stage: &Stage, assignments: &[(String, Word)], words: &[Word]) -> Ran {
        self.captured = None;
        let Some(texts) = self.words(words) else {
            return Ok(NOT_BEGUN);
        };
        let Some(name) = texts.first() else {
            return self.redirected(stage, |shell| {
                Ok(match shell.assign(assignments) {
                    // The status of an assignment is that of a `$(...)` in it.
                    true => shell.captured.unwrap_or(0),
                    false => NOT_BEGUN,
                })
            });
        };
        match builtin::find(name) {
            Some(run) => self.redirected(stage, |shell| {
                if !shell.assign(assignments) {
                    return Ok(NOT_BEGUN);
                }
                let arguments: Vec<&str> = texts.iter().skip(1).map(String::as_str).collect();
                let ran = run(shell, &arguments);
                shell.flush(&texts[0], ran)
            }),
            None => self.program(stage, assignments, &texts),
        }
    }

    /// What a built-in command printed goes out before its redirections end.
    fn flush(&self, name: &str, ran: Ran) -> Ran {
        let flushed = rt::io::flush();
        match rt::io::take_failure().or(flushed.err()) {
            Some(errno) => {
                eprintln!("{name}: standard output: {errno}");
                ran.map(|_| 1)
            }
            None => ran,
        }
    }

    /// Sets variables; says what is wrong.
    pub fn assign(&mut self, assignments: &[(String, Word)]) -> bool {
        for (name, word) in assignments {
            match expand_one(word, self) {
                Ok(text) => self.set(name, text),
                Err(wrong) => {
                    eprintln!("{}: {name}: {wrong}", self.name);
                    return false;
                }
            }
        }
        true
    }

    /// Runs `body` with the stage's redirections in this process.
    fn redirected(&mut self, stage: &Stage, body: impl FnOnce(&mut Shell) -> Ran) -> Ran {
        if stage.redirections.is_empty() {
            return body(self);
        }
        let aside = self.aside.len();
        let ran = match self.redirect(&stage.redirections, crate::redirect::For::AWhile) {
            Ok(()) => body(self),
            Err(wrong) => {
                eprintln!("{}: {wrong}", self.name);
                Ok(NOT_BEGUN)
            }
        };
        self.restore(aside);
        ran
    }

    /// The text of a command, for people.
    pub fn describe(stage: &Stage) -> String {
        match &*stage.command {
            Command::Simple { words, .. } => match words.first().and_then(Word::plain) {
                Some(name) => name.into(),
                None => "command".into(),
            },
            Command::Group(_) => "{ ... }".into(),
            Command::Subshell(_) => "( ... )".into(),
            Command::For { name, .. } => format!("for {name}"),
            Command::If { .. } => "if".into(),
            Command::While { .. } => "while".into(),
        }
    }
}
