//! The profiler: its sum is what the guest itself counts, and its functions are those
//! that a program is known to use.

use dormouse_qemu_tests::{guest, scratch};
use runner::Verbosity;
use runner::guests::Profile;
use runner::profile::{self, Part};
use std::fs;

/// The instructions that `count` has printed.
fn counted(console: &str) -> u64 {
    let line = console
        .lines()
        .find_map(|line| line.trim().strip_suffix(" instructions"));
    let number = line.unwrap_or_else(|| panic!("{console}"));
    number.replace(',', "").parse().unwrap()
}

#[test]
fn a_profile_agrees_with_the_guests_own_counters_and_names_what_runs() {
    let share = scratch();
    let text = "some words in a line\n".repeat(50_000);
    fs::write(share.path().join("words"), &text).unwrap();
    let guest = guest(share.path()).command("count wc /n/host/words");
    let how = (Profile::Quick, Part::Marked, Verbosity::Normal);
    let (outcome, profiled) = profile::run(guest, how, &[], |guest| guest.run()).unwrap();
    assert_eq!(outcome.status().unwrap(), 0, "{}", outcome.console);
    let (sum, counted) = (profiled.total(), counted(&outcome.console));
    let apart = sum.abs_diff(counted);
    assert!(apart * 100 <= counted, "{sum} against {counted} counted");
    // Each byte is looked at by the program, and each word of a page is copied by the
    // kernel.
    let program = profiled.of(false, "Counts");
    assert!(program > text.len() as u64, "{program}\n{profiled}");
    for function in ["pread", "page_fault", "exec"] {
        assert!(profiled.of(true, function) > 0, "{function}\n{profiled}");
    }
    let folded = profiled.folded();
    for line in ["wc;program;", "wc;kernel;", "hostfs;program;"] {
        assert!(folded.contains(line), "no {line}\n{folded}");
    }
    assert_eq!(profiled.of(false, "[unknown]"), 0, "{profiled}");
}

#[test]
fn a_boot_takes_few_instructions_beside_the_firmwares() {
    let share = scratch();
    let guest = guest(share.path()).mem("2G").command("true");
    let how = (Profile::Quick, Part::All, Verbosity::Normal);
    let (outcome, profiled) = profile::run(guest, how, &[], |guest| guest.run()).unwrap();
    assert_eq!(outcome.status().unwrap(), 0, "{}", outcome.console);
    let firmware = profiled.of(false, "[unknown]");
    let rest = profiled.total() - firmware;
    assert!(rest < 10_000_000, "{rest}\n{profiled}");
    assert!(rest > 1_000_000, "{rest}\n{profiled}");
}
