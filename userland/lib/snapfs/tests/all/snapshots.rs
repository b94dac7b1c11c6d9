//! A snapshot never changes, whatever becomes of the file.

use crate::common::*;
use abi::Errno;
use ninep::consts::open;

const B: u64 = 4096;

#[test]
fn a_snapshot_keeps_its_bytes_when_the_file_is_overwritten() {
    let client = Client::new();
    let old = pattern(1, 10 * B as usize);
    client.host().set("a", &old);
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 10 * B);
    assert_eq!(client.write(fid, 5000, b"new"), Ok(3));
    assert_eq!(client.read_all(snap, 0, 10 * B), Ok(old.clone()));
    assert_eq!(client.read(fid, 5000, 3), Ok(b"new".to_vec()));
    assert_eq!(client.counters().rescued, 1);
    assert_eq!(
        client.read(snap, B, 10),
        Ok(old[B as usize..][..10].to_vec())
    );
    client.end();
}

#[test]
fn a_block_is_rescued_once_for_all_snapshots_and_epochs_in_use() {
    let client = Client::new();
    client.host().set("a", &pattern(1, 4 * B as usize));
    let fid = client.open("a");
    let snaps: Vec<u32> = (0..100).map(|_| client.snap(fid, 0, 4 * B)).collect();
    for n in 0..50 {
        client.write(fid, 0, &pattern(n, 100)).unwrap();
    }
    assert_eq!(client.counters().rescued, 1);
    let later = client.snap(fid, 0, 4 * B);
    let now = client.read(fid, 0, 100).unwrap();
    client.write(fid, 0, b"x").unwrap();
    client.write(fid, 0, b"y").unwrap();
    assert_eq!(client.counters().rescued, 2);
    assert_eq!(client.read(later, 0, 100), Ok(now));
    for snap in snaps {
        assert_eq!(client.read(snap, 0, 100), Ok(pattern(1, 100)));
        client.clunk(snap);
    }
    assert_eq!(
        (client.counters().saved, client.counters().versions),
        (1, 1)
    );
    client.clunk(later);
    assert_eq!(
        (client.counters().saved, client.counters().versions),
        (0, 0)
    );
    client.end();
}

#[test]
fn nothing_is_rescued_when_nobody_covers_the_block() {
    let client = Client::new();
    client.host().set("a", &pattern(1, 8 * B as usize));
    let fid = client.open("a");
    client.write(fid, 0, b"x").unwrap();
    let snap = client.snap(fid, 2 * B, B);
    client.write(fid, 0, &[1; 2 * B as usize]).unwrap();
    client.write(fid, 3 * B, &[1; 5 * B as usize]).unwrap();
    // An append changes no byte that a snapshot has.
    let tail = client.snap(fid, 8 * B - 10, 100);
    client.write(fid, 8 * B, b"more").unwrap();
    assert_eq!(client.counters().rescued, 0);
    client.clunk(snap);
    client.clunk(tail);
    client.write(fid, 2 * B, b"x").unwrap();
    assert_eq!(client.counters().rescued, 0);
    client.end();
}

#[test]
fn zeros_are_rescued_as_a_note() {
    let client = Client::new();
    client.host().set_size("a", 64 * B);
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 64 * B);
    client.write(fid, 0, &[7; 64 * B as usize]).unwrap();
    assert_eq!(
        (client.counters().rescued, client.counters().saved),
        (64, 0)
    );
    assert_eq!(
        client.read_all(snap, 0, 64 * B),
        Ok(vec![0; 64 * B as usize])
    );
    client.end();
}

#[test]
fn truncating_and_growing_again_is_not_seen() {
    let client = Client::new();
    let old = pattern(3, 5 * B as usize + 77);
    client.host().set("a", &old);
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 1 << 40);
    client.resize(fid, B + 5).unwrap();
    client.resize(fid, 9 * B).unwrap();
    assert_eq!(client.read_all(snap, 0, old.len() as u64), Ok(old.clone()));
    assert_eq!(client.read(snap, old.len() as u64, 1), Err(Errno::ESTALE));
    let mut cut = old[..B as usize + 5].to_vec();
    cut.resize(9 * B as usize, 0);
    assert_eq!(client.host().get("a"), Some(cut));
    let again = client.open_with("a", open::RDWR | open::TRUNC).unwrap();
    assert_eq!(client.host().get("a"), Some(vec![]));
    assert_eq!(client.read_all(snap, 0, old.len() as u64), Ok(old));
    client.clunk(again);
    client.end();
}

#[test]
fn a_snapshot_is_short_at_the_end_of_the_file() {
    let client = Client::new();
    client.host().set("a", &pattern(1, 100));
    let fid = client.open("a");
    assert_eq!(client.snap_into(fid, 5000, 40, 1000), Ok(60));
    assert_eq!(client.snap_into(fid, 5001, 100, 1000), Ok(0));
    client.clunk(5001);
    assert_eq!(
        client.read(5000, 40, 1000),
        Ok(pattern(1, 100)[40..].to_vec())
    );
    assert_eq!(
        client.read(5000, 0, 1),
        Err(Errno::ESTALE),
        "never live data"
    );
    client.end();
}

#[test]
fn a_snapshot_outlives_the_fid_it_was_taken_with() {
    let client = Client::new();
    client.host().set("a", &pattern(1, 3 * B as usize));
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 3 * B);
    client.clunk(fid);
    assert_eq!(
        client.read(snap, B, 5),
        Ok(pattern(1, 3 * B as usize)[B as usize..][..5].to_vec())
    );
    let other = client.open_with("a", open::WRONLY).unwrap();
    assert_eq!(client.read(other, 0, 1), Err(Errno::EBADF));
    client.write(other, B, b"zzzzz").unwrap();
    client.clunk(other);
    assert_eq!(
        client.read(snap, B, 5),
        Ok(pattern(1, 3 * B as usize)[B as usize..][..5].to_vec())
    );
    client.end();
}

#[test]
fn trimmed_ranges_are_stale_and_are_not_rescued_for() {
    let client = Client::new();
    client.host().set("a", &pattern(1, 8 * B as usize));
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 8 * B);
    client.write(fid, 0, &[1; 4 * B as usize]).unwrap();
    assert_eq!(client.counters().saved, 4);
    client.trim(snap, &[(0, 2 * B), (5 * B, B)]);
    assert_eq!(client.counters().saved, 2);
    client.write(fid, 4 * B, &[2; 2 * B as usize]).unwrap();
    assert_eq!(client.counters().saved, 3);
    assert_eq!(client.read(snap, 0, 1), Err(Errno::ESTALE));
    assert_eq!(client.read(snap, 5 * B, 1), Err(Errno::ESTALE));
    let old = pattern(1, 8 * B as usize);
    assert_eq!(
        client.read_all(snap, 2 * B, 3 * B),
        Ok(old[2 * B as usize..5 * B as usize].to_vec())
    );
    client.end();
}

#[test]
fn changes_behind_our_back_are_never_wrong_data() {
    let client = Client::new();
    let old = pattern(1, 3 * B as usize);
    client.host().set("a", &old);
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 3 * B);
    client.write(fid, 0, b"x").unwrap();
    client.host().set("a", &pattern(9, 3 * B as usize));
    let later = client.snap(fid, 0, 3 * B);
    assert_eq!(
        client.read(snap, 0, 10),
        Ok(old[..10].to_vec()),
        "rescued before"
    );
    assert_eq!(client.read(snap, B, 10), Err(Errno::ESTALE));
    assert_eq!(
        client.read(later, B, 10),
        Ok(pattern(9, 3 * B as usize)[B as usize..][..10].to_vec())
    );
    client.write(fid, B, b"x").unwrap();
    assert_eq!(
        client.read(snap, B, 10),
        Err(Errno::ESTALE),
        "not the stranger's bytes"
    );
    client.end();
}

#[test]
fn the_writer_is_refused_when_the_old_bytes_cannot_be_saved() {
    let client = Client::new();
    let old = pattern(1, 3 * B as usize);
    client.host().set("a", &old);
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 3 * B);
    client
        .host()
        .inject(|exchange| (exchange.kind == ninep::consts::TWRITE).then_some(Errno::ENOSPC));
    assert_eq!(client.write(fid, 0, b"x"), Err(Errno::ENOSPC));
    assert_eq!(client.resize(fid, 0), Err(Errno::ENOSPC));
    client.host().heal();
    assert_eq!(client.read_all(snap, 0, 3 * B), Ok(old.clone()));
    assert_eq!(client.host().get("a"), Some(old));
    assert_eq!(client.counters().saved, 0);
    client.end();
}

#[test]
fn ten_thousand_snapshots_of_a_sparse_terabyte() {
    let client = Client::new();
    client.host().set_size("a", 1 << 40);
    let fid = client.open("a");
    let snaps: Vec<u32> = (0..10_000)
        .map(|n| {
            if n % 10 == 0 {
                client
                    .write(fid, (n % 1000) << 20, &[n as u8 + 1; 10])
                    .unwrap();
            }
            client.snap(fid, 0, 1 << 40)
        })
        .collect();
    client.write(fid, 0, &vec![1; 4 << 20]).unwrap();
    assert!(client.counters().rescued < 3000, "{:?}", client.counters());
    assert_eq!(client.read(snaps[500], 490 << 20, 3), Ok(vec![235; 3]));
    for snap in snaps {
        client.clunk(snap);
    }
    client.end();
}

#[test]
fn a_read_across_ranges_of_different_epochs_is_one_answer() {
    let client = Client::new();
    let old = pattern(1, 8 * B as usize);
    client.host().set("a", &old);
    let (fid, snap) = (client.open("a"), client.fid());
    client.snap_into(fid, snap, 0, 2 * B + 100).unwrap();
    client.write(fid, 7 * B, b"later").unwrap();
    client.snap_into(fid, snap, 2 * B + 100, 3 * B).unwrap();
    // All live, and of two epochs.
    let expected = &old[..5 * B as usize + 100];
    assert_eq!(client.read(snap, 0, 8 * B as u32).as_deref(), Ok(expected));
    // Some saved, some live, of three.
    client.write(fid, B, &[9; 2 * B as usize]).unwrap();
    client.snap_into(fid, snap, 5 * B + 100, B).unwrap();
    let expected = &old[..6 * B as usize + 100];
    assert_eq!(client.read(snap, 0, 8 * B as u32).as_deref(), Ok(expected));
    // Not over a gap.
    client.trim(snap, &[(3 * B, 10)]);
    let expected = &old[..3 * B as usize];
    assert_eq!(client.read(snap, 0, 8 * B as u32).as_deref(), Ok(expected));
    client.end();
}
