//! Arbitrary well-formed requests: every one is answered, nothing panics,
//! nothing is left when the client hangs up. `DORMOUSE_SEED` runs one seed alone.

use crate::common::*;
use dormouse_snapfs::Executor;
use ninep::consts::{NOFID, NOTAG, TCLUNK, TREMOVE, VERSION_SNAP, put};
use ninep::{ByteStr, Names, PutKind, PutOp, PutOps, Ranges, Request, SetAttr};

const NAMES: [&str; 6] = ["a", "b", "dir", ".snapfs", "..", "a"];

/// A small number, or now and then one that is not.
fn number(random: &mut Random) -> u64 {
    match random.next(12) {
        0 => u64::MAX,
        1 => i64::MAX as u64 - random.next(9000),
        2 => 1 << random.next(63),
        3..6 => random.next(9) * 4096,
        _ => random.next(40_000),
    }
}

/// Where to write: in a file of some megabytes, or where no file reaches. A
/// file in between may have more blocks to rescue than a test has time.
fn place(random: &mut Random) -> u64 {
    match number(random) {
        u64::MAX => u64::MAX >> 1,
        near => near % (1 << 24),
    }
}

fn fid(random: &mut Random) -> u32 {
    match random.next(30) {
        0 => NOFID,
        _ => random.next(10) as u32,
    }
}

fn name(random: &mut Random) -> &'static str {
    NAMES[random.next(6) as usize]
}

/// Operations in order, whose data is `data` long.
fn operations(random: &mut Random, data: u64) -> Vec<PutOp> {
    let (mut ops, mut at, mut left) = (Vec::new(), 0, data);
    for _ in 0..random.next(4) {
        at += random.next(2) * random.next(5000);
        let (kind, len) = match random.next(3) {
            0 if left > 0 => (PutKind::Data, left),
            1 => (PutKind::Zero, 1 + random.next(30_000)),
            _ => (
                keep(fid(random), random.next(9) * 4096),
                1 + random.next(30_000),
            ),
        };
        left -= if kind == PutKind::Data { len } else { 0 };
        ops.push(op(kind, at, len));
        at += len;
    }
    if left > 0 {
        ops.push(op(PutKind::Data, at, left));
    }
    ops
}

/// One request as a message.
fn request(random: &mut Random) -> Vec<u8> {
    let r = random;
    let data = pattern(r.next(256) as u8, r.next(9000) as usize);
    let ranges = [(number(r) >> 1, number(r) >> 1)];
    let ops = operations(r, data.len() as u64);
    let names: Vec<ByteStr<'_>> = (0..r.next(3)).map(|_| name(r).into()).collect();
    let (f, other, offset, put_at) = (fid(r), fid(r), number(r), place(r));
    let attr = SetAttr {
        valid: r.next(512) as u32,
        size: place(r) % (1 << 24),
        mode: 0o666,
        ..SetAttr::default()
    };
    let names = Names::new(&names);
    let request = match r.next(30) {
        0 => Request::Attach {
            fid: f,
            afid: NOFID,
            uname: "".into(),
            aname: ["", "?break", "?check=always,break", "?none"][r.next(4) as usize].into(),
            n_uname: 0,
        },
        1..4 => Request::Walk {
            fid: f,
            newfid: other,
            names,
        },
        4..7 => Request::Lopen {
            fid: f,
            flags: r.next(4) as u32 + 0o1000 * r.next(2) as u32,
        },
        7 => Request::Lcreate {
            fid: f,
            name: name(r).into(),
            flags: 0o2002,
            mode: 0o666,
            gid: 0,
        },
        8 | 9 => Request::Read {
            fid: f,
            offset,
            count: number(r) as u32,
        },
        10 | 11 => Request::Write {
            fid: f,
            offset: put_at,
            data: &data,
        },
        12 => Request::Clunk { fid: f },
        13 => Request::Remove { fid: f },
        14 => Request::Setattr { fid: f, attr },
        15 => Request::Getattr {
            fid: f,
            mask: offset,
        },
        16 => Request::Readdir {
            fid: f,
            offset: offset % 9,
            count: 100,
        },
        17 => Request::Unlinkat {
            dirfid: f,
            name: name(r).into(),
            flags: 0x200 * r.next(2) as u32,
        },
        18 => Request::Renameat {
            olddirfid: f,
            oldname: name(r).into(),
            newdirfid: other,
            newname: name(r).into(),
        },
        19 => Request::Rename {
            fid: f,
            dfid: other,
            name: name(r).into(),
        },
        20 => Request::Link {
            dfid: f,
            fid: other,
            name: name(r).into(),
        },
        21 => Request::Mkdir {
            dfid: f,
            name: name(r).into(),
            mode: 0o777,
            gid: 0,
        },
        22 | 23 => {
            let (count, epoch) = (number(r).min(u64::MAX - offset), r.next(30) / 29);
            Request::Snap {
                fid: f,
                snapfid: other,
                off: offset,
                count,
                epoch,
                known: 0,
            }
        }
        26 | 27 => Request::Walkopen {
            fid: f,
            newfid: other,
            flags: r.next(4) as u32 + 0o1000 * r.next(2) as u32,
            names,
        },
        28 => Request::Walkattr {
            fid: f,
            mask: offset,
            names,
        },
        29 => Request::Readdirattr {
            fid: f,
            dfid: other,
            offset: offset % 9,
            count: number(r) as u32,
            mask: offset,
        },
        24 => Request::Trim {
            snapfid: f,
            ranges: Ranges::new(&ranges),
        },
        _ => Request::Put {
            fid: f,
            wid: r.next(5),
            ack: r.next(3),
            flags: [put::COMMIT, 0, put::ABORT, put::COMMIT | put::APPEND][r.next(4) as usize],
            off: put_at,
            into: other,
            known: r.next(9),
            ops: PutOps::new(&ops),
            data: &data,
        },
    };
    message(7, &request)
}

#[test]
fn any_requests_are_answered_and_leave_nothing() {
    for seed in seeds(200) {
        println!("seed {seed}");
        let mut random = Random(seed * 104_729);
        let client = match seed % 2 {
            0 => Client::new(),
            _ => Client::by_names(),
        };
        for name in ["a", "b"] {
            client.host().set(name, &pattern(seed as u8, 20_000));
        }
        client.host().make_dir("dir");
        for _ in 0..200 {
            let answer = now(serve(&client.fs, 0, &request(&mut random)));
            let (tag, _) = ninep::decode_reply(&answer).expect("a well-formed reply");
            assert_eq!(tag, 7);
        }
        client.end();
    }
}

const CLIENTS: u32 = 3;

/// The connection begins anew, whatever is in flight.
fn anew() -> Vec<u8> {
    let (msize, version) = (1 << 20, VERSION_SNAP);
    message(NOTAG, &Request::Version { msize, version })
}

/// Three clients at once, over a server that answers late, out of order, at
/// times with an error, and at times has no room.
fn storm(seed: u64) {
    let mut random = Random(seed * 104_729 + 5);
    let client = Client::mounted(["", "?break", "?check=always"][seed as usize % 3]);
    let memory = client.host();
    for name in ["a", "b"] {
        memory.set(name, &pattern(seed as u8, 20_000));
    }
    memory.make_dir("dir");
    for conn in 1..CLIENTS {
        let other = Client::on(client.fs.clone(), conn);
        other.hello();
        other.attach();
    }
    let mut failing = Random(seed + 1);
    memory.inject(move |exchange| {
        // These end the fid also when they fail.
        let ends = [TCLUNK, TREMOVE].contains(&exchange.kind);
        (!ends && failing.next(40) == 0).then_some(abi::Errno::EIO)
    });
    memory.set_manual(true);
    let mut executor = Executor::default();
    let (mut asked, mut answered) = (0, 0);
    let mut look = |answer: Vec<u8>| {
        ninep::decode_reply(&answer).expect("a well-formed reply");
        answered += 1;
    };
    for step in 0..600 {
        if step < 400 && executor.has_room() {
            let conn = random.next(u64::from(CLIENTS)) as u32;
            let bytes = match random.next(40) {
                0 => anew(),
                _ => request(&mut random),
            };
            let fs = client.fs.clone();
            let task = async move { serve(&fs, conn, &bytes).await };
            asked += 1;
            if let Ok(Some(answer)) = executor.spawn(task) {
                look(answer);
            }
        }
        memory.set_full(random.next(8) == 0);
        for _ in 0..random.next(9) {
            let waiting = memory.waiting() as u64;
            if waiting > 0 {
                memory.release(random.next(waiting) as usize);
                executor.run(&mut look);
            }
        }
    }
    while memory.waiting() > 0 {
        memory.release(random.next(memory.waiting() as u64) as usize);
        executor.run(&mut look);
    }
    assert!(executor.is_idle(), "seed {seed}: somebody waits for ever");
    assert_eq!(asked, answered, "seed {seed}");
    drop(executor);
    memory.set_manual(false);
    memory.set_full(false);
    memory.heal();
    (1..CLIENTS).for_each(|conn| now(client.fs.hangup(conn)));
    now(client.fs.hangup(0));
    let left = client.counters();
    let held = (left.files, left.snapshots, left.saved, left.versions);
    assert_eq!(held, (0, 0, 0, 0), "seed {seed}");
    let below = client.host().fids() as u32;
    assert!(
        below == left.fids_lower && below <= 2,
        "seed {seed}: {left:?}"
    );
}

#[test]
fn any_requests_of_several_clients_at_once_are_answered_and_leave_nothing() {
    for seed in seeds(60) {
        println!("seed {seed}");
        storm(seed);
    }
}
