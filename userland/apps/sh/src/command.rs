//! Simple commands: finds the meaning of a name and runs it.

use crate::Shown;
use crate::builtin::{self, Builtin};
use crate::redirect::For;
use crate::run::{Leave, NOT_BEGUN, Process, Ran, USAGE};
use crate::state::Shell;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytestr::text::to_bytes;
use rt::{Errno, File, eprintln};
use shell::tree::{Stage, Word};

/// The meaning of a command name.
pub enum Meaning {
    /// A special builtin; variables set before it stay set.
    Special(Builtin),
    /// A function.
    Function,
    /// Part of the shell.
    Builtin(Builtin),
    /// A program, with the path where it is found.
    Program(Option<String>),
}

impl Shell {
    /// The meaning of `name`, with or without functions.
    pub fn meaning(&self, name: &str, functions: bool) -> Meaning {
        if let Some(builtin) = builtin::special(name) {
            return Meaning::Special(builtin);
        }
        if functions && self.functions.contains_key(name) {
            return Meaning::Function;
        }
        match builtin::find(name) {
            Some(builtin) => Meaning::Builtin(builtin),
            None => Meaning::Program(self.program_path(name)),
        }
    }

    /// The path of the program `name`.
    fn program_path(&self, name: &str) -> Option<String> {
        let is_file = |path: &String| {
            let stat = File::stat_path(to_bytes(path));
            stat.is_ok_and(|stat| !stat.is_dir())
        };
        if name.contains('/') {
            return Some(name.to_string()).filter(is_file);
        }
        let directories = self.get("PATH").unwrap_or("/bin").split(':');
        let mut paths = directories.map(|directory| format!("{directory}/{name}"));
        paths.find(is_file)
    }

    /// Runs the command with the words `texts`, the name first.
    pub fn command(
        &mut self,
        stage: &Stage,
        assignments: &[(String, Word)],
        texts: &[String],
        process: Process,
    ) -> Ran {
        let mut texts = texts;
        let mut functions = true;
        // `command` skips functions; `command -v` is a builtin.
        while let [first, second, ..] = texts
            && first == "command"
            && !second.starts_with('-')
        {
            texts = &texts[1..];
            functions = false;
        }
        let Some((name, arguments)) = texts.split_first() else {
            return Ok(0);
        };
        if name == "exec" {
            return self.exec(stage, assignments, arguments);
        }
        match self.meaning(name, functions) {
            Meaning::Special(builtin) => self.redirected(stage, |shell| {
                shell.assign(assignments)?;
                shell.run_builtin(builtin, name, arguments)
            }),
            Meaning::Function => {
                let Some(body) = self.functions.get(name).cloned() else {
                    return Ok(0);
                };
                self.redirected(stage, |shell| {
                    shell.with_variables(assignments, |shell| shell.call(&body, arguments))
                })
            }
            Meaning::Builtin(builtin) => self.redirected(stage, |shell| {
                shell.with_variables(assignments, |shell| {
                    shell.run_builtin(builtin, name, arguments)
                })
            }),
            Meaning::Program(_) if name == "kill" => match self.jobs_as_groups(texts) {
                Ok(texts) => self.program(stage, assignments, &texts, process),
                Err(wrong) => {
                    eprintln!("kill: {wrong}");
                    Ok(1)
                }
            },
            Meaning::Program(_) => self.program(stage, assignments, texts, process),
        }
    }

    /// The arguments of `kill`, with the note group of a job in place of `%JOB`, or one of
    /// its processes for `-a`.
    fn jobs_as_groups(&self, texts: &[String]) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        let with_others = texts.get(1).is_some_and(|option| option == "-a");
        for (index, text) in texts.iter().enumerate() {
            if !text.starts_with('%') {
                all.push(text.clone());
            } else if with_others {
                all.extend(self.jobs.member(text)?.map(|pid| pid.to_string()));
            } else {
                // A negative number would be an option.
                all.extend((index == 1).then(|| "--".to_string()));
                all.extend(self.jobs.group(text)?.map(|group| format!("-{group}")));
            }
        }
        Ok(all)
    }

    fn run_builtin(&mut self, builtin: Builtin, name: &str, arguments: &[String]) -> Ran {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ran = builtin(self, &arguments);
        self.flush(name, ran)
    }

    /// `exec [PROGRAM [ARG...]]`: the redirections stay; this process becomes
    /// the program.
    fn exec(&mut self, stage: &Stage, assignments: &[(String, Word)], texts: &[String]) -> Ran {
        self.assign(assignments)?;
        if let Err(wrong) = self.redirect(&stage.redirections, For::Ever) {
            eprintln!("{}: {wrong}", Shown(&self.name));
            return Err(Leave::Wrong(NOT_BEGUN));
        }
        let Some(name) = texts.first() else {
            return Ok(0);
        };
        if name.starts_with('-') {
            eprintln!("exec: {}: not supported", Shown(name));
            return Err(Leave::Wrong(USAGE));
        }
        if self.program_path(name).is_none() {
            // A person may go on typing.
            self.say_not_run(name, Errno::ENOENT);
            return Err(Leave::Wrong(crate::spawn::NOT_FOUND));
        }
        self.close_private();
        let marked = assignments.iter().map(|(name, _)| name.as_str());
        let environment = self.environment(marked);
        let arguments: Vec<&str> = texts.iter().map(String::as_str).collect();
        let errno = self.execute(name, &arguments, &environment);
        self.say_not_run(name, errno);
        Err(Leave::Exit(Shell::not_run(errno)))
    }

    /// Status of a program that could not be run.
    pub fn not_run(errno: Errno) -> u8 {
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => crate::spawn::NOT_FOUND,
            _ => crate::spawn::NOT_STARTED,
        }
    }
}
