//! Writes that keep, copy and clear, and their association.

use crate::common::*;
use abi::Errno;
use ninep::consts::{NOFID, open, put};
use ninep::{PutKind, PutOp, PutOps, Request};

const B: u64 = 4096;
const DATA: PutKind = PutKind::Data;

/// A file "a" of `blocks` blocks, open, with a snapshot of all of it.
fn snapped(client: &Client, blocks: u64) -> (Vec<u8>, u32, u32) {
    let old = pattern(1, (blocks * B) as usize);
    client.host().set("a", &old);
    let fid = client.open("a");
    (old, fid, client.snap(fid, 0, blocks * B))
}

#[test]
fn an_unchanged_image_written_back_moves_nothing_and_sets_the_time() {
    let client = Client::new();
    let (old, fid, snap) = snapped(&client, 100);
    let (before, traffic) = (client.attr(fid).unwrap(), client.host().traffic());
    let done = client
        .put(fid, 0, snap, &[op(keep(snap, 0), 0, 100 * B)], &[])
        .unwrap();
    assert_eq!((done.count, done.assoc), (100 * B, true));
    assert_eq!(client.host().traffic(), traffic);
    assert!(client.attr(fid).unwrap().mtime_nsec > before.mtime_nsec);
    assert_eq!(client.host().get("a"), Some(old));
    let reader = client.open_with("a", open::RDONLY).unwrap();
    let refused = client.put(reader, 0, NOFID, &[op(keep(snap, 0), 0, B)], &[]);
    assert_eq!(
        refused,
        Err(Errno::EBADF),
        "rights count also when nothing moves"
    );
    client.end();
}

#[test]
fn what_somebody_else_changed_is_restored() {
    let client = Client::new();
    let (old, fid, snap) = snapped(&client, 10);
    let other = client.open("a");
    client.write(other, 3 * B + 10, b"theirs").unwrap();
    client.resize(other, 8 * B).unwrap();
    let ops = [
        op(keep(snap, 0), 0, B),
        op(DATA, B, B),
        op(keep(snap, 2 * B), 2 * B, 8 * B),
    ];
    let done = client.put(fid, 0, snap, &ops, &[9; B as usize]).unwrap();
    assert_eq!(done.count, 10 * B);
    let mut expected = old;
    expected[B as usize..2 * B as usize].fill(9);
    assert_eq!(client.host().get("a"), Some(expected.clone()));
    assert_eq!(client.read_all(snap, 0, 10 * B), Ok(expected));
    assert_eq!(
        client.counters().saved,
        0,
        "the old bytes are nobody's any more"
    );
    client.end();
}

#[test]
fn a_thousand_rounds_rescue_nothing_and_send_only_what_changed() {
    let client = Client::new();
    let (mut image, fid, snap) = snapped(&client, 64);
    let mut random = Random(7);
    let start = client.host().traffic();
    for round in 0..1000u64 {
        let block = random.next(64);
        let bytes = [round as u8; B as usize];
        image[(block * B) as usize..][..B as usize].copy_from_slice(&bytes);
        let mut ops = vec![];
        if block > 0 {
            ops.push(op(keep(snap, 0), 0, block * B));
        }
        ops.push(op(DATA, block * B, B));
        if block < 63 {
            ops.push(op(
                keep(snap, (block + 1) * B),
                (block + 1) * B,
                (63 - block) * B,
            ));
        }
        let done = client.put(fid, 0, snap, &ops, &bytes).unwrap();
        assert_eq!((done.count, done.assoc), (64 * B, true));
    }
    let counters = client.counters();
    assert_eq!((counters.rescued, counters.versions), (0, 0));
    let end = client.host().traffic();
    assert_eq!((end.0 - start.0, end.1 - start.1), (0, 1000 * B));
    assert_eq!(client.host().get("a"), Some(image.clone()));
    assert_eq!(client.read_all(snap, 0, 64 * B), Ok(image));
    client.end();
}

#[test]
fn into_leaves_other_snapshots_and_other_ranges_alone() {
    let client = Client::new();
    let (old, fid, snap) = snapped(&client, 8);
    let other = client.snap(fid, 0, 8 * B);
    let ops = [op(DATA, 0, 2 * B)];
    client
        .put(fid, 2 * B, snap, &ops, &[5; 2 * B as usize])
        .unwrap();
    assert_eq!(client.counters().rescued, 2, "for the other one");
    assert_eq!(client.read_all(other, 0, 8 * B), Ok(old.clone()));
    let mut expected = old;
    expected[2 * B as usize..4 * B as usize].fill(5);
    assert_eq!(client.read_all(snap, 0, 8 * B), Ok(expected));
    client.end();
}

#[test]
fn into_a_new_snapfid_covers_what_was_written_and_no_more() {
    let client = Client::new();
    client.host().set("a", &pattern(1, B as usize));
    let fid = client.open("a");
    let snap = client.fid();
    let ops = [op(DATA, 0, B), op(PutKind::Zero, B, B)];
    let done = client
        .put(fid, 4 * B, snap, &ops, &[5; B as usize])
        .unwrap();
    assert!(done.assoc);
    assert_eq!(client.read(snap, 4 * B, 2), Ok(vec![5; 2]));
    assert_eq!(client.read(snap, 5 * B + 4095, 2), Ok(vec![0]));
    assert_eq!(client.read(snap, 0, 1), Err(Errno::ESTALE));
    assert_eq!(client.host().get("a").unwrap().len() as u64, 6 * B);
    let writer = client.open_with("a", open::WRONLY).unwrap();
    let declined = client
        .put(writer, 0, client.fid(), &[op(DATA, 0, 1)], b"x")
        .unwrap();
    assert!(!declined.assoc, "a descriptor that may not read");
    client.end();
}

#[test]
fn keep_elsewhere_copies_as_it_was_before_the_commit() {
    let client = Client::new();
    let (old, fid, snap) = snapped(&client, 8);
    // Shifted by less than its length, both ways, at odd offsets.
    for (soff, off, len) in [
        (0, 777, 6 * B),
        (2 * B + 5, 100, 5 * B),
        (0, 8 * B - 3, 2 * B),
    ] {
        client.host().heal();
        let now = client.host().get("a").unwrap();
        let fresh = client.snap(fid, 0, 1 << 40);
        client
            .put(fid, off, NOFID, &[op(keep(fresh, soff), 0, len)], &[])
            .unwrap();
        let mut expected = now.clone();
        expected.resize(expected.len().max((off + len) as usize), 0);
        expected[off as usize..][..len as usize]
            .copy_from_slice(&now[soff as usize..][..len as usize]);
        assert_eq!(client.host().get("a"), Some(expected));
        assert_eq!(client.read_all(fresh, 0, now.len() as u64), Ok(now));
        client.clunk(fresh);
    }
    assert_eq!(client.read_all(snap, 0, 8 * B), Ok(old.clone()));
    // Two blocks change places.
    let ops = [op(keep(snap, B), 0, B), op(keep(snap, 0), B, B)];
    client.put(fid, 0, snap, &ops, &[]).unwrap();
    let swapped = [&old[B as usize..2 * B as usize], &old[..B as usize]].concat();
    assert_eq!(client.read_all(snap, 0, 2 * B), Ok(swapped));
    client.end();
}

#[test]
fn keep_from_another_file_even_a_removed_one() {
    let client = Client::new();
    let (old, fid, snap) = snapped(&client, 300);
    client.clunk(fid);
    client.unlink("a").unwrap();
    client.host().set("b", b"");
    let to = client.open("b");
    let done = client
        .put(to, 0, NOFID, &[op(keep(snap, 0), 0, 300 * B)], &[])
        .unwrap();
    assert_eq!(done.count, 300 * B);
    assert_eq!(client.host().get("b"), Some(old));
    client.end();
}

#[test]
fn a_commit_is_short_at_wmax_and_where_a_source_is_lost() {
    let client = Client::new();
    client.host().set("a", &vec![7; 9 << 20]);
    let fid = client.open("a");
    client.resize(fid, 100 << 20).unwrap();
    let snap = client.snap(fid, 0, 100 << 20);
    client.host().set("b", b"");
    let to = client.open("b");
    let done = client
        .put(to, 0, NOFID, &[op(keep(snap, 0), 0, 100 << 20)], &[])
        .unwrap();
    assert_eq!(done.count, 8 << 20);
    let ops = [
        op(DATA, 0, B),
        op(keep(snap, 100 << 20), B, B),
        op(DATA, 2 * B, B),
    ];
    let into = client.fid();
    let done = client.put(to, 0, into, &ops, &[3; 2 * B as usize]).unwrap();
    assert_eq!((done.count, done.assoc), (B, true));
    assert_eq!(client.read(into, 0, 2 * B as u32), Ok(vec![3; B as usize]));
    assert_eq!(
        client.put(to, 0, NOFID, &ops[1..2], &[]),
        Err(Errno::ESTALE)
    );
    // Zeros past the end cost nothing, however many.
    let done = client
        .put(to, 0, NOFID, &[op(PutKind::Zero, 8 << 20, 1 << 40)], &[])
        .unwrap();
    assert_eq!(done.count, (8 << 20) + (1 << 40));
    assert_eq!(client.attr(to).unwrap().size, (8 << 20) + (1 << 40));
    client.end();
}

/// Sends one message of a write at offset 100.
fn stage(
    client: &Client,
    (fid, wid, flags): (u32, u64, u32),
    ops: &[PutOp],
    data: &[u8],
) -> Result<PutDone, Errno> {
    let ops = PutOps::new(ops);
    let request = Request::Put {
        fid,
        wid,
        ack: 0,
        flags,
        off: 100,
        into: NOFID,
        known: 0,
        ops,
        data,
    };
    client.put_with(&request)
}

#[test]
fn nothing_of_a_staged_write_is_seen_before_its_commit() {
    let client = Client::new();
    client.host().set("a", &[0; 300]);
    let fid = client.open("a");
    let first = stage(&client, (fid, 1, 0), &[op(DATA, 0, 3)], b"abc");
    assert_eq!(first.unwrap().count, 0);
    assert_eq!(client.host().get("a"), Some(vec![0; 300]));
    let last = || stage(&client, (fid, 1, put::COMMIT), &[op(DATA, 3, 3)], b"def");
    let done = last().unwrap();
    assert_eq!((done.off, done.count), (100, 6));
    assert_eq!(&client.host().get("a").unwrap()[99..107], b"\0abcdef\0");
    // The same again is answered from memory.
    client.write(fid, 100, b"ABCDEF").unwrap();
    assert_eq!(last(), Ok(done));
    assert_eq!(&client.host().get("a").unwrap()[100..106], b"ABCDEF");
    // Aborted: as if never sent.
    stage(&client, (fid, 2, 0), &[op(DATA, 0, 3)], b"zzz").unwrap();
    stage(&client, (fid, 2, put::ABORT), &[], &[]).unwrap();
    assert_eq!(&client.host().get("a").unwrap()[100..106], b"ABCDEF");
    client.end();
}

#[test]
fn append_writes_where_the_file_ends_now() {
    let client = Client::new();
    client.host().set("a", b"one ");
    let fid = client.open_with("a", open::RDWR | open::APPEND).unwrap();
    client.host().set("a", b"two words ");
    assert_eq!(client.write(fid, 0, b"more"), Ok(4));
    assert_eq!(client.host().get("a"), Some(b"two words more".to_vec()));
    let plain = client.open("a");
    let flags = put::COMMIT | put::APPEND;
    let done = stage(&client, (plain, 9, flags), &[op(DATA, 0, 1)], b"!").unwrap();
    assert_eq!((done.off, done.count), (14, 1));
    assert_eq!(client.host().get("a"), Some(b"two words more!".to_vec()));
    client.end();
}

#[test]
fn an_error_in_the_middle_is_a_short_count_and_associates_no_more() {
    let client = Client::new();
    let (old, fid, snap) = snapped(&client, 8);
    let mut writes = 0;
    client.host().inject(move |exchange| {
        writes += u32::from(exchange.kind == ninep::consts::TWRITE);
        (writes == 2).then_some(Errno::EIO)
    });
    let ops = [
        op(DATA, 0, B),
        op(keep(snap, B), B, B),
        op(DATA, 2 * B, B),
        op(DATA, 3 * B, B),
    ];
    let done = client
        .put(fid, 0, snap, &ops, &[4; 3 * B as usize])
        .unwrap();
    client.host().heal();
    assert_eq!((done.count, done.assoc), (2 * B, true));
    let mut expected = old.clone();
    expected[..B as usize].fill(4);
    // The last message was in flight with the one that failed.
    let last = 3 * B as usize..4 * B as usize;
    assert_eq!(
        client.read_all(snap, 0, 3 * B),
        Ok(expected[..last.start].to_vec())
    );
    assert_eq!(client.read(snap, 3 * B, 1), Err(Errno::ESTALE));
    assert_eq!(
        client.read_all(snap, 4 * B, 4 * B),
        Ok(expected[last.end..].to_vec())
    );
    expected[last].fill(4);
    assert_eq!(client.host().get("a"), Some(expected));
    // Nothing at all: an error, and everything as it was.
    client
        .host()
        .inject(|exchange| (exchange.kind == ninep::consts::TWRITE).then_some(Errno::EDQUOT));
    let into = client.fid();
    assert_eq!(
        client.put(fid, 0, into, &ops[..1], &[6; B as usize]),
        Err(Errno::EDQUOT)
    );
    assert_eq!(client.read(into, 0, 1), Err(Errno::EBADF));
    client.host().heal();
    client.end();
}

#[test]
fn equal_epochs_mean_equal_content() {
    let client = Client::new();
    let (_, fid, snap) = snapped(&client, 2);
    let keep_all = [op(keep(snap, 0), 0, 2 * B)];
    let first = client.put(fid, 0, snap, &keep_all, &[]).unwrap().epoch;
    assert_eq!(
        client.put(fid, 0, snap, &keep_all, &[]).unwrap().epoch,
        first
    );
    let second = client
        .put(fid, 0, snap, &[op(DATA, 0, 1)], b"x")
        .unwrap()
        .epoch;
    assert!(second > first);
    client.resize(fid, 5).unwrap();
    let third = client
        .put(fid, 0, NOFID, &[op(DATA, 0, 1)], b"x")
        .unwrap()
        .epoch;
    assert!(third > second + 1, "the change of size took one too");
    client.end();
}

#[test]
fn a_keep_that_fails_half_way_leaves_nothing_of_itself() {
    let client = Client::new();
    let (_, fid, snap) = snapped(&client, 4);
    let other = client.open("a");
    client.write(other, B, &[8; B as usize]).unwrap();
    client.write(other, 3 * B, &[8; B as usize]).unwrap();
    let before = client.host().get("a").unwrap();
    let mut reads = 0;
    client.host().inject(move |exchange| {
        let read = exchange.kind == ninep::consts::TREAD;
        reads += u32::from(read);
        (read && reads == 2).then_some(Errno::EIO)
    });
    let ops = [op(DATA, 0, B), op(keep(snap, B), B, 3 * B)];
    let done = client.put(fid, 0, snap, &ops, &[5; B as usize]).unwrap();
    client.host().heal();
    assert_eq!(done.count, B);
    let mut expected = before;
    expected[..B as usize].fill(5);
    assert_eq!(client.host().get("a"), Some(expected));
    client.end();
}

#[test]
fn a_write_with_a_refused_message_is_not_done_in_part() {
    let client = Client::new();
    client.host().set("a", &[0; 300]);
    let fid = client.open("a");
    stage(&client, (fid, 1, 0), &[op(DATA, 0, 3)], b"abc").unwrap();
    let backwards = stage(&client, (fid, 1, 0), &[op(DATA, 2, 3)], b"xyz");
    assert_eq!(backwards, Err(Errno::EINVAL));
    // The client sent its COMMIT before it knew.
    let last = stage(&client, (fid, 1, put::COMMIT), &[op(DATA, 5, 3)], b"def");
    assert_eq!(last, Err(Errno::EINVAL), "the same error");
    assert_eq!(client.host().get("a"), Some(vec![0; 300]));
    client.end();
}

#[test]
fn a_refused_write_is_remembered_however_many_there_are() {
    // The first that finds no room, and one of those of which no mark is left.
    for refused in [1000, 1900] {
        let client = Client::new();
        client.host().set("a", &[b'.'; 300]);
        let fid = client.open("a");
        let byte = [op(DATA, 0, 1)];
        for wid in 1..=256 {
            stage(&client, (fid, wid, 0), &byte, b"x").unwrap();
        }
        for wid in 1000..=refused {
            let first = stage(&client, (fid, wid, 0), &byte, b"A");
            assert_eq!(first, Err(Errno::EAGAIN));
        }
        // Others come to their end, and make room.
        for wid in 1..=256 {
            stage(&client, (fid, wid, put::COMMIT), &[op(DATA, 1, 1)], b"x").unwrap();
        }
        let last = stage(
            &client,
            (fid, refused, put::COMMIT),
            &[op(DATA, 50, 1)],
            b"B",
        );
        assert_eq!(last, Err(Errno::EAGAIN), "not without its first message");
        assert_eq!(client.host().get("a").unwrap()[150], b'.');
        client.end();
    }
}

#[test]
fn what_a_connection_stages_is_bounded() {
    let client = Client::new();
    client.host().set("a", b"");
    let fid = client.open("a");
    let data = vec![1; 1 << 20];
    let ops = [op(DATA, 0, 1 << 20)];
    let mut staged = 0;
    let refused = (1..100).find_map(|wid| {
        let stage = stage(&client, (fid, wid, 0), &ops, &data);
        staged += u64::from(stage.is_ok());
        stage.err().map(|errno| (wid, errno))
    });
    let (wid, errno) = refused.expect("a bound");
    assert_eq!(errno, Errno::EAGAIN);
    assert!((24..=32).contains(&staged), "{staged} MiB");
    let commit = stage(
        &client,
        (fid, wid, put::COMMIT),
        &[op(DATA, 1 << 20, 1)],
        b"x",
    );
    assert_eq!(commit, Err(Errno::EAGAIN), "not without what was refused");
    // One that is done makes room again, and nothing was lost meanwhile.
    let done = stage(
        &client,
        (fid, 1, put::COMMIT),
        &[op(DATA, 1 << 20, 1)],
        b"x",
    );
    assert_eq!(done.unwrap().count, (1 << 20) + 1);
    stage(&client, (fid, 200, 0), &ops, &data).unwrap();
    client.end();
}
