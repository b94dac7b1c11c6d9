//! Processes: programs, pipelines, the background, and waiting.

use crate::Shown;
use crate::redirect::For;
use crate::run::{Leave, NOT_BEGUN, Process, Ran};
use crate::state::Shell;
use crate::trap::INTERRUPT;
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytestr::text::{from_bytes, to_bytes};
use rt::abi::{STATUS_KILLED, mode, privilege, rfork};
use rt::process::{self, Ended, Fork};
use rt::{Errno, File, eprintln, sys};
use shell::tree::{Item, List, Stage, Word};
use text::Signal;

/// Exit statuses for a command that could not be run, as other shells have
/// them.
pub const NOT_FOUND: u8 = 127;
pub const NOT_STARTED: u8 = 126;
/// The program that keeps the privileges of shells.
const SHELL: &str = "/bin/sh";

/// Where the programs of a pipeline run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the note group of the shell.
    Foreground,
    /// In a note group for all of them.
    Background,
}

impl Shell {
    /// Runs a program, in the foreground or in place of this process.
    pub fn program(
        &mut self,
        stage: &Stage,
        assignments: &[(String, Word)],
        texts: &[String],
        process: Process,
    ) -> Ran {
        if process == Process::Ends {
            self.become_program(stage, assignments, texts)
        }
        let name = texts.first().map_or("", String::as_str).to_string();
        match process::fork() {
            Ok(Fork::Child) => {
                self.become_child();
                self.become_program(stage, assignments, texts)
            }
            Ok(Fork::Parent(pid)) => self.wait_for(&[(pid, name)]),
            Err(errno) => Ok(self.no_process(&name, errno)),
        }
    }

    /// A subshell in the foreground.
    pub fn foreground(&mut self, stage: &Stage) -> Ran {
        match process::fork() {
            Ok(Fork::Child) => {
                self.become_child();
                self.become_stage(stage)
            }
            Ok(Fork::Parent(pid)) => self.wait_for(&[(pid, Shell::describe(stage))]),
            Err(errno) => Ok(self.no_process("subshell", errno)),
        }
    }

    /// Stages joined by channels; the status of the last.
    pub fn stages(&mut self, stages: &[Stage]) -> Ran {
        let (children, started) = self.start(stages, Place::Foreground);
        let ran = self.wait_for(&children);
        match started {
            Ok(()) => ran,
            Err(errno) => Ok(self.no_process("pipeline", errno)),
        }
    }

    /// Starts stages joined by channels, each in a process of its own. Returns the started
    /// processes, and the error that prevented the others.
    fn start(&mut self, stages: &[Stage], place: Place) -> (Vec<(u64, String)>, Result<(), Errno>) {
        let mut children: Vec<(u64, String)> = Vec::new();
        let mut before: Option<File> = None;
        for (index, stage) in stages.iter().enumerate() {
            let last = index + 1 == stages.len();
            let channel = if last { None } else { Some(File::pipe()) };
            let (next, output) = match channel.transpose() {
                Ok(ends) => ends.unzip(),
                Err(errno) => return (children, Err(errno)),
            };
            let forked = match (place, children.first()) {
                (Place::Foreground, _) => process::fork(),
                (Place::Background, None) => process::fork_with(rfork::NOTES),
                (Place::Background, Some((first, _))) => process::fork_into_group_of(*first),
            };
            match forked {
                Ok(Fork::Child) => {
                    drop(next);
                    self.become_child();
                    if index == 0 && place == Place::Background {
                        no_input();
                    }
                    lead(before, 0);
                    lead(output, 1);
                    self.become_stage(stage)
                }
                Ok(Fork::Parent(pid)) => children.push((pid, Shell::describe(stage))),
                // A stage that would wait for input from this one reads the end
                // of the file.
                Err(errno) => return (children, Err(errno)),
            }
            before = next;
        }
        (children, Ok(()))
    }

    /// Starts an item in the background, its programs in a note group. The pipeline is
    /// known by its last program; when that one ends, the others end at their next
    /// write, which has no reader.
    pub fn background(&mut self, item: &Item) -> u8 {
        let (children, started) = match item.rest.is_empty() && !item.first.negated {
            true => self.start(&item.first.stages, Place::Background),
            false => self.start_item(item),
        };
        if let Some((last, _)) = children.last() {
            self.last_background = *last;
            let number = self.jobs.add(&item.text, children);
            if self.console.is_some() {
                eprintln!("[{number}] {}", self.last_background);
            }
        }
        match started {
            Ok(()) => 0,
            Err(errno) => self.no_process("background", errno),
        }
    }

    /// Starts pipelines that depend on each other, in a shell of their own.
    fn start_item(&mut self, item: &Item) -> (Vec<(u64, String)>, Result<(), Errno>) {
        match process::fork_with(rfork::NOTES) {
            Ok(Fork::Child) => {
                self.become_child();
                no_input();
                let ran = self.item(item);
                self.exit_with(ran)
            }
            Ok(Fork::Parent(pid)) => {
                let name = item.first.stages.first().map(Shell::describe);
                (Vec::from([(pid, name.unwrap_or_default())]), Ok(()))
            }
            Err(errno) => (Vec::new(), Err(errno)),
        }
    }

    /// The output of commands.
    pub fn capture(&mut self, list: &List) -> Result<Vec<u8>, String> {
        let about = |errno: Errno| format!("$(...): {errno}");
        let (ours, theirs) = File::pipe().map_err(about)?;
        let pid = match process::fork().map_err(about)? {
            Fork::Child => {
                drop(ours);
                self.become_child();
                lead(Some(theirs), 1);
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

    /// Prepares a new process: drops the shell's own descriptors and settings.
    fn become_child(&mut self) {
        for fd in self.private_descriptors() {
            drop(File::from_fd(fd));
        }
        self.aside.clear();
        self.jobs.clear();
        self.loops = 0;
        if let Some(console) = self.console.take() {
            console.forget();
        }
        self.traps.become_child();
    }

    /// In a new process: runs a stage and ends.
    fn become_stage(&mut self, stage: &Stage) -> ! {
        let ran = self.stage(stage, Process::Ends);
        self.exit_with(ran)
    }

    fn exit_with(&mut self, ran: Ran) -> ! {
        match self.finish(ran) {
            status if ran == Err(Leave::Interrupted) => process::exit(status, INTERRUPT),
            status => process::exit(status, ""),
        }
    }

    /// In a new process: the program.
    fn become_program(
        &mut self,
        stage: &Stage,
        assignments: &[(String, Word)],
        texts: &[String],
    ) -> ! {
        if let Err(wrong) = self.redirect(&stage.redirections, For::Ever) {
            eprintln!("{}: {wrong}", Shown(&self.name));
            process::exit(NOT_BEGUN, &wrong);
        }
        if let Err(leave) = self.assign(assignments) {
            process::exit(leave.status(), "");
        }
        self.close_private();
        let arguments: Vec<&str> = texts.iter().map(String::as_str).collect();
        let name = arguments.first().copied().unwrap_or_default();
        let marked = assignments.iter().map(|(name, _)| name.as_str());
        let environment = self.environment(marked);
        let errno = self.execute(name, &arguments, &environment);
        self.say_not_run(name, errno);
        process::exit_now(Shell::not_run(errno), errno.text())
    }

    /// Reports the reason why a program was not run.
    pub fn say_not_run(&self, name: &str, errno: Errno) {
        let shell = Shown(&self.name);
        match errno {
            Errno::ENOENT if !name.contains('/') => {
                eprintln!("{shell}: {}: no such program", Shown(name));
            }
            errno => eprintln!("{shell}: {}", reason(name, errno)),
        }
    }

    /// `NAME=value` of the variables that programs see.
    pub fn environment<'a>(&self, also: impl Iterator<Item = &'a str>) -> Vec<String> {
        let also: Vec<&str> = also.collect();
        let seen = self.variables.iter();
        seen.filter(|(name, variable)| variable.exported || also.contains(&name.as_str()))
            .map(|(name, variable)| format!("{name}={}", variable.text))
            .collect()
    }

    /// Replaces this process by the program `name`; returns the error.
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

    /// Waits for all these processes; returns the status of the last one.
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
                result = status(&ended);
            }
        }
        let noted = self.take_interrupt();
        match interrupted && (noted || self.console.is_none()) {
            true => Err(Leave::Interrupted),
            false => Ok(result),
        }
    }
}

/// Begins the kernel's text for a fault of a program. The kernel's log has
/// already named the program, the reason and the place.
const FAULT: &str = "sys: trap: ";

/// The status that a process ended with, for `$?`.
pub fn status(ended: &Ended) -> u8 {
    let signal = match u32::from(ended.status()) == STATUS_KILLED {
        true => Signal::of_note(ended.text()),
        false => None,
    };
    signal.map_or(ended.status(), Signal::status)
}

/// Reports the reason why a process was ended from outside.
pub fn report(name: &str, ended: &Ended) {
    let text = ended.text();
    let told = text == INTERRUPT || text.starts_with(FAULT);
    if u32::from(ended.status()) == STATUS_KILLED && !told {
        eprintln!("{}: {}", Shown(name), ended.text());
    }
}

/// Programs in the background do not read the terminal.
fn no_input() {
    lead(File::open("/dev/null", mode::OREAD).ok(), 0);
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

/// The reason why `name` was not executed: the kernel's text if it says more
/// than the number, as for program files that it refuses.
pub fn reason(name: &str, errno: Errno) -> String {
    let mut buffer = [0; 400];
    match sys::errstr(&mut buffer) {
        text if errno == Errno::ENOEXEC && text.contains(errno.text()) => text.to_string(),
        _ => format!("{}: {errno}", Shown(name)),
    }
}

fn execute_path(path: &str, arguments: &[&str], environment: &[String]) -> Errno {
    // Only shells may stop the machine, or say where memory goes.
    if path != SHELL
        && let Err(errno) = sys::privilege(privilege::ALL & !(privilege::HALT | privilege::SWAP))
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

/// The interpreter of the script at `path`: the rest of its `#!` line, or this
/// shell for other text; `None` if it is not text.
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
