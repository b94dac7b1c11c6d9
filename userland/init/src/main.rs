//! init: the first process.
//!
//! Starts the console and the host directory as servers, runs what the boot
//! options ask for with its privileges dropped, and stops the machine with the
//! status of the last command. `services` starts servers, `words` splits a
//! command list, `run` runs it, `options` reads the boot options.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod options;
mod run;
mod services;
mod words;

use options::Options;
use rt::abi::privilege;
use rt::{File, eprintln, sys};
use run::Shell;

rt::main!(main);

/// What the demonstration works on.
const SAMPLE: &str = "/n/host/big";
const PROMPT: &[u8] = b"dormouse% ";

fn main(_args: rt::Args) -> u8 {
    let options = Options::read();
    let console = services::console();
    if let Err(failure) = &console {
        eprintln!("init: no console: {failure}");
    }
    if let Err(failure) = services::host_directory() {
        eprintln!("init: no host directory at /n/host: {failure}");
    }
    let keep = match options.is_on("test") {
        true => privilege::JUDGE,
        false => 0,
    };
    let mut shell = Shell::new(keep);
    let status = match (options.get("command"), options.is_on("test")) {
        (Some(command), _) => shell.list(command),
        (None, true) => shell.list("suite"),
        (None, false) => {
            demonstrate(&mut shell);
            // Typed commands decide the status, not the demonstration.
            match console {
                Ok(()) => interact(&mut Shell::new(keep)),
                Err(_) => 1,
            }
        }
    };
    halt(status)
}

/// The main job on the sample file, if there is one.
fn demonstrate(shell: &mut Shell) {
    if File::stat_path(SAMPLE).is_err() {
        return;
    }
    eprintln!("Dormouse reads all of {SAMPLE}, touches 16 pages of it, changes 3, and writes it");
    eprintln!("all back. `lazy {SAMPLE}` shows what moved:");
    shell.list("lazy /n/host/big");
}

/// Runs typed lines until the end of the input or `halt`.
fn interact(shell: &mut Shell) -> u8 {
    eprintln!("Programs are in /bin, the shared directory is /n/host. `halt` or Ctrl-D stops.");
    let input = File::borrowed(0);
    let mut lines = rt::io::Lines::new(&input);
    loop {
        if File::borrowed(1).write_all(PROMPT).is_err() {
            return 1;
        }
        match lines.next_line() {
            Ok(Some(line)) => match core::str::from_utf8(&line) {
                Ok(text) => {
                    shell.list(text);
                }
                Err(_) => eprintln!("init: the line is not UTF-8"),
            },
            Ok(None) => {
                eprintln!("");
                return shell.status();
            }
            Err(errno) => {
                eprintln!("init: console: {errno}");
                return 1;
            }
        }
        if let Some(status) = shell.halted() {
            return status;
        }
    }
}

fn halt(status: u8) -> ! {
    let errno = sys::halt(status);
    eprintln!("init: cannot stop the machine: {errno}");
    rt::process::exit(status, "")
}
