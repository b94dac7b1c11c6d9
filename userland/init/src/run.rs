//! Runs the shell.

use crate::services::Services;
use alloc::vec::Vec;
use rt::process::{self, Fork};
use rt::{eprintln, sys};

const SHELL: &str = "/bin/sh";
/// Exit status if there is no shell to run.
const NOT_STARTED: u8 = 126;

/// Runs the shell with these arguments and no other privileges than `keep`;
/// the status it ends with.
pub fn shell(args: &[&str], keep: u64, services: &Services) -> u8 {
    let pid = match process::fork() {
        Ok(Fork::Child) => become_shell(args, keep),
        Ok(Fork::Parent(pid)) => pid,
        Err(errno) => {
            eprintln!("init: {SHELL}: no new process: {errno}");
            return NOT_STARTED;
        }
    };
    match process::wait_for(pid, |ended| services.report(ended)) {
        Ok(ended) => {
            if u32::from(ended.status()) == rt::abi::STATUS_KILLED {
                eprintln!("init: {SHELL}: {}", ended.text());
            }
            ended.status()
        }
        Err(errno) => {
            eprintln!("init: waiting for {SHELL}: {errno}");
            NOT_STARTED
        }
    }
}

fn become_shell(args: &[&str], keep: u64) -> ! {
    let mut argv: Vec<&str> = Vec::from(["sh"]);
    argv.extend_from_slice(args);
    let errno = match sys::privilege(keep) {
        Ok(_) => process::exec(SHELL, &argv),
        Err(errno) => errno,
    };
    eprintln!("init: {SHELL}: {errno}");
    process::exit_now(NOT_STARTED, errno.text())
}
