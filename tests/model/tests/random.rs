//! Random programs, over servers that keep every snapshot as a copy, and over
//! the real snapfs.

use dormouse_model_tests as model;
use model::case::Case;
use model::fake::{Fake, FakeFile};
use model::generate::{Files, Flavour};
use model::real::{Real, RealFile};
use model::run::{recorded, run, run_random, sample};
use program::content;
use std::path::Path;

const FILES: Files = Files {
    sizes: &[6 * 4096, 3 * 4096 + 1234, 4 * 4096 + 77, 2 * 4096 + 500],
    servers: &[0, 0, 1, 2],
    plain: 3,
};

fn fake(sizes: &[usize]) -> Fake {
    let file = |(number, size): (usize, &usize)| FakeFile {
        server: FILES.servers[number],
        snapshots: number != FILES.plain,
        declines: number == 1,
        content: content(number, *size),
    };
    Fake::new(sizes.iter().enumerate().map(file).collect())
}

fn real(sizes: &[usize]) -> Real {
    let file = |(number, size): (usize, &usize)| RealFile {
        server: FILES.servers[number],
        snapshots: number != FILES.plain,
        write_only: false,
        content: content(number, *size),
    };
    Real::new(&sizes.iter().enumerate().map(file).collect::<Vec<_>>())
}

fn random_fake(name: &str, flavour: Flavour) {
    run_random(name, 600, flavour, FILES, fake);
}

fn random_real(name: &str, flavour: Flavour) {
    run_random(name, 600, flavour, FILES, real);
}

#[test]
fn over_copies_nothing_goes_wrong() {
    random_fake("copies, plain", Flavour::Plain);
}

#[test]
fn over_copies_messages_and_allocations_fail() {
    random_fake("copies, failing", Flavour::Failing);
}

#[test]
fn over_copies_things_happen_in_the_middle_of_others() {
    random_fake("copies, interrupted", Flavour::Interrupted);
}

#[test]
fn over_snapfs_nothing_goes_wrong() {
    random_real("snapfs, plain", Flavour::Plain);
}

#[test]
fn over_snapfs_messages_and_allocations_fail() {
    random_real("snapfs, failing", Flavour::Failing);
}

#[test]
fn over_snapfs_things_happen_in_the_middle_of_others() {
    random_real("snapfs, interrupted", Flavour::Interrupted);
}

/// The program in the file `DORMOUSE_REPLAY`, if there is one.
#[test]
fn a_program_is_replayed() -> Result<(), String> {
    let Some(path) = std::env::var_os("DORMOUSE_REPLAY") else {
        return Ok(());
    };
    let case = program_in(Path::new(&path))?;
    run(fake(&case.files), &case);
    run(real(&case.files), &case);
    Ok(())
}

/// The program in a file, whose name may be seen from the root of the tree.
fn program_in(path: &Path) -> Result<Case, String> {
    let about = |error: String| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path)
        .or_else(|error| std::fs::read_to_string(Path::new("../..").join(path)).map_err(|_| error))
        .map_err(|error| about(error.to_string()))?;
    Case::parse(&text).map_err(|bad| about(bad.0))
}

#[test]
fn a_file_that_is_no_program_is_named() {
    let said = |path: &str| program_in(Path::new(path)).unwrap_err();
    assert!(said("/no/such").starts_with("/no/such: No such file"));
    assert!(said("Cargo.toml").starts_with("Cargo.toml: "));
    assert_eq!(said("Cargo.toml").lines().count(), 1);
    assert!(program_in(Path::new("tests/model/programs/random-1.txt")).is_ok());
}

#[test]
fn the_recorded_programs_run() {
    for (name, text) in recorded() {
        println!("{name}");
        let case = Case::parse(&text).expect("a program");
        run(fake(&case.files), &case);
        run(real(&case.files), &case);
    }
}

/// Writes the random ones among the recorded programs.
#[test]
#[ignore = "changes tests/model/programs"]
fn random_programs_are_recorded() {
    for seed in 1..=6 {
        let case = sample(seed, Flavour::Plain, FILES);
        let path = format!("programs/random-{seed}.txt");
        std::fs::write(path, format!("# Seed {seed}.\n{case}")).expect("written");
    }
}
