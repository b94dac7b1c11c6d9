//! Every single failure: in each program of `tests/model/programs` the first
//! message fails, the second, and so on until the program has no more; then requests for
//! snapshots, which no program may notice; then the allocations of
//! frames, nodes and tables, then the writes to snapfs's temporary files, then the
//! requests to the swap server (also by a bit that is wrong); each alone, and each with all after it. Afterwards data is right or the error was
//! reported, and nothing is left: frames, snapshots, fids, temporary bytes.

use dormouse_model_tests as model;
use model::case::Case;
use model::real::{Real, RealFile};
use model::run::{Failure, FailureKind, recorded, run_failing};
use model::swap::Harm;
use program::content;

/// Small messages, so that there are many.
const CONFIGS: [&str; 3] = [
    "iounit 4096 ops 2 wmax 8388608 trim 1 keeps-frames",
    "iounit 4096 ops 48 wmax 8192 trim 1",
    "iounit 131072 ops 48 wmax 8388608 trim 65536",
];

fn servers(sizes: &[usize]) -> Real {
    let file = |(number, size): (usize, &usize)| RealFile {
        server: [0, 0, 1, 2][number],
        snapshots: number != 3,
        write_only: false,
        content: content(number, *size),
    };
    Real::new(&sizes.iter().enumerate().map(file).collect::<Vec<_>>())
}

/// All that can fail; a request to swap in two ways.
const KINDS: [FailureKind; 6] = [
    FailureKind::Message,
    FailureKind::Snapshot,
    FailureKind::Frame,
    FailureKind::Store,
    FailureKind::Swap(Harm::Error),
    FailureKind::Swap(Harm::FullOrFlipped),
];

/// Says which run it was, if that panics.
struct ToldIfLost(String);

impl Drop for ToldIfLost {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.0);
        }
    }
}

/// Runs a program with each `kind` failing; how many there were.
fn fail_each(name: &str, case: &Case, kind: FailureKind) -> u64 {
    let mut count = 0;
    for for_good in [false, true] {
        for at in 0.. {
            let failure = Failure { kind, at, for_good };
            let _told = ToldIfLost(format!("{name}: {failure:?}"));
            if run_failing(servers(&case.files), case, Some(failure)) == 0 {
                break;
            }
            count += 1;
        }
    }
    count
}

#[test]
fn whatever_single_thing_fails_data_is_right_or_the_error_was_reported() {
    let (mut total, mut by_kind) = (0, [0; 6]);
    for (name, text) in recorded() {
        for config in CONFIGS {
            let case = Case::parse(&format!("{text}\nconfig {config}")).expect("a program");
            for (kind, counted) in KINDS.into_iter().zip(&mut by_kind) {
                let count = fail_each(&name, &case, kind);
                *counted += count;
                total += count;
            }
        }
    }
    let [messages, snapshots, frames, store, swap, harmed] = by_kind;
    let swap = swap + harmed;
    println!(
        "{total} failures injected: {messages} messages, {snapshots} snapshots, {frames} allocations, {store} writes to \
         temporary files, {swap} requests to swap"
    );
    assert!(messages > 500 && snapshots > 50 && frames > 500 && store > 50 && swap > 100);
}
