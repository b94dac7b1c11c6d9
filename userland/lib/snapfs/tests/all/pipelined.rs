//! A client that does not wait for answers: requests of one connection that
//! are in flight together, and about the same fid.

use crate::common::*;
use abi::Errno;
use dormouse_snapfs::Executor;
use ninep::consts::*;
use ninep::*;

const B: u64 = 4096;

/// Runs requests of a connection at once, over a server that answers late.
fn together(client: &Client, requests: &[(u16, Request<'_>)]) {
    let memory = client.host();
    memory.set_manual(true);
    let mut executor = Executor::default();
    for (tag, request) in requests {
        let (fs, bytes, conn) = (client.fs.clone(), message(*tag, request), client.conn);
        let task = async move { fs.handle(conn, &bytes).await.to_vec() };
        assert!(executor.spawn(task).is_ok(), "no room");
    }
    while memory.waiting() > 0 {
        memory.release(0);
        executor.run(|answer: Vec<u8>| assert!(decode_reply(&answer).is_ok()));
    }
    assert!(executor.is_idle(), "somebody waits for ever");
    memory.set_manual(false);
}

fn version() -> Request<'static> {
    Request::Version {
        msize: 1 << 20,
        version: "9P2000.L.snap".into(),
    }
}

fn walk<'a>(fid: u32, newfid: u32, names: &'a [ByteStr<'a>]) -> Request<'a> {
    Request::Walk {
        fid,
        newfid,
        names: Names::new(names),
    }
}

#[test]
fn a_walk_that_a_new_version_overtakes_leaves_no_fid() {
    let client = Client::new();
    client.host().set("a", b"a");
    together(
        &client,
        &[(1, walk(ROOT, 5, &["a".into()])), (NOTAG, version())],
    );
    client.attach();
    client
        .tell(&walk(ROOT, 5, &["a".into()]))
        .expect("5 is free");
    client.end();
}

#[test]
fn a_write_that_a_new_version_overtakes_is_not_taken_for_a_new_one() {
    let client = Client::new();
    client.host().set("a", b"a");
    let fid = client.open("a");
    let ops = [op(PutKind::Data, 0, 1)];
    let put = |fid, data| whole_write(fid, &ops, data);
    together(&client, &[(1, put(fid, b"b")), (NOTAG, version())]);
    client.attach();
    let fid = client.open("a");
    client.put_with(&put(fid, b"c")).unwrap();
    assert_eq!(client.host().get("a").unwrap(), b"c");
    client.end();
}

#[test]
fn a_fid_that_is_walked_elsewhere_is_given_back_once() {
    for second in [
        Request::Clunk { fid: 5 },
        walk(5, 5, &[]),
        Request::Remove { fid: 5 },
    ] {
        let client = Client::new();
        client.host().set("a", b"a");
        client.tell(&walk(ROOT, 5, &[])).unwrap();
        together(&client, &[(1, walk(5, 5, &["a".into()])), (2, second)]);
        client.end();
    }
}

#[test]
fn a_fid_that_is_opened_is_given_back_once() {
    let create = Request::Lcreate {
        fid: 5,
        name: "new".into(),
        flags: open::RDWR | open::CREAT,
        mode: 0o666,
        gid: 0,
    };
    for first in [
        Request::Lopen {
            fid: 5,
            flags: open::RDWR,
        },
        create,
    ] {
        for second in [
            Request::Clunk { fid: 5 },
            first,
            walk(5, 5, &[]),
            Request::Remove { fid: 5 },
        ] {
            let client = Client::new();
            client.host().set("a", b"a");
            let names: &[ByteStr<'_>] = if matches!(first, Request::Lopen { .. }) {
                &["a".into()]
            } else {
                &[]
            };
            client.tell(&walk(ROOT, 5, names)).unwrap();
            together(&client, &[(1, first), (2, second)]);
            client.end();
        }
    }
}

#[test]
fn flushes_that_share_tags_do_not_wait_for_one_another() {
    let client = Client::new();
    client.host().set("a", b"a");
    let flush = |oldtag| Request::Flush { oldtag };
    together(
        &client,
        &[
            (1, walk(ROOT, 5, &["a".into()])),
            (2, flush(1)),
            (1, flush(2)),
        ],
    );
    client.end();
}

#[test]
fn the_hidden_directory_is_hidden_while_it_is_being_made() {
    let client = Client::new();
    client.host().set("a", &pattern(1, 4096));
    let fid = client.open("a");
    client.snap(fid, 0, B);
    let memory = client.host();
    memory.set_manual(true);
    let mut executor = Executor::default();
    let bytes = message(
        1,
        &Request::Write {
            fid,
            offset: 0,
            data: b"x",
        },
    );
    let fs = client.fs.clone();
    assert!(matches!(
        executor.spawn(async move { fs.handle(0, &bytes).await.to_vec() }),
        Ok(None)
    ));
    let mut walked = 0;
    while memory.waiting() > 0 {
        memory.release(0);
        executor.run(|_| {});
        if memory.names("").contains(&".snapfs".to_string()) {
            memory.set_manual(false);
            walked += 1;
            assert_eq!(client.walk(".snapfs"), Err(Errno::ENOENT));
            memory.set_manual(true);
        }
    }
    assert!(walked > 0);
    memory.set_manual(false);
    drop(executor);
    client.end();
}
