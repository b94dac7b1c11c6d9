//! Changes that failed may have been done in part, or entirely: sizes, zeros
//! and snapshots are right afterwards, and nobody who sleeps on the file pays.

use crate::common::*;
use abi::Errno;
use lower::*;
use ninep::consts::{NOFID, TREAD, TSETATTR, TWRITE, open};
use ninep::{PutKind, PutOp};
use std::cell::Cell;
use std::ops::Range;

const B: u64 = 4096;
const WANTED: u64 = 16 * B;

/// A client of a host with so many blocks, and a file.
fn crowded(blocks: u64, name: &str, content: &[u8]) -> Client {
    let host = Host::new(Manners {
        capacity: blocks,
        ..Manners::default()
    });
    host.set(name, content);
    Client::of(host)
}

/// A client that sleeps on all of a file of four blocks: also the file's fid, the
/// snapshot's, and the content.
fn asleep() -> (Client, u32, u32, Vec<u8>) {
    let old = pattern(1, 4 * B as usize);
    let client = crowded(u64::MAX, "f", &old);
    let fid = client.open("f");
    let snap = client.snap(fid, 0, 4 * B);
    (client, fid, snap, old)
}

fn make_room(client: &Client) {
    client.host().adapt(|manners| manners.capacity = u64::MAX);
}

fn data(len: u64) -> [PutOp; 1] {
    [op(PutKind::Data, 0, len)]
}

#[test]
fn an_append_that_finds_no_room_in_the_middle_harms_no_sleeper() {
    let old = pattern(1, 2 * B as usize);
    let reader = crowded(12, "log", &old);
    let writer = reader.beside(1, 0);
    let fid = reader.open_with("log", open::RDONLY).unwrap();
    let snap = reader.snap(fid, 0, 2 * B);
    let log = writer
        .open_with("log", open::WRONLY | open::APPEND)
        .unwrap();
    let full = writer.write(log, 0, &pattern(2, WANTED as usize));
    assert_eq!(full, Err(Errno::ENOSPC));
    assert_eq!(reader.host().get("log").unwrap().len() as u64, 12 * B);
    let again = reader.open_with("log", open::RDONLY).unwrap();
    assert!(reader.read_all(snap, 0, 2 * B) == Ok(old.clone()));
    let later = reader.snap(again, 0, 2 * B);
    assert!(reader.read_all(snap, 0, 2 * B) == Ok(old.clone()));
    assert!(reader.read_all(later, 0, 2 * B) == Ok(old));
    writer.hang_up();
    reader.end();
}

#[test]
fn zeros_written_where_a_failed_write_left_bytes_are_zeros() {
    let client = crowded(12, "f", &pattern(1, B as usize));
    let fid = client.open("f");
    // Somebody sleeps on the file, so that its time is known.
    let _snap = client.snap(fid, 0, B);
    let bytes = pattern(2, WANTED as usize);
    let full = client.put(fid, B, NOFID, &data(WANTED), &bytes);
    assert_eq!(full, Err(Errno::ENOSPC));
    make_room(&client);
    let zeros = [op(PutKind::Zero, 0, WANTED)];
    assert_eq!(
        client.put(fid, B, NOFID, &zeros, &[]).unwrap().count,
        WANTED
    );
    let written = client.read_all(fid, B, WANTED).unwrap();
    assert!(written == vec![0; WANTED as usize]);
    client.end();
}

/// A file of which a failed write made ten blocks, and then somebody wrote far
/// behind them: the file's fid.
fn written_far_behind(client: &Client) -> u32 {
    let fid = client.open("f");
    let full = client.write(fid, 0, &pattern(2, WANTED as usize));
    assert_eq!(full, Err(Errno::ENOSPC));
    make_room(client);
    client.write(fid, 32 << 20, b"x").unwrap();
    fid
}

#[test]
fn a_copy_has_the_bytes_that_a_failed_write_left() {
    let client = crowded(10, "f", &[]);
    let fid = written_far_behind(&client);
    client.host().set("copy", &[]);
    let size = client.attr(fid).unwrap().size;
    let snap = client.snap(fid, 0, size);
    let copy = client.open("copy");
    let all = [op(keep(snap, 0), 0, size)];
    assert_eq!(client.put(copy, 0, NOFID, &all, &[]).unwrap().count, size);
    let live = client.read_all(fid, 0, WANTED).unwrap();
    assert!(live.starts_with(&pattern(2, 10 * B as usize)));
    assert!(client.read_all(snap, 0, WANTED).unwrap() == live);
    assert!(client.read_all(copy, 0, WANTED).unwrap() == live);
    client.end();
}

#[test]
fn a_rescue_saves_the_bytes_that_a_failed_write_left() {
    let client = crowded(10, "f", &[]);
    let fid = written_far_behind(&client);
    let snap = client.snap(fid, 0, 1 << 20);
    let before = client.read_all(snap, 0, WANTED).unwrap();
    client.resize(fid, 0).unwrap();
    assert!(client.read_all(snap, 0, WANTED).unwrap() == before);
    client.end();
}

#[test]
fn the_rest_of_into_is_as_it_was_or_lost_after_a_write_that_failed() {
    let faults = [
        Fault::After(Errno::EIO),
        Fault::Partial(B as usize + 100, Errno::EIO),
    ];
    for fault in faults {
        let (client, fid, snap, old) = asleep();
        client.host().inject(move |call| match call.writes("f") {
            true => fault,
            false => Fault::No,
        });
        let bytes = pattern(2, 4 * B as usize);
        let put = client.put(fid, 0, snap, &data(4 * B), &bytes);
        client.host().heal();
        let count = put.map_or(0, |put| put.count);
        let rest = client.read_all(snap, count, 4 * B - count);
        let same = rest == Ok(old[count as usize..].to_vec());
        assert!(same || rest == Err(Errno::ESTALE), "{fault:?}");
        client.end();
    }
}

/// A later message wrote bytes in the middle of a block that the snapshot has from there
/// on, and does not count.
#[test]
fn no_snapshot_shows_bytes_behind_the_message_that_failed() {
    for from in [B, B + 100, 2 * B - 1] {
        let (client, fid, whole, old) = asleep();
        client.clunk(whole);
        let snap = client.snap(fid, from, 3 * B - from);
        let failed = Cell::new(false);
        client.host().inject(move |call| {
            match call.writes("f") && !failed.replace(call.writes("f") || failed.get()) {
                true => Fault::After(Errno::EIO),
                false => Fault::No,
            }
        });
        let ops = [op(PutKind::Zero, 0, B), op(PutKind::Data, B, B)];
        let put = client.put(fid, 0, snap, &ops, &pattern(2, B as usize));
        client.host().heal();
        assert_eq!(put.map(|put| put.count), Err(Errno::EIO));
        let read = client.read(snap, from, (2 * B - from) as u32);
        assert!(read == Err(Errno::ESTALE), "from {from}");
        let rest = client.read(snap, 2 * B, B as u32);
        assert!(rest == Ok(old[2 * B as usize..3 * B as usize].to_vec()));
        client.end();
    }
}

#[test]
fn what_a_failed_write_left_is_found_out_when_it_can_be_read_again() {
    let (client, fid, snap, old) = asleep();
    client.host().inject(|call| match call.kind {
        TWRITE if call.path == "f" => Fault::Partial(B as usize + 100, Errno::EIO),
        TREAD if call.path == "f" => Fault::Before(Errno::EIO),
        _ => Fault::No,
    });
    let bytes = pattern(2, 3 * B as usize);
    let put = client.put(fid, 0, snap, &data(3 * B), &bytes);
    assert_eq!(put.map(|put| put.count), Err(Errno::EIO));
    // Not even what was not written is told while it is not known.
    for block in 0..4 {
        let read = client.read(snap, block * B, B as u32);
        assert!(read == Err(Errno::EIO), "block {block}");
    }
    let again = client.put(fid, 0, snap, &data(3 * B), &bytes);
    assert_eq!(again.map(|put| put.count), Err(Errno::EIO));
    client.host().heal();
    for block in 0..2 {
        let read = client.read(snap, block * B, B as u32);
        assert!(read == Err(Errno::ESTALE), "block {block}");
    }
    let rest = client.read_all(snap, B + 100, 3 * B - 100);
    assert!(rest == Ok(old[B as usize + 100..].to_vec()));
    client.end();
}

/// The write of a block into the snapshot fails, and nothing is written. From then on, or
/// since before it, no block in `bad` can be read or written.
fn fails_at(client: &Client, (fid, into): (u32, u32), block: u64, bad: Range<u64>, since: bool) {
    let since = Cell::new(since);
    client.host().inject(move |call| {
        let at_bad = call.off < bad.end * B && bad.start * B < call.off + call.len as u64;
        let hits = at_bad && call.path == "f";
        since.set(since.get() || hits && call.kind == TWRITE);
        match call.kind {
            TREAD | TWRITE if hits && since.get() => Fault::Before(Errno::EIO),
            _ => Fault::No,
        }
    });
    let put = client.put(fid, block * B, into, &data(B), &pattern(7, B as usize));
    assert_eq!(put.map(|put| put.count), Err(Errno::EIO));
}

#[test]
fn a_failed_write_that_cannot_be_looked_at_is_in_the_way_of_no_other_block() {
    let (client, fid, snap, old) = asleep();
    let block = |n: u64| old[(n * B) as usize..((n + 1) * B) as usize].to_vec();
    let early = client.snap(fid, 0, 4 * B);
    fails_at(&client, (fid, snap), 1, 1..2, false);
    // What is known can be read, written and cut; the rest is refused, not lost.
    client.write(fid, 3 * B, b"other").unwrap();
    client.resize(fid, 2 * B).unwrap();
    client.write(fid, 3 * B, b"again").unwrap();
    for n in [0, 2, 3] {
        assert!(client.read(snap, n * B, B as u32) == Ok(block(n)), "{n}");
    }
    assert!(client.read_all(early, 0, 4 * B) == Ok(old.clone()));
    assert_eq!(client.read(snap, B, 1), Err(Errno::EIO));
    assert_eq!(client.write(fid, 2 * B - 1, b"xy"), Err(Errno::EIO));
    assert_eq!(client.resize(fid, B + 1), Err(Errno::EIO));
    let kept = client.put(fid, 8 * B, NOFID, &[op(keep(snap, B), 0, B)], &[]);
    assert_eq!(kept.map(|put| put.count), Err(Errno::EIO));
    // It is tried again.
    client.host().heal();
    let kept = client.put(fid, 8 * B, NOFID, &[op(keep(snap, B), 0, B)], &[]);
    assert_eq!(kept.map(|put| put.count), Ok(B));
    assert!(client.read_all(fid, 8 * B, B) == Ok(block(1)));
    client.write(fid, B, b"now").unwrap();
    client.resize(fid, 0).unwrap();
    assert!(client.read_all(snap, 0, 4 * B) == Ok(old.clone()));
    assert!(client.read_all(early, 0, 4 * B) == Ok(old.clone()));
    client.end();
}

#[test]
fn who_puts_up_with_losses_loses_what_cannot_be_looked_at_and_is_not_refused() {
    let client = Client::mounted("?break");
    let old = pattern(1, 4 * B as usize);
    client.host().set("f", &old);
    let fid = client.open("f");
    let snap = client.snap(fid, 0, 4 * B);
    fails_at(&client, (fid, snap), 1, 1..2, false);
    client.resize(fid, B).unwrap();
    assert_eq!(client.read(snap, B, B as u32), Err(Errno::ESTALE));
    for n in [0, 2, 3] {
        let bytes = (n * B) as usize..((n + 1) * B) as usize;
        assert!(
            client.read(snap, n * B, B as u32) == Ok(old[bytes].to_vec()),
            "{n}"
        );
    }
    client.end();
}

#[test]
fn of_two_failed_writes_that_cannot_be_looked_at_the_first_is_lost() {
    let (client, fid, snap, old) = asleep();
    fails_at(&client, (fid, snap), 0, 0..1, false);
    fails_at(&client, (fid, snap), 2, 0..3, true);
    client.host().heal();
    assert!(client.read(snap, 0, B as u32) == Err(Errno::ESTALE));
    let rest = client.read_all(snap, B, 3 * B);
    assert!(rest == Ok(old[B as usize..].to_vec()));
    client.end();
}

#[test]
fn a_change_of_size_that_was_done_and_answered_with_an_error_harms_no_sleeper() {
    for size in [0, B, 100 * B] {
        let (client, fid, snap, old) = asleep();
        client.host().inject(|call| match call.kind {
            TSETATTR => Fault::After(Errno::EINTR),
            _ => Fault::No,
        });
        assert_eq!(client.resize(fid, size), Err(Errno::EINTR));
        client.host().heal();
        client.clunk(client.open("f"));
        assert!(client.read_all(snap, 0, 4 * B) == Ok(old), "size {size}");
        client.end();
    }
}

#[test]
fn a_write_that_was_done_and_answered_with_an_error_harms_no_sleeper() {
    let (client, fid, snap, old) = asleep();
    client.host().inject(|call| match call.writes("f") {
        true => Fault::After(Errno::EINTR),
        false => Fault::No,
    });
    let failed = client.write(fid, 3 * B, &pattern(3, 2 * B as usize));
    assert_eq!(failed, Err(Errno::EINTR));
    client.host().heal();
    client.clunk(client.open("f"));
    assert!(client.read_all(snap, 0, 4 * B) == Ok(old));
    client.end();
}
