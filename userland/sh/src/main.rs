//! `sh [-c TEXT | FILE] [ARG...]`: the shell.
//!
//! Runs the commands of TEXT, of FILE, or typed ones; `help` describes the
//! language, which the crate `shell` understands. `state` is what the shell
//! remembers, `run` runs commands, `spawn` makes processes, `redirect` leads
//! descriptors elsewhere, `builtin` has the commands that are part of the
//! shell, `input` reads typed lines, `console` is about the terminal.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod builtin;
mod console;
mod help;
mod input;
mod redirect;
mod run;
mod spawn;
mod state;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use rt::{Args, Failure, File, Named, eprintln, mode};
use run::Leave;
use shell::Wrong;
use state::Shell;

rt::main!(main);

/// Exit status for a text that is no shell language.
const SYNTAX: u8 = 2;

fn main(args: Args) -> Result<u8, Failure> {
    let mut options = args.options("c:");
    let mut text = None;
    while let Some((_, value)) = options.next_option()? {
        text = Some(value);
    }
    let mut rest: Vec<String> = options.rest().iter().map(ToString::to_string).collect();
    let script = match (text, rest.is_empty()) {
        (Some(text), _) => Some(text.to_string()),
        (None, true) => None,
        (None, false) => Some(read_script(&rest[0])?),
    };
    let name = match rest.is_empty() {
        true => args.program().to_string(),
        false => rest.remove(0),
    };
    let mut shell = Shell::new(name, rest);
    match script {
        Some(text) => Ok(whole(&mut shell, &text)),
        None => Ok(typed(&mut shell)),
    }
}

fn read_script(path: &str) -> Result<String, Failure> {
    let file = File::open(path, mode::OREAD).about(path)?;
    let bytes = file.read_to_end().about(path)?;
    String::from_utf8(bytes).map_err(|_| Failure::new(format_args!("{path}: not UTF-8")))
}

/// Runs a text that is there from the start.
fn whole(shell: &mut Shell, text: &str) -> u8 {
    match shell::parse(text) {
        Ok(list) => match shell.list(&list) {
            Ok(status) | Err(Leave::Exit(status)) => status,
            Err(leave) => leave.status(),
        },
        Err(wrong) => {
            eprintln!("{}: {wrong}", shell.name);
            SYNTAX
        }
    }
}

/// Runs lines as they come, up to the end of the input or `exit`.
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
                // What was begun will not be finished.
                whole(shell, &text);
                return SYNTAX;
            }
            Err(errno) => {
                eprintln!("{}: standard input: {errno}", shell.name);
                return 1;
            }
        };
        text.push_str(&line);
        match shell::parse(&text) {
            Err(Wrong::Incomplete(_)) => {
                text.push('\n');
                continue;
            }
            Err(wrong) => {
                eprintln!("{}: {wrong}", shell.name);
                shell.status = SYNTAX;
            }
            Ok(list) => match shell.list(&list) {
                Ok(_) => {}
                Err(Leave::Exit(status)) => return status,
                Err(leave) => shell.status = leave.status(),
            },
        }
        input.remember(shell, &text);
        text.clear();
    }
}
