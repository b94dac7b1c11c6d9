//! `kill [-n NOTE] PROCESS...`: ends processes; with `-n` gives them a note
//! instead, which they may handle. For a note, -N is the note group N.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::process;
use rt::{Args, ByteStr, Failure, Named, eprintln, manual, note};

rt::main!(main, include_str!("kill.rs"));

fn main(args: Args) -> Result<u8, Failure> {
    args.help();
    // A negative number looks like an option, so these are looked at here.
    let (text, rest) = match args.get(0).as_deref() {
        Some(b"-n") => {
            let text = args.get(1).and_then(ByteStr::to_str);
            let text = text.ok_or_else(manual::misused)?;
            (Some(text), args.skip(2))
        }
        _ => (None, args),
    };
    if rest.is_empty() {
        return Err(manual::misused());
    }
    let mut status = 0;
    for name in rest.iter() {
        let Ok(pid) = name.parse::<i64>() else {
            return Err(Failure::usage(format_args!("{name}: not a process")));
        };
        let done = match text {
            Some(text) if pid < 0 => note::send_group(pid.unsigned_abs(), text),
            Some(text) => note::send(pid.unsigned_abs(), text),
            None if pid < 0 => {
                return Err(Failure::usage(format_args!(
                    "{name}: only notes are for groups"
                )));
            }
            None => process::kill(pid.unsigned_abs(), "killed"),
        };
        if let Err(failure) = done.about(format_args!("process {name}")) {
            eprintln!("kill: {failure}");
            status = 1;
        }
    }
    Ok(status)
}
