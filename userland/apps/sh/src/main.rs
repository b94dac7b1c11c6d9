//! `sh [-efux] [-c TEXT | FILE] [ARG...]`: the shell.
//!
//! Runs the commands of TEXT, of FILE, or typed ones; `help` describes the
//! language, which the crate `shell` parses. `state` has the shell's variables
//! and options, `run` and `command` run commands, `spawn` creates processes,
//! `redirect` redirects descriptors, `job` has the background, `trap` the notes,
//! `builtin`, `variables` and `alias` the other builtin commands, `files` the file
//! tests, `input` reads lines, `console` controls the terminal.
//!
//! Texts of the shell stand for bytes, see `bytestr::text`: input passes
//! through `from_bytes`, output through `to_bytes`.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod alias;
mod builtin;
mod command;
mod console;
mod files;
mod help;
mod input;
mod job;
mod redirect;
mod run;
mod spawn;
mod state;
mod trap;
mod variables;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytestr::text::{from_bytes, to_bytes};
use core::fmt;
use rt::{Args, ByteStr, Failure, File, Named, eprintln, mode};
use run::{Leave, USAGE};
use shell::Wrong;
use state::Shell;

rt::main!(main, include_str!("main.rs"));

/// The form of a shell text for display.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ByteStr(&to_bytes(self.0)).fmt(f)
    }
}

fn main(args: Args) -> Result<u8, Failure> {
    let mut options = args.options("c:efux");
    let mut text = None;
    let mut switches = state::Options::default();
    while let Some((letter, value)) = options.next_option()? {
        match switches.of(letter) {
            Some(switch) => *switch = true,
            None => text = Some(value),
        }
    }
    let mut rest: Vec<String> = options.rest().iter().map(|arg| from_bytes(&arg)).collect();
    let script = match (text, rest.is_empty()) {
        (Some(text), _) => Some(from_bytes(&text)),
        (None, true) => None,
        (None, false) => Some(read_script(&rest[0]).map_err(not_found)?),
    };
    let name = match rest.is_empty() {
        true => from_bytes(&args.program()),
        false => rest.remove(0),
    };
    let mut shell = Shell::new(name, rest);
    shell.options = switches;
    match script {
        Some(text) => Ok(whole(&mut shell, &text)),
        None => {
            let status = typed(&mut shell);
            Ok(shell.finish(Err(Leave::Exit(status))))
        }
    }
}

/// Gives a script that cannot be read the status of a program that is not
/// found.
fn not_found(failure: Failure) -> Failure {
    Failure::with_status(spawn::NOT_FOUND, failure)
}

fn read_script(path: &str) -> Result<String, Failure> {
    let path = to_bytes(path);
    let file = File::open(&path, mode::OREAD).about(ByteStr(&path))?;
    let bytes = file.read_to_end().about(ByteStr(&path))?;
    Ok(from_bytes(&bytes))
}

/// Runs a text that is complete from the start.
fn whole(shell: &mut Shell, text: &str) -> u8 {
    let name = shell.name.clone();
    let ran = shell.run_text(&name, text);
    shell.finish(ran)
}

/// Runs lines as they arrive, up to the end of the input or `exit`.
fn typed(shell: &mut Shell) -> u8 {
    let mut input = input::Input::new(shell);
    let mut text = String::new();
    loop {
        let line = match input.line(shell, text.is_empty()) {
            Ok(input::Read::Line(line)) => line,
            Ok(input::Read::GivenUp) => {
                text.clear();
                shell.status = Leave::Interrupted.status();
                continue;
            }
            Ok(input::Read::End) if text.is_empty() => return shell.status,
            Ok(input::Read::End) => {
                // The unfinished command will not be completed.
                let name = shell.name.clone();
                let _ = shell.run_text(&name, &text);
                return USAGE;
            }
            Err(errno) => {
                eprintln!("{}: standard input: {errno}", Shown(&shell.name));
                return 1;
            }
        };
        text.push_str(&line);
        let ran = match shell::parse(&text, &shell.aliases) {
            Err(Wrong::Incomplete(_)) => {
                text.push('\n');
                continue;
            }
            Err(wrong) => {
                eprintln!("{}: {}", Shown(&shell.name), Shown(&wrong.to_string()));
                Err(Leave::Wrong(USAGE))
            }
            Ok(list) => shell.list(&list),
        };
        match ran {
            Ok(_) => {}
            Err(Leave::Exit(status)) => return status,
            // A user can correct it; a script ends.
            Err(Leave::Wrong(status)) if shell.console.is_none() => return status,
            Err(leave) => shell.status = leave.status(),
        }
        input.remember(shell, &text);
        text.clear();
    }
}
