//! Requests that stand for several answer as those would, and see each change of a name.

use crate::common::*;
use abi::Errno;
use ninep::consts::{NOFID, TGETATTR, VERSION_L, getattr, open, qid};
use ninep::{Attr, ByteStr, DirAttrs, Names, Qid, Reply, Request};

fn parts(path: &str) -> Vec<ByteStr<'_>> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.map(ByteStr::from).collect()
}

impl Client {
    /// What a Twalkattr from `fid` says: the qids, and the attributes.
    fn look_from(&self, fid: u32, path: &str) -> Result<(Vec<Qid>, Attr), Errno> {
        let names = parts(path);
        let request = Request::Walkattr {
            fid,
            mask: getattr::BASIC,
            names: Names::new(&names),
        };
        self.ask(&request, |reply| match reply {
            Reply::Walkattr { qids, attr } => Ok((qids.iter().collect(), attr)),
            Reply::Error(errno) => Err(errno),
            other => panic!("{other:?}"),
        })
    }

    fn look(&self, path: &str) -> Result<(Vec<Qid>, Attr), Errno> {
        self.look_from(ROOT, path)
    }

    /// What a Twalkopen says: the fid, and how many names were walked.
    fn walk_open(&self, path: &str, flags: u32) -> Result<(u32, usize), Errno> {
        let (names, newfid) = (parts(path), self.fid());
        let request = Request::Walkopen {
            fid: ROOT,
            newfid,
            flags,
            names: Names::new(&names),
        };
        self.ask(&request, |reply| match reply {
            Reply::Walkopen { qids } => Ok((newfid, qids.len())),
            Reply::Error(errno) => Err(errno),
            other => panic!("{other:?}"),
        })
    }

    /// The same by a walk, a getattr and a clunk.
    fn looked(&self, path: &str) -> Result<Attr, Errno> {
        let fid = self.walk(path)?;
        let attr = self.attr(fid);
        self.clunk(fid);
        attr
    }

    /// The names in the root with their sizes, by lists of `count` bytes.
    fn listed(&self, count: u32) -> Result<Vec<(String, Attr)>, Errno> {
        self.listed_in("", count)
    }

    /// The names in a directory, with the sizes of the files in the root that have them.
    fn listed_in(&self, path: &str, count: u32) -> Result<Vec<(String, Attr)>, Errno> {
        let (fid, dfid) = (self.open_with(path, open::RDONLY)?, ROOT);
        let (mut all, mut offset) = (Vec::new(), 0);
        let done = loop {
            let request = Request::Readdirattr {
                fid,
                dfid,
                offset,
                count,
                mask: getattr::BASIC,
            };
            let part = self.ask(&request, |reply| match reply {
                Reply::Readdirattr { data } => {
                    assert!(data.len() <= count as usize);
                    let entries = DirAttrs::new(data).map(|entry| entry.unwrap());
                    let entries = entries.map(|(entry, attr)| {
                        offset = entry.offset;
                        (String::from_utf8_lossy(&entry.name).into_owned(), attr)
                    });
                    Ok(entries.collect::<Vec<_>>())
                }
                Reply::Error(errno) => Err(errno),
                other => panic!("{other:?}"),
            });
            match part {
                Ok(part) if part.is_empty() => break Ok(all),
                Ok(part) => all.extend(part),
                Err(errno) => break Err(errno),
            }
        };
        self.clunk(fid);
        done
    }

    fn link_to(&self, name: &str, target: &str) {
        let request = Request::Symlink {
            dfid: ROOT,
            name: name.into(),
            target: target.into(),
            gid: 0,
        };
        self.tell(&request).unwrap();
    }
}

fn both(test: impl Fn(Client)) {
    test(Client::new());
    test(Client::by_names());
}

#[test]
fn a_look_says_what_a_walk_and_a_getattr_say() {
    both(|client| {
        let host = client.host();
        host.make_dir("dir");
        host.set("dir/a", &pattern(1, 5000));
        host.set("b", b"b");
        client.link_to("link", "b");
        for path in ["dir", "dir/a", "b", "link", ""] {
            for _ in 0..3 {
                let (qids, attr) = client.look(path).unwrap();
                assert_eq!(Ok(attr), client.looked(path), "{path}");
                assert_eq!(qids.len(), parts(path).len());
                if let Some(last) = qids.last() {
                    assert_eq!(*last, attr.qid);
                }
            }
        }
        let (qids, _) = client.look("link").unwrap();
        assert_eq!(qids[0].kind & qid::SYMLINK, qid::SYMLINK);
        // A walk that stops makes nothing, and says where.
        assert_eq!(client.look("no"), Err(Errno::ENOENT));
        for path in ["dir/no", "dir/no/no", "b/c", "link/c"] {
            let (qids, attr) = client.look(path).unwrap();
            assert_eq!((qids.len(), attr), (1, Attr::default()), "{path}");
        }
        assert_eq!(client.look_from(77, "b"), Err(Errno::EBADF));
        client.end();
    });
}

#[test]
fn the_hidden_directory_is_not_found() {
    both(|client| {
        client.host().set("a", &pattern(1, 5000));
        client.host().set("b", b"b");
        let fid = client.open("a");
        let snap = client.snap(fid, 0, 4096);
        client.unlink("a").unwrap();
        assert!(client.host().find(".snapfs").is_some());
        assert_eq!(client.look(".snapfs"), Err(Errno::ENOENT));
        assert_eq!(client.look(".snapfs/f1"), Err(Errno::ENOENT));
        assert_eq!(client.walk_open(".snapfs", 0), Err(Errno::ENOENT));
        let listed = client.listed(4096).unwrap();
        let names = listed.iter().map(|(name, _)| name.as_str());
        let names: Vec<_> = names.filter(|name| !name.starts_with("..")).collect();
        assert!(!names.contains(&".snapfs"), "{names:?}");
        // Nor by a list of another directory.
        client.host().make_dir("dir");
        client.host().set("dir/.snapfs", b"not hidden");
        let listed = client.listed_in("dir", 4096).unwrap();
        let found = listed.iter().find(|(name, _)| name == ".snapfs");
        assert_eq!(found.map(|(_, attr)| *attr), Some(Attr::default()));
        client.clunk(snap);
        client.clunk(fid);
        client.end();
    });
}

#[test]
fn a_file_is_walked_to_and_opened_in_one() {
    both(|client| {
        let host = client.host();
        host.make_dir("dir");
        host.set("dir/a", b"content");
        client.link_to("link", "dir");
        let (fid, walked) = client.walk_open("dir/a", open::RDONLY).unwrap();
        assert_eq!(walked, 2);
        assert_eq!(client.read(fid, 0, 99), Ok(b"content".to_vec()));
        assert_eq!(client.write(fid, 0, b"no"), Err(Errno::EBADF));
        client.clunk(fid);
        let flags = open::WRONLY | open::TRUNC;
        let (fid, _) = client.walk_open("dir/a", flags).unwrap();
        assert_eq!(client.host().get("dir/a"), Some(Vec::new()));
        client.write(fid, 0, b"new").unwrap();
        client.clunk(fid);
        let (fid, _) = client.walk_open("dir", open::RDONLY).unwrap();
        client.clunk(fid);
        let (fid, _) = client.walk_open("", open::RDONLY).unwrap();
        client.clunk(fid);
        // These make no fid.
        for (path, walked) in [("link", 1), ("dir/no", 1), ("dir/a/b", 2), ("link/a", 1)] {
            let (fid, count) = client.walk_open(path, open::RDONLY).unwrap();
            assert_eq!(count, walked, "{path}");
            assert_eq!(client.attr(fid), Err(Errno::EBADF), "{path}");
        }
        assert_eq!(client.walk_open("no", 0), Err(Errno::ENOENT));
        for flags in [open::WRONLY, open::RDWR, open::TRUNC] {
            assert_eq!(client.walk_open("dir", flags), Err(Errno::EISDIR));
        }
        for newfid in [ROOT, NOFID] {
            let names = parts("dir/a");
            let request = Request::Walkopen {
                fid: ROOT,
                newfid,
                flags: 0,
                names: Names::new(&names),
            };
            assert_eq!(client.tell(&request), Err(Errno::EBADF));
        }
        client.end();
    });
}

#[test]
fn whatever_fails_leaves_no_fid() {
    for failing in 0..8 {
        both(|client| {
            client.host().make_dir("dir");
            client.host().set("dir/a", b"content");
            let ends = [ninep::consts::TCLUNK, ninep::consts::TREMOVE];
            let mut seen = 0;
            client.host().inject(move |call| {
                seen += u32::from(!ends.contains(&call.kind));
                (seen == failing + 1 && !ends.contains(&call.kind)).then_some(Errno::EACCES)
            });
            let opened = client.walk_open("dir/a", open::RDONLY);
            let looked = client.look("dir/a");
            let again = client.look("dir/a");
            let listed = client.listed(4096);
            client.host().heal();
            let failed = [opened.is_err(), looked.is_err(), again.is_err()];
            assert!(failed.iter().filter(|failed| **failed).count() <= 1);
            assert!(failing > 0 || failed[0]);
            drop(listed);
            client.end();
        });
    }
}

#[test]
fn a_list_has_the_attributes_of_its_files() {
    both(|client| {
        let names: Vec<String> = (0..60).map(|n| format!("file-{n:03}")).collect();
        for (n, name) in names.iter().enumerate() {
            client.host().set(name, &pattern(n as u8, n * 37));
        }
        client.host().make_dir("dir");
        client.link_to("link", "dir");
        for count in [500, 700, 4096, 1 << 20] {
            let listed = client.listed(count).unwrap();
            let mut found = Vec::new();
            for (name, attr) in listed {
                match name.as_str() {
                    "." | ".." => assert_eq!(attr, Attr::default()),
                    _ => {
                        assert_eq!(Ok(attr), client.looked(&name), "{name}");
                        found.push(name);
                    }
                }
            }
            found.sort();
            let mut all = names.clone();
            all.extend(["dir".into(), "link".into()]);
            all.sort();
            assert_eq!(found, all, "lists of {count}");
        }
        // Not even one entry fits.
        assert_eq!(client.listed(60), Err(Errno::EINVAL));
        client.end();
    });
}

#[test]
fn an_entry_that_cannot_be_looked_at_has_no_attributes() {
    both(|client| {
        client.host().set("a", b"a");
        client.host().set("b", b"b");
        client.host().inject(move |call| {
            let fails = call.kind == TGETATTR && call.path.ends_with('a');
            fails.then_some(Errno::EACCES)
        });
        let listed = client.listed(4096).unwrap();
        let size = |wanted: &str| {
            let mut listed = listed.iter();
            listed.find(|(name, _)| name == wanted).map(|(_, a)| *a)
        };
        assert_eq!(size("a"), Some(Attr::default()));
        assert_eq!(size("b").map(|attr| attr.size), Some(1));
        client.host().heal();
        client.end();
    });
}

#[test]
fn only_clients_of_the_dialect_may_ask() {
    let client = Client::new();
    let (msize, version) = (1 << 20, VERSION_L);
    client.tell(&Request::Version { msize, version }).unwrap();
    client.attach();
    assert_eq!(client.look("a"), Err(Errno::EOPNOTSUPP));
    assert_eq!(client.walk_open("a", 0), Err(Errno::EOPNOTSUPP));
    assert_eq!(client.listed(4096), Err(Errno::EOPNOTSUPP));
    client.end();
}

#[test]
fn a_known_name_costs_one_request() {
    let client = Client::by_names();
    client.host().make_dir("dir");
    client.host().set("dir/a", b"a");
    client.look("dir/a").unwrap();
    let before = client.host().exchanges();
    client.look("dir/a").unwrap();
    assert_eq!(client.host().exchanges() - before, 1);
    client.end();
}

/// The size of the file at `path`.
fn size(client: &Client, path: &str) -> Result<u64, Errno> {
    let (qids, attr) = client.look(path)?;
    match qids.len() == parts(path).len() {
        true => Ok(attr.size),
        false => Err(Errno::ENOENT),
    }
}

#[test]
fn a_known_name_shows_what_it_stands_for_now() {
    both(|client| {
        let host = client.host();
        host.set("a", b"1");
        assert_eq!(size(&client, "a"), Ok(1));
        // By the host.
        host.set("a", b"22");
        assert_eq!(size(&client, "a"), Ok(2));
        host.remove("a");
        assert_eq!(size(&client, "a"), Err(Errno::ENOENT));
        host.set("a", b"333");
        assert_eq!(size(&client, "a"), Ok(3));
        host.set("other", b"4444");
        host.steal("other", "a");
        assert_eq!(size(&client, "a"), Ok(4));
        host.steal("a", "other");
        assert_eq!(size(&client, "a"), Err(Errno::ENOENT));
        host.make_dir("dir");
        host.set("dir/a", b"4444");
        assert_eq!(size(&client, "dir/a"), Ok(4));
        host.steal("dir", "moved");
        assert_eq!(size(&client, "dir/a"), Err(Errno::ENOENT));
        host.steal("moved", "dir");
        assert_eq!(size(&client, "dir/a"), Ok(4));
        // By a client.
        client.rename("dir", "moved").unwrap();
        assert_eq!(size(&client, "dir/a"), Err(Errno::ENOENT));
        assert_eq!(size(&client, "moved/a"), Ok(4));
        client.host().make_dir("dir");
        client.host().set("dir/a", b"55555");
        assert_eq!(size(&client, "dir/a"), Ok(5));
        assert_eq!(size(&client, "moved/a"), Ok(4));
        client.host().set("b", b"b");
        assert_eq!(size(&client, "b"), Ok(1));
        client.unlink("b").unwrap();
        assert_eq!(size(&client, "b"), Err(Errno::ENOENT));
        client.link_to("b", "dir");
        let (qids, _) = client.look("b").unwrap();
        assert_eq!(qids[0].kind & qid::SYMLINK, qid::SYMLINK);
        client.end();
    });
}

#[test]
fn a_name_with_a_slash_in_it_is_no_known_name() {
    let client = Client::by_names();
    client.host().make_dir("dir");
    client.host().set("dir/a", b"a");
    let names = [ByteStr::from("dir/a")];
    let request = Request::Walkattr {
        fid: ROOT,
        mask: getattr::BASIC,
        names: Names::new(&names),
    };
    let ask = || {
        client.ask(&request, |reply| match reply {
            Reply::Walkattr { qids, .. } => Ok(qids.len()),
            Reply::Error(errno) => Err(errno),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(ask(), Err(Errno::ENOENT));
    client.look("dir/a").unwrap();
    assert_eq!(ask(), Err(Errno::ENOENT));
    client.end();
}

#[test]
fn few_names_are_known_and_none_below_a_fid_that_is_gone() {
    let client = Client::by_names();
    client.host().make_dir("dir");
    for n in 0..200 {
        client.host().set(&format!("dir/{n}"), b"a");
        client.look(&format!("dir/{n}")).unwrap();
    }
    assert!(client.host().fids() < 40);
    let dir = client.walk("dir").unwrap();
    for n in 0..20 {
        client.look_from(dir, &n.to_string()).unwrap();
    }
    client.clunk(dir);
    assert!(client.host().fids() < 40);
    // The number of the fid may be another directory's now.
    client.host().make_dir("other");
    for _ in 0..200 {
        let fid = client.walk("other").unwrap();
        assert_eq!(client.look_from(fid, "3"), Err(Errno::ENOENT));
        client.clunk(fid);
    }
    // Longer than is kept.
    let long = format!("dir/{}", "n".repeat(255));
    client.host().set(&long, b"long");
    let held = client.host().fids();
    client.look(&long).unwrap();
    assert_eq!(client.host().fids(), held);
    client.end();
}
