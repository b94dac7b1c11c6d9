//! `count [-t] COMMAND [ARG...]`: runs a command and prints, to standard error,
//! the traffic of the whole system meanwhile; `-t`: one tab-separated line with
//! the columns of `lazy -t` after the command's name. The exit status is the
//! command's. The command's own output is part of the traffic.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use core::fmt::Write;
use rt::process::{self, Fork};
use rt::profile;
use rt::stats::{Cell, Counters, Figures};
use rt::{Args, ByteStr, Failure, Named, eprintln, manual, service};

rt::main!(main, include_str!("main.rs"));

fn main(args: Args) -> Result<u8, Failure> {
    let mut options = args.options("t");
    let mut tabs = false;
    while options.next_option()?.is_some() {
        tabs = true;
    }
    let command = options.rest();
    let Some(name) = command.get(0) else {
        return Err(manual::misused());
    };
    let before = Counters::now().about("counters")?;
    profile::begin();
    let pid = match process::fork().about("new process")? {
        Fork::Child => service::become_command("count", name, command),
        Fork::Parent(pid) => pid,
    };
    let ended = process::wait_for(pid).about(name)?;
    profile::end();
    let after = Counters::now().about("counters")?;
    if u32::from(ended.status()) == rt::abi::STATUS_KILLED {
        eprintln!("count: {name}: {}", ended.text());
    }
    let columns = Figures::between(&before, &after).columns();
    match tabs {
        true => print_tabs(name, &columns),
        false => print_pretty(&columns),
    }
    Ok(ended.status())
}

fn print_tabs(name: ByteStr<'_>, columns: &[Option<u64>; 6]) {
    let mut line = format!("{name}");
    for column in columns {
        // Writing to a string does not fail.
        let _ = match column {
            Some(number) => write!(line, "\t{number}"),
            None => write!(line, "\t-"),
        };
    }
    eprintln!("{line}");
}

fn print_pretty(columns: &[Option<u64>; 6]) {
    for (head, column) in Figures::HEADS.iter().zip(columns) {
        eprintln!("{:>16} {head}", Cell(*column));
    }
}
