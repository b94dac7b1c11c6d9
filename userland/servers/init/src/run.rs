//! Runs the shell.

use crate::services::Services;
use alloc::format;
use alloc::vec::Vec;
use rt::abi::rfork;
use rt::console::CONTROL;
use rt::process::{self, Fork};
use rt::{File, eprintln, mode, sys};

const SHELL: &str = "/bin/sh";
/// Exit status if there is no shell to run.
const NOT_STARTED: u8 = 126;

/// The note of Ctrl-C, and the status of a shell that it ended.
const INTERRUPT: &str = "interrupt";
const INTERRUPTED: u8 = 130;

/// Runs the shell with these arguments and only the privileges `keep`; returns
/// its status.
pub fn shell(args: &[&str], keep: u64, services: &Services) -> u8 {
    let pid = match process::fork_with(rfork::NOTES) {
        Ok(Fork::Child) => become_shell(args, keep),
        Ok(Fork::Parent(pid)) => pid,
        Err(errno) => {
            eprintln!("init: {SHELL}: no new process: {errno}");
            return NOT_STARTED;
        }
    };
    let ended = loop {
        match process::wait() {
            Ok(ended) if ended.pid() != pid => services.report(&ended),
            ended => break ended,
        }
    };
    match ended {
        Ok(ended) => {
            let killed = u32::from(ended.status()) == rt::abi::STATUS_KILLED;
            match ended.text() {
                INTERRUPT if killed => INTERRUPTED,
                text => {
                    // A shell passes on the status of a program that was
                    // killed; only its own end has a text.
                    if killed && !text.is_empty() {
                        eprintln!("init: {SHELL}: {text}");
                    }
                    ended.status()
                }
            }
        }
        Err(errno) => {
            eprintln!("init: waiting for {SHELL}: {errno}");
            NOT_STARTED
        }
    }
}

/// In the child, whose note group has its pid: directs Ctrl-C to the group.
/// Done before the shell runs, so that it is not counted with the shell's
/// commands.
fn take_foreground() {
    if let Ok(control) = File::open(CONTROL, mode::OWRITE) {
        let order = format!("fg {}\n", sys::getpid());
        if let Err(errno) = control.write_all(order.as_bytes()) {
            eprintln!("init: {CONTROL}: {errno}");
        }
    }
}

fn become_shell(args: &[&str], keep: u64) -> ! {
    take_foreground();
    let mut argv: Vec<&str> = Vec::from(["sh"]);
    argv.extend_from_slice(args);
    let errno = match sys::privilege(keep) {
        Ok(_) => process::exec(SHELL, &argv),
        Err(errno) => errno,
    };
    eprintln!("init: {SHELL}: {errno}");
    process::exit_now(NOT_STARTED, errno.text())
}
