//! Processes at the same time, in every order: see [`model::schedule`].

use std::collections::HashSet;

use dormouse_model_tests as model;
use model::PAGE;
use model::fake::{Fake, FakeFile};
use model::real::{Real, RealFile};
use model::schedule::{Explored, Options, Points, Scenario, explore};
use model::server::Servers;
use model::world::Config;
use program::Op;

/// Subject; operations before; the flows. Operations of one flow are separated
/// by `;`. Both pages of file 0 are read before everything else.
const SCENARIOS: &[(&str, &str, &[&str])] = &[
    (
        "two fault on one page",
        "",
        &["load 0 0 8", "store 0 4 8 7"],
    ),
    (
        "three fault on one page",
        "",
        &["load 0 0 8", "store 0 4 8 7", "load 0 2 8"],
    ),
    (
        "two fault on a page of two files",
        "read 0 100 3000 file1 5",
        &["load 0 0 4096", "store 0 96 8 7"],
    ),
    (
        "faults on two pages of a run",
        "",
        &["load 0 0 8", "store 0 4100 8 7"],
    ),
    (
        "faults on the pages of two runs",
        "read 0 0 12288 file0 0",
        &["load 0 4096 8", "load 0 0 8; store 0 8192 8 7"],
    ),
    (
        "fault, free of its neighbour and fault there",
        "",
        &["load 0 0 8", "free 0 4096 4096; load 0 4096 8"],
    ),
    (
        "fault, read over its neighbour and fault there",
        "",
        &["load 0 0 8", "read 0 4096 4096 file1 0; load 0 4096 8"],
    ),
    (
        "fault, write back of its neighbour",
        "store 0 4096 8 7",
        &[
            "free 0 4096 4096; load 0 0 8",
            "write 0 4096 4096 file0 4096",
        ],
    ),
    ("fault, fork", "", &["store 0 0 8 7", "fork 0"]),
    (
        "fault, fork and fault there",
        "",
        &["load 0 0 8", "fork 0; load 1 0 8; store 1 0 8 9"],
    ),
    (
        "store, fork and store there",
        "load 0 0 8192",
        &["store 0 0 8 7", "fork 0; store 1 4 8 9"],
    ),
    (
        "faults of parent and child",
        "fork 0",
        &["store 0 0 8 7", "store 1 4 8 9"],
    ),
    (
        "stores of parent and child on one frame",
        "load 0 0 8192; fork 0",
        &["store 0 0 8 7", "store 1 4 8 9"],
    ),
    (
        "stores of parent and grandchild, fork in between",
        "store 0 0 8192 7; fork 0",
        &["store 0 4 8 8", "fork 1; store 2 0 8 9"],
    ),
    (
        "store of the child, eviction and load of the parent",
        "load 0 0 8192; fork 0",
        &["store 1 0 8 7", "evict 0 0; load 0 0 8"],
    ),
    (
        "store of the child, eviction and fork of the parent",
        "load 0 0 8192; fork 0",
        &["store 1 0 8 7", "evict 0 0; fork 0; store 2 4 8 9"],
    ),
    (
        "page-outs of parent and child",
        "store 0 0 8192 7; fork 0",
        &["page-out 0 0 2", "page-out 1 0 2; store 1 4 8 9"],
    ),
    (
        "page-out of the child, store and exit of the parent",
        "store 0 0 8192 7; fork 0",
        &["page-out 1 0 2; load 1 0 8", "store 0 4 8 9; exit 0"],
    ),
    (
        "write back of the parent, store and write of the child",
        "store 0 0 8 7; load 0 4096 8; fork 0",
        &[
            "write 0 0 8192 file0 0",
            "store 1 0 8 9; write 1 0 8192 file1 0",
        ],
    ),
    (
        "load from swap of the parent, store of the child",
        "store 0 0 8192 7; page-out 0 0 2; fork 0",
        &["load 0 0 8", "store 1 4 8 9; exit 1"],
    ),
    (
        "read over in the parent, store of the child",
        "load 0 0 8192; store 0 4096 8 7; fork 0",
        &["read 0 100 8000 file1 0", "store 1 4 8 9; load 1 4096 8"],
    ),
    (
        "fault, write back",
        "store 0 0 8 7",
        &["store 0 4096 8 9", "write 0 0 8192 file0 0"],
    ),
    (
        "store, write back",
        "store 0 0 8 7",
        &["store 0 4 8 9", "write 0 0 8192 file0 0"],
    ),
    (
        "stores, write back",
        "store 0 0 8192 7",
        &["store 0 4 8 9; store 0 4100 8 9", "write 0 0 8192 file0 0"],
    ),
    (
        "fault, another's write",
        "",
        &["load 0 0 8", "foreign file0 0 8192 3"],
    ),
    (
        "fault of the child, write back of the parent",
        "store 0 0 8 7; fork 0",
        &["load 1 4096 8", "write 0 0 8192 file0 0"],
    ),
    (
        "fault, exit of the parent",
        "fork 0",
        &["load 1 0 8", "exit 0"],
    ),
    (
        "fault, exit of the child that has stored",
        "fork 0; store 1 0 8 7",
        &["store 0 0 8 9", "exit 1"],
    ),
    (
        "fault, end of the segment's content",
        "",
        &["store 0 0 8 7", "free 0 0 12288"],
    ),
    ("fault, free", "", &["load 0 0 8", "free 0 0 8192"]),
    (
        "fault, read over",
        "",
        &["load 0 0 8", "read 0 0 8192 file1 0"],
    ),
    (
        "fault, read over and fault",
        "",
        &["load 0 0 8", "read 0 0 8192 file1 0; load 0 0 8"],
    ),
    (
        "fault, eager read over",
        "",
        &["load 0 0 8", "read 0 0 8192 file1 0 eager"],
    ),
    (
        "fault, eviction",
        "load 0 0 8192",
        &["store 0 0 8 7", "evict 0 0"],
    ),
    (
        "fault, eviction and fault",
        "load 0 0 8192",
        &["load 0 0 8", "evict 0 0; load 0 4 8"],
    ),
    (
        "write elsewhere, eviction",
        "load 0 0 8192; store 0 0 8 7",
        &["write 0 0 8192 file1 0", "evict 0 1"],
    ),
    (
        "write to another server, eviction",
        "load 0 0 8192; store 0 0 8 7",
        &["write 0 0 8192 file2 0", "evict 0 1"],
    ),
    (
        "write back, free",
        "store 0 0 8 7",
        &["write 0 0 8192 file0 0", "free 0 0 8192"],
    ),
    (
        "write elsewhere, read over",
        "",
        &["write 0 0 8192 file1 0", "read 0 0 8192 file1 4096"],
    ),
    (
        "write back, fork",
        "store 0 0 8 7",
        &["write 0 0 8192 file0 0", "fork 0"],
    ),
    (
        "write back, fork and store there",
        "store 0 0 8 7",
        &["write 0 0 8192 file0 0", "fork 0; store 1 4 8 9"],
    ),
    (
        "write back, store and write elsewhere",
        "store 0 0 8 7",
        &[
            "write 0 0 8192 file0 0",
            "store 0 0 8 9; write 0 0 8192 file1 0",
        ],
    ),
    (
        "page-out, store",
        "store 0 0 8192 7",
        &["page-out 0 0 2", "store 0 4 8 9"],
    ),
    (
        "page-out, stores",
        "store 0 0 8192 7",
        &[
            "page-out 0 0 2; page-out 0 0 2",
            "store 0 4 8 9; store 0 4100 8 9",
        ],
    ),
    (
        "page-out, page-out and load",
        "store 0 0 8192 7",
        &["page-out 0 0 2", "page-out 0 0 1; load 0 0 8"],
    ),
    (
        "page-out, fork and store there",
        "store 0 0 8192 7",
        &["page-out 0 0 2", "fork 0; store 1 4 8 9"],
    ),
    (
        "page-out, write back",
        "store 0 0 8192 7",
        &["page-out 0 0 2", "write 0 0 8192 file0 0"],
    ),
    (
        "page-out, read over and store",
        "store 0 0 8192 7",
        &["page-out 0 0 2", "read 0 0 8192 file1 0; store 0 0 8 9"],
    ),
    (
        "page-out, free and store",
        "store 0 0 8192 7",
        &["page-out 0 0 2", "free 0 0 8192; store 0 0 8 9"],
    ),
    (
        "page-out, exit",
        "store 0 0 8192 7; page-out 0 0 1",
        &["page-out 0 1 1", "exit 0"],
    ),
    (
        "loads from swap",
        "store 0 0 8192 7; page-out 0 0 2",
        &["load 0 0 8", "store 0 4 8 9", "load 0 2 8"],
    ),
    (
        "load from swap, free",
        "store 0 0 8192 7; page-out 0 0 2",
        &["load 0 0 8", "free 0 0 4096"],
    ),
    (
        "load from swap, free of a part",
        "store 0 0 8192 7; page-out 0 0 2",
        &["load 0 0 8", "free 0 100 4096"],
    ),
    (
        "load from swap, read over",
        "store 0 0 8192 7; page-out 0 0 2",
        &["load 0 0 8", "read 0 100 8000 file1 0"],
    ),
    (
        "load from swap, other bytes paged out",
        "store 0 0 8192 7; page-out 0 0 2",
        &["load 0 0 8", "free 0 0 4096; store 0 0 8 9; page-out 0 0 1"],
    ),
    (
        "load from swap, fork and page-out there",
        "store 0 0 8192 7; page-out 0 0 2",
        &["load 0 0 8", "fork 0; store 1 4 8 9; page-out 1 0 2"],
    ),
    (
        "write from swap, page-out",
        "store 0 0 8192 7; page-out 0 0 2",
        &["write 0 0 8192 file0 0", "page-out 0 0 2"],
    ),
    (
        "free in swap, page-out",
        "store 0 0 8192 7; page-out 0 0 2; store 0 0 8 9",
        &["free 0 4096 4096", "page-out 0 0 1"],
    ),
    (
        "page-outs of parent and child",
        "store 0 0 8192 7; page-out 0 0 2; fork 0",
        &[
            "store 0 0 8 9; page-out 0 0 2",
            "store 1 4 8 5; page-out 1 0 2",
        ],
    ),
    (
        "append, append",
        "store 0 0 8 7; fork 0; store 1 0 8 9",
        &["write 0 0 4096 file1 end", "write 1 0 4096 file1 end"],
    ),
    (
        "parent and child write back",
        "store 0 0 8 7; fork 0; store 1 4096 8 9",
        &["write 0 0 8192 file0 0", "write 1 0 8192 file0 0"],
    ),
    (
        "read of one, write back of the other",
        "store 0 0 8192 7; fork 0",
        &["write 0 0 8192 file0 0", "read 1 0 8192 file0 0"],
    ),
    (
        "write back, write elsewhere",
        "store 0 0 8 7",
        &["write 0 0 8192 file0 0", "write 0 0 8192 file1 0"],
    ),
    (
        "two reads over",
        "store 0 0 8 7",
        &["read 0 100 8000 file1 0", "read 0 4096 4096 file1 0"],
    ),
    (
        "two reads over, of which one is eager",
        "store 0 0 8 7",
        &["read 0 100 4000 file1 0", "read 0 0 4096 file2 0 eager"],
    ),
    (
        "read over, free",
        "store 0 0 8 7",
        &["read 0 100 8000 file1 0", "free 0 0 8192"],
    ),
    (
        "read over, fork",
        "store 0 0 8 7",
        &["read 0 100 8000 file1 0", "fork 0; store 1 4 8 9"],
    ),
    (
        "two write back",
        "store 0 0 8192 7",
        &["write 0 0 4096 file0 0", "write 0 4096 4096 file0 4096"],
    ),
    (
        "two free",
        "store 0 0 8 7",
        &["free 0 0 4096", "free 0 100 8000"],
    ),
];

fn content(file: usize) -> Vec<u8> {
    let page = |page: usize| [(16 * (file + 1) + page) as u8; PAGE];
    [page(0), page(1), page(2)].concat()
}

fn fake() -> Fake {
    let file = |number: usize| FakeFile {
        server: number / 2,
        snapshots: true,
        declines: false,
        content: content(number),
    };
    Fake::new((0..3).map(file).collect())
}

fn real() -> Real {
    let file = |number: usize| RealFile {
        server: number / 2,
        snapshots: true,
        write_only: false,
        content: content(number),
    };
    Real::new(&(0..3).map(file).collect::<Vec<_>>())
}

/// A kernel whose messages have room for one page, and of whose fills `run` pages come
/// at once.
fn config(keeps_frames: bool, run: usize) -> Config {
    Config {
        iounit: 4096,
        ops: vm::OPS_MAX,
        wmax: 8 << 20,
        pages: 520,
        keeps_frames,
        run,
        trim_worth: 1,
    }
}

fn ops(text: &str) -> Vec<Op> {
    let lines = text.split(';').filter(|op| !op.trim().is_empty());
    lines
        .map(|op| Op::parse(op).expect("an operation"))
        .collect()
}

fn scenarios() -> impl Iterator<Item = Scenario> {
    SCENARIOS.iter().map(|(name, before, flows)| Scenario {
        name,
        before: ops(&format!("read 0 0 8192 file0 0;{before}")),
        flows: flows.iter().map(|flow| ops(flow)).collect(),
    })
}

/// Returns true if there are too many orders of all steps.
fn heavy(scenario: &Scenario) -> bool {
    let names = [
        "fault, read over its neighbour and fault there",
        "fault, write back of its neighbour",
        "fault, read over",
        "fault, eager read over",
        "fault, read over and fault",
        "write elsewhere, read over",
        "two reads over",
        "two reads over, of which one is eager",
        "read over, free",
        "read over, fork",
        "two write back",
        "write back, write elsewhere",
        "write back, store and write elsewhere",
        "page-outs of parent and child",
        "page-out, stores",
        "page-out, write back",
        "page-out, read over and store",
        "load from swap, read over",
    ];
    scenario.flows.len() > 2 || names.contains(&scenario.name)
}

/// Runs all schedules of all scenarios.
fn try_all<S: Servers + 'static>(name: &str, servers: fn() -> S) {
    let mut all = Explored::default();
    for scenario in scenarios() {
        for (points, keeps_frames, run) in [
            (Points::Messages, false, 1),
            (Points::Messages, true, 2),
            (Points::Every, true, 1),
            (Points::Every, false, 2),
        ] {
            let most = (points == Points::Every && heavy(&scenario)).then_some(3);
            let options = Options {
                points,
                all: false,
                preemptions: most,
            };
            let found = explore(servers, config(keeps_frames, run), &scenario, options);
            println!(
                "{name}: {}, {points:?}, runs of {run}: {} schedules, {} of {} ends",
                scenario.name,
                found.schedules,
                found.met.len(),
                found.allowed
            );
            all.schedules += found.schedules;
            all.steps += found.steps;
        }
    }
    println!(
        "{name}: {} scenarios, {} schedules, {} steps",
        SCENARIOS.len(),
        all.schedules,
        all.steps
    );
}

#[test]
fn over_copies_every_order_ends_as_eager_operations_may() {
    try_all("copies", fake);
}

#[test]
fn over_snapfs_every_order_ends_as_eager_operations_may() {
    try_all("snapfs", real);
}

/// Orders left out as equivalent are equivalent: with and without them, the
/// same ends are reached.
#[test]
fn orders_that_are_left_out_end_like_others() {
    let mut left_out = 0;
    let light = scenarios().filter(|scenario| !heavy(scenario));
    for scenario in light {
        let ends = |all: bool| {
            let options = Options {
                points: Points::Messages,
                all,
                preemptions: None,
            };
            let found = explore(fake, config(true, 2), &scenario, options);
            (found.schedules, found.met)
        };
        let ((few, met), (many, all)) = (ends(false), ends(true));
        println!("{}: {few} of {many} schedules", scenario.name);
        let same: HashSet<_> = met.symmetric_difference(&all).collect();
        assert!(same.is_empty(), "{}", scenario.name);
        left_out += many - few;
    }
    assert!(left_out > 0);
}
