//! What a server says has changed: a client that keeps a copy and trusts it is
//! never wrong.

use crate::common::*;
use abi::Errno;
use ninep::consts::{NOFID, put};
use ninep::*;

const B: u64 = 4096;
const SPAN: u64 = 12 * B;

/// A copy of the file as of an epoch, kept up to date by CHG lists alone:
/// only what they name is read again.
struct Copy {
    epoch: u64,
    bytes: Vec<u8>,
}

/// An Rsnap or Rput as far as it matters: epoch and changes.
type Said = (u64, Option<Vec<(u64, u64)>>);

fn said(epoch: u64, changes: &Changes<'_>) -> Said {
    (epoch, (!changes.all()).then(|| changes.iter().collect()))
}

fn snap(client: &Client, fid: u32, snapfid: u32, known: u64) -> (Said, u64) {
    let request = Request::Snap {
        fid,
        snapfid,
        off: 0,
        count: SPAN,
        epoch: 0,
        known,
    };
    client.ask(&request, |reply| match reply {
        Reply::Snap {
            epoch,
            size,
            changes,
            ..
        } => (said(epoch, &changes), size),
        other => panic!("{other:?}"),
    })
}

fn put_known(client: &Client, fid: u32, off: u64, ops: &[PutOp], data: &[u8], known: u64) -> Said {
    let request = Request::Put {
        fid,
        wid: u64::from(client.fid()),
        ack: 0,
        flags: put::COMMIT,
        off,
        into: NOFID,
        known,
        ops: PutOps::new(ops),
        data,
    };
    client.ask(&request, |reply| match reply {
        Reply::Put { epoch, changes, .. } => said(epoch, &changes),
        other => panic!("{other:?}"),
    })
}

impl Copy {
    /// Brings the copy up to date from a snapshot, reading only what changed.
    fn renew(&mut self, client: &Client, snapfid: u32, (epoch, changes): Said, size: u64) {
        let all = vec![(0, SPAN)];
        self.bytes.resize(size as usize, 0);
        for (off, len) in changes.unwrap_or(all) {
            let end = (off + len).min(size);
            if off < end {
                let read = client.read_all(snapfid, off, end - off).expect("covered");
                self.bytes[off as usize..end as usize].copy_from_slice(&read);
            }
        }
        self.epoch = epoch;
    }
}

fn random_change(client: &Client, random: &mut Random, fid: u32, snap: u32) {
    let off = random.next(SPAN - B);
    let len = 1 + random.next(2 * B).min(SPAN - off - 1);
    match random.next(6) {
        0 | 1 => drop(client.write(fid, off, &vec![random.next(256) as u8; len as usize])),
        2 => client.resize(fid, random.next(SPAN)).expect("resize"),
        3 => {
            let ops = [op(PutKind::Zero, 0, len)];
            client.put(fid, off, NOFID, &ops, &[]).expect("zeros");
        }
        4 => {
            // Restored where it was changed, or copied elsewhere.
            let soff = if random.next(2) == 0 { off } else { 0 };
            let ops = [op(keep(snap, soff), 0, len.min(B))];
            let _ = client.put(fid, off, NOFID, &ops, &[]);
        }
        _ => {
            let mut bytes = client.host().get("a").expect("the file");
            bytes.truncate(random.next(SPAN) as usize);
            bytes.push(7);
            client.host().set("a", &bytes);
            // A stranger's change is found by the next look, not by a write.
            let look = client.snap(fid, 0, SPAN);
            client.clunk(look);
        }
    }
}

#[test]
fn a_client_that_keeps_a_copy_and_trusts_the_list_is_never_wrong() {
    for seed in seeds(60) {
        println!("seed {seed}");
        let client = Client::new();
        client.host().set("a", &pattern(3, SPAN as usize));
        let fid = client.open("a");
        let mut random = Random(seed * 7919 + 1);
        let mut copies: Vec<Copy> = Vec::new();
        let (mut listed, mut quiet) = (0, 0);
        for _ in 0..80 {
            let old = client.snap(fid, 0, SPAN);
            for _ in 0..random.next(4) {
                random_change(&client, &mut random, fid, old);
            }
            client.clunk(old);
            let right = client.host().get("a").expect("the file");
            if copies.len() < 4 {
                copies.push(Copy {
                    epoch: 0,
                    bytes: Vec::new(),
                });
            }
            let n = random.next(copies.len() as u64) as usize;
            let (copy, snapfid) = (&mut copies[n], client.fid());
            let (mut news, size) = snap(&client, fid, snapfid, copy.epoch);
            if copy.epoch == 0 {
                news.1 = None;
            }
            listed += u32::from(news.1.is_some());
            quiet += u32::from(news.0 == copy.epoch);
            assert!(news.0 != copy.epoch || copy.bytes == right, "equal epochs");
            if size > 0 {
                copy.renew(&client, snapfid, news, size);
                client.clunk(snapfid);
                assert!(copy.bytes == right, "the list left a change out");
            }
        }
        assert!(listed > 5 && quiet > 0, "{listed} lists, {quiet} without");
        client.end();
    }
}

#[test]
fn the_list_is_exact_where_that_is_simple() {
    let client = Client::new();
    client.host().set("a", &pattern(1, 8 * B as usize + 10));
    let fid = client.open("a");
    let snapfid = client.fid();
    let ((first, _), size) = snap(&client, fid, snapfid, 0);
    let mut known = first;
    let mut next = |expected: &[(u64, u64)]| {
        let ((epoch, list), _) = snap(&client, fid, snapfid, known);
        assert_eq!(list.as_deref(), Some(expected));
        assert_eq!(epoch != known, !expected.is_empty());
        known = epoch;
    };
    next(&[]);
    client.write(fid, B + 5, b"x").unwrap();
    client.write(fid, 4 * B - 1, b"xy").unwrap();
    next(&[(B, B), (3 * B, 2 * B)]);
    // An append changes the old last page; so does a hole.
    client.write(fid, size, b"more").unwrap();
    next(&[(8 * B, B)]);
    client.write(fid, 10 * B, b"far").unwrap();
    next(&[(8 * B, 3 * B)]);
    client.resize(fid, 2 * B + 1).unwrap();
    next(&[(2 * B, 9 * B)]);
    // What changes nothing takes no epoch.
    client.resize(fid, 2 * B + 1).unwrap();
    assert_eq!(client.write(fid, 7, b""), Ok(0));
    client
        .put(fid, 0, NOFID, &[op(keep(snapfid, 0), 0, B)], &[])
        .unwrap();
    next(&[]);
    // A put says what it did itself, and what others did before.
    client.write(fid, 0, b"other").unwrap();
    let ops = [op(PutKind::Data, 0, 3)];
    let (epoch, list) = put_known(&client, fid, B, &ops, b"own", known);
    assert_eq!(list, Some(vec![(0, 2 * B)]));
    let (_, list) = put_known(&client, fid, B, &ops, b"own", epoch);
    assert_eq!(list, Some(vec![(B, B)]));
    // Too old, too new, or too many.
    let ((_, list), _) = snap(&client, fid, snapfid, first - 1);
    assert_eq!(list, None);
    let ((epoch, list), _) = snap(&client, fid, snapfid, u64::MAX);
    assert_eq!(list, None);
    client.resize(fid, 100 * B).unwrap();
    for n in 0..17 {
        client.write(fid, (10 + 2 * n) * B, b"x").unwrap();
    }
    let ((_, list), _) = snap(&client, fid, snapfid, epoch);
    assert_eq!(
        list,
        Some(vec![(2 * B, 98 * B)]),
        "one range that holds all"
    );
    client.end();
}

#[test]
fn a_strangers_change_is_a_change_of_everything() {
    let client = Client::new();
    client.host().set("a", &pattern(1, 8 * B as usize));
    let fid = client.open("a");
    let snapfid = client.fid();
    let ((known, _), _) = snap(&client, fid, snapfid, 0);
    client.host().set("a", &pattern(2, 8 * B as usize));
    let ((epoch, list), _) = snap(&client, fid, snapfid, known);
    assert_eq!(list, None);
    assert!(epoch > known);
    assert_eq!(client.read(snapfid, 0, 4), Ok(pattern(2, 4)));
    client.end();
}

#[test]
fn a_write_that_failed_in_part_counts_as_a_change() {
    let client = Client::new();
    client.host().set("a", &pattern(1, 8 * B as usize));
    let fid = client.open("a");
    let snapfid = client.fid();
    let ((known, _), _) = snap(&client, fid, snapfid, 0);
    client.clunk(snapfid);
    let snapfid = client.snap(fid, 7 * B, B);
    client
        .host()
        .inject(|exchange| (exchange.kind == ninep::consts::TWRITE).then_some(Errno::EIO));
    assert_eq!(client.write(fid, 0, b"lost"), Err(Errno::EIO));
    client.host().heal();
    let ((epoch, list), _) = snap(&client, fid, snapfid, known);
    assert_eq!((epoch > known, list), (true, Some(vec![(0, B)])));
    client.end();
}
