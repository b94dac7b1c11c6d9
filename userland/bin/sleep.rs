//! `sleep SECONDS`: waits; a fraction may follow a point.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::{Args, Failure, Named, manual, sys};

rt::main!(main, include_str!("sleep.rs"));

fn main(args: Args) -> Result<(), Failure> {
    let (_, args) = args.options("").flags()?;
    let (Some(text), 1) = (args.get(0), args.len()) else {
        return Err(manual::misused());
    };
    let wrong = || Failure::usage(format_args!("{text}: not a number of seconds"));
    let nanoseconds = text.to_str().and_then(nanoseconds).ok_or_else(wrong)?;
    match nanoseconds {
        0 => Ok(()),
        nanoseconds => sys::sleep(nanoseconds).about("sleep"),
    }
}

fn nanoseconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || text.len() < 1 + usize::from(text.contains('.')) {
        return None;
    }
    let whole = if whole.is_empty() {
        0
    } else {
        whole.parse::<u64>().ok()?
    };
    let mut rest = 0;
    for index in 0..9 {
        let digit = fraction
            .as_bytes()
            .get(index)
            .map_or(0, |digit| digit - b'0');
        rest = rest * 10 + u64::from(digit);
    }
    whole.checked_mul(1_000_000_000)?.checked_add(rest)
}
