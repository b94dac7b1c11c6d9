//! Processes: programs, pipelines, the background, and waiting.

use crate::Shown;
use crate::builtin;
use crate::redirect::For;
use crate::run::{Leave, NOT_BEGUN, Ran};
use crate::state::{INTERRUPT, Shell};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytestr::text::{from_bytes, to_bytes};
use rt::abi::{ProcessInfo, STATUS_KILLED, mode, privilege, rfork};
use rt::process::{self, Ended, Fork};
use rt::{Errno, File, eprintln, note, sys};
use shell::tree::{Command, Item, List, Stage, Word};

/// Exit statuses for a command that could not be run, as other shells have
/// them.
const NOT_FOUND: u8 = 127;
const NOT_STARTED: u8 = 126;
/// Ended processes whose statuses are remembered.
const FINISHED_MAX: usize = 64;
/// Programs that this shell trusts with stopping the machine.
const SHELL: &str = "/bin/sh";

impl Shell {
    /// A program in the foreground.
    pub fn program(
        &mut self,
        stage: &Stage,
        assignments: &[(String, Word)],
        texts: &[String],
    ) -> Ran {
        let name = texts.first().map_or("", String::as_str).to_string();
        match process::fork() {
            Ok(Fork::Child) => {
                self.become_child();
                self.lead_or_exit(stage);
                self.become_program(assignments, texts)
            }
            Ok(Fork::Parent(pid)) => self.wait_for(&[(pid, name)]),
            Err(errno) => Ok(self.no_process(&name, errno)),
        }
    }

    /// A subshell in the foreground.
    pub fn foreground(&mut self, stage: &Stage) -> Ran {
        match process::fork() {
            Ok(Fork::Child) => self.become_stage(stage),
            Ok(Fork::Parent(pid)) => self.wait_for(&[(pid, Shell::describe(stage))]),
            Err(errno) => Ok(self.no_process("subshell", errno)),
        }
    }

    /// Stages joined by channels; the status of the last.
    pub fn stages(&mut self, stages: &[Stage]) -> Ran {
        let mut children = Vec::new();
        let mut before: Option<File> = None;
        let mut failed = None;
        for (index, stage) in stages.iter().enumerate() {
            let last = index + 1 == stages.len();
            let channel = if last { None } else { Some(File::pipe()) };
            let (next, output) = match channel.transpose() {
                Ok(ends) => ends.unzip(),
                Err(errno) => {
                    failed = Some(errno);
                    break;
                }
            };
            match process::fork() {
                Ok(Fork::Child) => {
                    drop(next);
                    lead(before, 0);
                    lead(output, 1);
                    self.become_stage(stage)
                }
                Ok(Fork::Parent(pid)) => children.push((pid, Shell::describe(stage))),
                Err(errno) => failed = Some(errno),
            }
            before = next;
            if failed.is_some() {
                break;
            }
        }
        // Who waits for input from a stage that was not started gets the end.
        drop(before);
        let ran = self.wait_for(&children);
        match failed {
            Some(errno) => Ok(self.no_process("pipeline", errno)),
            None => ran,
        }
    }

    /// Starts an item that nobody waits for, in a note group of its own.
    pub fn background(&mut self, item: &Item) -> u8 {
        let name = item.first.stages.first().map(Shell::describe);
        let name = name.unwrap_or_default();
        match process::fork_with(rfork::NOTES) {
            Ok(Fork::Child) => {
                self.become_child();
                // The console's lines are for the foreground.
                lead(File::open("/dev/null", mode::OREAD).ok(), 0);
                if let ([stage], []) = (item.first.stages.as_slice(), item.rest.as_slice())
                    && !item.first.negated
                {
                    self.become_stage(stage)
                }
                let ran = self.item(item);
                self.exit_with(ran)
            }
            Ok(Fork::Parent(pid)) => {
                self.last_background = pid;
                if self.console.is_some() {
                    eprintln!("[{pid}]");
                }
                self.background.push((pid, name));
                0
            }
            Err(errno) => self.no_process(&name, errno),
        }
    }

    /// What the commands print.
    pub fn capture(&mut self, list: &List) -> Result<Vec<u8>, String> {
        let about = |errno: Errno| format!("$(...): {errno}");
        let (ours, theirs) = File::pipe().map_err(about)?;
        let pid = match process::fork().map_err(about)? {
            Fork::Child => {
                drop(ours);
                lead(Some(theirs), 1);
                self.become_child();
                let ran = self.list(list);
                self.exit_with(ran)
            }
            Fork::Parent(pid) => pid,
        };
        drop(theirs);
        let bytes = ours.read_to_end();
        drop(ours);
        let ran = self.wait_for(&[(pid, "$(...)".into())]);
        self.captured = Some(ran.unwrap_or_else(Leave::status));
        bytes.map_err(about)
    }

    fn no_process(&self, name: &str, errno: Errno) -> u8 {
        eprintln!("{}: {name}: no new process: {errno}", self.name);
        NOT_STARTED
    }

    /// In a new process: the shell's own descriptors and habits are gone.
    fn become_child(&mut self) {
        for fd in self.private_descriptors() {
            drop(File::from_fd(fd));
        }
        self.aside.clear();
        self.background.clear();
        self.loops = 0;
        if let Some(console) = self.console.take() {
            console.forget();
            // What is interrupted here ends. This cannot fail.
            let _ = note::ignore_handler();
        }
    }

    /// In a new process: redirections, or the end.
    fn lead_or_exit(&mut self, stage: &Stage) {
        if let Err(wrong) = self.redirect(&stage.redirections, For::Ever) {
            eprintln!("{}: {wrong}", self.name);
            process::exit(NOT_BEGUN, &wrong);
        }
    }

    /// In a new process: runs a stage and ends.
    fn become_stage(&mut self, stage: &Stage) -> ! {
        self.become_child();
        let ran = match &*stage.command {
            Command::Simple { assignments, words } => {
                let Some(texts) = self.words(words) else {
                    process::exit(NOT_BEGUN, "")
                };
                match texts.first() {
                    Some(name) if builtin::find(name).is_none() => {
                        self.lead_or_exit(stage);
                        self.become_program(assignments, &texts)
                    }
                    _ => self.stage(stage),
                }
            }
            compound => {
                self.lead_or_exit(stage);
                self.compound(compound)
            }
        };
        self.exit_with(ran)
    }

    fn exit_with(&self, ran: Ran) -> ! {
        match ran {
            Err(Leave::Interrupted) => process::exit(Leave::Interrupted.status(), INTERRUPT),
            Ok(status) => process::exit(status, ""),
            Err(leave) => process::exit(leave.status(), ""),
        }
    }

    /// In a new process: the program.
    fn become_program(&mut self, assignments: &[(String, Word)], texts: &[String]) -> ! {
        if !self.assign(assignments) {
            process::exit(NOT_BEGUN, "");
        }
        let arguments: Vec<&str> = texts.iter().map(String::as_str).collect();
        let name = arguments.first().copied().unwrap_or_default();
        let marked = assignments.iter().map(|(name, _)| name.as_str());
        let environment = self.environment(marked);
        let errno = self.execute(name, &arguments, &environment);
        let status = match errno {
            Errno::ENOENT | Errno::ENOTDIR => NOT_FOUND,
            _ => NOT_STARTED,
        };
        match errno {
            Errno::ENOENT if !name.contains('/') => {
                eprintln!("{}: {}: no such program", self.name, Shown(name));
            }
            errno => eprintln!("{}: {}", self.name, reason(name, errno)),
        }
        process::exit_now(status, errno.text())
    }

    /// `NAME=value` of the variables that programs see.
    pub fn environment<'a>(&self, also: impl Iterator<Item = &'a str>) -> Vec<String> {
        let also: Vec<&str> = also.collect();
        let seen = self.variables.iter();
        seen.filter(|(name, variable)| variable.exported || also.contains(&name.as_str()))
            .map(|(name, variable)| format!("{name}={}", variable.text))
            .collect()
    }

    /// Becomes the program that `name` means; returns why it cannot.
    pub fn execute(&self, name: &str, arguments: &[&str], environment: &[String]) -> Errno {
        if name.contains('/') {
            return execute_path(name, arguments, environment);
        }
        let mut last = Errno::ENOENT;
        for directory in self.get("PATH").unwrap_or("/bin").split(':') {
            let path = format!("{directory}/{name}");
            match execute_path(&path, arguments, environment) {
                Errno::ENOENT | Errno::ENOTDIR => {}
                errno => last = errno,
            }
        }
        last
    }

    /// Waits until all these have ended; the status of the last one.
    pub fn wait_for(&mut self, children: &[(u64, String)]) -> Ran {
        let mut left = children.len();
        let mut result = 0;
        let mut interrupted = false;
        while left > 0 {
            let ended = match process::wait() {
                Ok(ended) => ended,
                // A note for the whole group, this shell included.
                Err(Errno::EINTR) => continue,
                Err(errno) => {
                    eprintln!("{}: waiting: {errno}", self.name);
                    return Ok(NOT_STARTED);
                }
            };
            let Some(index) = children.iter().position(|(pid, _)| *pid == ended.pid()) else {
                self.ended(&ended);
                continue;
            };
            left -= 1;
            interrupted |= ended.text() == INTERRUPT;
            report(&children[index].1, &ended);
            if index + 1 == children.len() {
                result = ended.status();
            }
        }
        let noted = self.take_interrupt();
        match interrupted && (noted || self.console.is_none()) {
            true => Err(Leave::Interrupted),
            false => Ok(result),
        }
    }

    /// A child that nobody waited for has ended.
    fn ended(&mut self, ended: &Ended) {
        let index = self
            .background
            .iter()
            .position(|(pid, _)| *pid == ended.pid());
        let Some(index) = index else {
            return;
        };
        let (pid, name) = self.background.swap_remove(index);
        if self.finished.len() == FINISHED_MAX {
            self.finished.pop_front();
        }
        self.finished.push_back((pid, ended.status()));
        match self.console {
            Some(_) => eprintln!("[{pid}] {name}: status {} {}", ended.status(), ended.text()),
            None => report(&name, ended),
        }
    }

    /// Takes note of what has ended in the background, without waiting.
    pub fn reap(&mut self) {
        if self.background.is_empty() {
            return;
        }
        let me = sys::getpid();
        let is_over = |info: &ProcessInfo| info.parent == me && info.state == ProcessInfo::ENDED;
        for _ in process::list().filter(is_over) {
            match process::wait() {
                Ok(ended) => self.ended(&ended),
                Err(_) => return,
            }
        }
    }

    /// Waits for the background: one of it or all; the status.
    pub fn wait_background(&mut self, pid: Option<u64>) -> Ran {
        while self
            .background
            .iter()
            .any(|(running, _)| pid.is_none_or(|pid| pid == *running))
        {
            match process::wait() {
                Ok(ended) => self.ended(&ended),
                Err(Errno::EINTR) if !self.take_interrupt() => {}
                Err(Errno::EINTR) => return Err(Leave::Interrupted),
                Err(_) => self.background.clear(),
            }
        }
        let Some(pid) = pid else {
            return Ok(0);
        };
        let finished = self.finished.iter().find(|(ended, _)| *ended == pid);
        match finished {
            Some((_, status)) => Ok(*status),
            None => {
                eprintln!("wait: {pid}: not a child in the background");
                Ok(NOT_FOUND)
            }
        }
    }
}

/// Says why the kernel has ended a process.
fn report(name: &str, ended: &Ended) {
    if u32::from(ended.status()) == STATUS_KILLED && ended.text() != INTERRUPT {
        eprintln!("{}: {}", Shown(name), ended.text());
    }
}

/// Makes `file` descriptor `fd` of this process.
fn lead(file: Option<File>, fd: u32) {
    let Some(file) = file else {
        return;
    };
    if file.fd() == fd {
        file.into_fd();
    } else if let Ok(led) = file.dup_to(fd) {
        led.into_fd();
    }
}

/// Why `name` was not executed: the kernel's own words where they say more than
/// the number, as for program files it refuses.
pub fn reason(name: &str, errno: Errno) -> String {
    let mut buffer = [0; 400];
    match sys::errstr(&mut buffer) {
        text if errno == Errno::ENOEXEC && text.contains(errno.text()) => text.to_string(),
        _ => format!("{}: {errno}", Shown(name)),
    }
}

fn execute_path(path: &str, arguments: &[&str], environment: &[String]) -> Errno {
    // Only shells may stop the machine.
    if path != SHELL
        && let Err(errno) = sys::privilege(privilege::ALL & !privilege::HALT)
    {
        return errno;
    }
    let environment: Vec<Cow<'_, [u8]>> = environment.iter().map(|t| to_bytes(t)).collect();
    let exec = |path: &str, arguments: &[&str]| {
        let arguments: Vec<Cow<'_, [u8]>> = arguments.iter().map(|t| to_bytes(t)).collect();
        process::exec_with(to_bytes(path), &arguments, &environment)
    };
    match exec(path, arguments) {
        Errno::ENOEXEC => match script(path) {
            Some(interpreter) => {
                let mut all: Vec<&str> = interpreter.split_whitespace().collect();
                let program = all.first().copied().unwrap_or(SHELL).to_string();
                all.push(path);
                all.extend(arguments.iter().skip(1));
                exec(&program, &all)
            }
            None => Errno::ENOEXEC,
        },
        errno => errno,
    }
}

/// What runs the script at `path`: the rest of a `#!` line, or this shell for
/// other text; `None` if it is not text.
fn script(path: &str) -> Option<String> {
    let file = File::open(to_bytes(path), mode::OREAD).ok()?;
    let mut first = [0; 256];
    let n = file.read(&mut first).ok()?;
    let text = first.get(..n)?;
    let line = text.split(|byte| *byte == b'\n').next()?;
    match line.strip_prefix(b"#!") {
        Some(interpreter) => {
            let interpreter = from_bytes(interpreter.trim_ascii());
            (!interpreter.is_empty()).then_some(interpreter)
        }
        None => (!text.is_empty() && !text.contains(&0)).then(|| SHELL.to_string()),
    }
}
