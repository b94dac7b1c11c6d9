//! `kill [-a | -n NOTE] PROCESS...`, `kill -s SIGNAL PROCESS...`, `kill -l`: ends
//! processes; with `-a` each with all others of its job, also those in note groups of
//! their own; with `-n` gives them a note instead, which they may handle. `-s` or
//! -SIGNAL sends the note that takes the place of a signal: INT, TERM, 15 and so on;
//! KILL ends. -N is the note group N, after another option or `--`. `-l` lists the
//! signals.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::{Args, ByteStr, Errno, Failure, Named, eprintln, manual, note, println, process};
use text::{SIGNALS, Signal};

rt::main!(main, include_str!("kill.rs"));

/// The signal that cannot be handled.
const KILL: [&str; 3] = ["KILL", "SIGKILL", "9"];

/// How processes are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Kill,
    /// With all of its account.
    All,
    Note(&'static str),
}

fn main(args: Args) -> Result<u8, Failure> {
    args.help();
    // A negative number looks like an option, so these are looked at here.
    let first = args.get(0).and_then(ByteStr::to_str);
    let second = || args.get(1).and_then(ByteStr::to_str);
    let (way, rest) = match first {
        Some("-l") if args.len() == 1 => {
            SIGNALS
                .iter()
                .for_each(|signal| println!("{}", signal.name));
            return Ok(0);
        }
        Some("-a") => (Way::All, args.skip(1)),
        Some("-n") => {
            let text = second().ok_or_else(manual::misused)?;
            (Way::Note(text), args.skip(2))
        }
        Some("-s") => {
            let name = second().ok_or_else(manual::misused)?;
            (signal(name)?, args.skip(2))
        }
        Some("--") => (Way::Kill, args.skip(1)),
        Some(option) if option.starts_with('-') => (signal(&option[1..])?, args.skip(1)),
        _ => (Way::Kill, args),
    };
    let rest = match rest.get(0).as_deref() {
        Some(b"--") => rest.skip(1),
        _ => rest,
    };
    if rest.is_empty() {
        return Err(manual::misused());
    }
    let mut status = 0;
    for name in rest.iter() {
        let Ok(pid) = name.parse::<i64>() else {
            return Err(Failure::usage(format_args!("{name}: not a process")));
        };
        if pid < 0 && way == Way::All {
            let wrong = format_args!("{pid}: not a process");
            return Err(Failure::usage(wrong));
        }
        if let Err(failure) = tell(way, pid).about(format_args!("process {name}")) {
            eprintln!("kill: {failure}");
            status = 1;
        }
    }
    Ok(status)
}

fn signal(name: &'static str) -> Result<Way, Failure> {
    if KILL.iter().any(|kill| kill.eq_ignore_ascii_case(name)) {
        return Ok(Way::Kill);
    }
    match Signal::find(name) {
        Some(signal) => Ok(Way::Note(signal.note)),
        None => Err(Failure::usage(format_args!("{name}: no such signal"))),
    }
}

/// A negative number is a note group.
fn tell(way: Way, pid: i64) -> Result<(), Errno> {
    match way {
        Way::Note(text) if pid < 0 => note::send_group(pid.unsigned_abs(), text),
        Way::Note(text) => note::send(pid.unsigned_abs(), text),
        Way::Kill if pid < 0 => process::kill_group(pid.unsigned_abs(), "killed"),
        Way::Kill => process::kill(pid.unsigned_abs(), "killed"),
        Way::All => process::kill_all(pid.unsigned_abs(), "killed").map(drop),
    }
}
