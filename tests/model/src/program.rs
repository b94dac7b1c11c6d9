//! Random programs.

use crate::PAGE;
use crate::world::{Config, Point};

/// A small generator (SplitMix64): the same programs everywhere, for ever.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.number() % n as u64) as usize
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Processes at most.
pub const SPACES: usize = 3;
/// Pages of the part of a segment that programs use; it lies across the border
/// of two overlay leaves.
pub const PAGES: usize = 6;
/// The first of them.
pub const FIRST_PAGE: usize = 509;
/// The largest size of a file that a program asks for.
pub const FILE_MAX: usize = 8 * PAGE;

/// One thing that happens. Positions are in the used part of the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields say what they are
pub enum Op {
    /// `read`, perhaps with deferral off.
    Read {
        space: usize,
        at: usize,
        n: usize,
        file: usize,
        off: usize,
        eager: bool,
    },
    /// `write` at an offset, or to the end.
    Write {
        space: usize,
        at: usize,
        n: usize,
        file: usize,
        off: Option<usize>,
        eager: bool,
    },
    /// The program stores `n` bytes.
    Store {
        space: usize,
        at: usize,
        n: usize,
        value: u8,
    },
    /// The program loads.
    Load { space: usize, at: usize, n: usize },
    /// `segfree`.
    Free { space: usize, at: usize, n: usize },
    /// Another client overwrites.
    Foreign {
        file: usize,
        off: usize,
        n: usize,
        value: u8,
    },
    /// Another client sets the size.
    Truncate { file: usize, size: usize },
    /// A new process.
    Fork { space: usize },
    /// The end of one.
    Exit { space: usize },
    /// Memory is short: a clean page goes.
    Evict { space: usize, page: usize },
}

/// An operation and what befalls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The operation.
    pub op: Op,
    /// Another one that happens in the middle of it.
    pub meanwhile: Option<(Point, Op)>,
    /// Fail the message after so many.
    pub fail_message: Option<u64>,
    /// Fail the allocation after so many.
    pub fail_frame: Option<u64>,
    /// The server's commits are short.
    pub short: Option<u64>,
}

/// What a random program may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Nothing goes wrong, one thing after the other.
    Plain,
    /// Messages and allocations fail.
    Failing,
    /// Things happen in the middle of others.
    Interrupted,
}

/// Byte counts that meet page borders often.
fn length(random: &mut Random) -> usize {
    match random.below(4) {
        0 => (1 + random.below(PAGES)) * PAGE,
        1 => 1 + random.below(200),
        2 => random.pick(&[4093, 4095, 4097, 2 * PAGE - 1, 2 * PAGE + 1]),
        _ => 1 + random.below(PAGES * PAGE),
    }
}

fn position(random: &mut Random, max: usize) -> usize {
    match random.below(3) {
        0 => random.below(max + 1),
        1 => (random.below(max / PAGE + 1) * PAGE + random.pick(&[0, 1, 2, 4095])).min(max),
        _ => random.below(max / PAGE + 1) * PAGE,
    }
}

/// A position and length inside of the used part.
fn buffer(random: &mut Random) -> (usize, usize) {
    let at = position(random, PAGES * PAGE - 1);
    (at, length(random).min(PAGES * PAGE - at))
}

/// A random operation on `files` files.
pub fn random_op(random: &mut Random, files: usize) -> Op {
    let space = random.below(SPACES);
    let file = random.below(files);
    let ((at, n), value) = (buffer(random), random.number() as u8);
    // Often the place of the file that lies at the same place in the buffer.
    let off = match random.below(3) {
        0 => position(random, FILE_MAX / 2),
        _ => at,
    };
    let eager = random.once_in(6);
    match random.below(24) {
        0..5 => Op::Read {
            space,
            at,
            n,
            file,
            off,
            eager,
        },
        5..10 => {
            let off = (!random.once_in(6)).then_some(off);
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
            n: n.min(1 + random.below(100)),
            value,
        },
        14..17 => Op::Load {
            space,
            at,
            n: n.min(1 + random.below(PAGE)),
        },
        17 => Op::Free { space, at, n },
        18..20 => Op::Foreign {
            file,
            off,
            n: n.min(FILE_MAX - off),
            value,
        },
        20 => Op::Truncate {
            file,
            size: position(random, FILE_MAX),
        },
        21 => Op::Fork { space },
        22 => Op::Exit { space },
        _ => Op::Evict {
            space,
            page: random.below(PAGES),
        },
    }
}

/// What may happen at a point of an operation so that there is only one right
/// result.
fn meanwhile(random: &mut Random, op: &mut Op, files: usize, plain: usize) -> Option<(Point, Op)> {
    let other = random_op(random, files);
    let on_memory = matches!(
        other,
        Op::Store { .. } | Op::Load { .. } | Op::Free { .. } | Op::Fork { .. } | Op::Evict { .. }
    );
    let point = match op {
        // Without snapshots an operation is several, one for each message.
        Op::Read { file, .. } | Op::Write { file, .. } if *file == plain => return None,
        // One page: nothing has been loaded when the other thing happens.
        Op::Load { at, n, .. } | Op::Store { at, n, .. } => {
            *n = (*n).min(PAGE - *at % PAGE);
            Point::Fill
        }
        Op::Read { eager: true, .. } => random.pick(&[Point::BeforeSnap, Point::AfterSnap]),
        Op::Read { .. } => random.pick(&[Point::BeforeSnap, Point::AfterSnap, Point::Fill]),
        Op::Write { .. } if on_memory => random.pick(&[Point::BeforeCommit, Point::AfterCommit]),
        Op::Write { .. } => Point::AfterCommit,
        _ => return None,
    };
    // A process that waits does not end.
    (!matches!(other, Op::Exit { .. })).then_some((point, other))
}

/// Where the last `read` ended: in which process and file, at which positions.
type End = (usize, usize, usize, usize);

/// Makes some of the reads go on where the one before ended.
fn go_on(random: &mut Random, op: &mut Op, last: &mut Option<End>) {
    if let Op::Read {
        space,
        at,
        n,
        file,
        off,
        ..
    } = op
    {
        if let Some(end) = last.filter(|end| random.once_in(3) && end.1 < PAGES * PAGE) {
            // Another process may be the same one's copy.
            (_, *at, *file, *off) = end;
            if random.once_in(2) {
                *space = end.0;
            }
            *n = (*n).min(PAGES * PAGE - *at);
        }
        *last = Some((*space, *at + *n, *file, *off + *n));
    }
}

/// A random program; the file `plain` is on a server without snapshots.
pub fn random_program(
    random: &mut Random,
    flavour: Flavour,
    files: usize,
    plain: usize,
) -> Vec<Step> {
    let len = 1 + random.below(60);
    let mut last = None;
    (0..len)
        .map(|_| {
            let mut op = random_op(random, files);
            go_on(random, &mut op, &mut last);
            let mut step = Step {
                op: op.clone(),
                meanwhile: None,
                fail_message: None,
                fail_frame: None,
                short: None,
            };
            match flavour {
                Flavour::Plain if random.once_in(8) => {
                    step.short = Some(700 + random.below(2 * PAGE) as u64);
                }
                Flavour::Plain => {}
                Flavour::Failing if random.once_in(3) => {
                    step.fail_message = Some(random.below(6) as u64);
                }
                Flavour::Failing if random.once_in(3) => {
                    step.fail_frame = Some(random.below(12) as u64);
                }
                Flavour::Failing => {}
                Flavour::Interrupted if random.once_in(2) => {
                    step.meanwhile = meanwhile(random, &mut op, files, plain);
                    step.op = op;
                }
                Flavour::Interrupted => {}
            }
            step
        })
        .collect()
}

/// A random kernel for it.
pub fn random_config(random: &mut Random, flavour: Flavour) -> Config {
    Config {
        iounit: random.pick(&[1000, 4096, 8192, 128 * 1024]),
        ops: random.pick(&[1, 2, 5, vm::OPS_MAX]),
        // A write in several pieces has no single moment.
        wmax: match flavour {
            Flavour::Interrupted => u64::MAX,
            _ => random.pick(&[100, 4096, 10_000, 8 << 20]),
        },
        pages: 520,
        trim_worth: random.pick(&[1, 5000, 64 << 10]),
        keeps_frames: random.once_in(2),
    }
}
