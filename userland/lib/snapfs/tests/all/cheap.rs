//! What a write does not cost: looks at the file, copies of staged bytes, rescues for
//! the snapshot that it becomes part of.

use crate::common::*;
use abi::Errno;
use dormouse_snapfs::{Held, Options};
use lower::Host;
use ninep::consts::{NOFID, put};
use ninep::{PutKind, PutOps, Request};
use std::rc::Rc;

const B: u64 = 4096;
const BLOCK: usize = B as usize;

/// A client of a server whose owner learns times later.
fn lazy(aname: &str) -> Client {
    let options = Options {
        lazy: true,
        ..Options::default()
    };
    let client = Client::on(start(Host::default(), options), 0);
    client.hello();
    client.attach_as(ROOT, aname).expect("attach");
    client.host().set("a", &pattern(1, 4 * BLOCK));
    client
}

/// Writes block 1, the rest as it is, into the snapshot; exchanges with the lower server.
fn write_back(client: &Client, fid: u32, snap: u32, byte: u8) -> u64 {
    let before = client.host().exchanges();
    let ops = [
        op(keep(snap, 0), 0, B),
        op(PutKind::Data, B, B),
        op(keep(snap, 2 * B), 2 * B, 2 * B),
    ];
    let done = client.put(fid, 0, snap, &ops, &[byte; BLOCK]).expect("put");
    assert_eq!((done.count, done.assoc), (4 * B, true));
    client.host().exchanges() - before
}

#[test]
fn the_times_after_a_write_are_learnt_when_the_owner_says_so() {
    let client = lazy("");
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 4 * B);
    assert!(!client.fs.has_unlearnt());
    for byte in 0..5 {
        assert_eq!(write_back(&client, fid, snap, byte), 1, "one Twrite");
        assert!(client.fs.has_unlearnt());
    }
    let before = client.host().exchanges();
    now(client.fs.learn_times());
    assert_eq!(client.host().exchanges() - before, 1, "one Tgetattr");
    assert!(!client.fs.has_unlearnt());
    // From now on others are noticed.
    client.host().set("a", &[66; 4 * BLOCK]);
    let later = client.snap(fid, 0, 4 * B);
    assert_eq!(client.read(snap, 0, B as u32), Err(Errno::ESTALE));
    assert_eq!(client.read(later, 0, B as u32), Ok(vec![66; BLOCK]));
    client.end();
}

#[test]
fn a_look_learns_the_times_of_own_writes_and_takes_them_for_own() {
    let client = lazy("");
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 4 * B);
    write_back(&client, fid, snap, 7);
    let later = client.snap(fid, 0, 4 * B);
    let old = pattern(1, 4 * BLOCK);
    assert_eq!(client.read(snap, 0, B as u32), Ok(old[..BLOCK].to_vec()));
    assert_eq!(client.read(later, B, B as u32), Ok(vec![7; BLOCK]));
    client.host().set("a", &[66; 4 * BLOCK]);
    client.snap(fid, 0, B);
    assert_eq!(client.read(snap, 0, B as u32), Err(Errno::ESTALE));
    now(client.fs.learn_times());
    client.end();
}

#[test]
fn another_size_is_a_strangers_at_any_time() {
    let client = lazy("");
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 4 * B);
    write_back(&client, fid, snap, 7);
    client.host().set("a", &[66; 3 * BLOCK]);
    now(client.fs.learn_times());
    assert_eq!(client.read(snap, 0, B as u32), Err(Errno::ESTALE));
    client.end();
}

#[test]
fn times_are_learnt_in_any_case_after_many_writes_and_with_check_always() {
    let client = lazy("");
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 4 * B);
    let looks = (0..130).filter(|byte| write_back(&client, fid, snap, *byte) > 1);
    assert_eq!(looks.count(), 2);
    client.end();
    let client = lazy("?check=always");
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 4 * B);
    write_back(&client, fid, snap, 3);
    assert!(!client.fs.has_unlearnt());
    client.end();
}

/// Serves a message at the front of memory of a little more than a block, which can be held.
fn staged(client: &Client, (fid, flags): (u32, u32), off: u64, data: &[u8]) -> Held {
    let ops = [op(PutKind::Data, off, data.len() as u64)];
    let request = Request::Put {
        fid,
        wid: 5,
        ack: 0,
        flags,
        off: 0,
        into: NOFID,
        known: 0,
        ops: PutOps::new(&ops),
        data,
    };
    let mut bytes = message(9, &request);
    let len = bytes.len();
    bytes.resize(BLOCK + 200, 0);
    let memory: Held = Rc::new(bytes);
    let answer = now(client.fs.handle_held(0, &memory, len)).to_vec();
    assert!(matches!(
        ninep::decode_reply(&answer),
        Ok((9, ninep::Reply::Put { .. }))
    ));
    memory
}

#[test]
fn a_staged_message_stays_where_it_came_unless_most_of_the_memory_is_not_its() {
    let client = Client::new();
    client.host().set("a", &[0; 4 * BLOCK]);
    let fid = client.open("a");
    let long = staged(&client, (fid, 0), 0, &[1; BLOCK]);
    let short = staged(&client, (fid, 0), B, &[2; 100]);
    assert_eq!((Rc::strong_count(&long), Rc::strong_count(&short)), (2, 1));
    let last = staged(&client, (fid, put::COMMIT), B + 100, &[3; BLOCK]);
    let counts = [&long, &short, &last].map(Rc::strong_count);
    assert_eq!(counts, [1; 3], "nothing is held after the commit");
    let mut right = [vec![1; BLOCK], vec![2; 100], vec![3; BLOCK]].concat();
    right.resize(4 * BLOCK, 0);
    assert_eq!(client.host().get("a"), Some(right));
    client.end();
}

#[test]
fn a_write_saves_nothing_for_its_own_snapshot_but_what_that_has_beside_it() {
    let client = Client::new();
    let old = pattern(1, 4 * BLOCK);
    client.host().set("a", &old);
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 4 * B);
    let data = |off: u64, len: u64| op(PutKind::Data, off, len);
    let done = client.put(fid, 0, snap, &[data(B, B)], &[9; BLOCK]);
    assert!(done.is_ok_and(|done| done.assoc));
    assert_eq!(client.counters().rescued, 0);
    // Half a block: the snapshot keeps the other half as it was.
    let done = client.put(fid, 0, snap, &[data(2 * B, 100)], &[8; 100]);
    assert!(done.is_ok_and(|done| done.assoc));
    assert_eq!(client.counters().rescued, 1);
    let mut right = old.clone();
    right[BLOCK..2 * BLOCK].fill(9);
    right[2 * BLOCK..2 * BLOCK + 100].fill(8);
    assert_eq!(client.read_all(snap, 0, 4 * B), Ok(right.clone()));
    // Another snapshot needs the block.
    let other = client.snap(fid, 0, 4 * B);
    let done = client.put(fid, 0, snap, &[data(0, B)], &[7; BLOCK]);
    assert!(done.is_ok_and(|done| done.assoc));
    assert_eq!(client.counters().rescued, 2);
    assert_eq!(client.read_all(other, 0, 4 * B), Ok(right.clone()));
    right[..BLOCK].fill(7);
    assert_eq!(client.read_all(snap, 0, 4 * B), Ok(right));
    client.end();
}
