//! Files that nobody had in use for a while: an unchanged one has its epoch again, and one
//! that may have changed has not.

use crate::common::*;
use abi::Errno;
use dormouse_snapfs::Options;
use lower::{Fault, Host, Manners};
use ninep::consts::{NOFID, TWRITE, open, setattr};
use ninep::{PutKind, Reply, Request, SetAttr};

const LEN: usize = 3 * 4096;
/// The first second of the host's times is 0, so a file is old from then on.
const OLD: u64 = 60;

/// A client of a host with some files, at that time.
fn client(now_s: u64, manners: Manners) -> Client {
    let host = Host::new(manners);
    for name in ["f", "g"] {
        host.set(name, &pattern(1, LEN));
    }
    host.set_clock(now_s);
    Client::of(host)
}

/// The epoch of a file that is opened, and its bytes, which are not kept. With `known`, the
/// server says that nothing has changed since exactly if it is the epoch.
fn look(client: &Client, name: &str, known: u64) -> (u64, Vec<u8>) {
    let (fid, snapfid) = (client.open_with(name, open::RDONLY).unwrap(), client.fid());
    let request = Request::Snap {
        fid,
        snapfid,
        off: 0,
        count: u64::MAX >> 1,
        epoch: 0,
        known,
    };
    let (epoch, size) = client.ask(&request, |reply| match reply {
        Reply::Snap {
            epoch,
            size,
            changes,
            ..
        } => {
            let same = !changes.all() && changes.iter().next().is_none();
            assert_eq!(known == 0 || epoch == known, same, "{known} {epoch}");
            (epoch, size)
        }
        other => panic!("{other:?}"),
    });
    client.clunk(fid);
    let bytes = client.read_all(snapfid, 0, size).unwrap();
    client.clunk(snapfid);
    assert_eq!(client.counters().files, 0);
    (epoch, bytes)
}

#[test]
fn an_unchanged_file_has_its_epoch_again() {
    let client = client(OLD, Manners::default());
    let (first, bytes) = look(&client, "f", 0);
    let (other, _) = look(&client, "g", 0);
    assert_ne!(first, other);
    for _ in 0..3 {
        assert_eq!(look(&client, "f", first), (first, bytes.clone()));
        assert_eq!(look(&client, "g", other).0, other);
    }
    client.end();
}

/// A way in which a file changes, or in which it may have changed.
type Way = (&'static str, fn(&Client));

fn write(client: &Client, at: u64) {
    let fid = client.open("f");
    client.write(fid, at, b"new").unwrap();
    client.clunk(fid);
}

fn setattr_of(client: &Client, attr: SetAttr) {
    let fid = client.walk("f").unwrap();
    client.tell(&Request::Setattr { fid, attr }).unwrap();
    client.clunk(fid);
}

const WAYS: &[Way] = &[
    ("a stranger writes", |client| {
        client.host().overwrite(client.host().number("f"), 9, b"x");
    }),
    ("a stranger writes and puts mtime back", |client| {
        let mtime = client.host().mtime("f");
        client.host().overwrite(client.host().number("f"), 9, b"x");
        client.host().set_mtime("f", mtime);
    }),
    ("a stranger cuts it", |client| {
        client.host().set("f", &pattern(1, 100));
    }),
    ("a stranger replaces it by another", |client| {
        client.host().set("new", &pattern(2, LEN));
        client.host().steal("new", "f");
    }),
    (
        "a stranger removes it and its number is used again",
        |client| {
            let number = client.host().number("f");
            client.host().remove("f");
            client.host().set("f", &pattern(2, LEN));
            assert_eq!(client.host().number("f"), number);
        },
    ),
    ("a client writes", |client| write(client, 5)),
    ("a client writes what is there", |client| {
        let fid = client.open("f");
        client.write(fid, 0, &pattern(1, 5)).unwrap();
        client.clunk(fid);
    }),
    ("a client writes under a snapshot", |client| {
        let fid = client.open("f");
        let snap = client.snap(fid, 0, LEN as u64);
        let ops = [op(PutKind::Zero, 0, 100)];
        client.put(fid, 0, NOFID, &ops, &[]).unwrap();
        client.clunk(fid);
        client.clunk(snap);
    }),
    ("a client cuts it", |client| {
        let (valid, size) = (setattr::SIZE, 100);
        setattr_of(
            client,
            SetAttr {
                valid,
                size,
                ..SetAttr::default()
            },
        );
    }),
    ("a client opens it anew", |client| {
        let fid = client.open_with("f", open::RDWR | open::TRUNC).unwrap();
        client.write(fid, 0, &pattern(3, LEN)).unwrap();
        client.clunk(fid);
    }),
    ("a client renames another over it", |client| {
        client.rename("g", "f").unwrap();
    }),
    ("a write fails after it was done", |client| {
        let fid = client.open("f");
        client.host().inject(|call| match call.kind == TWRITE {
            true => Fault::After(Errno::EIO),
            false => Fault::No,
        });
        assert_eq!(client.write(fid, 5, b"new"), Err(Errno::EIO));
        client.host().heal();
        client.clunk(fid);
    }),
    ("its rights change", |client| {
        client.host().set_mode("f", 0o600)
    }),
    ("a client renames it and back", |client| {
        client.rename("f", "h").unwrap();
        client.rename("h", "f").unwrap();
    }),
];

#[test]
fn a_file_that_may_have_changed_has_another_epoch() {
    for (way, change) in WAYS {
        for manners in [Manners::default(), Manners::plain()] {
            let by_number = way.contains("number") && !manners.reuses_numbers;
            if by_number {
                continue;
            }
            let client = client(OLD, manners);
            let (before, _) = look(&client, "f", 0);
            assert_eq!(look(&client, "f", before).0, before);
            change(&client);
            let now = client.host().get("f").unwrap();
            let (after, bytes) = look(&client, "f", 0);
            assert!(after > before, "{way}: {before} {after}");
            assert!(bytes == now, "{way}");
            // From now on it is as it is.
            assert_eq!(look(&client, "f", after), (after, now), "{way}");
            client.end();
        }
    }
}

#[test]
fn a_change_while_the_file_is_in_use_ends_its_epoch() {
    for (way, change) in WAYS {
        let client = client(OLD, Manners::plain());
        if way.contains("number") {
            continue;
        }
        let (before, _) = look(&client, "f", 0);
        let fid = client.open_with("f", open::RDONLY).unwrap();
        change(&client);
        client.clunk(fid);
        let now = client.host().get("f").unwrap();
        let (after, bytes) = look(&client, "f", 0);
        assert!(after > before && bytes == now, "{way}: {before} {after}");
        client.end();
    }
}

/// Where times have a grain, what a stranger does within it cannot be told.
#[test]
fn a_file_that_was_not_old_when_it_was_seen_has_another_epoch() {
    let coarse = || Manners {
        grain: 1 << 40,
        ..Manners::default()
    };
    let young = client(OLD - 1, coarse());
    let (first, _) = look(&young, "f", 0);
    young.host().overwrite(young.host().number("f"), 9, b"x");
    let (second, bytes) = look(&young, "f", 0);
    assert!(second > first && bytes == young.host().get("f").unwrap());
    // It becomes old, which counts once it was seen then, and at a new epoch.
    young.host().set_clock(OLD);
    let mut epochs = vec![second];
    for _ in 0..4 {
        epochs.push(look(&young, "f", 0).0);
    }
    epochs.dedup();
    assert_eq!(epochs.len(), 3, "{epochs:?}");
    young.end();
    // An old one whose times somebody keeps as they were: docs/security.md.
    let old = client(OLD, coarse());
    let (first, _) = look(&old, "f", 0);
    old.host().overwrite(old.host().number("f"), 9, b"x");
    assert_eq!(look(&old, "f", 0).0, first);
    old.end();
    // A file without blocks may be one that is made up as it is read.
    let made_up = client(
        OLD,
        Manners {
            counts_blocks: false,
            ..coarse()
        },
    );
    let (first, _) = look(&made_up, "f", 0);
    made_up
        .host()
        .overwrite(made_up.host().number("f"), 9, b"x");
    let (second, bytes) = look(&made_up, "f", 0);
    assert!(second > first && bytes == made_up.host().get("f").unwrap());
    made_up.end();
    // Without a clock no file is old.
    let host = Host::new(Manners::default());
    host.set("f", b"x");
    host.stop_clock();
    let client = Client::of(host);
    assert!(look(&client, "f", 0).0 < look(&client, "f", 0).0);
    client.end();
}

#[test]
fn the_epochs_of_so_many_files_are_remembered_and_no_more() {
    let client = client(OLD, Manners::default());
    for n in 0..600 {
        client.host().set(&format!("n{n}"), b"x");
    }
    let (first, _) = look(&client, "f", 0);
    (0..511).for_each(|n| drop(look(&client, &format!("n{n}"), 0)));
    assert_eq!(look(&client, "f", 0).0, first, "the one of the last 512");
    (0..512).for_each(|n| drop(look(&client, &format!("n{n}"), 0)));
    assert!(look(&client, "f", 0).0 > first);
    client.end();
}

#[test]
fn another_server_knows_nothing_of_it() {
    let client = client(OLD, Manners::default());
    let (first, _) = look(&client, "f", 0);
    let backing = {
        let fs = client.fs.clone();
        client.hang_up();
        drop(client);
        std::rc::Rc::into_inner(fs)
            .expect("nobody else")
            .into_backing()
    };
    backing.hang_up();
    let epoch = 1000;
    let options = Options {
        epoch,
        ..Options::default()
    };
    let client = Client::with(backing, options);
    let (second, _) = look(&client, "f", 0);
    assert!(first < epoch && second > epoch);
    client.end();
}
