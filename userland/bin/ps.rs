//! `ps`: lists processes: number, parent, note group, open descriptors, memory
//! mapped in KiB, percent of the processor since its start, messages to file servers and
//! KiB of data that came from and went to them, state or the object it waits for and
//! for how long, and name.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use rt::abi::{PAGE, ProcessInfo, Stat64};
use rt::stats::Counters;
use rt::{Args, Failure, Named, println, process};

rt::main!(main, include_str!("ps.rs"));

fn main(args: Args) -> Result<(), Failure> {
    args.none()?;
    let now = Counters::now().about("counters")?.get(Stat64::Ticks).max(1);
    let mut all: Vec<ProcessInfo> = process::list().collect();
    all.sort_unstable_by_key(|info| info.pid);
    println!(
        "  PID PARENT GROUP FDS      KIB CPU% MESSAGES  DATA IN DATA OUT STATE              NAME"
    );
    for info in &all {
        println!(
            "{:5} {:6} {:5} {:3} {:8} {:4} {:8} {:8} {:8} {:18} {}",
            info.pid,
            info.parent,
            info.group,
            info.descriptors,
            info.pages * (PAGE / 1024),
            u128::from(info.ticks) * 100 / u128::from(now),
            info.messages,
            info.bytes_in / 1024,
            info.bytes_out / 1024,
            state(info),
            info.name()
        );
    }
    Ok(())
}

fn state(info: &ProcessInfo) -> String {
    match info.state {
        ProcessInfo::READY => "ready".into(),
        ProcessInfo::RUNNING => "running".into(),
        ProcessInfo::ENDED => "ended".into(),
        _ => {
            let seconds = info.waiting_ns / 1_000_000_000;
            format!("{} {seconds}s", info.waits_for())
        }
    }
}
