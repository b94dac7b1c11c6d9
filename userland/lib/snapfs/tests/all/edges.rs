//! Sizes, modes, errors and moments that ordinary clients and servers do not
//! come to.

use crate::common::holds::*;
use crate::common::*;
use abi::Errno;
use dormouse_snapfs::{Backing, Options, Snapfs};
use lower::{Call, Host};
use ninep::consts::*;
use ninep::*;

#[test]
fn what_lies_between_the_operations_of_a_write_is_not_associated() {
    let client = Client::new();
    client.host().set("a", &[b'a'; 3 * 4096]);
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 3 * B);
    client.write(fid, B, &[b'b'; 4096]).unwrap();
    let ops = [op(PutKind::Data, 0, B), op(PutKind::Data, 2 * B, B)];
    let done = client.put(fid, 0, snap, &ops, &[b'c'; 8192]).unwrap();
    assert!(done.assoc);
    assert_eq!(client.read(snap, B, 2), Ok(b"aa".to_vec()));
    let fresh = client.fid();
    client.put(fid, 0, fresh, &ops, &[b'c'; 8192]).unwrap();
    assert_eq!(client.read(fresh, B, 2), Err(Errno::ESTALE));
    client.end();
}

#[test]
fn an_append_behind_a_ragged_end_rescues_nothing() {
    let client = Client::new();
    client.host().set("a", b"abc");
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 3);
    client.write(fid, 3, b"def").unwrap();
    assert_eq!(client.read(snap, 0, 10), Ok(b"abc".to_vec()));
    assert_eq!(client.counters().rescued, 0);
    client.end();
}

#[test]
fn a_server_that_tells_impossible_sizes_harms_nobody() {
    let client = Client::new();
    for size in [1 << 63, u64::MAX - 1, u64::MAX] {
        client.host().set("a", b"");
        client.host().claim_size("a", size);
        if let Ok(fid) = client.open_with("a", open::RDWR) {
            let snap = client.fid();
            let _ = client.snap_into(fid, snap, 0, u64::MAX);
            let _ = client.read(snap, size - 2, 9);
            let _ = client.write(fid, 0, b"x");
            let _ = client.resize(fid, 0);
            let _ = client.read(snap, size - 2, 9);
            client.clunk(fid);
        }
    }
    client.end();
}

#[test]
fn a_size_that_no_file_can_have_is_refused() {
    let client = Client::new();
    client.host().set("a", b"abc");
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 3);
    assert_eq!(client.resize(fid, u64::MAX), Err(Errno::EFBIG));
    let other = client.fid();
    let _ = client.snap_into(fid, other, 0, u64::MAX);
    let _ = client.write(fid, 0, b"x");
    let _ = client.resize(fid, 0);
    let _ = client.read(other, u64::MAX - 5, 9);
    let _ = client.read(snap, 0, 9);
    client.end();
}

#[test]
fn a_store_that_could_not_be_removed_is_made_again() {
    for lease in [0, LEASE] {
        let memory = Host::default();
        memory.set("a", &pattern(1, 4096));
        let fs = start(
            memory,
            Options {
                lease,
                ..Options::default()
            },
        );
        let client = Client::on(fs, 0);
        client.hello();
        client.attach();
        let fid = client.open("a");
        let once = || {
            let mut left = 1;
            move |e: &Call| {
                (e.kind == TUNLINKAT && std::mem::take(&mut left) == 1).then_some(Errno::EINTR)
            }
        };
        client.host().inject(once());
        let snap = client.snap(fid, 0, B);
        let _ = client.write(fid, 0, b"x");
        client.clunk(snap);
        client.host().heal();
        let snap = client.snap(fid, 0, B);
        client.write(fid, 0, b"y").expect("the store is made again");
        client.clunk(snap);
        client.end();
    }
}

#[test]
fn epochs_that_nobody_was_told_are_not_used_again_after_a_restart() {
    let memory = Host::default();
    memory.set("a", &pattern(1, LEN as usize));
    memory.set("b", b"b");
    let fs = start(memory, options(1));
    let me = join(&fs, 0, ME).unwrap();
    let fid = me.open("a");
    let snap = me.snap(fid, 0, B);
    for _ in 0..5000 {
        let b = me.open("b");
        me.clunk(b);
    }
    me.resize(fid, 4 * B).unwrap();
    let before = me.counters().epoch;
    let held = me.read_all(snap, 0, B).unwrap();
    drop(me);
    let fs = restart(fs, 1);
    let me = join(&fs, 0, ME).unwrap();
    assert!(me.counters().epoch >= before);
    let fid = me.open("a");
    me.write(fid, 0, &[1; 4096]).unwrap();
    let snap = me.snap(fid, 0, B);
    assert!(me.read_all(snap, 0, B).unwrap() == vec![1; 4096]);
    assert!(held != vec![1; 4096]);
}

#[test]
fn an_open_that_failed_is_no_way_past_the_snapshots() {
    let client = Client::new();
    client.host().set("a", b"abc");
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 3);
    let other = client.walk("a").unwrap();
    client
        .host()
        .inject(|e| (e.kind == TGETATTR).then_some(Errno::EIO));
    let flags = open::RDWR;
    assert_eq!(
        client.tell(&Request::Lopen { fid: other, flags }),
        Err(Errno::EIO)
    );
    client.host().heal();
    let _ = client.write(other, 0, b"xyz");
    assert_eq!(client.read(snap, 0, 3), Ok(b"abc".to_vec()));
    client.end();
}

#[test]
fn a_file_in_use_can_be_removed_where_there_is_no_room() {
    let client = Client::new();
    client.host().set("a", b"abc");
    let fid = client.open("a");
    client
        .host()
        .inject(|e| (e.kind == TMKDIR).then_some(Errno::ENOSPC));
    assert_eq!(client.unlink("a"), Ok(()));
    assert_eq!(client.read(fid, 0, 3), Ok(b"abc".to_vec()));
    client.end();
}

#[test]
fn what_a_clunk_says_is_passed_on() {
    let client = Client::new();
    client.host().set("a", b"a");
    let fid = client.walk("a").unwrap();
    client
        .host()
        .inject(|e| (e.kind == TCLUNK).then_some(Errno::ENOSPC));
    assert_eq!(client.tell(&Request::Clunk { fid }), Err(Errno::ENOSPC));
}

#[test]
fn a_file_opened_for_neither_reading_nor_writing_is_for_neither() {
    let client = Client::new();
    client.host().set("a", b"a");
    let fid = client.open_with("a", 3).unwrap();
    assert_eq!(client.read(fid, 0, 1), Err(Errno::EBADF));
    assert_eq!(client.write(fid, 0, b"b"), Err(Errno::EBADF));
    assert_eq!(client.snap_into(fid, 99, 0, 1), Err(Errno::EBADF));
    client.end();
}

#[test]
fn no_answer_is_longer_than_was_agreed() {
    let client = Client::new();
    let target = "t".repeat(900);
    client
        .tell(&Request::Symlink {
            dfid: ROOT,
            name: "l".into(),
            target: ByteStr::from(&target),
            gid: 0,
        })
        .unwrap();
    client
        .tell(&Request::Version {
            msize: 512,
            version: "9P2000.L".into(),
        })
        .unwrap();
    client.attach();
    let fid = client.walk("l").unwrap();
    let answer = now(client.fs.handle(0, &message(7, &Request::Readlink { fid }))).to_vec();
    assert!(answer.len() <= 512, "{}", answer.len());
    client.end();
}

#[test]
fn a_removed_file_does_not_come_back_by_its_fid() {
    let client = Client::new();
    client.host().set("a", b"abc");
    let fid = client.open("a");
    let other = client.walk("a").unwrap();
    client.unlink("a").unwrap();
    let (dfid, name) = (ROOT, "b");
    let again = [
        Request::Link {
            dfid,
            fid,
            name: name.into(),
        },
        Request::Rename {
            fid,
            dfid,
            name: name.into(),
        },
        Request::Remove { fid: other },
    ];
    for request in again {
        assert_eq!(client.tell(&request), Err(Errno::ENOENT), "{request:?}");
    }
    assert_eq!(client.host().names(""), [".snapfs"]);
    assert_eq!(client.attr(fid).unwrap().nlink, 0);
    assert_eq!(client.read(fid, 0, 3), Ok(b"abc".to_vec()));
    client.end();
}

/// A server whose answers to `Tfsync` have a byte too many.
struct Long(Host);

impl Backing for Long {
    type Buf = Vec<u8>;

    async fn rpc(&self, request: &Request<'_>) -> Result<Vec<u8>, Errno> {
        let mut reply = self.0.rpc(request).await?;
        if matches!(request, Request::Fsync { .. }) {
            reply.push(0);
            reply[0] += 1;
        }
        Ok(reply)
    }

    async fn read(&self, fid: u32, off: u64, count: u32) -> Result<Vec<u8>, Errno> {
        self.0.read(fid, off, count).await
    }

    async fn write(&self, fid: u32, off: u64, data: &[u8]) -> Result<u32, Errno> {
        self.0.write(fid, off, data).await
    }

    type Write<'a> = <Host as Backing>::Write<'a>;

    fn write_now(&self, fid: u32, off: u64, data: &[u8]) -> Option<Self::Write<'_>> {
        self.0.write_now(fid, off, data)
    }

    fn iounit(&self) -> u32 {
        self.0.iounit()
    }
}

#[test]
fn no_malformed_answer_from_beneath_is_handed_on() {
    let fs = Snapfs::new(Long(Host::default()), 0);
    now(fs.start("".into(), "".into())).expect("start");
    let ask = |request: Request<'_>| now(fs.handle(0, &message(7, &request))).to_vec();
    let (uname, aname) = ("", "");
    ask(Request::Version {
        msize: 1 << 20,
        version: VERSION_L,
    });
    ask(Request::Attach {
        fid: ROOT,
        afid: NOFID,
        uname: uname.into(),
        aname: aname.into(),
        n_uname: 0,
    });
    let answer = ask(Request::Fsync {
        fid: ROOT,
        datasync: 0,
    });
    assert_eq!(
        decode_reply(&answer),
        Ok((7, Reply::Error(Errno::EPROTO))),
        "the client would give up the connection"
    );
}

#[test]
fn what_others_have_under_the_hidden_name_is_left_alone() {
    for directory in [false, true] {
        for lease in [0, 60] {
            let host = lower::Host::default();
            match directory {
                false => host.set(".snapfs", b"mine"),
                true => {
                    host.make_dir(".snapfs");
                    host.make_dir(".snapfs/d");
                    host.set(".snapfs/d/mine", b"mine");
                }
            }
            let options = Options {
                lease,
                ..Options::default()
            };
            let old = pattern(1, 4 * 4096);
            host.set("f", &old);
            let client = Client::with(host, options);
            // Old bytes are saved somewhere.
            let fid = client.open("f");
            let snap = client.snap(fid, 0, 4 * 4096);
            client.write(fid, 4096, &[9; 4096]).unwrap();
            assert_eq!(client.read_all(snap, 0, 4 * 4096), Ok(old));
            let mine = match directory {
                false => ".snapfs",
                true => ".snapfs/d/mine",
            };
            assert_eq!(client.host().get(mine), Some(b"mine".to_vec()));
        }
    }
}
