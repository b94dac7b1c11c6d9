//! Requests that wait for a file while another has it for long: they end when they are
//! flushed, and a Tclunk does not wait without need.

use crate::common::*;
use abi::Errno;
use dormouse_snapfs::Executor;
use ninep::consts::{TCLUNK, open, setattr};
use ninep::{PutKind, Reply, Request, SetAttr, decode_reply};
use std::pin::Pin;

const LEN: usize = 4 << 20;
type Task = Pin<Box<dyn Future<Output = Vec<u8>>>>;

/// A file that a cut has, whose saving has begun.
struct Cut {
    client: Client,
    executor: Executor<Task>,
    fid: u32,
    answers: Vec<Vec<u8>>,
}

const CUT: u16 = 1;

impl Cut {
    fn begin() -> Cut {
        let client = Client::new();
        client.host().set("f", &pattern(1, LEN));
        let fid = client.open("f");
        client.snap(fid, 0, LEN as u64);
        Cut {
            client,
            executor: Executor::default(),
            fid,
            answers: Vec::new(),
        }
    }

    fn cut(&mut self) {
        self.client.host().set_manual(true);
        let attr = SetAttr {
            valid: setattr::SIZE,
            ..SetAttr::default()
        };
        let fid = self.fid;
        self.ask(CUT, &Request::Setattr { fid, attr });
        // The attributes are looked at; then it reads.
        for _ in 0..8 {
            self.go_on(|_| true);
        }
        assert!(self.answers.is_empty());
    }

    fn ask(&mut self, tag: u16, request: &Request<'_>) {
        let (fs, bytes) = (self.client.fs.clone(), message(tag, request));
        let task = Box::pin(async move { fs.handle(0, &bytes).await.to_vec() });
        match self.executor.spawn(task) {
            Ok(answer) => self.answers.extend(answer),
            Err(_) => panic!("there is room"),
        }
    }

    /// An exchange goes on that `wanted` picks by whether it writes or reads the file.
    fn go_on(&mut self, wanted: impl Fn(&lower::Call) -> bool) {
        let host = self.client.host();
        let picked = (0..host.waiting()).find(|n| wanted(&host.wait(*n).1));
        if let Some(picked) = picked {
            host.release(picked);
            self.executor.run(|bytes| self.answers.push(bytes));
        }
    }

    /// The answers since the last call.
    fn answers(&mut self) -> Vec<(u16, Option<Errno>)> {
        let answers = std::mem::take(&mut self.answers);
        let status = |bytes: Vec<u8>| match decode_reply(&bytes) {
            Ok((tag, Reply::Error(errno))) => (tag, Some(errno)),
            Ok((tag, _)) => (tag, None),
            Err(_) => panic!("no reply"),
        };
        answers.into_iter().map(status).collect()
    }
}

#[test]
fn a_request_that_is_flushed_leaves_the_line_for_its_file() {
    let mut cut = Cut::begin();
    let theirs = cut.client.open("f");
    let (unopened, fid) = (cut.client.walk("f").unwrap(), cut.fid);
    let into = cut.client.fid();
    cut.cut();
    let attr = SetAttr {
        valid: setattr::SIZE,
        size: 7,
        ..SetAttr::default()
    };
    let ops = [op(PutKind::Data, 0, 1)];
    let put = whole_write(theirs, &ops, b"x");
    let snap = Request::Snap {
        fid,
        snapfid: into,
        off: 0,
        count: 1,
        epoch: 0,
        known: 0,
    };
    let (offset, count, flags) = (0, 1, open::RDONLY);
    let requests = [
        Request::Setattr { fid: theirs, attr },
        put,
        snap,
        Request::Read {
            fid: theirs,
            offset,
            count,
        },
        Request::Write {
            fid,
            offset,
            data: b"y",
        },
        Request::Lopen {
            fid: unopened,
            flags,
        },
    ];
    for (tag, request) in (10..).zip(&requests) {
        cut.ask(tag, request);
    }
    // All but the reads of the cut.
    for _ in 0..20 {
        cut.go_on(|call| call.kind != ninep::consts::TREAD);
    }
    assert_eq!(cut.answers(), []);
    for (tag, request) in (10..).zip(&requests) {
        // Before the Tflush has its turn.
        let flush = Request::Flush { oldtag: tag };
        cut.client.fs.foresee(0, &message(90, &flush));
        cut.executor.run(|bytes| cut.answers.push(bytes));
        assert_eq!(cut.answers(), [(tag, Some(Errno::EINTR))], "{request:?}");
        cut.ask(90, &flush);
        assert_eq!(cut.answers(), [(90, None)]);
    }
    // The cut has it still, and ends when it is flushed.
    cut.ask(91, &Request::Flush { oldtag: CUT });
    for _ in 0..200 {
        cut.go_on(|_| true);
    }
    assert_eq!(cut.answers(), [(CUT, Some(Errno::EINTR)), (91, None)]);
}

#[test]
fn a_file_is_closed_while_another_request_has_it() {
    let mut cut = Cut::begin();
    let others: Vec<u32> = (0..5).map(|_| cut.client.open("f")).collect();
    cut.cut();
    for (tag, fid) in (10..).zip(others) {
        cut.ask(tag, &Request::Clunk { fid });
        for _ in 0..4 {
            cut.go_on(|call| call.kind != ninep::consts::TREAD);
        }
        assert_eq!(cut.answers(), [(tag, None)]);
    }
}

#[test]
fn what_comes_behind_a_tversion_waits_for_its_answer() {
    let mut cut = Cut::begin();
    let other = cut.client.open("f");
    cut.cut();
    let version = Request::Version {
        msize: 1 << 20,
        version: "9P2000.L.snap".into(),
    };
    cut.ask(ninep::consts::NOTAG, &version);
    let (fid, offset, count) = (other, 0, 1);
    cut.ask(10, &Request::Clunk { fid });
    cut.ask(11, &Request::Read { fid, offset, count });
    let early = Some(Errno::EPROTO);
    assert_eq!(cut.answers(), [(10, early), (11, early)]);
    for _ in 0..2000 {
        cut.go_on(|_| true);
    }
    assert_eq!(cut.answers(), [(CUT, None), (ninep::consts::NOTAG, None)]);
    cut.ask(12, &Request::Clunk { fid });
    assert_eq!(cut.answers(), [(12, Some(Errno::EBADF))]);
}

/// The last of what has a removed file in use.
#[derive(Clone, Copy, Debug)]
enum Last {
    Snapshot,
    /// The fid that snapshots are read from.
    Reader,
    Other,
}

/// A host may free the blocks of a file one by one when the last fid of it goes, and the
/// machine does not wait for that when it stops.
#[test]
fn a_removed_file_has_no_name_left_when_its_last_fid_goes() {
    for last in [Last::Snapshot, Last::Reader, Last::Other] {
        let client = Client::new();
        client.host().set("f", &pattern(1, 8192));
        let (reader, other) = (client.open("f"), client.open("f"));
        let snap = client.snap(reader, 0, 8192);
        client.write(reader, 0, b"saved").unwrap();
        client.unlink("f").unwrap();
        assert_eq!(client.host().names(""), [".snapfs"]);
        let (before, fid) = match last {
            Last::Snapshot => ([reader, other], snap),
            Last::Reader => ([snap, other], reader),
            Last::Other => ([snap, reader], other),
        };
        before.iter().for_each(|fid| client.clunk(*fid));
        let mut freeing = Cut {
            client,
            executor: Executor::default(),
            fid,
            answers: Vec::new(),
        };
        freeing.client.host().set_manual(true);
        freeing.ask(10, &Request::Clunk { fid });
        for _ in 0..40 {
            freeing.go_on(|call| call.kind != TCLUNK);
        }
        assert_eq!(freeing.answers(), [], "{last:?}");
        let left = freeing.client.host().names("");
        assert!(left.is_empty(), "{last:?}: {left:?}");
        freeing.client.host().release_all();
        freeing.executor.run(|bytes| freeing.answers.push(bytes));
        assert_eq!(freeing.answers(), [(10, None)], "{last:?}");
        freeing.client.end();
    }
}
