//! Random programs, over servers that keep every snapshot as a copy, and over
//! the real snapfs.

use dormouse_model_tests as model;
use model::fake::{Fake, FakeFile};
use model::program::{Flavour, Random};
use model::real::{Real, RealFile};
use model::run::run_random;

/// The file on a server without snapshots.
const PLAIN: usize = 3;

/// Server, size in bytes, and whether the server declines to re-associate.
const FILES: [(usize, usize, bool); 4] = [
    (0, 6 * 4096, false),
    (0, 3 * 4096 + 1234, true),
    (1, 4 * 4096 + 77, false),
    (2, 2 * 4096 + 500, false),
];

fn content(file: usize) -> Vec<u8> {
    let mut random = Random(file as u64);
    (0..FILES[file].1).map(|_| random.number() as u8).collect()
}

fn fake() -> Fake {
    let file = |number: usize| FakeFile {
        server: FILES[number].0,
        snapshots: number != PLAIN,
        declines: FILES[number].2,
        content: content(number),
    };
    Fake::new((0..FILES.len()).map(file).collect())
}

fn real() -> Real {
    let file = |number: usize| RealFile {
        server: FILES[number].0,
        snapshots: number != PLAIN,
        write_only: false,
        content: content(number),
    };
    Real::new(&(0..FILES.len()).map(file).collect::<Vec<_>>())
}

#[test]
fn over_copies_nothing_goes_wrong() {
    run_random("plain", 600, Flavour::Plain, PLAIN, fake);
}

#[test]
fn over_copies_messages_and_allocations_fail() {
    run_random("failing", 600, Flavour::Failing, PLAIN, fake);
}

#[test]
fn over_copies_things_happen_in_the_middle_of_others() {
    run_random("interrupted", 600, Flavour::Interrupted, PLAIN, fake);
}

#[test]
fn over_snapfs_nothing_goes_wrong() {
    run_random("snapfs plain", 600, Flavour::Plain, PLAIN, real);
}

#[test]
fn over_snapfs_messages_and_allocations_fail() {
    run_random("snapfs failing", 600, Flavour::Failing, PLAIN, real);
}

#[test]
fn over_snapfs_things_happen_in_the_middle_of_others() {
    run_random("snapfs interrupted", 600, Flavour::Interrupted, PLAIN, real);
}

/// Every message and every allocation of some random programs fails in turn.
#[test]
fn over_snapfs_every_single_failure() {
    model::run::fail_each("each failure", 6, PLAIN, real);
}
