//! Programs of the model tests, run by the suite on the real kernel: see
//! `tests/model/programs`.

use dormouse_qemu_tests::{assert_passed, print_cases, scratch};
use runner::{Guest, checkout};
use std::fs;
use std::time::Duration;

fn replay(eager: bool) {
    let share = scratch();
    let programs = checkout::workspace().unwrap().join("tests/model/programs");
    let mut count = 0;
    for entry in fs::read_dir(programs).unwrap().flatten() {
        fs::copy(entry.path(), share.path().join(entry.file_name())).unwrap();
        count += 1;
    }
    let guest = Guest::new()
        .mem("96M")
        .share(share.path())
        .option("test", "1");
    let guest = guest.eager(eager);
    let guest = guest.command("suite replay /n/host/*.txt");
    let outcome = guest.timeout(Duration::from_secs(300)).run().unwrap();
    print_cases(&outcome);
    assert_passed(&outcome);
    assert_eq!(outcome.report().cases.len(), count);
}

#[test]
fn programs_of_the_model_end_the_same_deferred() {
    replay(false);
}

#[test]
fn programs_of_the_model_end_the_same_eager() {
    replay(true);
}
