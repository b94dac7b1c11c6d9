//! Every sequence of a written list of operations in a tiny world.
//!
//! `DORMOUSE_SEQUENCE="fresh A-reads-f0 ..."` replays one instead. Those of
//! length 5: `cargo test -p dormouse-model-tests --test exhaustive -- --ignored
//! --nocapture`, which takes about an hour; `DORMOUSE_START` names another
//! start, `DORMOUSE_PART=3/50` does only that part of them.

use dormouse_model_tests as model;
use model::exhaustive::ops::STARTS;
use model::exhaustive::search::{Part, all, replay};
use model::exhaustive::{SMALL_COMMITS, SMALL_MESSAGES};

/// The sequence to replay, if there is one.
fn replayed() -> bool {
    let sequence = std::env::var("DORMOUSE_SEQUENCE");
    if let Ok(sequence) = &sequence {
        replay(sequence, SMALL_MESSAGES);
        replay(sequence, SMALL_COMMITS);
    }
    sequence.is_ok()
}

#[test]
fn every_sequence_of_four_operations_equals_eager() {
    if replayed() {
        return;
    }
    // The shortest that fails is shown.
    for length in 1..=3 {
        for (start, _) in STARTS {
            all(start, SMALL_MESSAGES, length, Part::ALL);
            all(start, SMALL_COMMITS, length, Part::ALL);
        }
    }
    all("fresh", SMALL_MESSAGES, 4, Part::ALL);
}

#[test]
#[ignore = "an hour; see the top of this file"]
fn every_sequence_of_five_operations_equals_eager() {
    let start = std::env::var("DORMOUSE_START");
    let part = std::env::var("DORMOUSE_PART");
    let part = part.map_or(Part::ALL, |text| text.parse().expect("n/m"));
    all(start.as_deref().unwrap_or("fresh"), SMALL_MESSAGES, 5, part);
}
