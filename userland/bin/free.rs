//! `free`: memory in KiB, and the number of kernel objects. Of what is free, `kept` holds
//! pages of files that nobody has, until it is needed.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::abi::{PAGE, Stat64};
use rt::stats::{Cell, Counters};
use rt::{Args, Failure, Named, println};

rt::main!(main, include_str!("free.rs"));

fn main(args: Args) -> Result<(), Failure> {
    args.none()?;
    let now = Counters::now().about("counters")?;
    let kib = |frames: u64| Cell(Some(frames * (PAGE / 1024)));
    let (total, free) = (now.get(Stat64::FramesTotal), now.get(Stat64::FramesFree));
    let [a, b, c, d] = ["total", "used", "free", "kept"];
    println!("{:8}{a:>14}{b:>14}{c:>14}{d:>14}", "");
    let used = total.saturating_sub(free);
    println!(
        "{:8}{:>14}{:>14}{:>14}{:>14} KiB",
        "memory",
        kib(total),
        kib(used),
        kib(free),
        kib(now.get(Stat64::FramesIdle))
    );
    for (name, which) in [
        ("processes", Stat64::Processes),
        ("channels", Stat64::Channels),
        ("fids", Stat64::Fids),
        ("snapshots", Stat64::Snapshots),
    ] {
        println!("{name:9} {}", Cell(Some(now.get(which))));
    }
    Ok(())
}
