//! Random programs, as strategies of `proptest`: a failing one is made small by
//! leaving steps out and making numbers smaller.

use program::{Op, PAGES, SEGMENT_PAGES, SPACES};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

use crate::PAGE;
use crate::case::{Case, Fate, Step};
use crate::world::{Config, Point};

/// The largest size of a file that a program asks for.
pub const FILE_MAX: usize = 8 * PAGE;

/// The files that programs are about.
#[derive(Clone, Copy, Debug)]
pub struct Files {
    /// Their sizes, in bytes.
    pub sizes: &'static [usize],
    /// The servers of the files.
    pub servers: &'static [usize],
    /// The one on a server without snapshots.
    pub plain: usize,
}

/// The features of a random program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// No failures, one operation after the other.
    Plain,
    /// Messages and allocations fail, there is no room for temporary files.
    Failing,
    /// Operations in the middle of others.
    Interrupted,
}

/// Byte counts that meet page borders often.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        1_usize..200,
        select(&[4093, 4095, 4097, 2 * PAGE - 1, 2 * PAGE + 1][..]),
        (1..=PAGES).prop_map(|pages| pages * PAGE),
        1..=PAGES * PAGE,
    ]
}

fn position(max: usize) -> impl Strategy<Value = usize> {
    let page = (0..=max / PAGE).prop_map(|page| page * PAGE);
    prop_oneof![
        page.clone(),
        (page, select(&[0, 1, 2, 4095][..])).prop_map(move |(page, at)| (page + at).min(max)),
        0..=max,
    ]
}

/// A position and length inside of the used part.
fn buffer() -> impl Strategy<Value = (usize, usize)> {
    let whole = PAGES * PAGE;
    (position(whole - 1), length()).prop_map(move |(at, n)| (at, n.min(whole - at)))
}

fn op(files: Files) -> impl Strategy<Value = Op> {
    // Often the place of the file that lies at the same place in the buffer.
    let off = prop_oneof![2 => Just(None), 1 => position(FILE_MAX / 2).prop_map(Some)];
    let one_in_six = || prop::bool::weighted(1.0 / 6.0);
    (
        (
            0..32_u8,
            0..SPACES,
            0..files.sizes.len(),
            0..files.sizes.len(),
        ),
        buffer(),
        off,
        (any::<u8>(), 1..=100_usize, 0..PAGES),
        (one_in_six(), one_in_six(), position(FILE_MAX)),
    )
        .prop_map(
            move |((kind, space, file, other), (at, n), off, (value, few, page), rest)| {
                let (eager, end, size) = rest;
                let off = off.unwrap_or(at);
                match kind {
                    0..5 => Op::Read {
                        space,
                        at,
                        n,
                        file,
                        off,
                        eager,
                    },
                    5..10 => {
                        let off = (!end).then_some(off);
                        Op::Write {
                            space,
                            at,
                            n,
                            file,
                            off,
                            eager,
                        }
                    }
                    10..14 => Op::Store {
                        space,
                        at,
                        n: n.min(few),
                        value,
                    },
                    14..17 => Op::Load {
                        space,
                        at,
                        n: n.min(few * few),
                    },
                    17 => Op::Free { space, at, n },
                    18..20 => Op::Foreign {
                        file,
                        off,
                        n: n.min(FILE_MAX - off),
                        value,
                    },
                    20 => Op::Truncate { file, size },
                    21 => Op::Fork { space },
                    22 => Op::Exit { space },
                    23 | 24 => Op::Evict { space, page },
                    25..28 => Op::PageOut {
                        space,
                        page,
                        n: (few % PAGES + 1).min(PAGES - page),
                    },
                    28 | 29 => Op::Remove { name: file },
                    30 if file != other && files.servers[file] == files.servers[other] => {
                        Op::Rename {
                            from: file,
                            to: other,
                        }
                    }
                    _ => Op::Full { on: eager },
                }
            },
        )
}

/// An operation that may take place at a point of another one so that there is
/// only one right result.
fn meanwhile(op: &mut Op, other: Op, pick: usize, plain: usize) -> Option<(Point, Op)> {
    let on_memory = matches!(
        other,
        Op::Store { .. }
            | Op::Load { .. }
            | Op::Free { .. }
            | Op::Fork { .. }
            | Op::Evict { .. }
            | Op::PageOut { .. }
    );
    let point = match op {
        // Without snapshots an operation is several, one for each message.
        Op::Read { file, .. } | Op::Write { file, .. } if *file == plain => return None,
        // One page: nothing has been loaded at that time.
        Op::Load { at, n, .. } | Op::Store { at, n, .. } => {
            *n = (*n).min(PAGE - *at % PAGE);
            [Point::Fill, Point::Swap, Point::Swapped][pick % 3]
        }
        Op::Read { eager: true, .. } => [Point::BeforeSnap, Point::AfterSnap][pick % 2],
        Op::Read { .. } => [
            Point::BeforeSnap,
            Point::AfterSnap,
            Point::Fill,
            Point::Swap,
        ][pick % 4],
        Op::Free { .. } | Op::PageOut { .. } => [Point::Swap, Point::Swapped][pick % 2],
        Op::Write { .. } if on_memory => [Point::BeforeCommit, Point::AfterCommit][pick % 2],
        Op::Write { .. } => Point::AfterCommit,
        _ => return None,
    };
    // A process that waits does not end.
    (!matches!(other, Op::Exit { .. } | Op::Full { .. })).then_some((point, other))
}

/// An operation with its injected events, and whether a `read` continues the
/// last one, and in the same process.
fn step(flavour: Flavour, files: Files) -> BoxedStrategy<(Step, bool, bool)> {
    let fate = match flavour {
        Flavour::Plain => weighted(1.0 / 8.0, 700..700 + 2 * PAGE as u64)
            .prop_map(|short| Fate {
                short,
                ..Fate::default()
            })
            .boxed(),
        Flavour::Failing => (
            weighted(0.4, 0..6_u64),
            weighted(0.3, 0..12_u64),
            weighted(0.4, 0..6_u64),
        )
            .prop_map(|(fail_message, fail_frame, fail_swap)| Fate {
                fail_frame: fail_frame.filter(|_| fail_message.is_none()),
                fail_message,
                fail_swap,
                ..Fate::default()
            })
            .boxed(),
        Flavour::Interrupted => Just(Fate::default()).boxed(),
    };
    let other = match flavour {
        Flavour::Interrupted => weighted(0.5, (op(files), 0..12_usize)).boxed(),
        Flavour::Plain | Flavour::Failing => Just(None).boxed(),
    };
    (
        op(files),
        fate,
        other,
        prop::bool::weighted(1.0 / 3.0),
        any::<bool>(),
    )
        .prop_map(move |(mut op, mut fate, other, goes_on, same)| {
            if matches!(op, Op::Full { .. }) && flavour != Flavour::Failing {
                op = Op::Load {
                    space: 0,
                    at: 0,
                    n: PAGE,
                };
            }
            if let Some((other, pick)) = other {
                fate.meanwhile = meanwhile(&mut op, other, pick, files.plain);
            }
            (Step { op, fate }, goes_on, same)
        })
        .boxed()
}

/// Makes some of the reads go on where the one before ended.
fn join(steps: Vec<(Step, bool, bool)>) -> Vec<Step> {
    let mut last: Option<(usize, usize, usize, usize)> = None;
    let mut join = |(mut step, goes_on, same): (Step, bool, bool)| {
        if let Op::Read {
            space,
            at,
            n,
            file,
            off,
            ..
        } = &mut step.op
        {
            if let Some(end) = last.filter(|end| goes_on && end.1 < PAGES * PAGE) {
                // Another process may be the same one's copy.
                (_, *at, *file, *off) = end;
                if same {
                    *space = end.0;
                }
                *n = (*n).min(PAGES * PAGE - *at);
            }
            last = Some((*space, *at + *n, *file, *off + *n));
        }
        step
    };
    steps.into_iter().map(&mut join).collect()
}

/// A random kernel.
fn config(flavour: Flavour) -> impl Strategy<Value = Config> {
    // A write in several pieces has no single moment.
    let wmax: &[u64] = match flavour {
        Flavour::Interrupted => &[u64::MAX],
        Flavour::Plain | Flavour::Failing => &[8 << 20, 10_000, 4096, 100],
    };
    (
        select(&[128 << 10, 8192, 4096, 1000][..]),
        select(&[vm::OPS_MAX, 5, 2, 1][..]),
        select(wmax),
        select(&[64 << 10, 5000, 1][..]),
        any::<bool>(),
        select(&[0, 1, 2, 5, 32][..]),
    )
        .prop_map(
            |(iounit, ops, wmax, trim_worth, keeps_frames, run)| Config {
                iounit,
                ops,
                wmax,
                pages: SEGMENT_PAGES as u64,
                trim_worth,
                keeps_frames,
                run,
            },
        )
}

/// Random programs on `files`.
pub fn cases(flavour: Flavour, files: Files) -> impl Strategy<Value = Case> {
    let steps = vec(step(flavour, files), 1..60);
    (config(flavour), steps).prop_map(move |(config, steps)| Case {
        config,
        files: files.sizes.to_vec(),
        steps: join(steps),
    })
}
