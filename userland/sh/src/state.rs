//! What the shell remembers, and where expansion finds it.

use crate::console::Console;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytestr::text::{from_bytes, to_bytes};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use rt::abi::Registers;
use rt::note::{self, Then};
use rt::{File, env, eprintln, mode, sys};
use shell::glob::Names;
use shell::history::History;
use shell::tree::List;

/// The note of Ctrl-C.
pub const INTERRUPT: &str = "interrupt";
/// Has it come?
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// What an interactive shell does with notes.
fn noted(_: &mut Registers, text: &str) -> Then {
    match text {
        INTERRUPT => {
            INTERRUPTED.store(true, Relaxed);
            Then::Resume
        }
        _ => Then::End,
    }
}

/// A variable.
#[derive(Clone, Default)]
pub struct Variable {
    pub text: String,
    /// Do programs see it?
    pub exported: bool,
}

/// The shell.
pub struct Shell {
    /// What it calls itself in messages: `$0`.
    pub name: String,
    pub arguments: Vec<String>,
    pub variables: BTreeMap<String, Variable>,
    /// Of the last command.
    pub status: u8,
    /// Of the last `$(...)` in the command that runs.
    pub captured: Option<u8>,
    /// The last process nobody waited for.
    pub last_background: u64,
    /// Those that run, with what they were started as.
    pub background: Vec<(u64, String)>,
    /// Statuses of the last that ended, for `wait`.
    pub finished: VecDeque<(u64, u8)>,
    /// Descriptors that lead elsewhere for a while, and where what they were
    /// is kept.
    pub aside: Vec<(u32, u32)>,
    /// Loops around the command that runs.
    pub loops: usize,
    /// Set while lines are typed by a person, or come as if they were.
    pub console: Option<Console>,
    pub history: History,
}

impl Shell {
    pub fn new(name: String, arguments: Vec<String>) -> Shell {
        let mut shell = Shell {
            name,
            arguments,
            variables: BTreeMap::new(),
            status: 0,
            captured: None,
            last_background: 0,
            background: Vec::new(),
            finished: VecDeque::new(),
            aside: Vec::new(),
            loops: 0,
            console: None,
            history: History::default(),
        };
        shell.set("PATH", "/bin".into());
        for (name, text) in env::all() {
            shell.export(&from_bytes(&name), from_bytes(&text));
        }
        shell
    }

    /// Sets a variable; it stays visible to programs if it was.
    pub fn set(&mut self, name: &str, text: String) {
        self.variables.entry(name.to_string()).or_default().text = text;
    }

    /// Sets a variable that programs see.
    pub fn export(&mut self, name: &str, text: String) {
        let exported = true;
        let variable = Variable { text, exported };
        self.variables.insert(name.to_string(), variable);
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

    /// Which descriptors a child must not have.
    pub fn private_descriptors(&self) -> Vec<u32> {
        let console = self.console.as_ref().and_then(Console::fd);
        let aside = self.aside.iter().map(|(_, kept)| *kept);
        let kept = aside.filter(|kept| *kept != crate::redirect::CLOSED);
        kept.chain(console).collect()
    }
}

impl Shell {
    /// From now on an interrupt ends the commands that run, not this shell.
    pub fn catch_interrupts(&self) {
        if let Err(errno) = note::handle(noted) {
            eprintln!("{}: notes: {errno}", self.name);
        }
    }

    /// Was there an interrupt since this was asked last?
    pub fn take_interrupt(&self) -> bool {
        INTERRUPTED.swap(false, Relaxed)
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
        File::stat_path(to_bytes(path)).is_ok()
    }
}

impl shell::Host for Shell {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "?" | "status" => Some(self.status.to_string()),
            "#" => Some(self.arguments.len().to_string()),
            "$" => Some(sys::getpid().to_string()),
            "!" => (self.last_background > 0).then(|| self.last_background.to_string()),
            "0" => Some(self.name.clone()),
            _ => match name.parse::<usize>() {
                Ok(number) => self.arguments.get(number.checked_sub(1)?).cloned(),
                Err(_) => self.get(name).map(ToString::to_string),
            },
        }
    }

    fn arguments(&self) -> Vec<String> {
        self.arguments.clone()
    }

    fn output(&mut self, list: &List) -> Result<String, String> {
        self.capture(list).map(|bytes| from_bytes(&bytes))
    }
}
