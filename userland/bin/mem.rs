//! `mem [PID...]`: where the memory of processes is, in KiB: of all of them a line
//! each, or of those named a line for each segment. A page is asleep (of a snapshot, not
//! transferred), clean (equal to its snapshot), dirty (changed), backed (changed, in
//! memory and in swap) or swapped (in swap alone); shared ones are counted by each
//! that has them. Then what happened to pages: filled, those of them that came ahead of a
//! touch, evicted, written to swap, brought back. Of processes also the messages to file servers, and the KiB of data that came
//! and went with them.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use rt::abi::{PAGE, ProcessInfo, SegmentInfo};
use rt::{Args, Failure, println, process};

rt::main!(main, include_str!("mem.rs"));

fn main(args: Args) -> Result<(), Failure> {
    let mut all: Vec<ProcessInfo> = process::list().collect();
    all.sort_unstable_by_key(|info| info.pid);
    let traffic = match args.is_empty() {
        true => format!("{:>9}{:>10}{:>10}", "MESSAGES", "DATA IN", "DATA OUT"),
        false => String::new(),
    };
    heading("  PID NAME", &traffic);
    if args.is_empty() {
        let mut total = SegmentInfo::default();
        for process in &all {
            let mut sum = SegmentInfo::default();
            for segment in process::segments(process.pid) {
                add(&mut sum, &segment);
            }
            let (came, went) = (process.bytes_in / 1024, process.bytes_out / 1024);
            let traffic = format!("{:>9}{came:>10}{went:>10}", process.messages);
            let name = format!("{:5} {}", process.pid, process.name());
            line(&name, &sum, &traffic);
            add(&mut total, &sum);
        }
        line("      total", &total, "");
        return Ok(());
    }
    for arg in args.iter() {
        let known = |process: &&ProcessInfo| arg.to_str() == Some(&*format!("{}", process.pid));
        let Some(process) = all.iter().find(known) else {
            return Err(Failure::new(format!("{arg}: no such process")));
        };
        for segment in process::segments(process.pid) {
            let name = format!("{:5} {} {:x}", process.pid, segment.kind(), segment.base);
            line(&name, &segment, "");
        }
    }
    Ok(())
}

fn heading(first: &str, traffic: &str) {
    println!(
        "{first:32}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>9}{:>9}{:>9}{:>9}{:>9}{traffic}",
        "ASLEEP",
        "CLEAN",
        "DIRTY",
        "BACKED",
        "SWAPPED",
        "SHARED",
        "FILLED",
        "AHEAD",
        "EVICTED",
        "OUT",
        "BACK"
    );
}

fn line(name: &str, info: &SegmentInfo, traffic: &str) {
    let pages = [
        info.asleep,
        info.clean,
        info.dirty,
        info.backed,
        info.swapped,
        info.shared,
    ];
    let filled = info.fills + info.cached + info.zero_fills;
    let events = [
        filled,
        info.ahead,
        info.evictions,
        info.page_outs,
        info.page_ins,
    ];
    let mut text = String::new();
    for pages in pages {
        text.push_str(&format!("{:>10}", pages * (PAGE / 1024)));
    }
    for count in events {
        text.push_str(&format!("{count:>9}"));
    }
    println!("{name:32}{text}{traffic}");
}

/// Adds the figures of a segment to a sum.
fn add(sum: &mut SegmentInfo, more: &SegmentInfo) {
    for (sum, more) in [
        (&mut sum.asleep, more.asleep),
        (&mut sum.clean, more.clean),
        (&mut sum.dirty, more.dirty),
        (&mut sum.backed, more.backed),
        (&mut sum.swapped, more.swapped),
        (&mut sum.shared, more.shared),
        (&mut sum.fills, more.fills),
        (&mut sum.cached, more.cached),
        (&mut sum.zero_fills, more.zero_fills),
        (&mut sum.ahead, more.ahead),
        (&mut sum.evictions, more.evictions),
        (&mut sum.page_outs, more.page_outs),
        (&mut sum.page_ins, more.page_ins),
    ] {
        *sum += more;
    }
}
