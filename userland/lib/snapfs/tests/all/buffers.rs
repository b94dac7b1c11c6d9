//! A lower server's memory that a few messages use up: it is free again only when
//! the reply to a write is taken, or the buffer with what was read is dropped.

use crate::common::*;
use abi::Errno;
use dormouse_snapfs::sync::Condition;
use dormouse_snapfs::{Backing, Executor, LentBytes, Options, Snapfs};
use lower::Host;
use ninep::consts::{NOFID, VERSION_SNAP, open, put};
use ninep::{Names, PutKind, PutOp, PutOps, Reply, Request, decode_reply};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The buffers, as many as a device has large ones.
const BUFFERS: u32 = 8;
/// Long enough for several messages in flight.
const LEN: u64 = 8 * IOUNIT;
const IOUNIT: u64 = 128 << 10;

#[derive(Default)]
struct Memory {
    used: Cell<u32>,
    freed: Condition,
}

/// One buffer, in use.
struct Buffer(Rc<Memory>);

impl Buffer {
    fn take(memory: &Rc<Memory>) -> Option<Buffer> {
        let used = memory.used.get();
        (used < BUFFERS).then(|| {
            memory.used.set(used + 1);
            Buffer(memory.clone())
        })
    }

    async fn wait_for(memory: &Rc<Memory>) -> Buffer {
        loop {
            match Buffer::take(memory) {
                Some(buffer) => return buffer,
                None => memory.freed.wait().await,
            }
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.0.used.set(self.0.used.get() - 1);
        self.0.freed.signal();
    }
}

/// Bytes in a buffer.
struct Bytes(Vec<u8>, Buffer);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A write that has its reply, in its buffer.
struct Written(Result<u32, Errno>, Option<Buffer>);

impl Future for Written {
    type Output = Result<u32, Errno>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.1 = None;
        Poll::Ready(self.0)
    }
}

/// A host that is reached through a few buffers.
#[derive(Default)]
struct Few {
    host: Host,
    memory: Rc<Memory>,
}

/// Others go on first.
async fn after_others() {
    let mut waited = false;
    poll_fn(|context| match std::mem::replace(&mut waited, true) {
        true => Poll::Ready(()),
        false => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

/// Runs a future to its end.
fn run<F: Future>(future: F) -> F::Output {
    let mut executor = Executor::default();
    let started = executor.spawn(future);
    let mut output = started.unwrap_or_else(|_| panic!("there is room"));
    executor.run(|done| output = Some(done));
    output.expect("it waits for nothing else")
}

impl Few {
    fn submit(&self, buffer: Buffer, (fid, off): (u32, u64), data: &[u8]) -> Written {
        Written(now(self.host.write(fid, off, data)), Some(buffer))
    }
}

impl Backing for Few {
    type Buf = Bytes;

    async fn rpc(&self, request: &Request<'_>) -> Result<Bytes, Errno> {
        let buffer = Buffer::wait_for(&self.memory).await;
        after_others().await;
        Ok(Bytes(self.host.rpc(request).await?, buffer))
    }

    async fn read(&self, fid: u32, off: u64, count: u32) -> Result<Bytes, Errno> {
        let buffer = Buffer::wait_for(&self.memory).await;
        after_others().await;
        let bytes = self.host.read(fid, off, count).await?;
        Ok(Bytes(bytes, buffer))
    }

    async fn write(&self, fid: u32, off: u64, data: &[u8]) -> Result<u32, Errno> {
        let buffer = Buffer::wait_for(&self.memory).await;
        self.submit(buffer, (fid, off), data).await
    }

    type Write<'a> = Written;

    fn write_now(&self, fid: u32, off: u64, data: &[u8]) -> Option<Written> {
        let buffer = Buffer::take(&self.memory)?;
        Some(self.submit(buffer, (fid, off), data))
    }

    fn write_back(&self, fid: u32, off: u64, buf: Bytes) -> Result<Written, Bytes> {
        let Bytes(data, buffer) = buf;
        Ok(self.submit(buffer, (fid, off), &data))
    }

    fn write_lent(&self, fid: u32, off: u64, data: LentBytes<'_>) -> Option<Written> {
        let bytes = self.copy_lent(data).ok()?;
        self.write_now(fid, off, &bytes)
    }

    fn copy_lent(&self, data: LentBytes<'_>) -> Result<Vec<u8>, Errno> {
        self.host.copy_lent(data)
    }

    fn iounit(&self) -> u32 {
        IOUNIT as u32
    }
}

/// A server of it, with `files` pairs of files, of which the first of each are read.
struct World {
    fs: Rc<Snapfs<Few>>,
}

const SNAPS: u32 = 100;

impl World {
    fn new(files: u32, aname: &str) -> World {
        let backing = Few::default();
        for n in 0..files {
            backing.host.set(&format!("from{n}"), &content(n));
            backing.host.set(&format!("to{n}"), &vec![7; LEN as usize]);
        }
        let fs = Snapfs::with(backing, Options::default());
        run(fs.start("root".into(), "".into())).expect("start");
        let world = World { fs: Rc::new(fs) };
        let (msize, version) = (1 << 20, VERSION_SNAP);
        world.ask(&Request::Version { msize, version });
        world.ask(&Request::Attach {
            fid: ROOT,
            afid: NOFID,
            uname: "root".into(),
            aname: aname.into(),
            n_uname: 0,
        });
        for n in 0..files {
            world.open(&format!("from{n}"), 2 * n + 1);
            world.open(&format!("to{n}"), 2 * n + 2);
            world.ask(&Request::Snap {
                fid: 2 * n + 1,
                snapfid: SNAPS + n,
                off: 0,
                count: LEN,
                epoch: 0,
                known: 0,
            });
        }
        world
    }

    fn ask(&self, request: &Request<'_>) {
        let bytes = message(7, request);
        let answer = run(self.fs.handle(0, &bytes)).to_vec();
        match decode_reply(&answer) {
            Ok((7, Reply::Error(errno))) => panic!("{request:?}: {errno:?}"),
            Ok(_) => {}
            Err(_) => panic!("{request:?}: no reply"),
        }
    }

    fn open(&self, name: &str, fid: u32) {
        let (names, newfid) = ([name.into()], fid);
        let names = Names::new(&names);
        self.ask(&Request::Walk {
            fid: ROOT,
            newfid,
            names,
        });
        let flags = open::RDWR;
        self.ask(&Request::Lopen { fid, flags });
    }

    /// Does these writes together, one to each file; how many were done.
    fn write_together(&self, writes: &[(Vec<PutOp>, Vec<u8>)]) -> usize {
        let mut executor = Executor::default();
        let mut done = 0;
        for (n, (ops, data)) in (0u32..).zip(writes) {
            let request = Request::Put {
                fid: 2 * n + 2,
                wid: u64::from(n) + 1,
                ack: 0,
                flags: put::COMMIT,
                off: 0,
                into: NOFID,
                known: 0,
                ops: PutOps::new(ops),
                data,
            };
            let (fs, bytes) = (self.fs.clone(), message(n as u16, &request));
            let lent = self.fs.backing().host.lend(data);
            let head = bytes.len() - data.len();
            let task = async move {
                let answer = match lent.is_empty() {
                    true => fs.handle(0, &bytes).await,
                    false => fs.handle_lent(0, &bytes[..head], &lent).await,
                };
                answer.to_vec()
            };
            let started = executor.spawn(task);
            done += usize::from(matches!(started, Ok(Some(_))));
        }
        executor.run(|answer| {
            let (_, reply) = decode_reply(&answer).expect("a reply");
            assert!(matches!(reply, Reply::Put { count: LEN, .. }), "{reply:?}");
            done += 1;
        });
        done
    }
}

fn content(n: u32) -> Vec<u8> {
    pattern(n as u8 + 1, LEN as usize)
}

fn keep(n: u32, off: u64, len: u64) -> PutOp {
    let (snapfid, soff) = (SNAPS + n, off);
    let kind = PutKind::Keep { snapfid, soff };
    PutOp { kind, off, len }
}

#[test]
fn writes_that_copy_snapshots_do_not_use_up_the_memory_that_all_of_them_need() {
    for (files, aname) in [(3, ""), (6, ""), (20, ""), (20, "?check=always")] {
        let world = World::new(files, aname);
        let writes = (0..files).map(|n| (vec![keep(n, 0, LEN)], Vec::new()));
        let done = world.write_together(&writes.collect::<Vec<_>>());
        assert_eq!(done, files as usize, "{aname}");
        for n in 0..files {
            let host = &world.fs.backing().host;
            assert!(host.get(&format!("to{n}")) == Some(content(n)), "to{n}");
        }
    }
}

#[test]
fn lent_parts_of_a_write_do_not_use_up_the_memory_that_its_snapshots_need() {
    // Short parts that the client lends, then a long one from a snapshot.
    const PARTS: u64 = 24;
    let files = 3;
    let world = World::new(files, "");
    let write = |n: u32| {
        let part = |at: u64| PutOp {
            kind: PutKind::Data,
            off: at * 8192,
            len: 4096,
        };
        let between = |at: u64| keep(n, at * 8192 + 4096, 4096);
        let mut ops: Vec<_> = (0..PARTS).flat_map(|at| [part(at), between(at)]).collect();
        ops.push(keep(n, PARTS * 8192, LEN - PARTS * 8192));
        (ops, pattern(n as u8 + 90, PARTS as usize * 4096))
    };
    let writes: Vec<_> = (0..files).map(write).collect();
    assert_eq!(world.write_together(&writes), files as usize);
    for (n, (_, data)) in (0..).zip(&writes) {
        let mut wanted = content(n);
        for (at, part) in data.chunks(4096).enumerate() {
            wanted[at * 8192..][..4096].copy_from_slice(part);
        }
        let host = &world.fs.backing().host;
        assert!(host.get(&format!("to{n}")) == Some(wanted), "to{n}");
    }
}
