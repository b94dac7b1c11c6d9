//! `date [-n | SECONDS]`: the date and time of day in UTC, now or SECONDS after
//! 1970; `-n`: now as such a number.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::{Args, Failure, Named, println, time};
use text::Date;

rt::main!(main);

const USAGE: &str = "date [-n | SECONDS]";

fn main(args: Args) -> Result<(), Failure> {
    let (flags, rest) = args.options("n").flags(USAGE)?;
    let seconds = match (rest.get(0), rest.len()) {
        (None, _) => time::now_ns().about(time::DEVICE)? / 1_000_000_000,
        (Some(text), 1) if !flags.has('n') => text
            .parse()
            .map_err(|_| Failure::usage(format_args!("{text}: not a number of seconds")))?,
        _ => return Err(Failure::usage(format_args!("usage: {USAGE}"))),
    };
    if flags.has('n') {
        println!("{seconds}");
        return Ok(());
    }
    let date = Date::from_seconds(seconds);
    println!(
        "{} {} {:2} {:02}:{:02}:{:02} UTC {}",
        date.weekday_name(),
        date.month_name(),
        date.day,
        date.hour,
        date.minute,
        date.second,
        date.year
    );
    Ok(())
}
