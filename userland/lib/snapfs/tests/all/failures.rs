//! Every exchange beneath, and every write to a temporary file, fails in turn,
//! once and for good, in a number of scenarios and with both policies:
//! afterwards nothing is leaked, and data is right or the error was reported.

use crate::common::*;
use abi::Errno;
use lower::Refuse;
use ninep::consts::{NOFID, TCLUNK, open, put};
use ninep::{PutKind, PutOp, PutOps, Request};
use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

const B: u64 = 4096;
const LEN: usize = 40 * B as usize + 99;

/// What fails: the exchange or temporary write of that number, or it and all
/// after it.
#[derive(Clone, Copy, Debug)]
enum Fail {
    Message(u64, bool),
    Store(u64, Refuse),
}

/// A file, what it must hold, and snapshots with what they must read.
struct Life {
    client: Client,
    /// Its qid.path, whatever its name.
    number: u64,
    fid: u32,
    file: Vec<u8>,
    snaps: Vec<(u32, Vec<u8>)>,
    /// What a write that failed did not acknowledge of the snapshot that it was to
    /// become part of: messages in flight with the one that failed overwrite it.
    given_up: Vec<(u32, Range<usize>)>,
    /// Snapshots may lose blocks.
    breaks: bool,
}

impl Life {
    /// The file is what the acknowledged operations made of it, and no
    /// snapshot reads anything but what it was.
    fn check(&self, what: &str, healed: bool) {
        let now = self.client.host().content(self.number);
        assert!(
            now.as_ref() == Some(&self.file),
            "{what}: the file is wrong"
        );
        for (snap, old) in &self.snaps {
            let mut at = 0;
            while at < old.len() {
                let read = self.client.read(*snap, at as u64, B as u32);
                match read {
                    Ok(data) => {
                        let right = old[at..].starts_with(&data) && !data.is_empty();
                        assert!(right, "{what}: the snapshot changed at {at}");
                        at += data.len();
                    }
                    Err(errno) => {
                        let block = at / B as usize * B as usize;
                        let gone = |(of, bytes): &(u32, Range<usize>)| {
                            of == snap && bytes.start < block + B as usize && block < bytes.end
                        };
                        let may = self.breaks || self.given_up.iter().any(gone);
                        let lost = may && errno == Errno::ESTALE;
                        assert!(!healed || lost, "{what}: {errno:?} at {at}");
                        at = (at / B as usize + 1) * B as usize;
                    }
                }
            }
        }
    }

    fn snap(&mut self) -> Option<u32> {
        let (snap, len) = (self.client.fid(), self.file.len() as u64);
        let taken = self.client.snap_into(self.fid, snap, 0, len);
        taken.ok()?;
        self.snaps.push((snap, self.file.clone()));
        Some(snap)
    }

    fn release(&mut self, snap: u32) {
        let _ = self.client.tell(&Request::Clunk { fid: snap });
        self.snaps.retain(|(other, _)| *other != snap);
    }

    fn set(&mut self, off: usize, data: &[u8]) {
        let end = off + data.len();
        if end > off && self.file.len() < end {
            self.file.resize(end, 0);
        }
        self.file[off..end].copy_from_slice(data);
    }

    /// Of a write of `new` at `off`, `count` bytes were acknowledged. Messages in flight
    /// with the one that failed may have written some of the others.
    fn wrote(&mut self, off: usize, new: &[u8], count: usize) {
        if count > 0 {
            self.set(off, &new[..count]);
        }
        let now = self.client.host().content(self.number).unwrap_or_default();
        for (at, new) in (off..).zip(new).skip(count) {
            if let (Some(known), Some(now)) = (self.file.get_mut(at), now.get(at))
                && now == new
            {
                *known = *new;
            }
        }
    }

    fn write(&mut self, off: u64, data: &[u8]) {
        let count = self.client.write(self.fid, off, data).unwrap_or(0);
        self.wrote(off as usize, data, count as usize);
        self.check("after a write", false);
    }

    fn resize(&mut self, size: u64) {
        if self.client.resize(self.fid, size).is_ok() {
            self.file.resize(size as usize, 0);
        }
        self.check("after a change of size", false);
    }

    /// A put in one message; `result` is what all of it would leave at `off`.
    fn put(&mut self, off: u64, into: u32, (ops, data): (&[PutOp], &[u8]), result: &[u8]) {
        let done = self.client.put(self.fid, off, into, ops, data);
        let count = done.map_or(0, |done| done.count as usize);
        self.wrote(off as usize, result, count);
        let behind = off as usize + count..off as usize + result.len();
        self.given_up.push((into, behind));
        if let Ok(done) = done
            && let Some((_, old)) = self.snaps.iter_mut().find(|(snap, _)| *snap == into)
            && done.assoc
        {
            // What became part of the snapshot is what it must read now.
            let end = off as usize + count;
            old.resize(old.len().max(end), 0);
            old[off as usize..end].copy_from_slice(&result[..count]);
        }
        self.check("after a put", false);
    }

    fn stage(&self, wid: u64, flags: u32, op: PutOp, data: &[u8]) -> Result<PutDone, Errno> {
        let ops = [op];
        self.client.put_with(&Request::Put {
            fid: self.fid,
            wid,
            ack: 0,
            flags,
            off: 0,
            into: NOFID,
            known: 0,
            ops: PutOps::new(&ops),
            data,
        })
    }
}

fn overwrite(life: &mut Life) {
    life.snap();
    life.write(B + 3, &[7; 5000]);
    life.write(0, &[8; 35 * B as usize]);
    life.snap();
    life.write(2 * B, &[9; 3 * B as usize]);
}

fn truncate(life: &mut Life) {
    life.snap();
    life.resize(3 * B + 100);
    life.resize(20 * B);
    life.snap();
    life.resize(0);
    life.write(5, b"new");
}

fn rename_over(life: &mut Life) {
    let snap = life.snap();
    let _ = life.client.rename("b", "a");
    life.check("after a rename over it", false);
    life.write(0, &[3; 100]);
    snap.into_iter().for_each(|snap| life.release(snap));
    life.write(B, &[4; 100]);
}

fn remove(life: &mut Life) {
    let snap = life.snap();
    let _ = life.client.unlink("a");
    life.check("after it was removed", false);
    life.write(10 * B, &[3; 100]);
    snap.into_iter().for_each(|snap| life.release(snap));
    life.check("without its snapshot", false);
}

fn append(life: &mut Life) {
    life.snap();
    let Ok(fid) = life.client.open_with("a", open::RDWR | open::APPEND) else {
        return;
    };
    let end = life.file.len();
    if let Ok(count) = life.client.write(fid, 0, &[6; 2 * B as usize]) {
        life.set(end, &vec![6; count as usize]);
    }
    life.check("after an append", false);
    life.snap();
    life.write(end as u64 - 10, &[5; 20]);
    let _ = life.client.tell(&Request::Clunk { fid });
}

fn keep_elsewhere(life: &mut Life) {
    let Some(snap) = life.snap() else { return };
    let old = life.file.clone();
    let bytes = &old[..20 * B as usize];
    let ops = [op(keep(snap, 0), 0, 20 * B)];
    life.put(10 * B + 7, NOFID, (&ops, &[]), bytes);
    life.put(0, NOFID, (&ops, &[]), bytes);
}

fn write_back(life: &mut Life) {
    let (Some(mine), other) = (life.snap(), life.snap()) else {
        return;
    };
    life.write(4 * B, &[1; 2 * B as usize]);
    let old = life.snaps[0].1.clone();
    let (data, len) = ([2; 3 * B as usize], 10 * B);
    let ops = [
        op(PutKind::Data, 0, 3 * B),
        op(keep(mine, 3 * B), 3 * B, 4 * B),
        op(PutKind::Zero, 7 * B, 3 * B),
    ];
    let kept = &old[3 * B as usize..7 * B as usize];
    let result = [&data[..], kept, &[0; 3 * B as usize]].concat();
    assert_eq!(result.len() as u64, len);
    life.put(0, mine, (&ops, &data), &result);
    other.into_iter().for_each(|snap| life.release(snap));
    life.write(0, &[4; 100]);
}

fn two_pieces(life: &mut Life) {
    life.snap();
    let (half, data) = (20 * B as usize, [5; 20 * B as usize]);
    let _ = life.stage(1, 0, op(PutKind::Data, 0, 20 * B), &data);
    life.check("while it is staged", false);
    let last = op(PutKind::Data, 20 * B, 20 * B);
    let done = life.stage(1, put::COMMIT, last, &data);
    let count = done.map_or(0, |done| done.count as usize);
    assert!(count == 0 || count >= half);
    life.wrote(0, &[5; 40 * B as usize], count);
    life.check("after a commit of two messages", false);
}

/// A name, and what happens.
type Scenario = (&'static str, fn(&mut Life));

const SCENARIOS: [Scenario; 8] = [
    ("overwrite", overwrite),
    ("truncate", truncate),
    ("rename over", rename_over),
    ("remove", remove),
    ("append", append),
    ("keep elsewhere", keep_elsewhere),
    ("write back", write_back),
    ("two pieces", two_pieces),
];

fn begin(options: &str) -> Life {
    let client = Client::mounted(options);
    let file = pattern(5, LEN);
    client.host().set("a", &file);
    client.host().set("b", b"b");
    let number = client.host().find("a").expect("just made");
    let fid = client.open("a");
    let breaks = options == "?break";
    let snaps = Vec::new();
    Life {
        client,
        number,
        fid,
        file,
        snaps,
        given_up: Vec::new(),
        breaks,
    }
}

/// Makes it fail; the answer tells whether it came to that.
fn arm(life: &Life, fail: Fail) -> Rc<Cell<bool>> {
    let (memory, reached) = (life.client.host(), Rc::new(Cell::new(false)));
    match fail {
        Fail::Message(k, for_good) => {
            let (start, seen) = (memory.exchanges(), reached.clone());
            memory.inject(move |exchange| {
                let n = exchange.number - start;
                let hit = n == k || for_good && n > k;
                seen.set(seen.get() | hit);
                // A clunk cannot fail: the fid is gone either way.
                (hit && exchange.kind != TCLUNK).then_some(Errno::EIO)
            });
        }
        Fail::Store(k, how) => memory.refuse(Some((k, how))),
    }
    reached
}

/// Runs a scenario with a failure; whether it came to that.
fn run(name: &str, scenario: fn(&mut Life), options: &str, fail: Fail) -> bool {
    let mut life = begin(options);
    let reached = arm(&life, fail);
    scenario(&mut life);
    let memory = life.client.host();
    let reached = reached.get() || memory.refused() > 0;
    memory.heal();
    memory.refuse(None);
    let what = format!("{name} on \"{options}\", {fail:?}");
    life.check(&what, true);
    let lost = life.client.counters().lost;
    assert!(life.breaks || lost == 0, "{what}");
    now(life.client.fs.hangup(0));
    let left = life.client.counters();
    let held = (left.files, left.snapshots, left.saved, left.versions);
    assert_eq!(held, (0, 0, 0, 0), "{what}");
    let below = life.client.host().fids() as u32;
    assert_eq!(below, left.fids_lower, "{what}");
    // At most the root's and, where removing it failed, the directory's.
    assert!(below <= 2, "{what}: {left:?}");
    reached
}

fn every(make: impl Fn(u64) -> Fail) -> u64 {
    let mut failures = 0;
    for (name, scenario) in SCENARIOS {
        for options in ["", "?break"] {
            let reached = (0..).take_while(|k| run(name, scenario, options, make(*k)));
            failures += reached.count() as u64;
        }
    }
    failures
}

#[test]
fn every_single_message_may_fail() {
    for for_good in [false, true] {
        let failures = every(|k| Fail::Message(k, for_good));
        println!("{failures} exchanges failed, one by one (for good: {for_good})");
        assert!(failures > 300);
    }
}

#[test]
fn every_single_write_to_a_temporary_file_may_fail() {
    for how in [Refuse::Once, Refuse::ForGood] {
        let failures = every(|k| Fail::Store(k, how));
        println!("{failures} temporary writes failed, one by one ({how:?})");
        assert!(failures > 20);
    }
}
