//! `suite [CASE...]`: the test program of the guest.
//!
//! Runs every case in a process of its own and reports to the judge on the
//! second serial port: the plan, each name before it runs, each verdict, the
//! totals. A case also fails if it leaks frames, fids, snapshots, processes or
//! channels. With names, it runs only those cases; a name that ends in `*`
//! selects all that begin so. `must-fail` runs only by name: it shows that the
//! judge can fail.
//!
//! `suite run PROGRAM...` judges users' programs in the same way, which the
//! runner put at `/bin/test.PROGRAM`.
//!
//! `suite replay FILE...` runs scenario files of the model tests.
//!
//! `suite serve FAULT` is a file server with that fault, for `snapfs`.
//!
//! `suite halting NAME` is a server that is asked something when the machine stops.
//!
//! `judge` runs cases, `check` has their helpers, `cases` holds them.
#![no_std]
#![no_main]

extern crate alloc;

#[macro_use]
mod check;
mod beat;
mod cases;
mod halting;
mod judge;
mod kills;
mod liar;
mod raw;
mod replay;
#[path = "../../stepper.rs"]
mod stepper;
mod testdir;
mod tiny;
mod unhurried;

use alloc::{format, vec::Vec};
use cases::Case;
use judge::Judge;
use rt::{Args, ByteStr, Failure, Stat64};

rt::main!(main);

fn main(args: Args) -> Result<u8, Failure> {
    if args.program() == cases::ENVIRONMENT {
        for (name, value) in rt::env::all() {
            rt::println!("{name}={value}");
        }
        return Ok(0);
    }
    if args.program() == cases::registers::SHOW {
        return Ok(cases::registers::show());
    }
    if args.get(0).is_some_and(|first| first == "run") {
        return programs(args.skip(1));
    }
    if args.get(0).is_some_and(|first| first == "replay") {
        return replay(args.skip(1));
    }
    if args.get(0).is_some_and(|first| first == "seeds") {
        return seeds(args.skip(1));
    }
    if let (Some(b"serve"), Some(fault)) = (args.get(0).as_deref(), args.get(1)) {
        return tiny::serve_with(text(fault)?);
    }
    if let (Some(b"halting"), Some(server)) = (args.get(0).as_deref(), args.get(1)) {
        return halting::begin(text(server)?);
    }
    let counters = judge::counters()?;
    let (eager, pressed) = (
        counters.get(Stat64::Eager) == 1,
        counters.get(Stat64::Pressure) == 1,
    );
    let mut chosen: Vec<&Case> = Vec::new();
    for case in cases::all() {
        let asked = args.iter().any(|name| matches(&name, case.name));
        let usual = args.is_empty() && !case.only_when_asked();
        if (asked || usual) && case.runs_here(eager, pressed) {
            chosen.push(case);
        }
    }
    if chosen.is_empty() {
        return Err(Failure::usage("no case of that name runs here"));
    }
    let mut judge = Judge::open(chosen.len())?;
    for case in chosen {
        judge.run(case)?;
    }
    check::remove_folder();
    judge.close()
}

fn programs(names: Args) -> Result<u8, Failure> {
    let mut judge = Judge::open(names.len())?;
    for name in names.iter() {
        judge.program(text(name)?, &format!("/bin/test.{name}"))?;
    }
    judge.close()
}

/// Runs the cases with random numbers for seeds from the first on, so many of them.
fn seeds(args: Args) -> Result<u8, Failure> {
    let wrong = || Failure::usage("seeds FIRST COUNT: numbers");
    let number = |index| {
        text(args.get(index).ok_or_else(wrong)?)?
            .parse()
            .map_err(|_| wrong())
    };
    let (first, count): (u64, u64) = (number(0)?, number(1)?);
    let seeds = first..first.checked_add(count).ok_or_else(wrong)?;
    let mut judge = Judge::open(count as usize * cases::SEEDED.len())?;
    for seed in seeds {
        for (name, run) in cases::SEEDED {
            judge.check(&format!("{name}.{seed}"), |_| run(seed))?;
        }
    }
    check::remove_folder();
    judge.close()
}

fn replay(paths: Args) -> Result<u8, Failure> {
    let mut judge = Judge::open(paths.len())?;
    for path in paths.iter() {
        let path = text(path)?;
        judge.check(path, |first| replay::play(&replay::load(path)?, first))?;
    }
    check::remove_folder();
    judge.close()
}

/// Names of cases and programs are text.
fn text(argument: ByteStr<'static>) -> Result<&'static str, Failure> {
    let wrong = || Failure::usage(format!("{argument}: not UTF-8"));
    argument.to_str().ok_or_else(wrong)
}

fn matches(asked: &[u8], name: &str) -> bool {
    match asked.strip_suffix(b"*") {
        Some(start) => name.as_bytes().starts_with(start),
        None => asked == name.as_bytes(),
    }
}
