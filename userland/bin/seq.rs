//! `seq [FIRST] LAST`: the whole numbers from FIRST (1) to LAST, one a line.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::{Args, Failure, manual, println};

rt::main!(main, include_str!("seq.rs"));

fn main(args: Args) -> Result<(), Failure> {
    // A negative number looks like an option.
    args.help();
    let number = |index: usize| {
        let text = args.get(index).unwrap_or_default();
        let parsed = text.parse::<i64>();
        parsed.map_err(|_| Failure::usage(format_args!("{text}: not a number")))
    };
    let (first, last) = match args.len() {
        1 => (1, number(0)?),
        2 => (number(0)?, number(1)?),
        _ => return Err(manual::misused()),
    };
    (first..=last).for_each(|number| println!("{number}"));
    Ok(())
}
