//! `date [-nu] [SECONDS] [+FORMAT]`: the date and time of day in UTC, now or
//! SECONDS after 1970; `-n`: now as such a number; `-u` means nothing. FORMAT
//! is text in which `%` and a letter stand for a part of the date: `%Y` `%m`
//! `%d` `%H` `%M` `%S`, `%F` and `%T` for several, `%s` for the seconds, and
//! the others of POSIX.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::{Args, ByteStr, Failure, Named, manual, println, time};
use text::Date;

rt::main!(main, include_str!("date.rs"));

/// The default format.
const FORMAT: &str = "%a %b %e %H:%M:%S UTC %Y";

fn main(args: Args) -> Result<(), Failure> {
    let (flags, rest) = args.options("nu").flags()?;
    let (mut seconds, mut format) = (None, None);
    for arg in rest.iter() {
        match arg.strip_prefix("+") {
            Some(text) if format.is_none() => format = Some(text),
            None if seconds.is_none() && format.is_none() => seconds = Some(parse(arg)?),
            _ => return Err(manual::misused()),
        }
    }
    if flags.has('n') && !rest.is_empty() {
        return Err(manual::misused());
    }
    let seconds = match seconds {
        Some(seconds) => seconds,
        None => time::now_ns().about(time::DEVICE)? / 1_000_000_000,
    };
    if flags.has('n') {
        println!("{seconds}");
        return Ok(());
    }
    let format = match format {
        Some(text) => text
            .to_str()
            .ok_or_else(|| Failure::usage(format_args!("{text}: not UTF-8")))?,
        None => FORMAT,
    };
    let shown = Date::from_seconds(seconds).format(format);
    println!("{}", shown.map_err(Failure::usage)?);
    Ok(())
}

fn parse(text: ByteStr<'_>) -> Result<u64, Failure> {
    let wrong = |_| Failure::usage(format_args!("{text}: not a number of seconds"));
    text.parse().map_err(wrong)
}
