//! Runs parsed commands.

use crate::Shown;
use crate::state::{Shell, Variable};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::mem::{replace, take};
use rt::eprintln;
use shell::getopts::Place;
use shell::tree::{Command, Item, Junction, List, Pipeline, Stage, Word};
use shell::{Host, Script, expand, expand_one, glob, pattern};

/// The reason why the commands that follow are not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// The shell ends.
    Exit(u8),
    /// An error: ends a script, but not an interactive shell.
    Wrong(u8),
    /// The function or the file of `.` ends.
    Return(u8),
    /// The number of loops to leave.
    Break(usize),
    /// The number of loops to leave, the last of which continues.
    Continue(usize),
    /// The user pressed Ctrl-C.
    Interrupted,
}

impl Leave {
    /// The status of the construct that was left.
    pub fn status(self) -> u8 {
        match self {
            Leave::Exit(status) | Leave::Wrong(status) | Leave::Return(status) => status,
            Leave::Break(_) | Leave::Continue(_) => 0,
            Leave::Interrupted => 130,
        }
    }
}

/// A status, or the reason to stop.
pub type Ran = Result<u8, Leave>;

/// Status of a command whose redirection failed.
pub const NOT_BEGUN: u8 = 1;
/// Status of a syntax or usage error.
pub const USAGE: u8 = 2;
/// Nesting limit of commands, functions and texts, because a stack is finite.
const DEPTH_MAX: usize = 1000;

/// The process that runs a program as its last action.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// The shell waits for the program and goes on.
    GoesOn,
    /// The process becomes the program.
    Ends,
}

impl Shell {
    /// Runs a text in this shell, each line before the next one is parsed;
    /// `what` names its source.
    pub fn run_text(&mut self, what: &str, text: &str) -> Ran {
        let mut status = 0;
        let mut script = Script::new(text);
        while let Some(line) = script.next_line(&self.aliases) {
            match line {
                Ok(list) => status = self.list(&list)?,
                Err(wrong) => {
                    eprintln!("{}: {}", Shown(what), Shown(&wrong.to_string()));
                    return Err(Leave::Wrong(USAGE));
                }
            }
        }
        Ok(status)
    }

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
            self.run_traps()?;
        }
        Ok(status)
    }

    pub fn item(&mut self, item: &Item) -> Ran {
        self.status = self.pipeline(&item.first, item.rest.is_empty())?;
        for (index, (junction, pipeline)) in item.rest.iter().enumerate() {
            if (*junction == Junction::And) == (self.status == 0) {
                self.status = self.pipeline(pipeline, index + 1 == item.rest.len())?;
            }
        }
        Ok(self.status)
    }

    /// Runs a pipeline; `last` tells whether it is the last of its item.
    fn pipeline(&mut self, pipeline: &Pipeline, last: bool) -> Ran {
        let tested = pipeline.negated || !last;
        let ran = self.testing(tested, |shell| match pipeline.stages.as_slice() {
            [stage] => shell.stage(stage, Process::GoesOn),
            stages => shell.stages(stages),
        });
        let status = ran?;
        if tested {
            return Ok(match pipeline.negated {
                true => u8::from(status == 0),
                false => status,
            });
        }
        // A compound command fails because a part of it failed, and that part
        // was handled there.
        let simple = match pipeline.stages.as_slice() {
            [stage] => matches!(
                &*stage.command,
                Command::Simple { .. } | Command::Subshell(_)
            ),
            _ => true,
        };
        match status != 0 && simple && self.options.exit_on_failure && self.tested == 0 {
            true => Err(Leave::Exit(status)),
            false => Ok(status),
        }
    }

    /// Runs `body`; if `tested`, its failure does not end the shell.
    fn testing<R>(&mut self, tested: bool, body: impl FnOnce(&mut Shell) -> R) -> R {
        self.tested += usize::from(tested);
        let ran = body(self);
        self.tested -= usize::from(tested);
        ran
    }

    /// Runs `body` one level deeper, within the limit.
    pub fn deeper(&mut self, body: impl FnOnce(&mut Shell) -> Ran) -> Ran {
        if self.depth == DEPTH_MAX {
            eprintln!("{}: commands are nested too deeply", Shown(&self.name));
            return Err(Leave::Wrong(USAGE));
        }
        self.depth += 1;
        let ran = body(self);
        self.depth -= 1;
        ran
    }

    /// Runs a command in this process if possible.
    pub fn stage(&mut self, stage: &Stage, process: Process) -> Ran {
        match &*stage.command {
            Command::Simple { assignments, words } => {
                self.simple(stage, assignments, words, process)
            }
            Command::Subshell(list) if process == Process::Ends => {
                self.redirected(stage, |shell| shell.deeper(|shell| shell.list(list)))
            }
            Command::Subshell(_) => self.foreground(stage),
            compound => self.redirected(stage, |shell| {
                shell.deeper(|shell| shell.compound(compound))
            }),
        }
    }

    /// A command with parts that are commands.
    fn compound(&mut self, command: &Command) -> Ran {
        match command {
            Command::Group(list) | Command::Subshell(list) => self.list(list),
            Command::If { arms, otherwise } => {
                for (condition, then) in arms {
                    if self.testing(true, |shell| shell.list(condition))? == 0 {
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
            Command::Case { word, arms } => self.case(word, arms),
            Command::Function { name, body } => {
                self.functions.insert(name.clone(), body.clone());
                Ok(0)
            }
            Command::Simple { .. } => Ok(0),
        }
    }

    fn case(&mut self, word: &Word, arms: &[(Vec<Word>, List)]) -> Ran {
        let text = self.text(word)?;
        for (patterns, list) in arms {
            for word in patterns {
                let pattern = match pattern(word, self) {
                    Ok(pattern) => pattern,
                    Err(wrong) => return Err(self.wrong(&wrong)),
                };
                if glob::matches(&pattern, &text) {
                    return self.list(list);
                }
            }
        }
        Ok(0)
    }

    fn each(&mut self, name: &str, words: Option<&[Word]>, body: &List) -> Ran {
        let texts = match words {
            Some(words) => self.words(words)?,
            None => self.arguments.clone(),
        };
        let mut status = 0;
        for text in texts {
            self.assign_text(name, text)?;
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
            if (self.testing(true, |shell| shell.list(condition))? == 0) != wanted {
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

    /// Reports an error in a word.
    fn wrong(&self, wrong: &str) -> Leave {
        eprintln!("{}: {}", Shown(&self.name), Shown(wrong));
        Leave::Wrong(USAGE)
    }

    /// Expands words; reports errors.
    pub fn words(&mut self, words: &[Word]) -> Result<Vec<String>, Leave> {
        expand(words, self).map_err(|wrong| self.wrong(&wrong))
    }

    /// Expands a word to one text; reports errors.
    fn text(&mut self, word: &Word) -> Result<String, Leave> {
        expand_one(word, self).map_err(|wrong| self.wrong(&wrong))
    }

    fn assign_text(&mut self, name: &str, text: String) -> Result<(), Leave> {
        self.set_variable(name, text)
            .map_err(|wrong| self.wrong(&wrong))
    }

    fn simple(
        &mut self,
        stage: &Stage,
        assignments: &[(String, Word)],
        words: &[Word],
        process: Process,
    ) -> Ran {
        self.captured = None;
        let texts = self.words(words)?;
        self.show(&texts);
        if texts.is_empty() {
            return self.redirected(stage, |shell| {
                shell.assign(assignments)?;
                // The status of an assignment is that of a `$(...)` in it.
                Ok(shell.captured.unwrap_or(0))
            });
        }
        self.command(stage, assignments, &texts, process)
    }

    /// `set -x`
    fn show(&self, texts: &[String]) {
        if self.options.trace && !texts.is_empty() {
            let shown: Vec<String> = texts.iter().map(|text| Shown(text).to_string()).collect();
            eprintln!("+ {}", shown.join(" "));
        }
    }

    /// Flushes the output of a builtin before its redirections end.
    pub fn flush(&self, name: &str, ran: Ran) -> Ran {
        let flushed = rt::io::flush();
        match rt::io::take_failure().or(flushed.err()) {
            Some(errno) => {
                eprintln!("{name}: standard output: {errno}");
                ran.map(|_| 1)
            }
            None => ran,
        }
    }

    /// Sets variables; reports errors.
    pub fn assign(&mut self, assignments: &[(String, Word)]) -> Result<(), Leave> {
        for (name, word) in assignments {
            let text = self.text(word)?;
            if self.options.trace {
                eprintln!("+ {name}={}", Shown(&text));
            }
            self.assign_text(name, text)?;
        }
        Ok(())
    }

    /// Runs `body` with variables that are exported to programs and restored
    /// afterwards.
    pub fn with_variables(
        &mut self,
        assignments: &[(String, Word)],
        body: impl FnOnce(&mut Shell) -> Ran,
    ) -> Ran {
        let mut before: Vec<(String, Option<Variable>)> = Vec::new();
        for (name, _) in assignments {
            before.push((name.clone(), self.variables.get(name).cloned()));
        }
        let ran = self.assign(assignments).and_then(|()| {
            for (name, _) in assignments {
                if let Some(variable) = self.variables.get_mut(name) {
                    variable.exported = true;
                }
            }
            body(self)
        });
        for (name, was) in before.into_iter().rev() {
            self.put_back(name, was);
        }
        ran
    }

    /// Runs a function with these arguments.
    pub fn call(&mut self, body: &Stage, arguments: &[String]) -> Ran {
        let outer = replace(&mut self.arguments, arguments.to_vec());
        let place = replace(&mut self.place, Place::at(1));
        let loops = take(&mut self.loops);
        self.locals.push(Vec::new());
        let ran = self.deeper(|shell| shell.stage(body, Process::GoesOn));
        for (name, was) in self.locals.pop().unwrap_or_default().into_iter().rev() {
            self.put_back(name, was);
        }
        self.loops = loops;
        self.arguments = outer;
        self.place = place;
        match ran {
            Err(Leave::Return(status)) => Ok(status),
            ran => ran,
        }
    }

    /// Runs `body` with the stage's redirections in this process.
    pub fn redirected(&mut self, stage: &Stage, body: impl FnOnce(&mut Shell) -> Ran) -> Ran {
        if stage.redirections.is_empty() {
            return body(self);
        }
        let aside = self.aside.len();
        let ran = match self.redirect(&stage.redirections, crate::redirect::For::AWhile) {
            Ok(()) => body(self),
            Err(wrong) => {
                eprintln!("{}: {wrong}", Shown(&self.name));
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
            Command::For { name, .. } => alloc::format!("for {name}"),
            Command::If { .. } => "if".into(),
            Command::While { .. } => "while".into(),
            Command::Case { .. } => "case".into(),
            Command::Function { name, .. } => alloc::format!("{name}()"),
        }
    }
}
