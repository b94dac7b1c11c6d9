//! Runs command lists.

use crate::words::{self, Command};
use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;
use rt::process::{self, Fork};
use rt::{Errno, eprintln, sys};

/// Exit statuses for a command that could not be run, as other shells have
/// them.
const NOT_FOUND: u8 = 127;
const NOT_STARTED: u8 = 126;
const SYNTAX: u8 = 2;

/// What commands leave behind.
pub struct Shell {
    status: u8,
    halted: Option<u8>,
    /// Privileges of the commands.
    keep: u64,
}

impl Shell {
    /// Commands have the privileges in `keep` and no others.
    pub fn new(keep: u64) -> Shell {
        Shell {
            status: 0,
            halted: None,
            keep,
        }
    }

    /// Status of the last command.
    pub fn status(&self) -> u8 {
        self.status
    }

    /// The status given to `halt`, if that has been run.
    pub fn halted(&self) -> Option<u8> {
        self.halted
    }

    /// Runs the commands of a list up to a `halt`; status of the last.
    pub fn list(&mut self, list: &str) -> u8 {
        match words::parse(list) {
            Ok(commands) => {
                for command in &commands {
                    self.status = self.command(command);
                    if self.halted.is_some() {
                        break;
                    }
                }
            }
            Err(wrong) => {
                eprintln!("init: {wrong}");
                self.status = SYNTAX;
            }
        }
        self.status
    }

    fn command(&mut self, command: &Command) -> u8 {
        let arg = command.get(1).map(|word| word.as_str());
        match command.first().map(|word| word.as_str()) {
            Some("halt") => {
                let status = arg.and_then(|arg| arg.parse().ok()).unwrap_or(0);
                self.halted = Some(status);
                status
            }
            Some("cd") => match sys::chdir(arg.unwrap_or("/")) {
                Ok(()) => 0,
                Err(errno) => {
                    eprintln!("cd: {}: {errno}", arg.unwrap_or("/"));
                    1
                }
            },
            Some(name) => self.program(name, command),
            None => self.status,
        }
    }

    fn program(&self, name: &str, command: &Command) -> u8 {
        let pid = match process::fork() {
            Ok(Fork::Child) => self.become_program(name, command),
            Ok(Fork::Parent(pid)) => pid,
            Err(errno) => {
                eprintln!("init: {name}: no new process: {errno}");
                return NOT_STARTED;
            }
        };
        match process::wait_for(pid, report) {
            Ok(ended) => {
                if u32::from(ended.status()) == rt::abi::STATUS_KILLED {
                    eprintln!("{name}: {}", ended.text());
                }
                ended.status()
            }
            Err(errno) => {
                eprintln!("init: waiting for {name}: {errno}");
                NOT_STARTED
            }
        }
    }

    /// In the child: the program, with fewer privileges.
    fn become_program(&self, name: &str, command: &Command) -> ! {
        let path = match name.contains('/') {
            true => Cow::Borrowed(name),
            false => Cow::Owned(format!("/bin/{name}")),
        };
        let argv: Vec<&str> = command.iter().map(|word| word.as_str()).collect();
        let errno = match sys::privilege(self.keep) {
            Ok(_) => process::exec(&path, &argv),
            Err(errno) => errno,
        };
        eprintln!("init: {path}: {errno}");
        let status = match errno {
            Errno::ENOENT | Errno::ENOTDIR => NOT_FOUND,
            _ => NOT_STARTED,
        };
        process::exit_now(status, errno.text())
    }
}

/// A child that is no command has ended: a server, or an orphan.
fn report(ended: &process::Ended) {
    if ended.status() != 0 {
        let (pid, status, text) = (ended.pid(), ended.status(), ended.text());
        eprintln!("init: process {pid} ended with status {status}: {text}");
    }
}
