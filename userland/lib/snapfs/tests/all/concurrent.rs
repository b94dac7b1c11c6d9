//! Many requests in flight over a server that answers late and out of order.

use crate::common::*;
use dormouse_snapfs::{Executor, Snapfs};
use lower::Host;
use ninep::consts::put;
use ninep::{PutOps, Reply, Request, SetAttr, decode_reply};
use std::collections::BTreeMap;

const B: usize = 4096;
const BLOCKS: usize = 8;

/// What an answer is for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Write(u8),
    Resize,
    Snap(u32),
    Read(u32, u64),
    Clunk,
}

/// A snapshot: bytes it covers, those that were read, reads in flight.
#[derive(Default)]
struct Seen {
    count: u64,
    bytes: Vec<Option<u8>>,
    reads: u32,
    /// The value that was written at the snapshot's epoch, if one was.
    written: Option<u8>,
}

impl Seen {
    /// The file is one value all over, and zeros where it was cut and grew.
    fn read(&mut self, off: u64, data: &[u8]) {
        self.bytes.resize(B * BLOCKS, None);
        for (at, byte) in (off as usize..).zip(data) {
            let before = self.bytes[at].replace(*byte);
            assert_eq!(
                before.unwrap_or(*byte),
                *byte,
                "the snapshot changed at {at}"
            );
        }
        let mut values: Vec<u8> = self.bytes.iter().flatten().copied().collect();
        values.dedup();
        let uniform = matches!(values[..], [_] | [_, 0]);
        if let Some(written) = self.written {
            assert_eq!(values, [written], "not the moment of the snapshot");
        }
        assert!(uniform, "two moments in one snapshot: {values:?}");
    }
}

struct World {
    random: Random,
    next: u32,
    snaps: BTreeMap<u32, Seen>,
    /// What was written, by epoch.
    written: BTreeMap<u64, u8>,
}

impl World {
    fn some_snap(&mut self) -> Option<u32> {
        let usable: Vec<u32> = self
            .snaps
            .iter()
            .filter(|(_, seen)| seen.count > 0)
            .map(|(fid, _)| *fid)
            .collect();
        let n = self.random.next(usable.len().max(1) as u64) as usize;
        usable.get(n).copied()
    }

    /// Each write fills the whole file with one value, in two messages.
    fn writes(&mut self, fid: u32) -> Vec<(Asked, Vec<u8>)> {
        self.next += 1;
        let half = B * BLOCKS / 2;
        let value = self.random.next(255) as u8 + 1;
        let (wid, data) = (u64::from(self.next), vec![value; half]);
        let part = |flags, off: usize| {
            let ops = [op(ninep::PutKind::Data, off as u64, half as u64)];
            let (ops, into) = (PutOps::new(&ops), ninep::consts::NOFID);
            let put = Request::Put {
                fid,
                wid,
                ack: 0,
                flags,
                off: 0,
                into,
                known: 0,
                ops,
                data: &data,
            };
            (Asked::Write(value), message(1, &put))
        };
        vec![part(0, 0), part(put::COMMIT, half)]
    }

    fn asks(&mut self, fid: u32) -> Vec<(Asked, Vec<u8>)> {
        match self.random.next(8) {
            0 | 1 => self.writes(fid),
            2 => {
                let size = self.random.next((B * BLOCKS) as u64);
                let attr = SetAttr {
                    valid: 8,
                    size,
                    ..SetAttr::default()
                };
                vec![(Asked::Resize, message(1, &Request::Setattr { fid, attr }))]
            }
            3 | 4 => {
                self.next += 1;
                let (snapfid, count) = (self.next, (B * BLOCKS) as u64);
                let snap = Request::Snap {
                    fid,
                    snapfid,
                    off: 0,
                    count,
                    epoch: 0,
                    known: 0,
                };
                vec![(Asked::Snap(snapfid), message(1, &snap))]
            }
            5 | 6 => {
                let Some(snap) = self.some_snap() else {
                    return vec![];
                };
                let offset = self.random.next(self.snaps[&snap].count);
                let count = 1 + self.random.next((B * BLOCKS) as u64) as u32;
                if let Some(seen) = self.snaps.get_mut(&snap) {
                    seen.reads += 1;
                }
                vec![(
                    Asked::Read(snap, offset),
                    message(
                        1,
                        &Request::Read {
                            fid: snap,
                            offset,
                            count,
                        },
                    ),
                )]
            }
            _ => {
                let Some(snap) = self.some_snap().filter(|snap| self.snaps[snap].reads == 0) else {
                    return vec![];
                };
                self.snaps.remove(&snap);
                vec![(Asked::Clunk, message(1, &Request::Clunk { fid: snap }))]
            }
        }
    }

    fn answered(&mut self, asked: Asked, answer: &[u8]) {
        let (_, reply) = decode_reply(answer).expect("a well-formed reply");
        match (asked, reply) {
            (Asked::Write(value), Reply::Put { count, epoch, .. }) => {
                // The snapshots of that epoch may have been answered before.
                if count > 0 {
                    self.written.insert(epoch, value);
                }
            }
            (Asked::Resize, Reply::Setattr) | (Asked::Clunk, Reply::Clunk) => {}
            (Asked::Snap(fid), Reply::Snap { count, epoch, .. }) => {
                let written = self.written.get(&epoch).copied();
                self.snaps.insert(
                    fid,
                    Seen {
                        count,
                        written,
                        ..Seen::default()
                    },
                );
            }
            (Asked::Read(fid, off), Reply::Read { data }) => {
                let seen = self.snaps.get_mut(&fid).expect("a snapshot that was read");
                seen.reads -= 1;
                assert!(!data.is_empty(), "a covered byte came not");
                seen.read(off, data);
            }
            (asked, reply) => panic!("{asked:?}: {reply:?}"),
        }
    }
}

async fn ask(fs: &Snapfs<Host>, (asked, bytes): (Asked, Vec<u8>)) -> (Asked, Vec<u8>) {
    (asked, serve(fs, 0, &bytes).await)
}

fn run(seed: u64) {
    let client = Client::new();
    client.host().set("a", &vec![77; B * BLOCKS]);
    let fid = client.open("a");
    let mut world = World {
        random: Random(seed * 7919 + 1),
        next: 10_000,
        snaps: BTreeMap::new(),
        written: BTreeMap::new(),
    };
    let mut executor = Executor::default();
    client.host().set_manual(true);
    for step in 0..3000 {
        if step < 2500 && world.random.next(4) == 0 {
            for asked in world.asks(fid) {
                match executor.spawn(ask(&client.fs, asked)) {
                    Ok(Some((asked, answer))) => world.answered(asked, &answer),
                    Ok(None) => {}
                    Err(_) => {
                        // No room: let everything run dry.
                        drain(&client, &mut executor, &mut world);
                        break;
                    }
                }
            }
        }
        let waiting = client.host().waiting() as u64;
        if waiting > 0 {
            client.host().release(world.random.next(waiting) as usize);
        }
        executor.run(|(asked, answer)| world.answered(asked, &answer));
    }
    drain(&client, &mut executor, &mut world);
    assert!(executor.is_idle(), "somebody waits for ever");
    client.host().set_manual(false);
    drop(executor);
    client.end();
}

fn drain<F: Future<Output = (Asked, Vec<u8>)>>(
    client: &Client,
    executor: &mut Executor<F>,
    world: &mut World,
) {
    while client.host().waiting() > 0 {
        client
            .host()
            .release(world.random.next(client.host().waiting() as u64) as usize);
        executor.run(|(asked, answer)| world.answered(asked, &answer));
    }
}

#[test]
fn a_snapshot_is_one_moment_whatever_runs_beside_it() {
    for seed in 1..15 {
        println!("seed {seed}");
        run(seed);
    }
}

async fn plain(client: &Client, bytes: Vec<u8>) -> Vec<u8> {
    serve(&client.fs, 0, &bytes).await
}

#[test]
fn a_read_that_a_rescue_overtakes_is_repeated() {
    for blocks in [1, 3] {
        let client = Client::new();
        let old = pattern(1, BLOCKS * B);
        client.host().set("a", &old);
        let fid = client.open("a");
        let snap = client.snap(fid, 0, (BLOCKS * B) as u64);
        if blocks == 3 {
            // One block is saved already: not the short way.
            client.write(fid, B as u64, b"x").unwrap();
        }
        client.host().set_manual(true);
        let mut executor = Executor::default();
        let read = Request::Read {
            fid: snap,
            offset: 0,
            count: (blocks * B) as u32,
        };
        assert!(matches!(
            executor.spawn(plain(&client, message(5, &read))),
            Ok(None)
        ));
        let write = Request::Write {
            fid,
            offset: 0,
            data: &[9; B * BLOCKS],
        };
        assert!(matches!(
            executor.spawn(plain(&client, message(6, &write))),
            Ok(None)
        ));
        let (mut written, mut data) = (false, None);
        while !executor.is_idle() {
            // The read waits until the write is over.
            let waiting = client.host().waiting();
            client.host().release(if written { 0 } else { waiting - 1 });
            executor.run(|answer| match decode_reply(&answer).expect("a reply") {
                (6, Reply::Write { .. }) => written = true,
                (5, Reply::Read { data: read }) => data = Some(read.to_vec()),
                other => panic!("{other:?}"),
            });
        }
        assert!(data.expect("an answer") == old[..blocks * B]);
        client.host().set_manual(false);
        drop(executor);
        client.end();
    }
}

#[test]
fn a_flush_is_answered_after_what_it_flushes() {
    let client = Client::new();
    client.host().set("a", b"abc");
    let fid = client.open("a");
    client.host().set_manual(true);
    let mut executor = Executor::default();
    let flush = |bytes| plain(&client, bytes);
    let read = Request::Read {
        fid,
        offset: 0,
        count: 3,
    };
    assert!(matches!(executor.spawn(flush(message(5, &read))), Ok(None)));
    assert!(matches!(
        executor.spawn(flush(message(6, &Request::Flush { oldtag: 5 }))),
        Ok(None)
    ));
    let nothing = executor
        .spawn(flush(message(8, &Request::Flush { oldtag: 99 })))
        .ok();
    assert!(matches!(nothing, Some(Some(_))), "nothing to wait for");
    let mut tags = Vec::new();
    for _ in 0..2 {
        client.host().release(0);
        executor.run(|answer| tags.push(ninep::peek(&answer).expect("a header").2));
    }
    assert_eq!(tags, [5, 6]);
    client.host().set_manual(false);
    drop(executor);
    client.end();
}

/// A commit of several messages below, all of one value; and its message.
fn fill(fid: u32, wid: u64, value: u8) -> Vec<u8> {
    const MIB: usize = 1 << 20;
    let data = vec![value; MIB];
    let ops = [op(ninep::PutKind::Data, 0, MIB as u64)];
    let put = Request::Put {
        fid,
        wid,
        ack: 0,
        flags: put::COMMIT,
        off: 0,
        into: ninep::consts::NOFID,
        known: 0,
        ops: PutOps::new(&ops),
        data: &data,
    };
    message(1, &put)
}

/// A snapshot of the first MiB is taken, read in several messages, released.
async fn read_by_snapshot(fs: &Snapfs<Host>, fid: u32, snapfid: u32) -> Vec<u8> {
    const MIB: u64 = 1 << 20;
    let snap = Request::Snap {
        fid,
        snapfid,
        off: 0,
        count: MIB,
        epoch: 0,
        known: 0,
    };
    fs.handle(0, &message(2, &snap)).await;
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < MIB {
        let offset = bytes.len() as u64;
        let read = Request::Read {
            fid: snapfid,
            offset,
            count: 1 << 20,
        };
        match decode_reply(&serve(fs, 0, &message(2, &read)).await) {
            Ok((_, Reply::Read { data })) => bytes.extend(data),
            other => panic!("{other:?}"),
        }
    }
    let clunk = Request::Clunk { fid: snapfid };
    fs.handle(0, &message(2, &clunk)).await;
    bytes
}

/// One plain `Tread`, as much as one carries.
async fn read_live(fs: &Snapfs<Host>, fid: u32, offset: u64) -> Vec<u8> {
    let count = 1 << 20;
    let read = Request::Read { fid, offset, count };
    match decode_reply(&serve(fs, 0, &message(3, &read)).await) {
        Ok((_, Reply::Read { data })) => data.to_vec(),
        other => panic!("{other:?}"),
    }
}

async fn one_of(fs: &Snapfs<Host>, fid: u32, kind: u64, number: u32) -> Option<Vec<u8>> {
    match kind {
        0 => {
            let bytes = fill(fid, u64::from(number), b'A' + (number % 2) as u8);
            fs.handle(0, &bytes).await;
            None
        }
        1 => Some(read_by_snapshot(fs, fid, 10_000 + number).await),
        // Over the border of two messages of the commit.
        _ => Some(read_live(fs, fid, 64 << 10).await),
    }
}

#[test]
fn a_writer_of_all_a_and_all_b_is_never_seen_mixed() {
    for seed in 1..25 {
        let client = Client::new();
        client.host().set("a", &vec![b'A'; 1 << 20]);
        let fid = client.open("a");
        let mut random = Random(seed * 7919 + 3);
        let mut executor = Executor::default();
        client.host().set_manual(true);
        let (mut seen, mut reads) = ([0, 0], 0);
        let mut look = |bytes: Option<Vec<u8>>| {
            let Some(bytes) = bytes else { return };
            let first = bytes[0];
            assert!(
                bytes.iter().all(|byte| *byte == first),
                "seed {seed}: mixed"
            );
            seen[usize::from(first - b'A')] += 1;
            reads += 1;
        };
        for number in 0..60 {
            let task = one_of(&client.fs, fid, random.next(3), number);
            if let Ok(Some(bytes)) = executor.spawn(task) {
                look(bytes);
            }
            for _ in 0..random.next(12) {
                let waiting = client.host().waiting() as u64;
                if waiting > 0 {
                    client.host().release(random.next(waiting) as usize);
                }
                executor.run(&mut look);
            }
        }
        while client.host().waiting() > 0 {
            let waiting = client.host().waiting() as u64;
            client.host().release(random.next(waiting) as usize);
            executor.run(&mut look);
        }
        assert!(executor.is_idle(), "somebody waits for ever");
        assert!(reads > 20 && seen[0] > 0 && seen[1] > 0, "{seen:?}");
        client.host().set_manual(false);
        drop(executor);
        client.end();
    }
}
