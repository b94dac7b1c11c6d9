//! `cargo bench`: counts the cost of operations in a guest whose time is its
//! own instructions, prints a table beside the budgets, and writes it to
//! `target/bench.tsv` (`name value unit budget`). Fails if a budget is
//! exceeded. `cargo bench -- NAME...` does that for the jobs named only, and
//! leaves the file alone.

use dormouse_qemu_tests::scratch;
use runner::guests::Profile;
use runner::{Failure, Guest, Swap, checkout};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

/// The largest permitted figures.
const BUDGETS: &[(&str, u64)] = &[
    ("syscall.null", 85),
    ("channel.roundtrip", 1_400),
    ("fault.zero", 550),
    ("fault.second", 500),
    ("read.1gib", 50_000),
    ("read.1gib.messages", 4),
    ("fault.fill.message", 5_600),
    ("fault.fill.cached", 500),
    ("pager.fault", 6_000),
    ("read.1gib.bytes", 0),
    ("fault.fill.messages", 1),
    ("fault.fill.bytes", 4096),
    ("fault.fill.device", 4096),
    // Four pages in three runs: a message a run, and three.
    ("write.runs.messages", 6),
    ("write.runs.bytes", 4 * 4096),
    ("write.runs.device", 4 * 4096),
    ("write.clean.resident", 40_000),
    ("write.scattered", 4_500),
    ("write.page", 16_000),
    ("sparse.256mib", 4_500_000),
    ("eager.read.64mib", 14_000_000),
    ("eager.write.64mib", 12_000_000),
    ("cp.64mib", 5_000_000),
    ("cp.64mib.ramfs", 60_000_000),
    ("open", 16_000),
    ("stat", 12_000),
    ("ls.5000", 80_000_000),
    ("grep.10mb", 80_000_000),
    ("wc.10mb", 60_000_000),
    ("sort.10mb", 400_000_000),
    ("exec.100mib.bytes", 100 * 1024 * 1024 * 3 / 100),
    ("pipe.mib", 367_000),
    ("fork.small", 20_000),
    ("fork.64mib", 15_000),
    ("fork.sparse", 300_000),
    ("fault.cow", 1_200),
    ("exec.small", 45_000),
    ("swap.out", 7_000),
    ("swap.in", 6_500),
    ("thread.spawn", 12_000),
    ("wake.echo", 100_000),
];

/// Bytes of swap.
const SWAP: u64 = 256 << 20;

fn main() -> ExitCode {
    // Cargo gives options of its own, like `--bench`.
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let console = match measure(&asked) {
        Ok(console) => console,
        Err(failure) => {
            eprintln!("bench: {failure}");
            return ExitCode::FAILURE;
        }
    };
    let figures = figures(&console);
    let budgets: BTreeMap<&str, u64> = BUDGETS.iter().copied().collect();
    let mut table = String::new();
    let mut broken = Vec::new();
    for (name, value, unit) in &figures {
        let budget = budgets.get(name);
        if budget.is_some_and(|budget| value > budget) {
            broken.push(*name);
        }
        let budget = budget.map_or("-".into(), u64::to_string);
        println!("{name:<24} {value:>10} {unit:<13} budget {budget:>8}");
        let _ = writeln!(table, "{name}\t{value}\t{unit}\t{budget}");
    }
    let wanted: Vec<&str> = match asked.is_empty() {
        true => BUDGETS.iter().map(|(name, _)| *name).collect(),
        false => asked.iter().map(String::as_str).collect(),
    };
    let missing = |name: &&str| figures.iter().all(|figure| figure.0 != *name);
    broken.extend(wanted.into_iter().filter(missing));
    if asked.is_empty()
        && let Err(failure) = keep(&table)
    {
        eprintln!("bench: {failure}");
        return ExitCode::FAILURE;
    }
    if !broken.is_empty() {
        eprintln!(
            "bench: over budget or not measured: {}\n{}",
            broken.join(", "),
            console
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The lines of the jobs of those names, or of all jobs.
fn measure(asked: &[String]) -> Result<String, Failure> {
    let listed = run("bench -l")?;
    let names: Vec<&str> = match asked.is_empty() {
        true => listed.lines().collect(),
        false => asked.iter().map(String::as_str).collect(),
    };
    let mut lines = String::new();
    for name in names {
        lines += &run(&format!("bench {name}"))?;
    }
    Ok(lines)
}

/// The console of a guest of its own for each job: none meets the memory, or the frame
/// cache, that another has used.
fn run(command: &str) -> Result<String, Failure> {
    let share = scratch();
    let guest = Guest::new()
        .share(share.path())
        .profile(Profile::Release)
        .icount(true)
        .mem("512M")
        .swap(Swap::Size(SWAP))
        .command(command);
    let outcome = guest.timeout(Duration::from_secs(300)).run()?;
    outcome.status()?;
    Ok(outcome.console)
}

/// Writes the table of all jobs into the target directory.
fn keep(table: &str) -> Result<(), String> {
    let path = checkout::target_dir()
        .map_err(|failure| failure.to_string())?
        .join("bench.tsv");
    std::fs::write(&path, table)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// The lines `name value unit`.
fn figures(console: &str) -> Vec<(&str, u64, &str)> {
    let figure = |line| {
        let mut words = str::split(line, ' ');
        let found = (words.next()?, words.next()?.parse().ok()?, words.next()?);
        words.next().is_none().then_some(found)
    };
    console.lines().filter_map(figure).collect()
}
