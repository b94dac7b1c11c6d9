//! Many processes, open files and servers at a time.

use dormouse_qemu_tests::{assert_passed, print_cases, scratch};
use runner::Guest;
use std::time::Duration;

/// A guest whose time is its instructions, so that costs can be compared.
fn counted() -> Guest {
    Guest::new()
        .mem("256M")
        .icount(true)
        .option("processes", "1024")
}

fn passes(guest: Guest, cases: &str) {
    let share = scratch();
    let guest = guest.share(share.path()).option("test", "1");
    let guest = guest.timeout(Duration::from_secs(600));
    let outcome = guest.command(format!("suite {cases}")).run().unwrap();
    print_cases(&outcome);
    println!("{}", outcome.console);
    assert_passed(&outcome);
}

#[test]
fn a_thousand_processes_cost_as_much_each_as_a_hundred() {
    passes(counted(), "scale.processes");
}

#[test]
fn ten_thousand_files_are_open_and_a_hundred_servers_mounted() {
    passes(Guest::new().mem("256M"), "scale.files scale.servers");
}
