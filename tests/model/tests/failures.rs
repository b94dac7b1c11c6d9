//! Every single failure: in each of some scenarios the first message fails, the
//! second, and so on until the scenario has no more; then the allocations of
//! frames, nodes and tables, then the writes to snapfs's temporary files; each
//! alone, and each with all after it. Afterwards data is right or the error was
//! reported, and nothing is left: frames, snapshots, fids, temporary bytes.

use dormouse_model_tests as model;
use model::case::Case;
use model::real::{Real, RealFile};
use model::run::{Failure, FailureKind, run_failing};
use program::content;

/// Small messages, so that there are many.
const CONFIGS: [&str; 3] = [
    "iounit 4096 ops 2 wmax 8388608 trim 1 keeps-frames",
    "iounit 4096 ops 48 wmax 8192 trim 1",
    "iounit 131072 ops 48 wmax 8388608 trim 65536",
];

/// A name and a program each; file 2 is at another server, file 3 at one
/// without snapshots.
const SCENARIOS: [(&str, &str); 14] = [
    (
        "read, touch, store, write back",
        "read 0 0 24576 file0 0\nload 0 0 8192\nstore 0 4100 50 1\nstore 0 12288 4096 2\n\
         write 0 0 24576 file0 0\nstore 0 8192 1 3\nwrite 0 0 24576 file0 0",
    ),
    (
        "write elsewhere in the file, and to another",
        "read 0 0 16384 file0 0\nstore 0 0 9 1\nwrite 0 0 12288 file0 8192\n\
         write 0 0 16384 file1 0\nload 0 0 16384",
    ),
    (
        "write to another server, and to one without snapshots",
        "read 0 0 16384 file0 0\nstore 0 0 9 1\nwrite 0 0 16384 file2 0\n\
         write 0 0 16384 file3 0\nread 0 0 16384 file3 0\nload 0 0 16384",
    ),
    (
        "ragged",
        "read 0 2 20000 file0 1\nload 0 4000 300\nstore 0 8190 9 1\nread 0 8000 5000 file1 77\n\
         write 0 1 19999 file0 0\nwrite 0 100 9000 file1 3\nload 0 0 24576",
    ),
    (
        "a loop of small reads",
        "read 0 0 4093 file0 0\nread 0 4093 4093 file0 4093\nread 0 8186 4093 file0 8186\n\
         load 0 0 12279\nwrite 0 0 12279 file0 0",
    ),
    (
        "fork, both write",
        "read 0 0 16384 file0 0\nstore 0 0 9 1\nfork 0\nstore 1 4096 9 2\nwrite 0 0 16384 file0 0\n\
         write 1 0 16384 file0 0\nload 0 0 16384\nload 1 0 16384\nexit 1\nstore 0 8192 9 3\n\
         write 0 0 16384 file0 0",
    ),
    (
        "append",
        "read 0 0 13522 file1 0\nstore 0 0 9 1\nwrite 0 0 13522 file1 end\nstore 0 9000 9 2\n\
         write 0 100 9000 file1 end\nload 0 0 16384",
    ),
    (
        "truncated by another",
        "read 0 0 24576 file0 0\nload 0 4096 1\ntruncate file0 5000\nload 0 0 24576\n\
         store 0 0 9 1\nwrite 0 0 24576 file0 0",
    ),
    (
        "overwritten by another",
        "read 0 0 24576 file0 0\nload 0 4096 1\nforeign file0 100 20000 5\nload 0 0 4096\n\
         foreign file0 0 24576 9\nstore 0 8192 9 1\nwrite 0 0 24576 file0 0\nload 0 0 24576",
    ),
    (
        "removed, and renamed over",
        "read 0 0 13522 file1 0\nremove file1\nload 0 0 13522\nread 0 0 24576 file0 0\n\
         rename file0 file1\nforeign file0 0 24576 9\nload 0 0 24576\nwrite 0 0 24576 file0 0",
    ),
    (
        "grown",
        "read 0 0 4096 file0 0\nread 0 4096 4096 file0 4096\nread 0 8192 4096 file0 8192\n\
         foreign file0 0 12288 1\ntruncate file0 40000\nload 0 0 12288\nread 0 12288 12288 file0 28000\n\
         load 0 12288 12288",
    ),
    (
        "trimmed",
        "read 0 0 24576 file0 0\nfree 0 4096 8192\nforeign file0 0 24576 1\nread 0 16384 8192 file1 0\n\
         load 0 0 24576\nfree 0 0 24576\nforeign file0 0 24576 2",
    ),
    (
        "eager and evicted",
        "read 0 0 24576 file0 0 eager\nread 0 4096 8192 file1 0\nload 0 4096 8192\nevict 0 1\n\
         store 0 4096 1 1\nevict 0 2\nwrite 0 0 24576 file0 0 eager\nload 0 0 24576",
    ),
    (
        "no room",
        "read 0 0 24576 file0 0\nfull on\nforeign file0 0 8192 1\nstore 0 0 9 1\n\
         write 0 0 24576 file1 0\nfull off\nforeign file0 0 8192 1\nload 0 0 24576",
    ),
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

/// Runs a scenario with each `kind` failing; how many there were.
fn fail_each(name: &str, case: &Case, kind: FailureKind) -> u64 {
    let mut count = 0;
    for for_good in [false, true] {
        for at in 0.. {
            let failure = Failure { kind, at, for_good };
            // Shown if the run panics.
            println!("{name}: {failure:?}");
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
    let (mut total, mut by_kind) = (0, [0; 3]);
    for (name, steps) in SCENARIOS {
        for config in CONFIGS {
            let text = format!("files 24576 13522 16461 8692\nconfig {config}\n{steps}");
            let case = Case::parse(&text).expect("a program");
            for (kind, counted) in [FailureKind::Message, FailureKind::Frame, FailureKind::Store]
                .into_iter()
                .zip(&mut by_kind)
            {
                let count = fail_each(name, &case, kind);
                *counted += count;
                total += count;
            }
        }
    }
    let [messages, frames, store] = by_kind;
    println!(
        "{total} failures injected: {messages} messages, {frames} allocations, {store} writes to \
         temporary files"
    );
    assert!(messages > 500 && frames > 500 && store > 50);
}
