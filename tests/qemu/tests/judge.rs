//! The judge must be able to fail: one good log, and every way to spoil it.

use runner::judge::{EXIT_HALT, parse};

const GOOD: &str = "\
@note 64 MiB
@plan 2
@run one
@ok one
@run two
@note half way
@ok two
@done 2 0
@exit 0
";

/// The reasons to fail `log`, in one text; empty if it passed.
fn problems(log: &str, exit_code: Option<i32>) -> String {
    parse(log).problems(exit_code).join("; ")
}

#[test]
fn a_good_log_passes() {
    assert_eq!(problems(GOOD, Some(EXIT_HALT)), "");
    assert_eq!(parse(GOOD).notes, ["64 MiB", "half way"]);
}

#[test]
fn only_the_one_exit_code_passes() {
    for code in [Some(0), Some(1), Some(35), Some(32), None] {
        assert_ne!(problems(GOOD, code), "", "{code:?}");
    }
}

/// `GOOD` with `old` replaced must fail for a reason that contains `reason`.
#[track_caller]
fn spoiled(old: &str, new: &str, reason: &str) {
    assert!(GOOD.contains(old));
    let log = GOOD.replacen(old, new, 1);
    let problems = problems(&log, Some(EXIT_HALT));
    assert!(
        problems.contains(reason),
        "{problems:?} does not say {reason:?} of\n{log}"
    );
}

#[test]
fn a_missing_case_fails() {
    spoiled(
        "@run two\n@note half way\n@ok two\n@done 2 0",
        "@done 1 0",
        "1 cases were run, 2 planned",
    );
}

#[test]
fn a_case_too_many_fails() {
    spoiled(
        "@done 2 0",
        "@run three\n@ok three\n@done 3 0",
        "3 cases were run, 2 planned",
    );
}

#[test]
fn a_case_without_a_verdict_fails() {
    spoiled("@ok one\n", "", "case one has no verdict");
    spoiled("@ok two\n", "", "case two has no verdict");
}

#[test]
fn a_failed_case_fails_with_its_reason() {
    spoiled(
        "@ok two\n@done 2 0",
        "@fail two leaked 3 frames\n@done 1 1",
        "case two failed: leaked 3 frames",
    );
}

#[test]
fn what_programs_left_fails() {
    spoiled("@exit 0", "@left 2 fids\n@exit 0", "programs left: 2 fids");
    spoiled("@exit 0\n", "@exit 0\n@left nothing\n", "after the end");
    let log = GOOD.replace("@exit 0", "@left nothing\n@exit 0");
    assert_eq!(problems(&log, Some(EXIT_HALT)), "");
    assert_eq!(parse(&log).left.as_deref(), Some("nothing"));
}

#[test]
fn a_wrong_tally_fails() {
    spoiled("@done 2 0", "@done 1 1", "tally");
    spoiled("@done 2 0", "@done 2", "bad tally");
    spoiled("@done 2 0\n", "", "no tally");
}

#[test]
fn a_failure_that_the_tally_hides_fails() {
    spoiled("@ok two", "@fail two because", "case two failed: because");
}

#[test]
fn a_panic_fails_wherever_it_comes() {
    spoiled("@exit 0\n", "@exit 0\n@panic late\n", "panic");
    spoiled("@exit 0\n", "@panic instead\n", "panic");
    spoiled("@plan 2", "@panic early\n@plan 2", "panic");
}

#[test]
fn no_plan_or_two_fail() {
    spoiled("@plan 2\n", "", "no plan");
    spoiled("@plan 2\n", "@plan 2\n@plan 2\n", "unexpected line");
    spoiled("@plan 2\n", "@plan two\n", "bad plan");
    assert!(problems("", Some(EXIT_HALT)).contains("no plan"));
}

#[test]
fn verdicts_on_other_cases_fail() {
    spoiled("@ok two", "@ok one", "not running");
    spoiled("@ok one", "@ok one\n@ok one", "not running");
    spoiled("@run two", "@run one", "not running");
    spoiled(
        "@run two\n@note half way\n@ok two",
        "@run one\n@ok one",
        "run twice",
    );
}

#[test]
fn lines_after_the_end_fail() {
    spoiled(
        "@exit 0\n",
        "@run late\n@ok late\n@exit 0\n",
        "after the tally",
    );
    spoiled("@exit 0\n", "@exit 0\n@run late\n", "after the end");
}

#[test]
fn garbled_lines_fail() {
    spoiled("@run two", "@run two\n@rum three", "unexpected line");
    spoiled("@run two", "run two", "unexpected line");
}

#[test]
fn a_machine_that_was_not_stopped_in_good_order_fails() {
    spoiled("@exit 0\n", "", "not stopped in good order");
    spoiled("@exit 0\n", "@exit 256\n", "bad status");
}
