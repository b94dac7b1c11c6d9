//! The shell's state, and access to it for expansion.

use crate::console::Console;
use crate::job::Jobs;
use crate::trap::Traps;
use crate::{Shown, alias, builtin};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytestr::text::{from_bytes, to_bytes};
use rt::{File, env, mode, sys};
use shell::complete::Commands;
use shell::getopts::Place;
use shell::glob::Names;
use shell::history::History;
use shell::split;
use shell::tree::{List, Stage};
use shell::{Aliases, Settings, is_name};

/// A variable.
#[derive(Clone, Default)]
pub struct Variable {
    pub text: String,
    /// True if programs see it.
    pub exported: bool,
    /// True if it is read-only.
    pub fixed: bool,
}

/// The options of `set`.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// `-e`: a command that fails ends the shell.
    pub exit_on_failure: bool,
    /// `-f`: patterns stand for themselves.
    pub no_patterns: bool,
    /// `-u`: a variable that is not set is an error.
    pub unset_is_wrong: bool,
    /// `-x`: commands are shown before they run.
    pub trace: bool,
}

impl Options {
    /// The option of that letter.
    pub fn of(&mut self, letter: char) -> Option<&mut bool> {
        Some(match letter {
            'e' => &mut self.exit_on_failure,
            'f' => &mut self.no_patterns,
            'u' => &mut self.unset_is_wrong,
            'x' => &mut self.trace,
            _ => return None,
        })
    }

    /// The letters of those that are on.
    pub fn letters(mut self) -> String {
        let is_on = |letter: &char| self.of(*letter).is_some_and(|on| *on);
        "efux".chars().filter(is_on).collect()
    }
}

/// The shell.
pub struct Shell {
    /// The name of the shell in messages: `$0`.
    pub name: String,
    pub arguments: Vec<String>,
    pub variables: BTreeMap<String, Variable>,
    pub functions: BTreeMap<String, Rc<Stage>>,
    pub options: Options,
    /// Its process; in a subshell, the one it comes from: `$$`.
    pid: u64,
    /// Of the last command.
    pub status: u8,
    /// Status of the last `$(...)` in the present command.
    pub captured: Option<u8>,
    /// The last background process.
    pub last_background: u64,
    pub jobs: Jobs,
    pub traps: Traps,
    pub aliases: Aliases,
    /// Of `getopts`, in the arguments.
    pub place: Place,
    /// Descriptors redirected for one command, with the descriptors that hold
    /// their former files.
    pub aside: Vec<(u32, u32)>,
    /// Loops around the command that runs.
    pub loops: usize,
    /// Number of enclosing commands whose failure is handled: a condition, or
    /// all but the last of `a && b`.
    pub tested: usize,
    /// Nesting depth, with functions and texts; see [`Shell::deeper`].
    pub depth: usize,
    /// For each function call around the command, the former values of its
    /// local variables.
    pub locals: Vec<Vec<(String, Option<Variable>)>>,
    /// Number of files being read by `.`.
    pub sourced: usize,
    /// Set in an interactive shell.
    pub console: Option<Console>,
    pub history: History,
}

impl Shell {
    pub fn new(name: String, arguments: Vec<String>) -> Shell {
        let mut shell = Shell {
            name,
            arguments,
            variables: BTreeMap::new(),
            functions: BTreeMap::new(),
            options: Options::default(),
            pid: sys::getpid(),
            status: 0,
            captured: None,
            last_background: 0,
            jobs: Jobs::default(),
            traps: Traps::default(),
            aliases: Aliases::new(),
            place: Place::at(1),
            aside: Vec::new(),
            loops: 0,
            tested: 0,
            depth: 0,
            locals: Vec::new(),
            sourced: 0,
            console: None,
            history: History::default(),
        };
        shell.set("PATH", "/bin".into());
        shell.set("HOME", "/".into());
        shell.set(split::NAME, split::USUAL.into());
        for (name, text) in env::all() {
            shell.export(&from_bytes(&name), from_bytes(&text));
        }
        shell.set(alias::INDEX, "1".into());
        shell
    }

    /// Sets a variable; it stays visible to programs if it was.
    pub fn set(&mut self, name: &str, text: String) {
        if name == alias::INDEX {
            self.place = alias::place(&text);
        }
        self.variables.entry(name.to_string()).or_default().text = text;
    }

    /// Sets a variable that programs see.
    pub fn export(&mut self, name: &str, text: String) {
        let variable = self.variables.entry(name.to_string()).or_default();
        variable.exported = true;
        variable.text = text;
    }

    /// The reason why the variable cannot be set, if there is one.
    pub fn check(&self, name: &str) -> Result<(), String> {
        match self.variables.get(name) {
            _ if !is_name(name) => Err(format!("{}: not a name", Shown(name))),
            Some(variable) if variable.fixed => Err(format!("{name}: readonly")),
            _ => Ok(()),
        }
    }

    /// Restores the former value of a variable.
    pub fn put_back(&mut self, name: String, was: Option<Variable>) {
        match was {
            Some(variable) => drop(self.variables.insert(name, variable)),
            None => drop(self.variables.remove(&name)),
        }
    }

    /// Where `cd PATH` leads: names are lexical, as for the kernel.
    pub fn directory_after(&self, path: &str) -> String {
        let start = match path.starts_with('/') {
            true => "",
            false => self.get("PWD").unwrap_or("/"),
        };
        let mut parts = Vec::new();
        for part in start.split('/').chain(path.split('/')) {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                name => parts.push(name),
            }
        }
        format!("/{}", parts.join("/"))
    }

    /// The text of an ordinary variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(|variable| variable.text.as_str())
    }

    /// Closes the shell's own descriptors, because this process becomes a
    /// program.
    pub fn close_private(&mut self) {
        for fd in self.private_descriptors() {
            drop(File::from_fd(fd));
        }
        self.aside.clear();
        if let Some(console) = self.console.take() {
            console.forget();
        }
    }

    /// The descriptors to close in a child.
    pub fn private_descriptors(&self) -> Vec<u32> {
        let console = self.console.as_ref().and_then(Console::fd);
        let aside = self.aside.iter().map(|(_, kept)| *kept);
        let kept = aside.filter(|kept| *kept != crate::redirect::CLOSED);
        kept.chain(console).collect()
    }
}

impl Names for Shell {
    fn names(&mut self, directory: &str) -> Vec<String> {
        let path = if directory.is_empty() { "." } else { directory };
        let Ok(file) = File::open(to_bytes(path), mode::OREAD) else {
            return Vec::new();
        };
        let entries = file.read_dir().map_while(Result::ok);
        entries.map(|entry| from_bytes(&entry.name)).collect()
    }

    fn exists(&mut self, path: &str) -> bool {
        File::lstat_path(to_bytes(path)).is_ok()
    }

    fn is_directory(&mut self, path: &str) -> bool {
        File::stat_path(to_bytes(path)).is_ok_and(|stat| stat.is_dir())
    }
}

impl Commands for Shell {
    fn commands(&mut self, start: &str) -> Vec<String> {
        let own = self.functions.keys().chain(self.aliases.keys());
        let mut names: Vec<String> = builtin::names().map(String::from).collect();
        names.extend(own.cloned());
        let path = self.get("PATH").unwrap_or("/bin").to_string();
        for directory in path.split(':') {
            names.extend(self.names(directory));
        }
        names.retain(|name| name.starts_with(start));
        names
    }

    fn home(&self) -> String {
        self.get("HOME").unwrap_or("/").to_string()
    }
}

impl shell::Host for Shell {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "?" | "status" => Some(self.status.to_string()),
            "#" => Some(self.arguments.len().to_string()),
            "$" => Some(self.pid.to_string()),
            "!" => (self.last_background > 0).then(|| self.last_background.to_string()),
            "0" => Some(self.name.clone()),
            "-" => Some(self.options.letters()),
            _ => match name.parse::<usize>() {
                Ok(number) => self.arguments.get(number.checked_sub(1)?).cloned(),
                Err(_) => self.get(name).map(ToString::to_string),
            },
        }
    }

    fn set_variable(&mut self, name: &str, text: String) -> Result<(), String> {
        self.check(name)?;
        self.set(name, text);
        Ok(())
    }

    fn settings(&self) -> Settings {
        Settings {
            unset_is_wrong: self.options.unset_is_wrong,
            no_patterns: self.options.no_patterns,
        }
    }

    fn arguments(&self) -> Vec<String> {
        self.arguments.clone()
    }

    fn output(&mut self, list: &List) -> Result<String, String> {
        self.capture(list).map(|bytes| from_bytes(&bytes))
    }
}
