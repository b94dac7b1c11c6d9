//! Removing and renaming files that are in use; the hidden directory.

use crate::common::*;
use abi::Errno;
use dormouse_snapfs::Options;
use ninep::consts::{NOFID, open, setattr};
use ninep::{ByteStr, Names, Reply, Request, SetAttr};
use std::rc::Rc;

const B: u64 = 4096;

#[test]
fn a_removed_file_lives_on_for_snapshots_and_open_fids() {
    let client = Client::new();
    let old = pattern(1, 3 * B as usize);
    client.host().set("a", &old);
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 3 * B);
    client.unlink("a").unwrap();
    assert_eq!(client.host().get("a"), None);
    assert_eq!(client.attr(fid).unwrap().nlink, 0);
    client.write(fid, 0, b"new").unwrap();
    client.resize(fid, B).unwrap();
    assert_eq!(client.read_all(snap, 0, 3 * B), Ok(old));
    // The name is free for another file.
    client.host().set("a", b"another");
    assert_eq!(client.names(4096), ["a"]);
    client.unlink("a").unwrap();
    client.clunk(snap);
    assert_eq!(client.read(fid, 0, 3), Ok(b"new".to_vec()));
    client.clunk(fid);
    assert!(client.host().names("").is_empty());
    client.end();
}

#[test]
fn a_file_renamed_over_lives_on() {
    let client = Client::new();
    client.host().set("a", &pattern(1, B as usize));
    client.host().set("b", b"the new one");
    let fid = client.open("a");
    let snap = client.snap(fid, 0, B);
    client.rename("b", "a").unwrap();
    assert_eq!(client.host().get("a"), Some(b"the new one".to_vec()));
    client.resize(fid, 1).unwrap();
    assert_eq!(
        client.host().get("a"),
        Some(b"the new one".to_vec()),
        "not the wrong file"
    );
    assert_eq!(client.read_all(snap, 0, B), Ok(pattern(1, B as usize)));
    // Renamed back and forth, the fid still means the same file.
    client.host().set("c", b"c");
    let c = client.open("c");
    client.rename("c", "d").unwrap();
    client.rename("d", "d").unwrap();
    client.write(c, 0, b"C").unwrap();
    assert_eq!(client.host().get("d"), Some(b"C".to_vec()));
    client.end();
}

#[test]
fn a_rename_that_fails_puts_the_other_file_back() {
    let client = Client::new();
    client.host().set("a", &pattern(1, B as usize));
    client.host().set("b", b"b");
    let fid = client.open("a");
    let mut renames = 0;
    client.host().inject(move |exchange| {
        renames += u32::from(exchange.kind == ninep::consts::TRENAMEAT);
        (renames == 2).then_some(Errno::EACCES)
    });
    assert_eq!(client.rename("b", "a"), Err(Errno::EACCES));
    client.host().heal();
    assert_eq!(client.host().get("a"), Some(pattern(1, B as usize)));
    assert_eq!(client.attr(fid).unwrap().nlink, 1);
    assert_eq!(client.rename("nothing", "a"), Err(Errno::ENOENT));
    assert_eq!(client.host().get("a"), Some(pattern(1, B as usize)));
    client.end();
}

#[test]
fn link_counts_stay_right() {
    let client = Client::new();
    client.host().set("a", b"a");
    let fid = client.open("a");
    let link = Request::Link {
        dfid: ROOT,
        fid,
        name: "b".into(),
    };
    client.tell(&link).unwrap();
    assert_eq!(client.attr(fid).unwrap().nlink, 2);
    client.unlink("a").unwrap();
    assert_eq!(client.attr(fid).unwrap().nlink, 1);
    client
        .tell(&Request::Remove {
            fid: client.walk("b").unwrap(),
        })
        .unwrap();
    assert_eq!(client.attr(fid).unwrap().nlink, 0);
    assert_eq!(client.read(fid, 0, 1), Ok(b"a".to_vec()));
    client.end();
}

#[test]
fn remove_by_fid() {
    let client = Client::new();
    client.host().set("a", b"a");
    client.host().set("b", b"b");
    let (a, other) = (client.open("a"), client.open("a"));
    client.tell(&Request::Remove { fid: a }).unwrap();
    assert_eq!(client.read(other, 0, 1), Ok(b"a".to_vec()));
    assert_eq!(client.read(a, 0, 1), Err(Errno::EBADF));
    client
        .tell(&Request::Remove {
            fid: client.walk("b").unwrap(),
        })
        .unwrap();
    assert_eq!(client.names(4096), Vec::<String>::new());
    client.end();
}

#[test]
fn the_hidden_directory_is_hidden() {
    let client = Client::new();
    for name in ["a", "b", "c"] {
        client.host().set(name, &pattern(1, B as usize));
    }
    let fid = client.open("a");
    client.unlink("a").unwrap();
    assert!(client.host().names("").iter().any(|name| name == ".snapfs"));
    for count in [4096, 31] {
        assert_eq!(
            client.names(count),
            ["b", "c"],
            "in batches of {count} bytes"
        );
    }
    assert_eq!(client.walk(".snapfs"), Err(Errno::ENOENT));
    assert_eq!(client.walk(".snapfs/f1"), Err(Errno::ENOENT));
    assert_eq!(client.unlink(".snapfs"), Err(Errno::ENOENT));
    assert_eq!(client.rmdir(".snapfs"), Err(Errno::ENOENT));
    assert_eq!(client.rename("b", ".snapfs"), Err(Errno::EPERM));
    let mkdir = Request::Mkdir {
        dfid: ROOT,
        name: ".snapfs".into(),
        mode: 0o777,
        gid: 0,
    };
    assert_eq!(client.tell(&mkdir), Err(Errno::EPERM));
    client.clunk(fid);
    assert_eq!(client.host().names(""), ["b", "c"]);
    client.end();
}

#[test]
fn what_a_dead_instance_left_is_removed_at_the_start() {
    let memory = lower::Host::default();
    memory.set("kept", b"k");
    memory.make_dir(".snapfs");
    memory.set(".snapfs/f1", b"left");
    memory.set(".snapfs/store", b"left");
    let fs = dormouse_snapfs::Snapfs::new(memory, 0);
    now(fs.start("root".into(), "".into())).unwrap();
    assert_eq!(fs.backing().names(""), ["kept"]);
    assert_eq!(fs.counters().fids_lower, 1);
}

#[test]
fn permissions_are_the_clients() {
    let client = Client::new();
    client.host().set("a", &pattern(1, B as usize));
    let fid = client.open("a");
    let snap = client.snap(fid, 0, B);
    let attr = SetAttr {
        valid: setattr::MODE,
        mode: 0,
        ..SetAttr::default()
    };
    client.tell(&Request::Setattr { fid, attr }).unwrap();
    assert_eq!(client.open_with("a", open::RDONLY), Err(Errno::EACCES));
    client.write(fid, 0, b"x").unwrap();
    assert_eq!(
        client.read_all(snap, 0, B),
        Ok(pattern(1, B as usize)),
        "a later chmod does no harm"
    );
    client.end();
}

#[test]
fn fids_are_checked() {
    let client = Client::new();
    client.host().set("a", b"a");
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 1);
    for request in [
        Request::Clunk { fid: 999 },
        Request::Read {
            fid: 999,
            offset: 0,
            count: 1,
        },
        Request::Write {
            fid: snap,
            offset: 0,
            data: b"x",
        },
        Request::Walk {
            fid: snap,
            newfid: 50,
            names: Names::new(&[]),
        },
        Request::Walk {
            fid: ROOT,
            newfid: fid,
            names: Names::new(&[]),
        },
        Request::Getattr { fid: snap, mask: 0 },
        Request::Attach {
            fid,
            afid: NOFID,
            uname: "".into(),
            aname: "".into(),
            n_uname: 0,
        },
        Request::Lopen { fid, flags: 0 },
        Request::Auth {
            afid: 1,
            uname: "".into(),
            aname: "".into(),
            n_uname: 0,
        },
    ] {
        assert!(client.tell(&request).is_err(), "{request:?}");
    }
    assert_eq!(client.snap_into(fid, fid, 0, 1), Err(Errno::EINVAL));
    assert_eq!(client.snap_into(fid, NOFID, 0, 1), Err(Errno::EBADF));
    assert_eq!(client.snap_into(ROOT, 60, 0, 1), Err(Errno::EOPNOTSUPP));
    client.end();
}

#[test]
fn versions_are_negotiated_and_malformed_messages_answered() {
    let client = Client::new();
    client.host().set("a", b"a");
    let answer = |bytes: &[u8]| {
        let answer = now(client.fs.handle(0, bytes)).to_vec();
        assert!(matches!(
            ninep::decode_reply(&answer),
            Ok((_, Reply::Error(_)))
        ));
    };
    answer(&[]);
    answer(&[7, 0, 0, 0, 255, 1, 0]);
    let good = message(
        3,
        &Request::Read {
            fid: 1,
            offset: 0,
            count: 1,
        },
    );
    (0..good.len()).for_each(|len| answer(&good[..len]));
    let fid = client.open("a");
    for (asked, said) in [
        ("9P2000", "unknown"),
        ("9P2000.L.other", "9P2000.L"),
        ("9P2000.L", "9P2000.L"),
    ] {
        let version = Request::Version {
            msize: 8192,
            version: asked.into(),
        };
        client.ask(&version, |reply| match reply {
            Reply::Version { version, .. } => assert_eq!(version, said),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(
        client.read(fid, 0, 1),
        Err(Errno::EBADF),
        "a new version ends all fids"
    );
    let attach = Request::Attach {
        fid: 0,
        afid: NOFID,
        uname: "".into(),
        aname: "".into(),
        n_uname: 0,
    };
    client.tell(&attach).unwrap();
    let fid = client.open("a");
    assert_eq!(client.snap_into(fid, 60, 0, 1), Err(Errno::EOPNOTSUPP));
    assert_eq!(client.read(fid, 0, 1), Ok(b"a".to_vec()));
    client.end();
}

#[test]
fn a_name_that_a_stranger_took_is_not_acted_on() {
    let client = Client::new();
    let old = pattern(1, 3 * B as usize);
    client.host().set("a", &old);
    client.host().set("b", b"another");
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 3 * B);
    client.host().remove("a");
    assert_eq!(
        client.snap_into(fid, 70, 0, 3 * B),
        Ok(3 * B),
        "the open file is still there"
    );
    client.write(fid, 0, b"new").unwrap();
    assert_eq!(client.read_all(snap, 0, 3 * B), Ok(old.clone()));
    assert_eq!(client.read_all(70, 0, 3 * B), Ok(old));
    assert_eq!(client.resize(fid, 0), Err(Errno::ESTALE));
    client.end();
}

#[test]
fn a_crash_in_a_rename_over_a_file_in_use_leaves_the_name_to_one_of_the_two() {
    for dies_at in 0.. {
        let client = Client::new();
        let (old, new) = (pattern(1, B as usize), pattern(2, 100));
        client.host().set("a", &old);
        client.host().set("b", &new);
        let fid = client.open("a");
        client.snap(fid, 0, B);
        let mut left = dies_at;
        client.host().inject(move |_| match left {
            0 => Some(Errno::EIO),
            _ => {
                left -= 1;
                None
            }
        });
        let renamed = client.rename("b", "a");
        let fs = client.fs.clone();
        drop(client);
        let memory = Rc::into_inner(fs).expect("nobody else").into_backing();
        memory.heal();
        memory.hang_up();
        let fs = start(memory, Options::default());
        let memory = fs.backing();
        let (a, b) = (memory.get("a"), memory.get("b"));
        match (a.as_ref() == Some(&new), a.as_ref() == Some(&old)) {
            (true, false) => assert_eq!(b, None, "message {dies_at}"),
            (false, true) => assert_eq!(b.as_ref(), Some(&new), "message {dies_at}"),
            _ => panic!("message {dies_at}: the name is neither file's"),
        }
        assert!(!memory.names("").iter().any(|name| name == ".snapfs"));
        if renamed.is_ok() {
            assert!(dies_at > 5, "{dies_at} messages");
            return;
        }
    }
}

/// A server beneath might follow it, out of its tree; clients follow links.
#[test]
fn a_symbolic_link_is_never_opened() {
    let client = Client::new();
    client.host().set("a", b"a");
    let make = Request::Symlink {
        dfid: ROOT,
        name: "l".into(),
        target: ByteStr(b"/etc/\xff"),
        gid: 0,
    };
    client.tell(&make).unwrap();
    let fid = client.walk("l").unwrap();
    let text = client.ask(&Request::Readlink { fid }, |reply| match reply {
        Reply::Readlink { target } => target.to_vec(),
        other => panic!("{other:?}"),
    });
    assert_eq!(text, b"/etc/\xff");
    for flags in [open::RDONLY, open::WRONLY, open::RDWR | open::TRUNC] {
        let opened = client.tell(&Request::Lopen { fid, flags });
        assert_eq!(opened, Err(Errno::ELOOP));
    }
    assert!(client.snap_into(fid, 900, 0, 10).is_err());
    assert!(client.read(fid, 0, 10).is_err());
    assert_eq!(client.walk("l/passwd").err(), Some(Errno::ENOENT));
    // It is renamed over, linked and removed like any name.
    client.rename("a", "l").unwrap();
    client.clunk(fid);
    assert_eq!(client.host().get("l"), Some(b"a".to_vec()));
    client.end();
}
