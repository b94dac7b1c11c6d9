//! Random programs over servers that keep every snapshot as a copy.

use dormouse_model_tests as model;
use model::fake::{Fake, FakeFile};
use model::program::{Flavour, Random};
use model::run::run_random;

const PLAIN: usize = 3;

/// Two files on one server, one on another, one on a server without snapshots.
fn servers() -> Fake {
    let mut random = Random(42);
    let mut file = |server, pages_and_bytes: (usize, usize), declines| FakeFile {
        server,
        snapshots: server < 2,
        declines,
        content: (0..pages_and_bytes.0 * 4096 + pages_and_bytes.1)
            .map(|_| random.next() as u8)
            .collect(),
    };
    Fake::new(vec![
        file(0, (6, 0), false),
        file(0, (3, 1234), true),
        file(1, (4, 77), false),
        file(2, (2, 500), false),
    ])
}

#[test]
fn nothing_goes_wrong() {
    run_random("plain", 2000, Flavour::Plain, PLAIN, servers);
}

#[test]
fn messages_and_allocations_fail() {
    run_random("failing", 2000, Flavour::Failing, PLAIN, servers);
}

#[test]
fn things_happen_in_the_middle_of_others() {
    run_random("interrupted", 2000, Flavour::Interrupted, PLAIN, servers);
}
