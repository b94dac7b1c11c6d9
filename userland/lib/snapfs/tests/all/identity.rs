//! What is believed of a file is believed of that file alone: not of another
//! that has got its name, nor of one on another file system, nor of what was
//! there before a stranger changed it and put its times back.

use crate::common::*;
use abi::Errno;
use lower::{Fault, Host, Manners};
use ninep::consts::{NOFID, TGETATTR, TLOPEN, TSETATTR, TWALK, open, setattr};
use ninep::{PutKind, Request, SetAttr};
use std::cell::Cell;
use std::rc::Rc;

const B: u64 = 4096;
const LEN: u64 = 2 * B;
const LARGE: u64 = 2 << 20;

/// A client of a host with these files.
fn client(files: &[(&str, &[u8])]) -> Client {
    let host = Host::new(Manners::default());
    for (name, content) in files {
        host.set(name, content);
    }
    Client::of(host)
}

#[test]
fn a_file_without_blocks_on_another_file_system_is_not_taken_for_zeros() {
    let data = pattern(1, LARGE as usize);
    let client = client(&[("copy", b""), ("empty", b"")]);
    client.host().mount("sub");
    client.host().set("sub/f", &data);
    // The root's file system is tried, and counts blocks.
    client.host().set_size("empty", LARGE);
    let empty = client.open("empty");
    let hollow = client.snap(empty, 0, LARGE);
    client.resize(empty, 0).unwrap();
    assert_eq!(client.read(hollow, 5, 1), Ok(vec![0]));
    assert_eq!(client.counters().saved, 0, "no block was read for that");
    let fid = client.open("sub/f");
    assert_eq!(client.attr(fid).unwrap().blocks, 0);
    let snap = client.snap(fid, 0, LARGE);
    let copy = client.open("copy");
    let all = [op(keep(snap, 0), 0, LARGE)];
    assert_eq!(client.put(copy, 0, NOFID, &all, &[]).unwrap().count, LARGE);
    assert!(client.host().get("copy") == Some(data.clone()));
    let zeros = [op(PutKind::Zero, 0, B)];
    assert_eq!(client.put(fid, 0, NOFID, &zeros, &[]).unwrap().count, B);
    assert_eq!(client.read(fid, 0, B as u32), Ok(vec![0; B as usize]));
    client.resize(fid, 0).unwrap();
    assert!(client.read_all(snap, 0, LARGE) == Ok(data));
    client.end();
}

/// QEMU gives such a file the rights of a new one, and with them another ctime.
#[test]
fn a_file_that_is_created_over_keeps_its_rights_and_its_snapshots() {
    let client = client(&[("f", &pattern(1, LEN as usize))]);
    client.host().make_dir("dir");
    let fid = client.open("f");
    let attr = SetAttr {
        valid: setattr::MODE,
        mode: 0o740,
        ..SetAttr::default()
    };
    client.tell(&Request::Setattr { fid, attr }).unwrap();
    let (number, snap) = (client.attr(fid).unwrap().qid.path, client.snap(fid, 0, LEN));
    let other = client.beside(1, 0);
    let create = |name: &str, flags| {
        let fid = other.walk("").unwrap();
        let request = Request::Lcreate {
            fid,
            name: name.into(),
            flags: flags | open::CREAT,
            mode: 0o666,
            gid: 0,
        };
        let created = other.tell(&request);
        (fid, created)
    };
    for flags in [open::RDONLY, open::WRONLY, open::RDWR | open::TRUNC] {
        let (made, created) = create("f", flags);
        assert_eq!(created, Ok(()));
        let attr = other.attr(made).unwrap();
        assert_eq!((attr.mode & 0o777, attr.qid.path), (0o740, number));
        assert!(client.read_all(snap, 0, LEN) == Ok(pattern(1, LEN as usize)));
        other.clunk(made);
    }
    assert_eq!(client.attr(fid).unwrap().size, 0);
    for (name, flags, errno) in [
        ("f", open::EXCL, Errno::EEXIST),
        ("dir", open::WRONLY, Errno::EISDIR),
    ] {
        let (dir, created) = create(name, flags);
        assert_eq!(created, Err(errno), "{name}");
        other.clunk(dir);
    }
    other.hang_up();
    client.end();
}

#[test]
fn what_a_stranger_appended_is_not_taken_for_a_hole_behind_it() {
    let client = client(&[("f", b""), ("copy", b"")]);
    let fid = client.open("f");
    client.write(fid, 0, b"ours").unwrap();
    let theirs = pattern(1, 16 * B as usize);
    client.host().set("f", &theirs);
    client.write(fid, 32 << 20, b"x").unwrap();
    let snap = client.snap(fid, 0, 1 << 20);
    let copy = client.open("copy");
    let all = [op(keep(snap, 0), 0, 1 << 20)];
    client.put(copy, 0, NOFID, &all, &[]).unwrap();
    assert!(client.read_all(copy, 0, 16 * B).unwrap() == theirs);
    client.end();
}

#[test]
fn zeros_past_the_end_are_written_over_what_a_stranger_appended() {
    let client = client(&[("f", b"old")]);
    let fid = client.open("f");
    let snap = client.snap(fid, 0, 3);
    client.host().set("f", &[7; 9 * B as usize]);
    let zeros = [op(PutKind::Zero, 0, 8 * B)];
    client.put(fid, B, NOFID, &zeros, &[]).unwrap();
    let written = client.read_all(fid, B, 8 * B).unwrap();
    assert!(written == vec![0; 8 * B as usize]);
    assert_eq!(client.read(snap, 0, 3), Err(Errno::ESTALE));
    client.end();
}

#[test]
fn an_elided_write_leaves_the_file_alone_that_has_got_the_name() {
    let (f, g) = (pattern(1, LEN as usize), pattern(2, LEN as usize));
    let client = client(&[("f", &f), ("g", &g)]);
    let fid = client.open("f");
    let snap = client.snap(fid, 0, LEN);
    let other = client.open("g");
    let sleeping = client.snap(other, 0, LEN);
    client.host().steal("g", "f");
    let before = client.host().mtime("f");
    let unchanged = [op(keep(snap, 0), 0, LEN)];
    assert_eq!(
        client.put(fid, 0, snap, &unchanged, &[]).unwrap().count,
        LEN
    );
    assert!(client.read_all(snap, 0, LEN) == Ok(f));
    client.clunk(client.open("f"));
    assert_eq!(client.host().mtime("f"), before);
    // Its ctime has moved: the host gave it another name.
    let read = client.read_all(sleeping, 0, LEN);
    assert!(read == Err(Errno::ESTALE) || read == Ok(g));
    client.end();
}

/// Changes a file behind the server's back and puts its size and mtime back, as
/// `touch -r` does; ctime moves on.
fn change_in_secret(client: &Client, name: &str, content: &[u8]) {
    let before = client.host().mtime(name);
    client.host().set(name, content);
    client.host().set_mtime(name, before);
}

#[test]
fn a_change_that_keeps_size_and_mtime_is_noticed() {
    let (old, new) = (pattern(1, LEN as usize), pattern(2, LEN as usize));
    let client = client(&[("f", &old)]);
    let fid = client.open("f");
    let first = client.snap(fid, 0, LEN);
    change_in_secret(&client, "f", &new);
    // Whoever opens it now, or reads it, sees the new bytes and no others.
    let later = client.snap(fid, 0, LEN);
    assert_eq!(client.read(first, 0, 10), Err(Errno::ESTALE));
    assert!(client.read_all(later, 0, LEN) == Ok(new));
    client.end();
}

#[test]
fn our_own_changes_of_an_inode_are_told_from_those_of_strangers() {
    let old = pattern(1, LEN as usize);
    let client = client(&[("f", &old), ("over", b"over"), ("new", &old)]);
    client.host().make_dir("dir");
    let fid = client.open("f");
    let snap = client.snap(fid, 0, LEN);
    let still_good = |what: &str| {
        client.snap_into(fid, snap, 0, LEN).unwrap();
        let read = client.read_all(snap, 0, LEN);
        assert!(read == Ok(old.clone()), "lost by {what}");
    };
    let attr = SetAttr {
        valid: setattr::MODE,
        mode: 0o600,
        ..SetAttr::default()
    };
    client.tell(&Request::Setattr { fid, attr }).unwrap();
    still_good("chmod");
    let (dfid, name) = (ROOT, "link".into());
    client.tell(&Request::Link { dfid, fid, name }).unwrap();
    still_good("link");
    client.rename("link", "other").unwrap();
    still_good("a rename of a link");
    client.unlink("other").unwrap();
    still_good("unlink");
    client.rename("f", "g").unwrap();
    still_good("rename");
    client.rename("g", "over").unwrap();
    still_good("a rename over another");
    let dir = client.walk("dir").unwrap();
    let from = client.walk("over").unwrap();
    let request = Request::Rename {
        fid: from,
        dfid: dir,
        name: "h".into(),
    };
    client.tell(&request).unwrap();
    still_good("a rename by its fid");
    let request = Request::Renameat {
        olddirfid: ROOT,
        oldname: "new".into(),
        newdirfid: dir,
        newname: "h".into(),
    };
    client.tell(&request).unwrap();
    still_good("a rename over it");
    client.end();
}

#[test]
fn a_change_in_secret_after_our_own_rename_is_noticed() {
    let (old, new) = (pattern(1, LEN as usize), pattern(2, LEN as usize));
    let client = client(&[("f", &old)]);
    let fid = client.open("f");
    let snap = client.snap(fid, 0, LEN);
    client.rename("f", "g").unwrap();
    change_in_secret(&client, "g", &new);
    client.clunk(client.open("g"));
    assert_eq!(client.read(snap, 0, 10), Err(Errno::ESTALE));
    client.end();
}

#[test]
fn looking_at_ctime_costs_no_messages() {
    let client = client(&[("f", &pattern(1, LEN as usize)), ("g", b"g")]);
    let calls = |what: &mut dyn FnMut()| {
        let before = client.host().exchanges();
        what();
        client.host().exchanges() - before
    };
    let mut fid = 0;
    assert_eq!(calls(&mut || fid = client.open("f")), 3, "walk, open, look");
    let mut snap = 0;
    assert_eq!(calls(&mut || snap = client.snap(fid, 0, LEN)), 1, "a look");
    let mut read = || drop(client.read(snap, 0, 10));
    assert_eq!(calls(&mut read), 1, "what is read");
    let mut rename = || client.rename("g", "h").unwrap();
    // Both names are looked at while snapshots exist, and given back.
    assert_eq!(calls(&mut rename), 1 + 3);
    client.clunk(snap);
    client.clunk(fid);
    let mut rename = || client.rename("h", "g").unwrap();
    assert_eq!(calls(&mut rename), 1);
    client.end();
}

/// Puts a new file at `f` at every exchange of that kind, but no more than
/// `times` times.
fn replace_at(client: &Client, kind: u8, times: u32) {
    let (left, fs) = (Cell::new(times), Rc::downgrade(&client.fs));
    client.host().inject(move |call| {
        if call.kind == kind && call.path == "f" && left.get() > 0 {
            left.set(left.get() - 1);
            let fs = fs.upgrade().expect("the server lives");
            fs.backing()
                .set("t", &pattern(left.get() as u8, LEN as usize));
            fs.backing().steal("t", "f");
        }
        Fault::No
    });
}

#[test]
fn a_file_that_is_being_replaced_is_opened_as_what_is_there() {
    for (kind, times) in [(TLOPEN, 1), (TGETATTR, 1), (TGETATTR, 5), (TLOPEN, 5)] {
        for flags in [open::RDONLY, open::RDWR, open::RDWR | open::TRUNC] {
            let client = client(&[("f", b"old")]);
            let walked = client.walk("f").unwrap();
            replace_at(&client, kind, times);
            let opened = client.tell(&Request::Lopen { fid: walked, flags });
            client.host().heal();
            assert_eq!(opened, Ok(()), "kind {kind}, {times} times");
            let there = client.host().get("f").unwrap();
            assert!(client.read_all(walked, 0, LEN) == Ok(there));
            assert_eq!(
                client.attr(walked).unwrap().qid.path,
                client.host().number("f")
            );
            client.end();
        }
    }
}

/// A fid was walked to a file in use whose name another file has got since, and the last
/// user has left: the name has a file all the time, so it has to be walked to again.
#[test]
fn a_fid_of_a_file_that_was_replaced_and_is_gone_is_stale() {
    let client = client(&[("f", b"old"), ("g", b"new")]);
    let other = client.beside(1, 0);
    let (used, walked) = (other.open("f"), client.walk("f").unwrap());
    other.rename("g", "f").unwrap();
    other.clunk(used);
    let flags = open::RDONLY;
    let opened = client.tell(&Request::Lopen { fid: walked, flags });
    assert_eq!(opened, Err(Errno::ESTALE));
    assert_eq!(client.attr(walked).map(drop), Err(Errno::ESTALE));
    assert_eq!(client.resize(walked, 0), Err(Errno::ESTALE));
    let again = client.open("f");
    assert!(client.read_all(again, 0, 3) == Ok(b"new".to_vec()));
    other.hang_up();
    client.end();
}

#[test]
fn what_is_there_now_is_changed_by_a_fid_that_is_not_open() {
    for kind in [TGETATTR, TSETATTR] {
        let client = client(&[("f", &pattern(1, LEN as usize)), ("used", b"used")]);
        let _in_use = client.open("used");
        let fid = client.walk("f").unwrap();
        client.host().set("t", &pattern(2, LEN as usize));
        client.host().steal("t", "f");
        replace_at(&client, kind, 1);
        assert_eq!(client.resize(fid, 10), Ok(()));
        client.host().heal();
        assert_eq!(client.host().get("f").unwrap().len(), 10);
        client.end();
    }
}

#[test]
fn a_change_through_a_fid_whose_name_a_file_in_use_has_got_is_its_own() {
    let old = pattern(1, LEN as usize);
    let client = client(&[("f", b"f"), ("used", &old)]);
    let fid = client.walk("f").unwrap();
    let used = client.open("used");
    let snap = client.snap(used, 0, LEN);
    client.rename("used", "f").unwrap();
    let attr = SetAttr {
        valid: setattr::MODE | setattr::MTIME,
        mode: 0o640,
        ..SetAttr::default()
    };
    client.tell(&Request::Setattr { fid, attr }).unwrap();
    client.clunk(client.open("f"));
    assert!(client.read_all(snap, 0, LEN) == Ok(old));
    client.end();
}

#[test]
fn a_name_that_cannot_be_looked_at_is_not_taken_for_one_that_nobody_uses() {
    for removes in [false, true] {
        let old = pattern(1, LEN as usize);
        let client = client(&[("f", &old), ("new", b"new")]);
        let fid = client.open("f");
        let snap = client.snap(fid, 0, LEN);
        let armed = Cell::new(true);
        client.host().inject(move |call| {
            let hit = call.kind == TWALK && call.name == "f" && armed.replace(false);
            match hit {
                true => Fault::Before(Errno::EINTR),
                false => Fault::No,
            }
        });
        let done = match removes {
            true => client.unlink("f"),
            false => client.rename("new", "f"),
        };
        client.host().heal();
        assert_eq!(done, Err(Errno::EINTR), "nothing was done");
        assert_eq!(client.attr(fid).map(|attr| attr.size), Ok(LEN));
        assert!(client.read_all(snap, 0, LEN) == Ok(old));
        assert_eq!(client.resize(fid, 10), Ok(()));
        client.end();
    }
}

/// What of a file whose number another one has: a snapshot's bytes.
fn own_or_error(read: Result<Vec<u8>, Errno>, own: &[u8]) {
    assert!(
        read.is_err() || read == Ok(own.to_vec()),
        "another file's bytes"
    );
}

#[test]
fn two_files_of_one_number_never_give_each_others_bytes() {
    // Which is asleep first, and whether both are open before.
    for (early, write) in [(false, false), (false, true), (true, false), (true, true)] {
        let (a, b) = (pattern(1, LEN as usize), pattern(2, LEN as usize));
        let client = client(&[("a", &a)]);
        client.host().mount("sub");
        client.host().set("sub/b", &b);
        let number = client.host().number("a");
        client.host().set_number("sub/b", number);
        let first = client.open("a");
        let before = early.then(|| client.open("sub/b"));
        let asleep = client.snap(first, 0, LEN);
        let second = before.map_or_else(|| client.open_with("sub/b", open::RDWR), Ok);
        if let Ok(second) = second {
            own_or_error(client.read_all(second, 0, LEN), &b);
            let other = client.fid();
            if write {
                let _ = client.write(second, B, b"written");
            }
            let now = client.host().get("sub/b").unwrap();
            let _ = client.snap_into(second, other, 0, LEN);
            own_or_error(client.read_all(other, 0, LEN), &now);
            let _ = client.write(second, 0, b"overwritten");
            own_or_error(client.read_all(other, 0, LEN), &now);
            let _ = client.tell(&Request::Clunk { fid: other });
        }
        own_or_error(client.read_all(asleep, 0, LEN), &a);
        client.write(first, 0, b"new").unwrap();
        own_or_error(client.read_all(asleep, 0, LEN), &a);
        assert_eq!(client.read(first, 0, 3), Ok(b"new".to_vec()));
    }
}
