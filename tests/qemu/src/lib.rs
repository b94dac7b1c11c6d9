//! What the QEMU tests have in common.

pub mod tree;

use runner::Outcome;
use tempfile::TempDir;

/// An empty directory to share with a guest, removed when dropped.
pub fn scratch() -> TempDir {
    tempfile::Builder::new()
        .prefix("dormouse-test-")
        .tempdir()
        .expect("a temporary directory")
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
