//! How long one call keeps the processor, counted in instructions: the longest
//! gap in which another process that is always ready does not run. The timer is
//! a hundred times as quick as usual: programs, the file server among them, are
//! preempted after 100,000 instructions, the kernel is not, so what a gap has
//! beyond is the kernel's. `DORMOUSE_CASES` in the environment chooses cases.

use dormouse_qemu_tests::{assert_passed, print_cases, scratch};
use runner::{Guest, Swap};
use std::env;
use std::time::Duration;

#[test]
fn no_call_keeps_the_processor_for_more_than_ten_million_instructions() {
    let cases = env::var("DORMOUSE_CASES").unwrap_or("gaps.*".into());
    pass(Guest::new().mem("512M"), &cases);
}

#[test]
fn nobody_waits_longer_while_memory_of_many_accounts_goes_to_swap() {
    pass(
        Guest::new().mem("96M").swap(Swap::Size(1 << 30)),
        "gaps-swap.*",
    );
}

#[test]
fn nobody_waits_while_frames_in_a_row_are_made_for_a_driver() {
    // A search for them looks at each frame once more, so the memory is small.
    pass(Guest::new().mem("96M").option("drivers", "1"), "gaps-run.*");
}

fn pass(guest: Guest, cases: &str) {
    let share = scratch();
    let guest = guest
        .share(share.path())
        .icount(true)
        .option("test", "1")
        .option("hz", "10000")
        .command(format!("suite {cases}"));
    let outcome = guest.timeout(Duration::from_secs(1200)).run().unwrap();
    print_cases(&outcome);
    for line in outcome.console.lines().filter(|line| line.contains("gap ")) {
        println!("{line}");
    }
    assert_passed(&outcome);
}
