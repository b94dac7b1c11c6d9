//! What a mount may ask for: who comes first when old bytes cannot be saved,
//! and how often changes behind our back are looked for.

use crate::common::*;
use abi::Errno;
use ninep::PutKind;
use ninep::consts::{NOFID, TREAD, TWRITE};

const B: u64 = 4096;
const BLOCK: usize = B as usize;

/// One block of `pattern`.
fn block(old: &[u8], n: usize) -> Vec<u8> {
    old[n * BLOCK..(n + 1) * BLOCK].to_vec()
}

/// A client with a snapshot of a file `a` of so many blocks: the bytes, the file's fid
/// and the snapshot's.
fn asleep(options: &str, blocks: usize) -> (Client, Vec<u8>, u32, u32) {
    let client = Client::mounted(options);
    let old = pattern(1, blocks * BLOCK);
    client.host().set("a", &old);
    let fid = client.open("a");
    let snap = client.snap(fid, 0, blocks as u64 * B);
    (client, old, fid, snap)
}

#[test]
fn only_blocks_that_cannot_be_saved_are_lost() {
    let client = Client::mounted("?break");
    let mut old = pattern(1, 8 * BLOCK);
    old[5 * BLOCK..6 * BLOCK].fill(0);
    client.host().set("a", &old);
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 8 * B);
    client.write(fid, B, &[9; BLOCK]).unwrap();
    client.host().set_full(true);
    assert_eq!(client.write(fid, 2 * B + 7, b"x"), Ok(1));
    assert_eq!(client.write(fid, 5 * B, b"zeros need no room"), Ok(18));
    client.host().set_full(false);
    client.write(fid, 3 * B, b"y").unwrap();
    client
        .write(fid, 2 * B, b"what is lost stays lost")
        .unwrap();
    for n in 0..8 {
        let expected = match n {
            2 => Err(Errno::ESTALE),
            n => Ok(block(&old, n)),
        };
        let read = client.read(snap, n as u64 * B, B as u32);
        assert_eq!(read, expected, "block {n}");
    }
    assert_eq!(client.counters().lost, 1);
    // Up to the loss, and not over it.
    let before = client.read(snap, 0, 8 * B as u32).unwrap();
    assert_eq!(before, old[..2 * BLOCK]);
    let keep_all = [op(keep(snap, 0), 0, 8 * B)];
    let kept = client.put(fid, 0, NOFID, &keep_all, &[]).unwrap();
    assert_eq!(kept.count, 2 * B);
    let lost = client.put(fid, 2 * B, NOFID, &[op(keep(snap, 2 * B), 0, B)], &[]);
    assert_eq!(lost, Err(Errno::ESTALE));
    // A later snapshot has nothing to do with it.
    let later = client.snap(fid, 0, 8 * B);
    let now = client.read(later, 2 * B, B as u32).unwrap();
    client.write(fid, 2 * B, &[3; BLOCK]).unwrap();
    assert_eq!(client.read(later, 2 * B, B as u32), Ok(now));
    client.end();
}

#[test]
fn cutting_a_file_loses_what_finds_no_room_and_no_more() {
    let (client, old, fid, snap) = asleep("?break", 100);
    let mut writes = 0;
    client.host().inject(move |exchange| {
        writes += u32::from(exchange.kind == TWRITE);
        (exchange.kind == TWRITE && (2..40).contains(&writes)).then_some(Errno::ENOSPC)
    });
    client.resize(fid, 0).unwrap();
    client.host().heal();
    let lost = (0..100).filter(|n| {
        let read = client.read(snap, n * B, B as u32);
        assert!(read == Err(Errno::ESTALE) || read == Ok(block(&old, *n as usize)));
        read.is_err()
    });
    let lost = lost.count() as u64;
    assert_eq!(client.counters().lost, lost);
    assert!(0 < lost && lost < 40, "{lost}");
    client.end();
}

#[test]
fn a_block_that_cannot_be_read_is_lost_alone() {
    let (client, old, fid, snap) = asleep("?break", 6);
    let mut reads = 0;
    client.host().inject(move |exchange| {
        reads += u32::from(exchange.kind == TREAD);
        // All six at once, then one by one.
        (exchange.kind == TREAD && (reads == 1 || reads == 4)).then_some(Errno::EIO)
    });
    assert_eq!(client.write(fid, 0, &[8; 6 * BLOCK]), Ok(6 * B as u32));
    client.host().heal();
    for n in 0..6 {
        let read = client.read(snap, n as u64 * B, B as u32);
        let right = if n == 2 {
            Err(Errno::ESTALE)
        } else {
            Ok(block(&old, n))
        };
        assert_eq!(read, right, "block {n}");
    }
    client.end();
}

#[test]
fn one_snapshot_of_a_mount_that_refuses_is_enough() {
    let breaking = Client::mounted("?break");
    let careful = Client::on(breaking.fs.clone(), 1);
    careful.hello();
    careful.attach();
    let old = pattern(4, 4 * BLOCK);
    breaking.host().set("a", &old);
    let (mine, theirs) = (breaking.open("a"), careful.open("a"));
    let weak = breaking.snap(mine, 0, 4 * B);
    let precious = careful.snap(theirs, 0, B);
    breaking.host().set_full(true);
    for (client, fid) in [(&breaking, mine), (&careful, theirs)] {
        assert_eq!(client.write(fid, 0, b"x"), Err(Errno::ENOSPC));
        assert_eq!(client.resize(fid, 0), Err(Errno::ENOSPC));
        let zeros = [op(PutKind::Zero, 0, B)];
        assert_eq!(client.put(fid, 0, NOFID, &zeros, &[]), Err(Errno::ENOSPC));
    }
    assert_eq!(breaking.host().get("a"), Some(old.clone()));
    assert_eq!(careful.read(precious, 0, B as u32), Ok(block(&old, 0)));
    careful.clunk(precious);
    assert_eq!(careful.write(theirs, 0, b"x"), Ok(1));
    assert_eq!(breaking.read(weak, 0, 1), Err(Errno::ESTALE));
    assert_eq!(breaking.read(weak, B, B as u32), Ok(block(&old, 1)));
    now(careful.fs.hangup(1));
    drop(careful);
    breaking.end();
}

#[test]
fn with_check_always_a_strangers_bytes_are_not_delivered() {
    for (options, noticed) in [("?check=always", true), ("", false)] {
        let (client, old, fid, snap) = asleep(options, 4);
        client.write(fid, B, b"ours").unwrap();
        assert_eq!(client.read(snap, 0, B as u32), Ok(block(&old, 0)));
        assert_eq!(client.read(snap, 0, 4 * B as u32), Ok(old.clone()));
        client.host().set("a", &[66; 4 * BLOCK]);
        let (one, all) = (
            client.read(snap, 0, B as u32),
            client.read(snap, 0, 4 * B as u32),
        );
        if noticed {
            assert_eq!((one, all), (Err(Errno::ESTALE), Err(Errno::ESTALE)));
        } else {
            assert_eq!(one, Ok(vec![66; BLOCK]), "nobody looked");
            assert_eq!(all.map(|all| all.len()), Ok(4 * BLOCK));
        }
        assert_eq!(client.read(snap, B, B as u32), Ok(block(&old, 1)), "saved");
        client.end();
    }
}

#[test]
fn with_check_always_a_write_does_not_hide_a_strangers_change() {
    for (options, noticed) in [("?check=always", true), ("", false)] {
        let (client, _, fid, snap) = asleep(options, 4);
        client.host().set("a", &[66; 4 * BLOCK]);
        client.write(fid, B, b"ours").unwrap();
        let read = client.read(snap, 0, B as u32);
        match noticed {
            true => assert_eq!(read, Err(Errno::ESTALE)),
            false => assert_eq!(read, Ok(vec![66; BLOCK]), "nobody looked"),
        }
        client.end();
    }
}

#[test]
fn with_check_always_no_strangers_bytes_are_kept_or_copied() {
    let client = Client::mounted("?check=always");
    let old = pattern(6, 4 * BLOCK);
    client.host().set("a", &old);
    client.host().set("b", b"");
    let (fid, to) = (client.open("a"), client.open("b"));
    let snap = client.snap(fid, 0, 4 * B);
    client.host().set("a", &[66; 4 * BLOCK]);
    let keep_all = [op(keep(snap, 0), 0, 4 * B)];
    let copied = client.put(to, 0, NOFID, &keep_all, &[]);
    assert_eq!(copied, Err(Errno::ESTALE));
    assert_eq!(client.host().get("b"), Some(vec![]));
    let kept = client.put(fid, 0, NOFID, &keep_all, &[]);
    assert_eq!(kept, Err(Errno::ESTALE));
    client.end();
}

#[test]
fn an_option_that_there_is_not_is_refused() {
    let client = Client::new();
    assert_eq!(client.attach_as(7, "?brake"), Err(Errno::EINVAL));
    assert_eq!(client.attach_as(7, "?break,check=always"), Ok(()));
    client.end();
}
