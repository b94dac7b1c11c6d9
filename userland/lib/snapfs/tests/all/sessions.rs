//! A client that comes back in time finds everything as it was.

use crate::common::*;
use abi::Errno;
use dormouse_snapfs::{Options, Snapfs};
use lower::Host;
use ninep::consts::{NOFID, put};
use ninep::*;
use std::rc::Rc;

const B: u64 = 4096;
const LEASE: u32 = 60;
const ME: [u8; 16] = [7; 16];

fn server() -> Rc<Snapfs<Host>> {
    let memory = Host::default();
    memory.set("a", &pattern(1, 8 * B as usize));
    start(
        memory,
        Options {
            lease: LEASE,
            ..Options::default()
        },
    )
}

/// A client of a session: is it known?
fn join(fs: &Rc<Snapfs<Host>>, conn: u32, id: [u8; 16]) -> (Client, bool) {
    let client = Client::on(fs.clone(), conn);
    client.hello();
    let (known, lease, _) = client.session(id).expect("a session");
    assert_eq!(lease, LEASE);
    client.attach();
    (client, known)
}

fn append(client: &Client, fid: u32, wid: u64, data: &[u8]) -> Result<PutDone, Errno> {
    client.put_with(&Request::Put {
        fid,
        wid,
        ack: 0,
        flags: put::COMMIT | put::APPEND,
        off: 0,
        into: NOFID,
        known: 0,
        ops: PutOps::new(&[op(PutKind::Data, 0, data.len() as u64)]),
        data,
    })
}

#[test]
fn snapshots_wait_for_their_client_while_its_lease_runs() {
    let fs = server();
    let old = pattern(1, 8 * B as usize);
    let (first, known) = join(&fs, 1, ME);
    assert!(!known);
    let fid = first.open("a");
    let snap = first.snap(fid, 0, 8 * B);
    first.write(fid, 0, b"mine").unwrap();
    first.hang_up();
    assert_eq!(fs.counters().snapshots, 1);
    let (other, _) = join(&fs, 2, [8; 16]);
    let theirs = other.open("a");
    other.write(theirs, 2 * B, &[9; 3 * B as usize]).unwrap();
    now(fs.tick(u64::from(LEASE) - 1));
    let (again, known) = join(&fs, 3, ME);
    assert!(known, "it came in time");
    assert_eq!(again.read_all(snap, 0, 8 * B), Ok(old));
    assert_eq!(
        again.read(fid, 0, 1),
        Err(Errno::EBADF),
        "walk and open again"
    );
    // Nothing runs out while the client is there.
    now(fs.tick(10 * u64::from(LEASE)));
    assert_eq!(again.read(snap, 0, 1), Ok(vec![pattern(1, 1)[0]]));
    again.hang_up();
    other.hang_up();
    now(fs.tick(11 * u64::from(LEASE)));
    again.nothing_is_left();
}

#[test]
fn who_comes_too_late_is_not_known() {
    let fs = server();
    let (first, _) = join(&fs, 1, ME);
    let fid = first.open("a");
    let snap = first.snap(fid, 0, 8 * B);
    first.hang_up();
    now(fs.tick(u64::from(LEASE)));
    first.nothing_is_left();
    let (again, known) = join(&fs, 1, ME);
    assert!(!known);
    assert_eq!(again.read(snap, 0, 1), Err(Errno::EBADF));
    again.hang_up();
    now(fs.tick(2 * u64::from(LEASE)));
    again.nothing_is_left();
}

#[test]
fn a_write_is_done_once_though_its_answer_was_lost() {
    let fs = server();
    let (first, _) = join(&fs, 1, ME);
    let fid = first.open("a");
    let done = append(&first, fid, 5, b"once").expect("append");
    // Staged, and not committed: forgotten.
    let part = [op(PutKind::Data, 0, 3)];
    let staged = Request::Put {
        fid,
        wid: 6,
        ack: 0,
        flags: 0,
        off: 0,
        into: NOFID,
        known: 0,
        ops: PutOps::new(&part),
        data: b"new",
    };
    first.tell(&staged).unwrap();
    first.hang_up();
    let (again, known) = join(&fs, 2, ME);
    assert!(known);
    let fid = again.open("a");
    assert_eq!(append(&again, fid, 5, b"once"), Ok(done));
    assert_eq!(again.attr(fid).unwrap().size, 8 * B + 4);
    again
        .tell(&staged_on(fid, &part))
        .expect("from the beginning");
    again.hang_up();
    now(fs.tick(u64::from(LEASE)));
    again.nothing_is_left();
}

fn staged_on(fid: u32, ops: &[PutOp]) -> Request<'_> {
    Request::Put {
        fid,
        wid: 6,
        ack: 0,
        flags: 0,
        off: 0,
        into: NOFID,
        known: 0,
        ops: PutOps::new(ops),
        data: b"new",
    }
}

#[test]
fn a_client_may_be_back_before_its_old_connection_is_seen_to_be_gone() {
    let fs = server();
    let (first, _) = join(&fs, 1, ME);
    let fid = first.open("a");
    let snap = first.snap(fid, 0, 8 * B);
    append(&first, fid, 5, b"once").expect("append");
    let (again, known) = join(&fs, 2, ME);
    assert!(known);
    assert_eq!(first.read(snap, 0, 1), Err(Errno::EBADF));
    assert_eq!(first.tell(&Request::Clunk { fid }), Err(Errno::EPROTO));
    let fid = again.open("a");
    append(&again, fid, 5, b"once").expect("append");
    assert_eq!(again.attr(fid).unwrap().size, 8 * B + 4);
    assert_eq!(again.read(snap, 0, 4), Ok(pattern(1, 4)));
    first.hang_up();
    assert_eq!(
        again.read(snap, 0, 4),
        Ok(pattern(1, 4)),
        "not the old one's"
    );
    again.hang_up();
    now(fs.tick(u64::from(LEASE)));
    again.nothing_is_left();
}

#[test]
fn a_session_begins_before_there_is_a_fid_and_ends_with_a_new_version() {
    let fs = server();
    let late = Client::on(fs.clone(), 1);
    late.hello();
    late.attach();
    assert_eq!(late.session(ME), Err(Errno::EINVAL));
    late.hang_up();
    let (first, _) = join(&fs, 1, ME);
    assert_eq!(first.session([8; 16]), Err(Errno::EINVAL), "it has one");
    let fid = first.open("a");
    let snap = first.snap(fid, 0, 8 * B);
    first.hello();
    assert_eq!(first.read(snap, 0, 1), Err(Errno::EBADF));
    first.nothing_is_left();
    first.hang_up();
}

#[test]
fn without_a_lease_nothing_outlives_the_connection() {
    let client = Client::new();
    client.hang_up();
    let again = Client::on(client.fs.clone(), 0);
    again.hello();
    assert_eq!(again.session(ME), Ok((false, 0, 0)));
    again.attach();
    client.host().set("a", b"abc");
    let fid = again.open("a");
    again.snap(fid, 0, 3);
    again.end();
}
