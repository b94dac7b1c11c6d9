//! init: the first process.
//!
//! Starts the servers of the console, the host directory and /tmp, then a shell
//! with the commands of the boot options or with a prompt, and stops the
//! machine with the shell's status. `services` starts servers, `run` the shell,
//! `options` reads the boot options, `left` checks for leaks.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod left;
mod run;
mod services;

use left::Account;
use rt::abi::privilege;
use rt::options::Options;
use rt::{File, eprintln, sys};
use services::Services;

rt::main!(main);

/// Exit status if boot options cannot be followed; the runner uses the same.
const NOT_AS_ASKED: u8 = 2;

/// The file that the demo works on.
const SAMPLE: &str = "/n/host/big";

fn main(_args: rt::Args) -> u8 {
    let options = Options::read().unwrap_or_else(|errno| {
        eprintln!("init: boot options: {errno}");
        Options::default()
    });
    let mut services = Services::default();
    let console = services.console();
    if let Err(failure) = &console {
        eprintln!("init: no console: {failure}");
    }
    // Before anything that could make memory scarce.
    if let Some(kind) = options.get("swap").filter(|kind| *kind != "none")
        && let Err(failure) = services.swap(kind)
    {
        eprintln!("init: no swap: {failure}");
    }
    let host = options.get("host").unwrap_or_default();
    if let Err(failure) = services.host_directory(host) {
        eprintln!("init: no host directory at /n/host: {failure}");
        // Without the requested options of the server the boot must not go on.
        if !host.is_empty() {
            eprintln!("init: asked for: {host}");
            halt(NOT_AS_ASKED);
        }
    }
    if let Err(failure) = services.memory() {
        eprintln!("init: no files in memory at /tmp: {failure}");
    }
    // A shell passes these only to shells.
    let kept = [
        (true, privilege::HALT | privilege::SWAP),
        (options.is_on("test"), privilege::JUDGE),
        // For tests of what services may.
        (options.is_on("services"), privilege::SERVICE),
        // The same of drivers.
        (
            options.is_on("drivers"),
            privilege::DEVICE | privilege::COUNTERS,
        ),
    ];
    let kept = kept.iter().filter(|(is_on, _)| *is_on);
    let keep = kept.fold(0, |keep, (_, privilege)| keep | privilege);
    let shell = |args: &[&str]| run::shell(args, keep, &services);
    let before = match options.is_on("left") {
        true => Account::now().ok(),
        false => None,
    };
    let status = match (options.lines("command"), options.is_on("test")) {
        (Some(command), _) => shell(&["-c", &command]),
        (None, true) => shell(&["-c", "suite"]),
        (None, false) => {
            demonstrate(shell);
            // The shell's commands decide the status, not the demo.
            match console {
                Ok(()) => {
                    eprintln!("Programs are in /bin, the shared directory is /n/host.");
                    eprintln!("`help` tells more, `halt` or Ctrl-D stops.");
                    shell(&[])
                }
                Err(_) => 1,
            }
        }
    };
    if let Some(errno) = before.and_then(|before| left::tell(&before).err()) {
        eprintln!("init: what is left: {errno}");
    }
    halt(status)
}

/// Runs the demo on the sample file, if there is one.
fn demonstrate(shell: impl Fn(&[&str]) -> u8) {
    if File::stat_path(SAMPLE).is_err() {
        return;
    }
    eprintln!("Dormouse reads all of {SAMPLE}, touches 16 pages of it, changes 3, and writes it");
    eprintln!("all back. `lazy {SAMPLE}` shows what moved:");
    shell(&["-c", "lazy /n/host/big"]);
}

fn halt(status: u8) -> ! {
    let errno = sys::halt(status);
    eprintln!("init: cannot stop the machine: {errno}");
    rt::process::exit(status, "")
}
