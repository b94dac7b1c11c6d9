//! Every exchange beneath fails once, in turn: afterwards nothing is leaked,
//! and data is right or the error was reported.

mod common;

use abi::Errno;
use common::*;
use ninep::consts::{NOFID, TCLUNK};
use ninep::{PutKind, Request};
use std::cell::Cell;
use std::rc::Rc;

const B: u64 = 4096;

/// A long life of a file. Whatever fails may fail; a snapshot that can be
/// read must be right.
fn scenario(client: &Client, old: &[u8]) -> Result<(), Errno> {
    let len = old.len() as u64;
    let fid = client.open_with("a", 2)?;
    let snap = client.fid();
    client.snap_into(fid, snap, 0, len)?;
    let right = |what: &str| {
        if let Ok(read) = client.read_all(snap, 0, len) {
            assert!(read == old, "{what}: the snapshot changed");
        }
    };
    let _ = client.write(fid, B + 3, &[7; 5000]);
    right("after a write");
    let mine = client.fid();
    let _ = client.snap_into(fid, mine, 0, len);
    let ops = [
        op(keep(snap, 0), 0, 2 * B),
        op(PutKind::Data, 2 * B, B),
        op(PutKind::Zero, 4 * B, B),
    ];
    let _ = client.put(fid, 0, mine, &ops, &[9; B as usize]);
    right("after a put");
    let _ = client.put(fid, B, NOFID, &[op(keep(snap, 0), 0, 6 * B)], &[]);
    right("after a copy");
    let _ = client.resize(fid, 100);
    let _ = client.resize(fid, 20 * B);
    right("after a cut");
    let _ = client.rename("b", "a");
    let _ = client.write(fid, 0, &[3; 100]);
    right("after a rename over it");
    let _ = client.unlink("a");
    let _ = client.tell(&Request::Clunk { fid });
    right("when closed");
    let _ = client.tell(&Request::Clunk { fid: mine });
    right("when alone");
    Ok(())
}

/// Runs the scenario with exchange `k` failing, and all after it if
/// `for_good`; whether it came to that.
fn fail_at(k: u64, for_good: bool) -> bool {
    let client = Client::new();
    let old = pattern(5, 8 * B as usize + 99);
    client.memory().set("a", &old);
    client.memory().set("b", b"b");
    let (start, reached) = (client.memory().exchanges(), Rc::new(Cell::new(false)));
    let seen = reached.clone();
    client.memory().inject(move |exchange| {
        let hit = exchange.number - start == k || for_good && exchange.number - start > k;
        seen.set(seen.get() | hit);
        // A clunk cannot fail: the fid is gone either way.
        (hit && exchange.kind != TCLUNK).then_some(Errno::EIO)
    });
    let _ = scenario(&client, &old);
    client.memory().heal();
    now(client.fs.hangup(0));
    let counters = client.counters();
    assert_eq!(
        (counters.files, counters.snapshots, counters.saved),
        (0, 0, 0),
        "k = {k}"
    );
    assert_eq!(
        client.memory().fids() as u32,
        counters.fids_below,
        "k = {k}"
    );
    // At most the root's and, where removing it failed, the directory's.
    assert!(counters.fids_below <= 2, "k = {k}: {counters:?}");
    reached.get()
}

#[test]
fn every_single_failure() {
    for for_good in [false, true] {
        let failures = (0..).take_while(|k| fail_at(*k, for_good)).count();
        println!("{failures} exchanges failed, one by one (for good: {for_good})");
        assert!(failures > 40);
    }
}
