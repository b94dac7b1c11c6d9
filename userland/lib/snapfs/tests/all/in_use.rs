//! Files in use that are removed or replaced on servers that are not like
//! QEMU's, fids that are given back in the middle of a request, links.

use crate::common::*;
use abi::Errno;
use dormouse_snapfs::{Executor, Options};
use lower::{Call, Fault, Host, Manners, Rights};
use ninep::consts::{NOFID, TWALK, getattr, open, setattr};
use ninep::{DirAttrs, Names, Reply, Request, SetAttr, decode_reply};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

const B: u64 = 4096;
const LEN: u64 = 2 * B;

fn client(manners: Manners) -> Client {
    let host = Host::new(manners);
    host.set("f", &pattern(1, LEN as usize));
    host.set("new", &pattern(2, LEN as usize));
    host.make_dir("dir");
    Client::of(host)
}

/// A client makes a file and writes to it; the open fid.
fn make(client: &Client, name: &str) -> u32 {
    let fid = client.walk("").unwrap();
    let request = Request::Lcreate {
        fid,
        name: name.into(),
        flags: open::RDWR | open::CREAT,
        mode: 0o644,
        gid: 0,
    };
    client.tell(&request).unwrap();
    client.write(fid, 0, &pattern(3, LEN as usize)).unwrap();
    fid
}

#[test]
fn a_directory_does_not_take_the_place_of_a_file_in_use() {
    for hard_links in [true, false] {
        let client = client(Manners {
            hard_links,
            ..Manners::default()
        });
        let snap = client.snap(client.open("f"), 0, LEN);
        assert_eq!(client.rename("dir", "f"), Err(Errno::ENOTDIR));
        assert!(client.read_all(snap, 0, LEN) == Ok(pattern(1, LEN as usize)));
        assert_eq!(client.host().names(""), ["dir", "f", "new"]);
        client.end();
    }
}

#[test]
fn a_crash_in_a_rename_over_a_file_in_use_leaves_the_name_without_hard_links_too() {
    for hard_links in [true, false] {
        for steps in 0..16 {
            let client = client(Manners {
                hard_links,
                ..Manners::default()
            });
            let _snap = client.snap(client.open("f"), 0, LEN);
            // From the exchange `steps` on nothing happens any more.
            let end = client.host().exchanges() + steps;
            client.host().inject(move |call| match call.number >= end {
                true => Fault::Before(Errno::EIO),
                false => Fault::No,
            });
            let _ = client.rename("new", "f");
            let host = Rc::into_inner(client.fs).unwrap().into_backing();
            host.hang_up();
            let client = Client::of(host);
            let names = client.host().names("");
            assert!(names.contains(&"f".into()), "{steps} steps: {names:?}");
            client.end();
        }
    }
}

#[test]
fn a_file_that_is_replaced_without_hard_links_is_still_read_by_who_has_it() {
    let client = client(Manners {
        hard_links: false,
        ..Manners::default()
    });
    let fid = client.open("f");
    let snap = client.snap(fid, 0, LEN);
    assert_eq!(client.rename("new", "f"), Ok(()));
    client.write(fid, 0, b"theirs").unwrap();
    assert!(client.read_all(snap, 0, LEN) == Ok(pattern(1, LEN as usize)));
    assert!(client.host().get("f") == Some(pattern(2, LEN as usize)));
    assert_ne!(client.resize(fid, 0), Ok(()), "of the other file");
    assert!(client.tell(&Request::Remove { fid }).is_err());
    assert!(client.host().get("f") == Some(pattern(2, LEN as usize)));
    client.end();
}

#[test]
fn users_remove_and_replace_their_own_files_in_use() {
    let client = client(Manners {
        rights: Rights::Users,
        ..Manners::default()
    });
    let (owner, other) = (client.beside(1, 1000), client.beside(2, 1001));
    for replaces in [false, true] {
        let mine = make(&owner, "mine");
        let snap = other.snap(other.open_with("mine", open::RDONLY).unwrap(), 0, LEN);
        if replaces {
            owner.clunk(make(&owner, "better"));
            assert_eq!(owner.rename("better", "mine"), Ok(()));
            assert_eq!(owner.unlink("mine"), Ok(()));
        } else {
            assert_eq!(owner.unlink("mine"), Ok(()));
        }
        assert!(other.read_all(snap, 0, LEN) == Ok(pattern(3, LEN as usize)));
        owner.write(mine, 0, b"x").unwrap();
        assert!(other.read_all(snap, 0, LEN) == Ok(pattern(3, LEN as usize)));
    }
    owner.hang_up();
    other.hang_up();
    client.end();
}

#[test]
fn files_in_use_are_removed_where_nothing_can_be_made_in_the_root() {
    let client = client(Manners {
        root_is_read_only: true,
        ..Manners::default()
    });
    for name in ["dir/f", "dir/new", "dir/g"] {
        client.host().set(name, &pattern(1, LEN as usize));
    }
    let dir = client.walk("dir").unwrap();
    let snap = client.snap(client.open("dir/f"), 0, LEN);
    let _used = client.open("dir/g");
    let request = Request::Renameat {
        olddirfid: dir,
        oldname: "new".into(),
        newdirfid: dir,
        newname: "f".into(),
    };
    assert_eq!(client.tell(&request), Ok(()));
    let request = Request::Unlinkat {
        dirfid: dir,
        name: "g".into(),
        flags: 0,
    };
    assert_eq!(client.tell(&request), Ok(()));
    assert!(client.read_all(snap, 0, LEN) == Ok(pattern(1, LEN as usize)));
    client.end();
}

#[test]
fn a_name_that_is_gone_is_not_removed_again_by_its_fid() {
    let client = client(Manners::default());
    let other = client.beside(1, 0);
    let fid = client.open("f");
    let keeper = other.open("f");
    let from = other.walk("f").unwrap();
    let request = Request::Link {
        dfid: ROOT,
        fid: from,
        name: "link".into(),
    };
    other.tell(&request).unwrap();
    other.unlink("f").unwrap();
    assert_eq!(other.attr(keeper).unwrap().nlink, 1);
    let removed = client.tell(&Request::Remove { fid });
    assert_eq!(removed, Err(Errno::ENOENT));
    assert!(client.host().get("link").is_some());
    assert_eq!(other.attr(keeper).unwrap().nlink, 1);
    other.hang_up();
    client.end();
}

#[test]
fn the_root_has_the_links_that_its_file_system_counts() {
    let client = client(Manners::default());
    let counted = client.attr(ROOT).unwrap().nlink;
    let _fid = client.open("f");
    client.unlink("f").unwrap();
    assert!(!client.host().names(".snapfs").is_empty());
    assert_eq!(client.attr(ROOT).unwrap().nlink, counted);
    // btrfs counts none: a directory has one.
    client
        .host()
        .adapt(|manners| manners.counts_directories = false);
    assert_eq!(client.attr(ROOT).unwrap().nlink, 1);
    client
        .host()
        .adapt(|manners| manners.counts_directories = true);
    client.end();
}

/// A request under way: its tag and answer.
type Task = std::pin::Pin<Box<dyn Future<Output = (u16, Vec<u8>)>>>;

/// Requests of several connections under way at once.
struct Requests<'s> {
    fs: &'s Rc<dormouse_snapfs::Snapfs<Host>>,
    executor: Executor<Task>,
    answers: RefCell<BTreeMap<u16, Vec<u8>>>,
}

impl<'s> Requests<'s> {
    fn new(client: &'s Client) -> Requests<'s> {
        client.host().set_manual(true);
        Requests {
            fs: &client.fs,
            executor: Executor::default(),
            answers: RefCell::default(),
        }
    }

    fn ask(&mut self, conn: u32, tag: u16, request: &Request<'_>) {
        let (fs, bytes) = (self.fs.clone(), message(tag, request));
        let task = async move { (tag, serve(&fs, conn, &bytes).await) };
        if let Ok(Some((tag, answer))) = self.executor.spawn(Box::pin(task)) {
            self.answers.borrow_mut().insert(tag, answer);
        }
    }

    fn done(&self, tag: u16) -> bool {
        self.answers.borrow().contains_key(&tag)
    }

    /// Lets what waits go on, the newest first, but for the `slow` oldest, until
    /// `tag` is answered or nothing else is left.
    fn drive(&mut self, tag: u16, slow: usize) {
        while !self.done(tag) && self.fs.backing().waiting() > slow {
            self.fs.backing().release(self.fs.backing().waiting() - 1);
            self.run();
        }
    }

    /// Lets everything go on but the exchanges that `is_slow` names.
    fn overtake(&mut self, is_slow: impl Fn(&Call) -> bool) {
        let host = self.fs.backing();
        while let Some(n) = (0..host.waiting()).find(|n| !is_slow(&host.wait(*n).1)) {
            host.release(n);
            self.run();
        }
    }

    /// Starts `first`, then `second`, which overtakes it where `is_slow` says; the answer to
    /// `first`.
    fn overtaken(
        client: &Client,
        [first, second]: [&Request<'_>; 2],
        is_slow: impl Fn(&Call) -> bool,
    ) -> Vec<u8> {
        let mut requests = Requests::new(client);
        for (tag, request) in [(1, first), (2, second)] {
            requests.ask(0, tag, request);
            requests.overtake(&is_slow);
        }
        requests.overtake(|_| false);
        let answer = requests.answers.borrow_mut().remove(&1);
        requests.finish();
        answer.expect("an answer")
    }

    fn run(&mut self) {
        let answers = &self.answers;
        self.executor.run(|(tag, answer)| {
            answers.borrow_mut().insert(tag, answer);
        });
    }

    fn finish(mut self) {
        while self.fs.backing().waiting() > 0 {
            self.fs.backing().release(0);
            self.run();
        }
        assert!(self.executor.is_idle(), "somebody waits for ever");
        self.fs.backing().set_manual(false);
    }
}

/// Makes and gives back so many fids that numbers beneath come round.
fn churn(requests: &mut Requests<'_>, first: u32) {
    for n in 0..70 {
        let newfid = first + n;
        let names = Names::new(&[]);
        let walk = Request::Walk {
            fid: ROOT,
            newfid,
            names,
        };
        requests.ask(1, 900, &walk);
        requests.drive(900, 1);
        requests.ask(1, 901, &Request::Clunk { fid: newfid });
        requests.drive(901, 1);
        requests.answers.borrow_mut().clear();
    }
}

#[test]
fn a_change_that_waits_never_acts_through_the_fid_of_somebody_else() {
    let root = client(Manners {
        rights: Rights::Users,
        ..Manners::default()
    });
    root.host().set_mode("f", 0o644);
    let user = root.beside(1, 1000);
    for _ in 0..70 {
        user.clunk(user.walk("").unwrap());
    }
    let (writer, victim) = (root.open("f"), user.walk("f").unwrap());
    let attr = SetAttr {
        valid: setattr::SIZE,
        ..SetAttr::default()
    };
    let cut = Request::Setattr { fid: victim, attr };
    assert_eq!(user.tell(&cut), Err(Errno::EACCES));
    let mut requests = Requests::new(&root);
    // root's write is slow; the user's change waits for it and loses its fid.
    let data = pattern(2, B as usize);
    let write = Request::Write {
        fid: writer,
        offset: 0,
        data: &data,
    };
    requests.ask(0, 1, &write);
    requests.ask(1, 2, &cut);
    requests.ask(1, 3, &Request::Clunk { fid: victim });
    requests.drive(3, 1);
    churn(&mut requests, 5000);
    let names = ["f".into()];
    let names = Names::new(&names);
    let (fid, newfid) = (ROOT, root.fid());
    requests.ask(0, 4, &Request::Walk { fid, newfid, names });
    requests.drive(4, 1);
    requests.finish();
    assert_eq!(root.host().get("f").unwrap().len() as u64, LEN);
    user.hang_up();
    root.end();
}

#[test]
fn a_removal_that_waits_never_acts_in_the_directory_of_somebody_else() {
    let root = client(Manners {
        rights: Rights::Users,
        ..Manners::default()
    });
    root.host().set("dir/new", b"the user's");
    root.host().set_mode("", 0o755);
    let user = root.beside(1, 1000);
    for _ in 0..70 {
        user.clunk(user.walk("").unwrap());
    }
    let dir = user.walk("dir").unwrap();
    let mut requests = Requests::new(&root);
    let slow = Request::Renameat {
        olddirfid: ROOT,
        oldname: "none".into(),
        newdirfid: ROOT,
        newname: "nor".into(),
    };
    requests.ask(0, 1, &slow);
    let remove = Request::Unlinkat {
        dirfid: dir,
        name: "new".into(),
        flags: 0,
    };
    requests.ask(1, 2, &remove);
    requests.ask(1, 3, &Request::Clunk { fid: dir });
    requests.drive(3, 1);
    // An attach waits for nobody.
    for n in 0..70 {
        for conn in [1, 0] {
            let attach = Request::Attach {
                fid: 7000 + n,
                afid: NOFID,
                uname: "".into(),
                aname: "".into(),
                n_uname: 1000 * conn,
            };
            requests.ask(conn, 900, &attach);
            requests.drive(900, 1);
            requests.answers.borrow_mut().clear();
        }
    }
    requests.finish();
    assert!(root.host().get("new").is_some(), "removed in the root");
    assert!(root.host().get("dir/new").is_none());
    user.hang_up();
    root.end();
}

/// A name beyond ASCII, which a server may spell in another way: it is walked to before it
/// is removed.
const SPELLED: &str = "\u{e9}";

/// Makes a file in the directory `fid`, which becomes that file.
fn creates(fid: u32) -> Request<'static> {
    Request::Lcreate {
        fid,
        name: "there".into(),
        flags: 0,
        mode: 0o644,
        gid: 0,
    }
}

#[test]
fn a_removal_that_waits_acts_in_its_own_directory_though_the_fid_becomes_a_file() {
    let root = Client::new();
    let host = root.host();
    host.make_dir("private");
    host.set(&format!("private/{SPELLED}"), b"root's");
    host.set_mode("private", 0o700);
    host.set("there", b"z");
    host.set(SPELLED, b"x");
    let user = root.beside(1, 1000);
    let dirfid = user.walk("").unwrap();
    let unlink = Request::Unlinkat {
        dirfid,
        name: SPELLED.into(),
        flags: 0,
    };
    let mut requests = Requests::new(&root);
    for (tag, request) in [(1, &unlink), (2, &creates(dirfid))] {
        requests.ask(1, tag, request);
        requests.overtake(|call| call.name == SPELLED);
    }
    host.set_manual(false);
    for _ in 0..100 {
        user.clunk(user.walk("there").unwrap());
        // Root keeps the directory by one of the numbers that come round.
        root.walk("private").unwrap();
    }
    requests.finish();
    assert!(host.get(&format!("private/{SPELLED}")).is_some());
    user.hang_up();
    root.end();
}

#[test]
fn a_name_is_removed_though_its_directory_fid_becomes_a_file() {
    for client in [Client::new(), Client::by_names()] {
        client.host().set(SPELLED, b"x");
        client.host().set("there", b"z");
        let dirfid = client.walk("").unwrap();
        let unlink = Request::Unlinkat {
            dirfid,
            name: SPELLED.into(),
            flags: 0,
        };
        let requests = [&unlink, &creates(dirfid)];
        let answer = Requests::overtaken(&client, requests, |call| {
            call.kind == TWALK && call.name == SPELLED
        });
        let (_, reply) = decode_reply(&answer).unwrap();
        assert!(matches!(reply, Reply::Unlinkat), "{reply:?}");
        client.end();
    }
}

#[test]
fn a_list_goes_on_though_its_directory_fid_becomes_a_file() {
    for client in [Client::new(), Client::by_names()] {
        for n in 0..40 {
            client.host().set(&format!("f{n:02}"), b"x");
        }
        client.host().set("there", b"z");
        let (fid, dfid) = (
            client.open_with("", open::RDONLY).unwrap(),
            client.walk("").unwrap(),
        );
        let list = Request::Readdirattr {
            fid,
            dfid,
            offset: 0,
            count: 1 << 16,
            mask: getattr::BASIC,
        };
        let requests = [&list, &creates(dfid)];
        let answer = Requests::overtaken(&client, requests, |call| {
            call.kind == TWALK && call.name.starts_with('f')
        });
        let Ok((_, Reply::Readdirattr { data })) = decode_reply(&answer) else {
            panic!("{:?}", decode_reply(&answer));
        };
        let mut looked = 0;
        for entry in DirAttrs::new(data) {
            let (entry, attr) = entry.unwrap();
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            assert!(name.starts_with('.') || attr.valid != 0, "{name}");
            looked += u32::from(name.starts_with('f'));
        }
        assert_eq!(looked, 40);
        client.end();
    }
}

#[test]
fn a_directory_whose_size_is_set_is_not_taken_for_a_file_in_use() {
    let client = client(Manners::default());
    client.host().set("dir/child", b"precious");
    let dir = client.walk("dir").unwrap();
    let mut requests = Requests::new(&client);
    let attr = SetAttr {
        valid: setattr::SIZE,
        ..SetAttr::default()
    };
    requests.ask(0, 1, &Request::Setattr { fid: dir, attr });
    let rename = Request::Renameat {
        olddirfid: ROOT,
        oldname: "f".into(),
        newdirfid: ROOT,
        newname: "dir".into(),
    };
    requests.ask(0, 2, &rename);
    requests.drive(2, 1);
    requests.finish();
    assert!(client.host().get("dir/child").is_some());
    assert!(client.host().get("f").is_some());
    client.end();
}

#[test]
fn a_server_that_is_started_again_finds_what_was_hidden_gone() {
    let client = client(Manners::default());
    let _fid = client.open("f");
    client.unlink("f").unwrap();
    let host = Rc::into_inner(client.fs).unwrap().into_backing();
    host.hang_up();
    let client = Client::on(start(host, Options::default()), 0);
    assert_eq!(client.host().names(""), ["dir", "new"]);
}
