//! The common parts of the QEMU tests.

pub mod tree;

use runner::judge::NOTHING;
use runner::{Guest, Outcome};
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Says that a test, or a part of one, is left out, where the capture of its output does not
/// hide it.
pub fn skipped(reason: impl Display) {
    // Nobody else can be told.
    let _ = writeln!(io::stderr(), "SKIPPED: {reason}");
}

/// An empty directory to share with a guest, removed when dropped.
pub fn scratch() -> TempDir {
    tempfile::Builder::new()
        .prefix("dormouse-test-")
        .tempdir()
        .expect("a temporary directory")
}

/// A guest that shares a directory and reports leaks at its end.
pub fn guest(share: &Path) -> Guest {
    let guest = Guest::new().share(share).option("left", "1");
    guest.mem("256M").timeout(Duration::from_secs(120))
}

/// Its console and the status it stopped with. Panics unless it stopped in good
/// order, its programs have given back all they had, and its file server has
/// left nothing of its own in `share`.
#[track_caller]
pub fn run(share: &Path, guest: &Guest) -> (String, u8) {
    let outcome = guest.run().unwrap();
    let console = &outcome.console;
    let status = match outcome.status() {
        Ok(status) => status,
        Err(failure) => panic!("{failure}\n{console}"),
    };
    let left = outcome.report().left;
    assert_eq!(
        left.as_deref(),
        Some(NOTHING),
        "left by programs; {console}"
    );
    assert_eq!(hidden(share), Vec::<String>::new(), "left in the directory");
    (outcome.console, status)
}

/// Files of the server's own in the shared directory.
fn hidden(share: &Path) -> Vec<String> {
    let entries = share.read_dir().unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".snapfs")).collect()
}

/// Panics with the whole log unless the run has passed the judge: the good
/// exit code, the plan met, every case passed.
pub fn assert_passed(outcome: &Outcome) {
    let problems = outcome.report().problems(outcome.exit_code);
    assert!(
        problems.is_empty(),
        "{}\n--- verdicts\n{}\n--- console\n{}",
        problems.join("\n"),
        outcome.verdicts,
        outcome.console
    );
}

/// Shows each case of a run with its verdict, for `--nocapture` and failures.
pub fn print_cases(outcome: &Outcome) {
    let report = outcome.report();
    for case in &report.cases {
        println!("{:?} {}", case.verdict, case.name);
    }
    report
        .notes
        .iter()
        .for_each(|note| println!("note: {note}"));
}
