//! A write of several messages, of which one fails, answered in every order: it
//! counts up to the first failure, and everything that it may have changed beyond
//! that is told, saved for others, and lost to its own snapshot at most.

use crate::common::*;
use abi::Errno;
use dormouse_snapfs::Executor;
use lower::Fault;
use ninep::consts::{TWRITE, put};
use ninep::{PutKind, PutOp, PutOps, Reply, Request, decode_reply};

const B: u64 = 4096;
/// Distance of the operations: each is a message of its own.
const STEP: u64 = 3 * B;

/// Picks which of the waiting exchanges goes on; in the end all orders were tried.
#[derive(Default)]
struct Orders {
    picked: Vec<(usize, usize)>,
    at: usize,
}

impl Orders {
    fn pick(&mut self, of: usize) -> usize {
        if self.at == self.picked.len() {
            self.picked.push((0, of));
        }
        let (now, same) = self.picked[self.at];
        assert_eq!(same, of, "a run is not like the one before");
        self.at += 1;
        now
    }

    /// Returns false after the last order.
    fn next(&mut self) -> bool {
        self.at = 0;
        while let Some((now, of)) = self.picked.pop() {
            if now + 1 < of {
                self.picked.push((now + 1, of));
                return true;
            }
        }
        false
    }
}

/// A client with a file, which it has read, and another reader of it.
struct World {
    writer: Client,
    reader: Client,
    fid: u32,
    into: u32,
    held: u32,
    old: Vec<u8>,
}

impl World {
    fn new(writes: u64) -> World {
        let old = pattern(1, (writes * STEP) as usize);
        let writer = Client::new();
        writer.host().set("f", &old);
        let reader = writer.beside(1, 0);
        let (fid, theirs) = (writer.open("f"), reader.open("f"));
        let into = writer.snap(fid, 0, writes * STEP);
        let held = reader.snap(theirs, 0, writes * STEP);
        World {
            writer,
            reader,
            fid,
            into,
            held,
            old,
        }
    }

    /// Epoch and changes since `known`, `None`: anything may have changed.
    fn changes(&self, known: u64) -> (u64, Option<Vec<(u64, u64)>>) {
        let request = Request::Snap {
            fid: self.fid,
            snapfid: self.writer.fid(),
            off: 0,
            count: 0,
            epoch: 0,
            known,
        };
        self.writer.ask(&request, |reply| match reply {
            Reply::Snap { epoch, changes, .. } => {
                (epoch, (!changes.all()).then(|| changes.iter().collect()))
            }
            other => panic!("{other:?}"),
        })
    }

    /// Writes, with the exchanges of the lower server in an order of `pick`: the count.
    fn write(
        &self,
        ops: &[PutOp],
        data: &[u8],
        mut pick: impl FnMut(usize) -> usize,
    ) -> Result<u64, Errno> {
        let bytes = message(
            3,
            &Request::Put {
                fid: self.fid,
                wid: u64::from(self.writer.fid()),
                ack: 0,
                flags: put::COMMIT,
                off: 0,
                into: self.into,
                known: 0,
                ops: PutOps::new(ops),
                data,
            },
        );
        let fs = self.writer.fs.clone();
        let host = self.writer.host();
        host.set_manual(true);
        let mut executor = Executor::default();
        let task = async move { fs.handle(0, &bytes).await.to_vec() };
        assert!(matches!(executor.spawn(task), Ok(None)));
        let mut answer = None;
        while host.waiting() > 0 {
            // Others are not what this is about, and would be too many orders.
            let others = (0..host.waiting()).find(|n| !host.wait(*n).1.writes("f"));
            host.release(others.unwrap_or_else(|| pick(host.waiting())));
            executor.run(|bytes| answer = Some(bytes));
        }
        host.set_manual(false);
        match decode_reply(&answer.expect("an answer")) {
            Ok((3, Reply::Put { count, .. })) => Ok(count),
            Ok((3, Reply::Error(errno))) => Err(errno),
            other => panic!("{other:?}"),
        }
    }

    /// Everything holds after a write of `new` at `ops` of which `done` was acknowledged.
    fn check(&self, ops: &[PutOp], new: &[u8], done: Result<u64, Errno>, known: u64) {
        let live = self.writer.host().get("f").unwrap();
        let wanted = self.wanted(ops, new);
        let done = done.unwrap_or(0) as usize;
        assert!(live[..done] == wanted[..done], "the acknowledged part");
        let (epoch, changes) = self.changes(known);
        let told = |at: u64| {
            let mut changes = changes.iter().flatten();
            changes.any(|(off, len)| (*off..off + len).contains(&at))
        };
        for at in (0..self.old.len()).step_by(64) {
            let same = live[at] == self.old[at];
            assert!(same || changes.is_none() || told(at as u64), "{at} changed");
            assert!(live[at] == self.old[at] || live[at] == wanted[at], "{at}");
        }
        assert!(live == self.old || epoch > known, "the epoch moved");
        let len = self.old.len() as u64;
        assert!(self.reader.read_all(self.held, 0, len) == Ok(self.old.clone()));
        // What was acknowledged belongs to `into` as it was written.
        let right = [&wanted[..done], &self.old[done..]].concat();
        for at in (0..len).step_by(B as usize) {
            match self.writer.read(self.into, at, B as u32) {
                Ok(data) => {
                    assert!(
                        !data.is_empty() && right[at as usize..].starts_with(&data),
                        "{at}"
                    );
                }
                Err(errno) => {
                    let written = ops.iter().any(|op| (op.off..op.off + op.len).contains(&at));
                    let may = errno == Errno::ESTALE && at + B > done as u64 && written;
                    assert!(may, "{at} of {done}: {errno:?}");
                }
            }
        }
    }

    /// The file if all of the write is done.
    fn wanted(&self, ops: &[PutOp], new: &[u8]) -> Vec<u8> {
        let (mut wanted, mut from) = (self.old.clone(), 0);
        for op in ops.iter().filter(|op| op.kind == PutKind::Data) {
            let (at, len) = (op.off as usize, op.len as usize);
            wanted[at..at + len].copy_from_slice(&new[from..from + len]);
            from += len;
        }
        wanted
    }

    fn end(self) {
        self.reader.hang_up();
        self.writer.end();
    }
}

/// Blocks of data with kept bytes between them.
fn ops(writes: u64, into: u32) -> Vec<PutOp> {
    let ops = (0..writes).flat_map(|n| {
        let (data, kept) = (n * STEP, n * STEP + B);
        [
            op(PutKind::Data, data, B),
            op(keep(into, kept), kept, STEP - B),
        ]
    });
    ops.collect()
}

fn fail(world: &World, which: u64, fault: Fault) {
    world.writer.host().inject(move |call| {
        match call.kind == TWRITE && call.path == "f" && call.off == which * STEP {
            true => fault,
            false => Fault::No,
        }
    });
}

const FAULTS: [Fault; 4] = [
    Fault::Before(Errno::EIO),
    Fault::After(Errno::EINTR),
    Fault::Partial(1000, Errno::ENOSPC),
    Fault::Short(1000),
];

fn fail_one(writes: u64, which: u64, fault: Fault, pick: impl FnMut(usize) -> usize) {
    let world = World::new(writes);
    let known = world.changes(0).0;
    fail(&world, which, fault);
    let ops = ops(writes, world.into);
    let new = pattern(7, (writes * B) as usize);
    let done = world.write(&ops, &new, pick);
    world.writer.host().heal();
    let right = match fault {
        Fault::Short(_) => Ok(writes * STEP),
        Fault::Before(errno) | Fault::After(errno) | Fault::Partial(_, errno) if which == 0 => {
            Err(errno)
        }
        _ => Ok(which * STEP),
    };
    assert_eq!(done, right, "{fault:?} at {which} of {writes}");
    world.check(&ops, &new, done, known);
    // All is well again.
    let ops = [op(PutKind::Data, 0, writes * STEP)];
    let all = pattern(9, (writes * STEP) as usize);
    let known = world.changes(0).0;
    let done = world.write(&ops, &all, |_| 0);
    assert_eq!(done, Ok(writes * STEP));
    assert!(world.writer.host().get("f").unwrap() == all);
    assert!(world.changes(known).0 > known);
    world.end();
}

#[test]
fn any_message_of_a_write_fails_in_any_order_of_answers() {
    for fault in FAULTS {
        for which in 0..3 {
            let mut orders = Orders::default();
            loop {
                fail_one(3, which, fault, |of| orders.pick(of));
                if !orders.next() {
                    break;
                }
            }
        }
    }
}

#[test]
fn any_message_of_a_long_write_fails() {
    for seed in seeds(4) {
        let mut random = Random(seed | 1);
        for fault in FAULTS {
            for which in 0..40 {
                fail_one(40, which, fault, |of| random.next(of as u64) as usize);
            }
        }
    }
}

#[test]
fn several_messages_of_a_write_fail() {
    for seed in seeds(300) {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let world = World::new(10);
        let known = world.changes(0).0;
        let mut chance = Random(seed + 1);
        world
            .writer
            .host()
            .inject(move |call| match call.writes("f") && chance.next(4) == 0 {
                true => FAULTS[chance.next(FAULTS.len() as u64) as usize],
                false => Fault::No,
            });
        let ops = ops(10, world.into);
        let new = pattern(7, 10 * B as usize);
        let done = world.write(&ops, &new, |of| random.next(of as u64) as usize);
        world.writer.host().heal();
        world.check(&ops, &new, done, known);
        world.end();
    }
}

#[test]
fn messages_within_the_file_are_in_flight_together_and_those_past_its_end_are_not() {
    let world = World::new(8);
    let most = std::cell::Cell::new(0);
    let ops = ops(8, world.into);
    let new = pattern(7, 8 * B as usize);
    let done = world.write(&ops, &new, |of| {
        most.set(most.get().max(of));
        of - 1
    });
    assert_eq!((done, most.get()), (Ok(8 * STEP), 8));
    world.check(&ops, &new, done, 1);
    // A file does not get longer than it is said to be.
    let end = 8 * STEP;
    let far: Vec<_> = (0..4)
        .map(|n| op(PutKind::Data, end + n * STEP, B))
        .collect();
    most.set(0);
    fail(&world, 9, Fault::Before(Errno::ENOSPC));
    let done = world.write(&far, &new[..4 * B as usize], |of| {
        most.set(most.get().max(of));
        0
    });
    assert_eq!((done, most.get()), (Ok(end + STEP), 1));
    world.writer.host().heal();
    assert_eq!(world.writer.attr(world.fid).unwrap().size, end + B);
    world.end();
}

#[test]
fn zeros_past_the_end_that_fail_count_for_nothing() {
    let world = World::new(1);
    let end = STEP;
    // Their last byte alone is written.
    world.writer.host().inject(move |call| match call.kind {
        TWRITE if call.off == end + 2 * B - 1 => Fault::Before(Errno::ENOSPC),
        _ => Fault::No,
    });
    let zeros = [op(PutKind::Zero, end, 2 * B)];
    assert_eq!(world.write(&zeros, &[], |_| 0), Ok(end));
    world.writer.host().heal();
    assert_eq!(world.writer.attr(world.fid).unwrap().size, end);
    assert_eq!(world.write(&zeros, &[], |_| 0), Ok(end + 2 * B));
    world.end();
}
