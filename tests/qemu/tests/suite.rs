//! Boots the guest's own test program, `suite`, and judges it: few guests, many
//! cases. The cases are in `tests/suite`. `DORMOUSE_CASES='write.* tmp.full'`
//! in the environment runs those alone.

use dormouse_qemu_tests::{assert_passed, print_cases, scratch};
use runner::judge::{EXIT_HALT, NOTHING, Verdict};
use runner::{Guest, Outcome, Swap};
use std::env;
use std::path::Path;
use std::time::{Duration, Instant};

/// Small, so that a file of four times the memory is made quickly.
const MEMORY: &str = "96M";

/// Bytes of swap, for the cases that need some. The others have none, so that those
/// that take all memory end soon.
const SWAP: u64 = 256 << 20;

/// A guest of the usual size.
fn guest() -> Guest {
    Guest::new().mem(MEMORY)
}

/// Runs `guest` with this shared directory and poison in all unwritten frames:
/// the kernel panics if a program would see one.
fn run_in(share: &Path, guest: Guest) -> Outcome {
    let guest = guest
        .share(share)
        .option("test", "1")
        .option("left", "1")
        .option("old", "0")
        .option("poison", "1");
    let outcome = guest.timeout(Duration::from_secs(1800)).run().unwrap();
    print_cases(&outcome);
    let left = outcome.report().left;
    assert_eq!(left.as_deref(), Some(NOTHING), "{}", outcome.console);
    outcome
}

/// Runs `guest` with an empty shared directory, which must be empty again
/// afterwards.
fn run(guest: Guest) -> Outcome {
    let share = scratch();
    let outcome = run_in(share.path(), guest);
    let entries = share.path().read_dir().unwrap().flatten();
    let left: Vec<_> = entries.map(|entry| entry.file_name()).collect();
    let console = &outcome.console;
    assert!(
        left.is_empty(),
        "left in the shared directory: {left:?}; {console}"
    );
    outcome
}

/// Runs every case, or those the environment asks for; these have swap.
fn usual() -> Guest {
    match env::var("DORMOUSE_CASES") {
        Ok(cases) => guest()
            .swap(Swap::Size(SWAP))
            .command(format!("suite {cases}")),
        Err(_) => guest(),
    }
}

#[test]
fn every_case_passes_deferred() {
    assert_passed(&run(usual()));
}

#[test]
fn every_case_passes_eager() {
    assert_passed(&run(usual().eager(true)));
}

/// Cases whose changed pages leave memory.
const SWAPPED: &str = "swap.* evict.stored evict.forked rfmem.server.refused";

/// Those cases, with swap.
fn swapping() -> Guest {
    let guest = guest().swap(Swap::Size(SWAP));
    guest.command(format!("suite {SWAPPED}"))
}

#[test]
fn cases_with_swap_pass_deferred() {
    assert_passed(&run(swapping()));
}

#[test]
fn cases_with_swap_pass_eager() {
    assert_passed(&run(swapping().eager(true)));
}

/// A sample for a guest in which every page that can leave memory leaves at once:
/// instructions and calls that need several pages, the state of the processor, page
/// states, shared frames, what deferral saves, notes, messages, programs, the heap, servers
/// that fail.
const PRESSED: &str = "evict.forked evict.straddling evict.copy evict.state evict.stack evict.call \
    registers.* swap.* snapshot.* sharing.* cost.* note.* exchange.* reply.* exec.* heap.* \
    heap-cost.* write.* ragged.small-reads* contract.* server.* rfmem.* threads.heap threads.fork";

/// Bytes of swap there: some cases take all memory, a page at a time.
const PRESSED_SWAP: u64 = 64 << 20;

/// A guest with little memory in which every page that can leave it leaves at once.
fn pressed(cases: &str) -> Guest {
    guest()
        .mem("64M")
        .pressure(true)
        .swap(Swap::Size(PRESSED_SWAP))
        .command(format!("suite {cases}"))
}

/// The sample, or the cases that the environment asks for.
fn sample() -> Guest {
    pressed(&env::var("DORMOUSE_CASES").unwrap_or(PRESSED.to_string()))
}

#[test]
fn cases_pass_under_pressure_deferred() {
    assert_passed(&run(sample()));
}

#[test]
fn cases_pass_under_pressure_eager() {
    assert_passed(&run(sample().eager(true)));
}

#[test]
#[ignore = "takes minutes; run with -- --ignored"]
fn every_case_passes_under_pressure_deferred() {
    assert_passed(&run(pressed("")));
}

#[test]
#[ignore = "takes minutes; run with -- --ignored"]
fn every_case_passes_under_pressure_eager() {
    assert_passed(&run(pressed("").eager(true)));
}

/// Seeds of one guest in the long form.
const SEEDS: u64 = 20;

/// Random calls and random programs with honest and lying servers, deferred and eager in
/// turn. `DORMOUSE_SECONDS` is another duration, `DORMOUSE_SEED` another first seed.
#[test]
#[ignore = "takes an hour, or DORMOUSE_SECONDS; run with -- --ignored"]
fn random_calls_and_programs_pass_for_an_hour() {
    let number = |name, usual| env::var(name).map_or(usual, |text| text.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(number("DORMOUSE_SECONDS", 3600));
    let mut seed = number("DORMOUSE_SEED", 100);
    while Instant::now() < end {
        println!("seeds {seed} to {}", seed + SEEDS - 1);
        // Random calls make files under random names.
        let share = scratch();
        let guest = guest().eager(seed / SEEDS % 2 == 1);
        let guest = guest.command(format!("suite seeds {seed} {SEEDS}"));
        assert_passed(&run_in(share.path(), guest));
        seed += SEEDS;
    }
}

/// Does what the suite is run with find anything? One frame is left unwritten.
#[test]
fn a_frame_that_nobody_wrote_is_found_before_a_program_sees_it() {
    for case in ["poison.mapped", "poison.copied"] {
        for (poison, found) in [("1", true), ("0", false)] {
            let guest = guest().option("test", "1");
            let guest = guest.option("poison", poison);
            let outcome = guest.command(format!("suite {case}")).run().unwrap();
            let console = &outcome.console;
            assert_eq!(
                console.contains("is not initialised"),
                found,
                "{case}: {console}"
            );
            assert_eq!(outcome.exit_code == Some(EXIT_HALT), !found, "{console}");
        }
    }
}

/// The calls of drivers, with their privileges.
#[test]
fn what_drivers_may_harms_nobody() {
    let guest = guest().option("drivers", "1");
    assert_passed(&run(guest.command("suite drivers.*")));
}

/// What was lent to a driver stays with its device when the driver ends.
#[test]
fn memory_lent_to_a_server_that_ends_is_not_used_again() {
    for case in ["loan.died", "lent.died"] {
        let guest = Guest::new().option("drivers", "1");
        let outcome = run(guest.command(format!("suite {case}")));
        let console = &outcome.console;
        assert_eq!(outcome.exit_code, Some(EXIT_HALT), "{console}");
        let stays = "stay with the device of a server that ended";
        assert!(console.contains(stays), "{console}");
        assert!(console.contains("free frames"), "{console}");
    }
}

#[test]
fn the_judge_can_fail() {
    let outcome = run(guest().command("suite must-fail"));
    let report = outcome.report();
    assert_eq!(outcome.exit_code, Some(EXIT_HALT), "{}", outcome.console);
    assert!(
        matches!(report.cases.as_slice(), [case] if matches!(case.verdict, Verdict::Failed(_))),
        "{report:?}"
    );
    assert!(!report.problems(outcome.exit_code).is_empty());
}
