//! `bench [-l | NAME...]`: measures (or lists) basic operations, in guest instructions under
//! `--icount` (otherwise in ticks of the time stamp counter, which mean
//! little).
//!
//! Prints a line `name value unit` for each figure: the instructions of user,
//! kernel and servers together, without idle ones, for one repetition. The cost
//! of reading the counters is subtracted. After a warm-up the smallest of three
//! rounds counts, because interrupts come at random. Each job has a process of
//! its own, and with `cargo bench` a guest of its own, so that none pays for memory that
//! others have used.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod bulk;
mod forks;
mod jobs;
mod names;
mod pagers;
mod programs;
#[path = "../../stepper.rs"]
mod stepper;
mod threads;
mod tools;

use rt::process;
use rt::stats::Counters;
use rt::{Args, Failure, Named, Stat64, eprintln, println};

rt::main!(main);

/// The result of one round of a job.
pub struct Round {
    /// The number of repetitions.
    pub times: u64,
    /// The ticks of all repetitions.
    pub ticks: u64,
}

/// A figure: its name, its unit, and one round of it.
type Job = (&'static str, &'static str, fn() -> Result<Round, Failure>);

const ROUNDS: usize = 3;
/// Jobs of one round: they are long, and take even longer to prepare.
const LONG: &[&str] = &["ls.5000"];

const JOBS: &[Job] = &[
    ("syscall.null", "instructions", jobs::null_call),
    ("channel.roundtrip", "instructions", jobs::round_trip),
    ("fault.zero", "instructions", jobs::zero_fault),
    ("fault.second", "instructions", jobs::second_fault),
    ("read.1gib", "instructions", jobs::read_large),
    ("read.1gib.messages", "messages", jobs::read_large_messages),
    ("read.1gib.bytes", "bytes", jobs::read_large_bytes),
    ("fault.fill.message", "instructions", jobs::fill),
    ("fault.fill.cached", "instructions", jobs::fill_cached),
    ("pager.fault", "instructions", pagers::fault),
    (
        "fill.sequential.64mib",
        "instructions",
        jobs::fill_sequential,
    ),
    ("fill.random.64mib", "instructions", jobs::fill_random),
    ("eager.read.64mib", "instructions", jobs::read_eagerly),
    ("fault.fill.messages", "messages", jobs::fill_messages),
    ("fault.fill.bytes", "bytes", jobs::fill_bytes),
    ("fault.fill.device", "bytes", jobs::fill_device_bytes),
    ("write.runs.messages", "messages", jobs::write_messages),
    ("write.runs.bytes", "bytes", jobs::write_bytes),
    ("write.runs.device", "bytes", jobs::write_device_bytes),
    ("write.clean.1gib", "instructions", jobs::write_clean),
    (
        "write.clean.resident",
        "instructions",
        jobs::write_clean_resident,
    ),
    ("write.scattered", "instructions", jobs::write_scattered),
    ("write.page", "instructions", jobs::write_page),
    ("sparse.256mib", "instructions", bulk::sparse),
    ("eager.write.64mib", "instructions", bulk::write_eagerly),
    ("cp.64mib", "instructions", bulk::copy_file),
    ("cp.64mib.ramfs", "instructions", bulk::copy_to_ram),
    ("open", "instructions", names::open),
    ("stat", "instructions", names::stat),
    ("ls.5000", "instructions", names::list),
    ("grep.10mb", "instructions", tools::grep),
    ("wc.10mb", "instructions", tools::wc),
    ("sort.10mb", "instructions", tools::sort),
    ("pipe.mib", "instructions", tools::pipe),
    ("swap.out", "instructions", jobs::swap_out),
    ("swap.out.lone", "instructions", jobs::swap_out_lone),
    ("swap.out.again", "instructions", jobs::swap_out_again),
    ("swap.in", "instructions", jobs::swap_in),
    ("swap.in.lone", "instructions", jobs::swap_in_lone),
    ("fork.small", "instructions", forks::small),
    ("fork.crowd", "instructions", forks::in_a_crowd),
    ("fork.64mib", "instructions", forks::large),
    ("fork.sparse", "instructions", forks::sparse),
    ("fault.cow", "instructions", forks::copied),
    ("fault.alone", "instructions", forks::alone_again),
    ("exec.small", "instructions", forks::exec),
    ("exec.100mib", "instructions", programs::large),
    ("exec.100mib.bytes", "bytes", programs::large_bytes),
    ("thread.spawn", "instructions", threads::spawn),
    ("wake.echo", "instructions", threads::echo),
];

fn main(args: Args) -> Result<u8, Failure> {
    if Counters::now().about("counters")?.get(Stat64::Counted) != 1 {
        eprintln!("bench: not under --icount: these are ticks, not instructions");
    }
    if args.get(0).is_some_and(|first| first == "-l") {
        JOBS.iter().for_each(|(name, ..)| println!("{name}"));
        return Ok(0);
    }
    let mut status = 0;
    for (name, unit, job) in JOBS {
        if !args.is_empty() && args.iter().all(|asked| asked != *name) {
            continue;
        }
        let rounds = if LONG.contains(name) { 1 } else { ROUNDS };
        status |= apart(|| match smallest(*job, rounds) {
            Ok(value) => {
                println!("{name} {value} {unit}");
                0
            }
            Err(failure) => {
                eprintln!("bench: {name}: {failure}");
                1
            }
        })?;
    }
    Ok(status)
}

/// Runs `job` in a process of its own; 0 if it returned that.
fn apart(job: impl FnOnce() -> u8) -> Result<u8, Failure> {
    let pid = process::spawn(job).about("process")?;
    let ended = process::wait_for(pid).about("waiting")?;
    Ok(u8::from(ended.status() != 0))
}

/// The smallest of some rounds, per time, rounded up.
fn smallest(job: fn() -> Result<Round, Failure>, rounds: usize) -> Result<u64, Failure> {
    let mut best = u64::MAX;
    for _ in 0..rounds {
        let round = job()?;
        best = best.min(round.ticks.div_ceil(round.times.max(1)));
    }
    Ok(best)
}
