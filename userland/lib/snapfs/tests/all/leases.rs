//! What a session was promised is kept when its lease, the store or a record of
//! the log comes to its end in the middle of something, and when somebody else
//! makes up ids.

use crate::common::holds::snap_range;
use crate::common::*;
use abi::Errno;
use dormouse_snapfs::{Options, Snapfs};
use lower::{Call, Fault, Host, Manners};
use ninep::consts::{TCLUNK, TUNLINKAT};
use ninep::*;
use std::cell::Cell;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

const B: u64 = 4096;
const LEASE: u32 = 60;
const ME: [u8; 16] = [7; 16];
const OTHER: [u8; 16] = [8; 16];

fn leased(host: Host) -> Rc<Snapfs<Host>> {
    let options = Options {
        lease: LEASE,
        boot: [7, 7],
        ..Options::default()
    };
    start(host, options)
}

/// The server ends and is started again over the same files.
fn restart(fs: Rc<Snapfs<Host>>) -> Rc<Snapfs<Host>> {
    let host = Rc::into_inner(fs).expect("nobody else has it");
    let host = host.into_backing();
    host.hang_up();
    leased(host)
}

fn join(fs: &Rc<Snapfs<Host>>, conn: u32, id: [u8; 16]) -> Client {
    let client = Client::on(fs.clone(), conn);
    client.hello();
    let (_, lease, _) = client.session(id).expect("a session");
    assert_eq!(lease, LEASE);
    client.attach();
    client
}

/// Claims bytes as of an epoch: how many.
fn claim(client: &Client, fid: u32, snapfid: u32, epoch: u64) -> Result<u64, Errno> {
    snap_at(client, fid, snapfid, epoch).map(|(_, count)| count)
}

/// Takes or claims two blocks; returns the file's epoch and the bytes covered.
fn snap_at(client: &Client, fid: u32, snapfid: u32, epoch: u64) -> Result<(u64, u64), Errno> {
    snap_range(client, fid, snapfid, (0, 2 * B), epoch)
}

/// After a restart the client's snapshot can be claimed and has these bytes.
fn outlives_a_restart(
    fs: Rc<Snapfs<Host>>,
    (conn, id): (u32, [u8; 16]),
    (name, snapfid, epoch): (&str, u32, u64),
    bytes: &[u8],
) {
    let client = join(&restart(fs), conn, id);
    let fid = client.open(name);
    assert_eq!(claim(&client, fid, snapfid, epoch), Ok(2 * B));
    assert!(client.read_all(snapfid, 0, 2 * B) == Ok(bytes.to_vec()));
}

/// Something under way at a server: polled when something beneath has ended.
type Task = Pin<Box<dyn Future<Output = Vec<u8>>>>;

fn ask(fs: &Rc<Snapfs<Host>>, conn: u32, request: &Request<'_>) -> Task {
    let (fs, bytes) = (fs.clone(), message(7, request));
    Box::pin(async move { fs.handle(conn, &bytes).await.to_vec() })
}

fn poll(task: &mut Task) -> Option<Vec<u8>> {
    match task.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(bytes) => Some(bytes),
        std::task::Poll::Pending => None,
    }
}

/// Lets what waits beneath go on, but for what is `slow`, until `task` has ended
/// or there is nothing else.
fn go_on(host: &Host, task: &mut Task, slow: impl Fn(&Call) -> bool) -> Option<Vec<u8>> {
    loop {
        if let Some(bytes) = poll(task) {
            return Some(bytes);
        }
        let quick = (0..host.waiting()).find(|n| !slow(&host.wait(*n).1))?;
        host.release(quick);
    }
}

#[test]
fn a_client_that_comes_back_while_its_lease_ends_is_remembered_over_a_restart() {
    let old = pattern(1, 2 * B as usize);
    let host = Host::new(Manners::default());
    host.set("f", &old);
    let fs = leased(host);
    let other = join(&fs, 1, OTHER);
    let me = join(&fs, 0, ME);
    let fid = me.open("f");
    me.snap(fid, 0, 2 * B);
    me.hang_up();
    drop(me);
    // The lease ends; giving back what it held takes its time.
    let host = fs.backing();
    host.set_manual(true);
    let ending = fs.clone();
    let mut tick: Task = Box::pin(async move {
        ending.tick(1000).await;
        Vec::new()
    });
    assert!(poll(&mut tick).is_none(), "it waits for something beneath");
    let slow = |call: &Call| call.kind == TCLUNK;
    // Its client is back: it is a new one, with a lease.
    let version = Request::Version {
        msize: 1 << 20,
        version: "9P2000.L.snap".into(),
    };
    go_on(host, &mut ask(&fs, 5, &version), slow).expect("an answer");
    let session = Request::Session { session: ME };
    let answer = go_on(host, &mut ask(&fs, 5, &session), slow).expect("an answer");
    let (_, reply) = decode_reply(&answer).unwrap();
    assert!(
        matches!(
            reply,
            Reply::Session {
                known: false,
                lease: LEASE,
                ..
            }
        ),
        "{reply:?}"
    );
    assert!(poll(&mut tick).is_none());
    host.release_all();
    assert!(poll(&mut tick).is_some());
    drop(tick);
    let me = Client::on(fs.clone(), 5);
    me.attach();
    let fid = me.open("f");
    let (epoch, _) = snap_at(&me, fid, 77, 0).unwrap();
    let theirs = other.open("f");
    other.write(theirs, 0, &pattern(2, 2 * B as usize)).unwrap();
    assert!(me.read_all(77, 0, 2 * B) == Ok(old.clone()));
    drop((me, other));
    outlives_a_restart(fs, (0, ME), ("f", 77, epoch), &old);
}

#[test]
fn a_store_that_is_closed_does_not_take_the_name_of_the_next_one() {
    let (f, g) = (pattern(1, 2 * B as usize), pattern(2, 2 * B as usize));
    let host = Host::new(Manners::default());
    host.set("f", &f);
    host.set("g", &g);
    let fs = leased(host);
    let (me, other) = (join(&fs, 0, ME), join(&fs, 1, OTHER));
    let fid = me.open("f");
    let snap = me.snap(fid, 0, 2 * B);
    let (theirs, second) = (other.open("f"), other.open("g"));
    other.write(theirs, 0, &pattern(3, 2 * B as usize)).unwrap();
    assert_eq!(fs.counters().saved, 2);
    // The last block is given up, and the store's name is removed slowly.
    let host = fs.backing();
    host.set_manual(true);
    let slow = |call: &Call| call.kind == TUNLINKAT && call.name == "store";
    let mut clunk = ask(&fs, 0, &Request::Clunk { fid: snap });
    assert!(go_on(host, &mut clunk, slow).is_none());
    // Meanwhile somebody sleeps on another file, and it is overwritten.
    let take = Request::Snap {
        fid: second,
        snapfid: 99,
        off: 0,
        count: 2 * B,
        epoch: 0,
        known: 0,
    };
    let taken = go_on(host, &mut ask(&fs, 1, &take), slow).expect("a snapshot");
    let Ok((_, Reply::Snap { epoch, .. })) = decode_reply(&taken) else {
        panic!("no snapshot");
    };
    let data = pattern(4, 2 * B as usize);
    let write = Request::Write {
        fid: second,
        offset: 0,
        data: &data,
    };
    let mut write = ask(&fs, 1, &write);
    let early = go_on(host, &mut write, slow);
    host.release_all();
    assert!(poll(&mut clunk).is_some());
    let written = early.or_else(|| poll(&mut write)).expect("an answer");
    assert!(matches!(
        decode_reply(&written),
        Ok((_, Reply::Write { .. }))
    ));
    drop((clunk, write));
    assert!(other.read_all(99, 0, 2 * B) == Ok(g.clone()));
    drop((me, other));
    outlives_a_restart(fs, (1, OTHER), ("g", 99, epoch), &g);
}

/// A server with leases and two blocks of a file `f`.
fn leased_with_a_file() -> Rc<Snapfs<Host>> {
    let host = Host::new(Manners::default());
    host.set("f", &pattern(1, 2 * B as usize));
    leased(host)
}

/// A client with a snapshot of `f`.
fn take_snapshot(fs: &Rc<Snapfs<Host>>) -> Client {
    let me = join(fs, 0, ME);
    let fid = me.open("f");
    me.snap_into(fid, 77, 0, 2 * B).unwrap();
    me
}

/// What a session of a made-up id holds when its client hangs up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Nothing,
    ASnapshot,
}

/// For each number a session of a made-up id.
fn make_up_ids(fs: &Rc<Snapfs<Host>>, numbers: Range<u32>, holds: Holds) {
    for n in numbers {
        let client = Client::on(fs.clone(), 10 + n);
        client.hello();
        let mut id = [9; 16];
        id[..4].copy_from_slice(&n.to_le_bytes());
        client.session(id).unwrap();
        if holds == Holds::ASnapshot {
            client.attach();
            let fid = client.open("f");
            client.snap_into(fid, 77, 0, 2 * B).unwrap();
        }
        client.hang_up();
    }
}

fn another_client_gets_a_lease(fs: &Rc<Snapfs<Host>>) {
    let other = Client::on(fs.clone(), 1);
    other.hello();
    let (_, lease, _) = other.session(OTHER).unwrap();
    assert_eq!(lease, LEASE);
}

#[test]
fn ids_that_one_client_makes_up_take_no_lease_from_others() {
    let fs = leased_with_a_file();
    take_snapshot(&fs).hang_up();
    make_up_ids(&fs, 0..1100, Holds::Nothing);
    another_client_gets_a_lease(&fs);
    has_kept_its_snapshot(&fs);
}

#[test]
fn made_up_ids_that_hold_snapshots_take_no_lease_from_others() {
    let fs = leased_with_a_file();
    let me = take_snapshot(&fs);
    now(fs.tick(10));
    me.hang_up();
    make_up_ids(&fs, 0..1100, Holds::ASnapshot);
    another_client_gets_a_lease(&fs);
    has_kept_its_snapshot(&fs);
}

#[test]
fn a_client_that_was_served_for_long_keeps_its_lease_though_ids_were_made_up_before_it() {
    let fs = leased_with_a_file();
    make_up_ids(&fs, 0..1023, Holds::ASnapshot);
    let me = take_snapshot(&fs);
    now(fs.tick(10));
    me.hang_up();
    make_up_ids(&fs, 1023..1100, Holds::ASnapshot);
    has_kept_its_snapshot(&fs);
}

/// The session still exists, and its snapshot has the first bytes of `f`.
fn has_kept_its_snapshot(fs: &Rc<Snapfs<Host>>) {
    let again = Client::on(fs.clone(), 2);
    again.hello();
    assert_eq!(again.session(ME).map(|(known, ..)| known), Ok(true));
    assert!(again.read_all(77, 0, 2 * B) == Ok(pattern(1, 2 * B as usize)));
}

#[test]
fn a_change_while_the_server_was_away_is_noticed_though_size_and_mtime_were_put_back() {
    let old = pattern(1, 2 * B as usize);
    let host = Host::new(Manners::default());
    host.set("f", &old);
    let fs = leased(host);
    let me = join(&fs, 0, ME);
    let (epoch, _) = snap_at(&me, me.open("f"), 77, 0).unwrap();
    drop(me);
    let host = Rc::into_inner(fs).expect("it has ended").into_backing();
    host.hang_up();
    let mtime = host.mtime("f");
    host.set("f", &pattern(2, 2 * B as usize));
    host.set_mtime("f", mtime);
    let fs = leased(host);
    let me = join(&fs, 0, ME);
    let claimed = claim(&me, me.open("f"), 77, epoch);
    let read = me.read_all(77, 0, 2 * B);
    assert!(claimed.is_err() && read != Ok(old), "{claimed:?}");
}

/// A change of names of the files `f` and `g`, which is another name of `h`.
fn change_names(client: &Client, how: u32) {
    let _ = match how {
        0 => client.rename("f", "new"),
        1 => client.unlink("g"),
        2 => client.rename("f", "g"),
        _ => match client.walk("f") {
            Ok(fid) => client.tell(&Request::Link {
                dfid: ROOT,
                fid,
                name: "new".into(),
            }),
            Err(errno) => Err(errno),
        },
    };
}

#[test]
fn own_changes_of_names_lose_no_snapshot_over_a_restart_wherever_it_dies() {
    for how in 0..4 {
        for step in 0.. {
            let contents = [pattern(1, 2 * B as usize), pattern(2, 2 * B as usize)];
            let host = Host::new(Manners::default());
            host.set("f", &contents[0]);
            host.set("h", &contents[1]);
            let fs = leased(host);
            let me = join(&fs, 0, ME);
            let link = Request::Link {
                dfid: ROOT,
                fid: me.walk("h").unwrap(),
                name: "g".into(),
            };
            me.tell(&link).unwrap();
            let (f, _) = snap_at(&me, me.open("f"), 77, 0).unwrap();
            let (h, _) = snap_at(&me, me.open("h"), 78, 0).unwrap();
            let end = fs.backing().exchanges() + step;
            let reached = Rc::new(Cell::new(false));
            let seen = reached.clone();
            fs.backing().inject(move |call| {
                seen.set(seen.get() || call.number >= end);
                (call.number >= end).then_some(Errno::EIO)
            });
            change_names(&me, how);
            drop(me);
            let fs = restart(fs);
            let me = join(&fs, 0, ME);
            let found = ["f", "new", "g"].map(|name| fs.backing().get(name));
            let at = found
                .iter()
                .position(|bytes| *bytes == Some(contents[0].clone()));
            let at = ["f", "new", "g"][at.expect("one of its names")];
            for (name, snap, epoch, bytes) in
                [(at, 77, f, &contents[0]), ("h", 78, h, &contents[1])]
            {
                let claimed = claim(&me, me.open(name), snap, epoch);
                assert_eq!(claimed, Ok(2 * B), "{how} at {step}: {name}");
                assert!(me.read_all(snap, 0, 2 * B) == Ok(bytes.clone()));
            }
            if !reached.get() {
                break;
            }
        }
    }
}

#[test]
fn a_first_snapshot_made_by_a_write_outlives_a_record_that_found_no_room() {
    for (first, overwritten) in [(false, false), (true, false), (false, true), (true, true)] {
        let host = Host::new(Manners::default());
        host.set("f", &pattern(1, 2 * B as usize));
        let fs = leased(host);
        let me = join(&fs, 0, ME);
        let fid = me.open("f");
        if !first {
            me.snap_into(fid, 77, 0, 2 * B).unwrap();
        }
        let wrote = Cell::new(false);
        fs.backing().inject(move |call| {
            wrote.set(wrote.get() || call.writes("f"));
            match wrote.get() && call.writes(".snapfs/log") {
                true => Fault::Before(Errno::ENOSPC),
                false => Fault::No,
            }
        });
        let data = pattern(2, 2 * B as usize);
        let done = me.put(fid, 0, 77, &[op(PutKind::Data, 0, 2 * B)], &data);
        let done = done.unwrap();
        assert!(done.assoc);
        drop(me);
        let fs = restart(fs);
        if overwritten {
            let other = join(&fs, 1, OTHER);
            let theirs = other.open("f");
            other.write(theirs, 0, &pattern(3, B as usize)).unwrap();
        }
        let me = join(&fs, 0, ME);
        let fid = me.open("f");
        let claimed = claim(&me, fid, 77, done.epoch);
        assert_eq!(claimed, Ok(2 * B), "the first of its file: {first}");
        assert!(me.read_all(77, 0, 2 * B) == Ok(data));
    }
}
