//! The hidden directory is hidden on every host: one that folds case, one that
//! glues names together, one that attaches where it is told. It is known by what
//! it is, and coming and going it leaves no trace and hides nobody else's.

use crate::common::*;
use abi::Errno;
use lower::{Call, Fault, Host, Manners};
use ninep::consts::{TMKDIR, TWALK, open, setattr, unlink};
use ninep::*;

const B: u64 = 4096;

/// A client of a host where something is hidden, its snapshot, and another
/// client.
fn hiding(manners: Manners) -> (Client, u32, Client) {
    let host = Host::new(manners);
    host.make_dir("sub");
    host.set("secret", &pattern(1, 2 * B as usize));
    let client = Client::of(host);
    let fid = client.open("secret");
    let snap = client.snap(fid, 0, 2 * B);
    client.unlink("secret").unwrap();
    client.clunk(fid);
    assert_eq!(client.host().names(".snapfs").len(), 1);
    let thief = client.beside(1, 0);
    (client, snap, thief)
}

fn walk(client: &Client, fid: u32, names: &[&str]) -> Result<usize, Errno> {
    let newfid = client.fid();
    let names: Vec<ByteStr<'_>> = names.iter().map(ByteStr::from).collect();
    let request = Request::Walk {
        fid,
        newfid,
        names: Names::new(&names),
    };
    client.ask(&request, |reply| match reply {
        Reply::Walk { qids } => Ok(qids.len()),
        Reply::Error(errno) => Err(errno),
        other => panic!("{other:?}"),
    })
}

/// The snapshot is still there, and nothing is left when all are gone.
fn end((client, snap, thief): (Client, u32, Client)) {
    assert!(client.read_all(snap, 0, 2 * B) == Ok(pattern(1, 2 * B as usize)));
    thief.hang_up();
    client.end();
}

/// Requests that would make, move or remove the hidden directory, or what is in
/// it, if `name` led there.
fn meddling(name: &str) -> [Request<'_>; 7] {
    let (dfid, fid) = (ROOT, ROOT);
    [
        Request::Mkdir {
            dfid,
            name: name.into(),
            mode: 0o777,
            gid: 0,
        },
        Request::Symlink {
            dfid,
            name: name.into(),
            target: "x".into(),
            gid: 0,
        },
        Request::Lcreate {
            fid,
            name: name.into(),
            flags: open::RDWR | open::CREAT,
            mode: 0o666,
            gid: 0,
        },
        Request::Renameat {
            olddirfid: ROOT,
            oldname: name.into(),
            newdirfid: ROOT,
            newname: "mine".into(),
        },
        Request::Renameat {
            olddirfid: ROOT,
            oldname: "sub".into(),
            newdirfid: ROOT,
            newname: name.into(),
        },
        Request::Unlinkat {
            dirfid: ROOT,
            name: name.into(),
            flags: 0,
        },
        Request::Unlinkat {
            dirfid: ROOT,
            name: name.into(),
            flags: unlink::REMOVEDIR,
        },
    ]
}

#[test]
fn a_host_that_folds_case_does_not_show_it_by_another_case() {
    let all = hiding(Manners {
        folds_case: true,
        ..Manners::default()
    });
    let thief = &all.2;
    for name in [".snapfs", ".SnapFS", ".SNAPFS"] {
        assert_eq!(walk(thief, ROOT, &[name]), Err(Errno::ENOENT), "{name}");
        let path = format!("{name}/f1");
        assert!(thief.open_with(&path, open::RDWR).is_err(), "{path}");
        for request in meddling(name) {
            assert!(thief.tell(&request).is_err(), "{request:?}");
        }
    }
    // Walks stop before it: `sub`, the root, and no further.
    assert_eq!(walk(thief, ROOT, &["sub", "..", ".SnapFS"]), Ok(2));
    assert_eq!(thief.names(4000), [".", "..", "sub"]);
    end(all);
}

#[test]
fn nobody_makes_a_directory_that_a_host_takes_for_it() {
    let host = Host::new(Manners {
        folds_case: true,
        ..Manners::default()
    });
    host.set("f", &pattern(1, 2 * B as usize));
    let client = Client::of(host);
    let first = client.tell(&meddling(".SnapFS")[0]);
    assert_eq!(first, Err(Errno::EPERM));
    client.end();
}

#[test]
fn a_name_of_several_or_none_reaches_no_host() {
    let all = hiding(Manners {
        slashes: true,
        ..Manners::default()
    });
    let thief = &all.2;
    for name in ["./.snapfs", "sub/../.snapfs", ".snapfs/", "/.snapfs", ""] {
        assert_eq!(walk(thief, ROOT, &[name]), Err(Errno::ENOENT), "{name:?}");
    }
    for name in [".snapfs/f1", "./.snapfs", "", ".", ".."] {
        for request in meddling(name) {
            assert!(thief.tell(&request).is_err(), "{request:?}");
        }
    }
    end(all);
}

#[test]
fn no_attach_leads_into_it() {
    for attaches_below in [false, true] {
        let all = hiding(Manners {
            attaches_below,
            ..Manners::default()
        });
        let thief = &all.2;
        for aname in [
            ".snapfs",
            "/.snapfs",
            "sub/../.snapfs",
            ".snapfs/f1",
            "gone",
        ] {
            assert!(thief.attach_as(5000, aname).is_err(), "{aname}");
        }
        // A directory that is there can be attached to, and is what it is.
        thief.attach_as(5000, "/sub/").unwrap();
        assert_eq!(walk(thief, 5000, &["..", ".snapfs"]), Ok(1));
        thief.clunk(5000);
        end(all);
    }
}

#[test]
fn a_fid_of_a_file_that_was_moved_into_it_does_not_lead_there() {
    let host = Host::new(Manners::default());
    host.set("f", &pattern(1, 2 * B as usize));
    let client = Client::of(host);
    let fid = client.open("f");
    let plain = client.walk("f").unwrap();
    client.unlink("f").unwrap();
    assert_eq!(client.host().names(".snapfs").len(), 1);
    for names in [&[".."][..], &["..", "f1"]] {
        let walked = walk(&client, plain, names);
        assert!(walked.is_err(), "{names:?}: {walked:?}");
    }
    client.clunk(plain);
    client.clunk(fid);
    client.end();
}

#[test]
fn the_roots_time_shows_what_clients_did_while_it_was_made() {
    for kind in [0, 1] {
        let host = Host::new(Manners::default());
        host.set("f", &pattern(1, 2 * B as usize));
        let client = Client::of(host);
        let fid = client.open("f");
        client.snap(fid, 0, 2 * B);
        let dir = client.walk("").unwrap();
        let before = client.attr(ROOT).unwrap().mtime_nsec;
        let host = client.host();
        host.set_manual(true);
        // A rescue: the hidden directory is made.
        let write = Request::Write {
            fid,
            offset: 0,
            data: b"x",
        };
        let mut executor = dormouse_snapfs::Executor::default();
        let task = |request: &Request<'_>| {
            let (fs, bytes) = (client.fs.clone(), message(7, request));
            async move { serve(&fs, 0, &bytes).await }
        };
        assert!(matches!(executor.spawn(task(&write)), Ok(None)));
        while host.wait(0).1.kind != TMKDIR {
            host.release(0);
            executor.run(|_| {});
        }
        // Somebody makes a file, or sets the time.
        let other = match kind {
            0 => Request::Lcreate {
                fid: dir,
                name: "new".into(),
                flags: open::RDWR | open::CREAT,
                mode: 0o666,
                gid: 0,
            },
            _ => Request::Setattr {
                fid: dir,
                attr: SetAttr {
                    valid: setattr::MTIME,
                    ..SetAttr::default()
                },
            },
        };
        assert!(matches!(executor.spawn(task(&other)), Ok(None)));
        let mut ended = 0;
        while host.waiting() > 0 {
            // The last that came goes on first.
            host.release(host.waiting() - 1);
            executor.run(|_| ended += 1);
        }
        assert_eq!(ended, 2);
        host.set_manual(false);
        let after = client.attr(ROOT).unwrap().mtime_nsec;
        assert!(after > before, "kind {kind}: the root's time went back");
        drop(executor);
        client.end();
    }
}

/// The directory was made and snapfs was told that it was not, or it could not be found
/// then: it is used later, and goes.
#[test]
fn a_directory_whose_making_failed_half_way_is_used_and_goes() {
    let faults: [fn(&Call) -> Fault; 2] = [
        |call| match call.kind == TMKDIR {
            true => Fault::After(Errno::EIO),
            false => Fault::No,
        },
        |call| match call.kind == TWALK && call.name == ".snapfs" {
            true => Fault::Before(Errno::EIO),
            false => Fault::No,
        },
    ];
    for fault in faults {
        let client = Client::new();
        let old = pattern(1, 2 * B as usize);
        client.host().set("f", &old);
        let fid = client.open("f");
        let snap = client.snap(fid, 0, 2 * B);
        client.host().inject(fault);
        // Refused, or done with the old bytes in memory.
        let _ = client.write(fid, 0, b"x");
        client.host().heal();
        assert!(client.host().names("").contains(&".snapfs".into()));
        client.write(fid, B, b"x").expect("write");
        client.unlink("f").expect("unlink");
        assert!(!client.host().names(".snapfs").is_empty(), "it is used");
        assert!(client.read_all(snap, 0, 2 * B) == Ok(old));
        client.clunk(fid);
        client.clunk(snap);
        client.end();
    }
}
