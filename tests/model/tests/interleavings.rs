//! Processes at the same time, in every order: see [`model::schedule`].

use dormouse_model_tests as model;
use model::PAGE;
use model::fake::{Fake, FakeFile};
use model::real::{Real, RealFile};
use model::schedule::{Options, Points, Scenario, explore};
use model::server::Servers;
use model::world::Config;
use program::Op;

const N: usize = 2 * PAGE;

fn content(file: usize) -> Vec<u8> {
    let page = |page: usize| [(16 * (file + 1) + page) as u8; PAGE];
    [page(0), page(1), page(2)].concat()
}

fn fake() -> Fake {
    let file = |number: usize| FakeFile {
        server: 0,
        snapshots: true,
        declines: false,
        content: content(number),
    };
    Fake::new((0..2).map(file).collect())
}

fn real() -> Real {
    let file = |number: usize| RealFile {
        server: 0,
        snapshots: true,
        write_only: false,
        content: content(number),
    };
    Real::new(&(0..2).map(file).collect::<Vec<_>>())
}

fn config(keeps_frames: bool) -> Config {
    Config {
        iounit: 128 << 10,
        ops: vm::OPS_MAX,
        wmax: 8 << 20,
        pages: 520,
        keeps_frames,
        trim_worth: 1,
    }
}

const fn read(space: usize, at: usize, n: usize, file: usize, off: usize) -> Op {
    Op::Read {
        space,
        at,
        n,
        file,
        off,
        eager: false,
    }
}
const fn write(space: usize, at: usize, n: usize, file: usize, off: usize) -> Op {
    Op::Write {
        space,
        at,
        n,
        file,
        off: Some(off),
        eager: false,
    }
}
const fn load(space: usize, at: usize, n: usize) -> Op {
    Op::Load { space, at, n }
}
const fn store(space: usize, at: usize, n: usize, value: u8) -> Op {
    Op::Store {
        space,
        at,
        n,
        value,
    }
}
const fn free(space: usize, at: usize, n: usize) -> Op {
    Op::Free { space, at, n }
}
const fn fork(space: usize) -> Op {
    Op::Fork { space }
}
const fn evict(space: usize, page: usize) -> Op {
    Op::Evict { space, page }
}
const fn foreign(file: usize, off: usize, n: usize, value: u8) -> Op {
    Op::Foreign {
        file,
        off,
        n,
        value,
    }
}

/// All flows of each are of one process, unless another is named.
fn scenarios() -> Vec<Scenario> {
    let scenario = |name, before: &[Op], flows: &[&[Op]]| Scenario {
        name,
        before: before.to_vec(),
        flows: flows.iter().map(|ops| ops.to_vec()).collect(),
    };
    let image = read(0, 0, N, 0, 0);
    let loaded = load(0, 0, N);
    vec![
        scenario(
            "fault, fault",
            &[image.clone()],
            &[&[load(0, 0, 8)], &[store(0, 4, 8, 7)]],
        ),
        scenario(
            "fault, fault, fault",
            &[image.clone()],
            &[&[load(0, 0, 8)], &[store(0, 4, 8, 7)], &[load(0, 2, 8)]],
        ),
        scenario(
            "fault, fork",
            &[image.clone()],
            &[&[store(0, 0, 8, 7)], &[fork(0)]],
        ),
        scenario(
            "store, fork and store there",
            &[image.clone(), loaded.clone()],
            &[&[store(0, 0, 8, 7)], &[fork(0), store(1, 4, 8, 9)]],
        ),
        scenario(
            "faults of parent and child",
            &[image.clone(), fork(0)],
            &[&[store(0, 0, 8, 7)], &[store(1, 4, 8, 9)]],
        ),
        scenario(
            "stores of parent and child on one frame",
            &[image.clone(), loaded.clone(), fork(0)],
            &[&[store(0, 0, 8, 7)], &[store(1, 4, 8, 9)]],
        ),
        scenario(
            "fault, write back",
            &[image.clone(), store(0, 0, 8, 7)],
            &[&[store(0, PAGE, 8, 9)], &[write(0, 0, N, 0, 0)]],
        ),
        scenario(
            "store, write back",
            &[image.clone(), store(0, 0, 8, 7)],
            &[&[store(0, 4, 8, 9)], &[write(0, 0, N, 0, 0)]],
        ),
        scenario(
            "fault, foreign write",
            &[image.clone()],
            &[&[load(0, 0, 8)], &[foreign(0, 0, N, 3)]],
        ),
        scenario(
            "fault, free",
            &[image.clone()],
            &[&[load(0, 0, 8)], &[free(0, 0, N)]],
        ),
        scenario(
            "fault, read over",
            &[image.clone()],
            &[&[load(0, 0, 8)], &[read(0, 0, N, 1, 0)]],
        ),
        scenario(
            "fault, eviction",
            &[image.clone(), loaded.clone()],
            &[&[store(0, 0, 8, 7)], &[evict(0, 0)]],
        ),
        scenario(
            "write, eviction",
            &[image.clone(), loaded.clone(), store(0, 0, 8, 7)],
            &[&[write(0, 0, N, 1, 0)], &[evict(0, 1)]],
        ),
        scenario(
            "write, free",
            &[image.clone(), store(0, 0, 8, 7)],
            &[&[write(0, 0, N, 0, 0)], &[free(0, 0, N)]],
        ),
        scenario(
            "write, fork",
            &[image.clone(), store(0, 0, 8, 7)],
            &[&[write(0, 0, N, 0, 0)], &[fork(0)]],
        ),
        scenario(
            "write, write of a child",
            &[
                image.clone(),
                store(0, 0, 8, 7),
                fork(0),
                store(1, PAGE, 8, 9),
            ],
            &[&[write(0, 0, N, 0, 0)], &[write(1, 0, N, 0, 0)]],
        ),
        scenario(
            "write, write",
            &[image.clone(), store(0, 0, 8, 7)],
            &[&[write(0, 0, N, 0, 0)], &[write(0, 0, N, 1, 0)]],
        ),
    ]
}

/// Has it too many orders with points everywhere?
fn heavy(scenario: &Scenario) -> bool {
    scenario.flows.len() > 2 || scenario.name == "write, write"
}

/// Runs all schedules of all scenarios; at least one end of each is met.
fn try_all<S: Servers + 'static>(name: &str, servers: fn() -> S) {
    let (mut schedules, mut steps) = (0, 0);
    for scenario in scenarios() {
        for (points, keeps_frames) in [
            (Points::Messages, false),
            (Points::Messages, true),
            (Points::Every, true),
        ] {
            let options = Options {
                points,
                all: false,
                preemptions: (points == Points::Every && heavy(&scenario)).then_some(3),
            };
            let found = explore(servers, config(keeps_frames), &scenario, options);
            println!(
                "{name}: {}, {points:?}: {} schedules, {} of {} ends",
                scenario.name,
                found.schedules,
                found.met.len(),
                found.allowed
            );
            (schedules, steps) = (schedules + found.schedules, steps + found.steps);
        }
    }
    println!("{name}: {schedules} schedules, {steps} steps");
}

#[test]
fn over_copies_every_order_ends_as_eager_operations_may() {
    try_all("copies", fake);
}

#[test]
fn over_snapfs_every_order_ends_as_eager_operations_may() {
    try_all("snapfs", real);
}
