//! A client for the tests: real messages in, real messages out.
#![allow(dead_code)]

pub mod holds;

use abi::Errno;
use dormouse_snapfs::{Backing, Counters, Filled, Lent, Options, Payload, Snapfs};
use lower::{Host, Manners};
use ninep::consts::{NOFID, TPUT, open, put, setattr, unlink};
use ninep::*;
use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Runs a future whose every wait is already over.
pub fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the future waits for something nobody does"),
    }
}

/// Bytes of a request as a message.
pub fn message(tag: u16, request: &Request<'_>) -> Vec<u8> {
    let payload = match request {
        Request::Write { data, .. } => data.len(),
        Request::Put { data, ops, .. } => data.len() + ops.len() * PUT_OP_MAX,
        _ => 0,
    };
    let mut out = vec![0; 4096 + payload];
    let len = encode_request(tag, request, &mut out).expect("a message that fits");
    out.truncate(len);
    out
}

/// A server over `backing`.
pub fn start(backing: Host, options: Options) -> Rc<Snapfs<Host>> {
    let fs = Snapfs::with(backing, options);
    now(fs.start("root".into(), "".into())).expect("start");
    Rc::new(fs)
}

/// The head of a Tput, and its data as lent by the client, in about half of all cases.
fn lent(fs: &Snapfs<Host>, bytes: &[u8]) -> Option<(usize, Lent)> {
    let (_, TPUT, _) = peek(bytes)? else {
        return None;
    };
    let start = payload_start(bytes)?;
    let data = bytes.get(start..).filter(|data| !data.is_empty())?;
    let sum = bytes.iter().fold(0u32, |sum, byte| sum + u32::from(*byte));
    (sum % 2 == 1).then(|| (start, fs.backing().lend(data)))
}

/// Serves a message; about half of the page faults in the short way, and about half of
/// the writes with data that is lent.
pub async fn serve(fs: &Snapfs<Host>, conn: u32, bytes: &[u8]) -> Vec<u8> {
    if let Some((start, data)) = lent(fs, bytes) {
        return fs.handle_lent(conn, &bytes[..start], &data).await.to_vec();
    }
    let mut read = None;
    let fill = match bytes.iter().fold(0, |all, byte| all ^ byte) {
        odd if odd.count_ones() % 2 == 1 => None,
        _ => fs.begin_fill(conn, bytes, |wanted| read.replace(*wanted).is_none()),
    };
    let (Some(fill), Some(read)) = (fill, read) else {
        return fs.handle(conn, bytes).await.to_vec();
    };
    let data = fs.backing().read(read.fid, read.off, read.count).await;
    // A device may have written the data to where the client wants it.
    let there = read.off / 4096 % 2 == 1;
    let bytes = data.clone().unwrap_or_default();
    let data = data.map(|data| match there {
        true => Filled::There(bytes.len()),
        false => Filled::Here(data),
    });
    match fs.end_fill(fill, data) {
        Ok(answer) if matches!(answer.payload, Payload::There(_)) => {
            let mut message = answer.to_vec();
            message.extend(&bytes[..answer.payload.len()]);
            message
        }
        Ok(answer) => answer.to_vec(),
        Err(fill) => fs.read_again(fill).await.to_vec(),
    }
}

/// A client, on connection 0 if not told otherwise.
pub struct Client {
    pub fs: Rc<Snapfs<Host>>,
    pub conn: u32,
    next: Cell<u32>,
}

pub const ROOT: u32 = 0;

/// What an Rput said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutDone {
    pub off: u64,
    pub count: u64,
    pub epoch: u64,
    pub assoc: bool,
}

impl Client {
    pub fn new() -> Client {
        Client::mounted("")
    }

    /// A client that attached with that name.
    pub fn mounted(aname: &str) -> Client {
        let client = Client::on(start(Host::default(), Options::default()), 0);
        client.hello();
        client.attach_as(ROOT, aname).expect("attach");
        client
    }

    pub fn host(&self) -> &Host {
        self.fs.backing()
    }

    /// The first client of a server over one whose fids go by names.
    pub fn by_names() -> Client {
        let by_names = true;
        let options = Options {
            by_names,
            ..Options::default()
        };
        let host = Host::new(Manners::default());
        Client::on(start(host, options), 0).joined(0)
    }

    /// The first client of a server over `host`.
    pub fn of(host: Host) -> Client {
        Client::with(host, Options::default())
    }

    /// The same of a server with these options.
    pub fn with(host: Host, options: Options) -> Client {
        Client::on(start(host, options), 0).joined(0)
    }

    /// The owner of the server has times learnt, at some moment of its own.
    pub fn learn_times(&self, random: &mut Random) {
        if self.fs.has_unlearnt() && random.next(4) == 0 {
            now(self.fs.learn_times());
        }
    }

    /// Another client of the same server, of a user.
    pub fn beside(&self, conn: u32, user: u32) -> Client {
        Client::on(self.fs.clone(), conn).joined(user)
    }

    fn joined(self, user: u32) -> Client {
        self.hello();
        self.attach_for(ROOT, "", user).expect("attach");
        self
    }

    /// A client of that server, before its first message.
    pub fn on(fs: Rc<Snapfs<Host>>, conn: u32) -> Client {
        let next = Cell::new(100 + 10_000 * conn);
        Client { fs, conn, next }
    }

    pub fn hello(&self) {
        let version = Request::Version {
            msize: 1 << 20,
            version: "9P2000.L.snap".into(),
        };
        self.ask(&version, |reply| match reply {
            Reply::Version { version, .. } => assert_eq!(version, "9P2000.L.snap"),
            other => panic!("{other:?}"),
        });
    }

    pub fn attach(&self) {
        self.attach_as(ROOT, "").expect("attach");
    }

    pub fn attach_as(&self, fid: u32, aname: &str) -> Result<(), Errno> {
        self.attach_for(fid, aname, 0)
    }

    pub fn attach_for(&self, fid: u32, aname: &str, n_uname: u32) -> Result<(), Errno> {
        self.tell(&Request::Attach {
            fid,
            afid: NOFID,
            uname: "root".into(),
            aname: aname.into(),
            n_uname,
        })
    }

    /// What an Rsession said: known, lease, epoch.
    pub fn session(&self, session: [u8; 16]) -> Result<(bool, u32, u64), Errno> {
        self.ask(&Request::Session { session }, |reply| match reply {
            Reply::Session {
                known,
                lease,
                epoch,
                ..
            } => Ok((known, lease, epoch)),
            Reply::Error(errno) => Err(errno),
            other => panic!("{other:?}"),
        })
    }

    /// The connection is lost.
    pub fn hang_up(&self) {
        now(self.fs.hangup(self.conn));
    }

    pub fn counters(&self) -> Counters {
        self.fs.counters()
    }

    pub fn fid(&self) -> u32 {
        self.next.set(self.next.get() + 1);
        self.next.get()
    }

    /// Sends a request and looks at the reply.
    pub fn ask<T>(&self, request: &Request<'_>, look: impl FnOnce(Reply<'_>) -> T) -> T {
        let answer = now(serve(&self.fs, self.conn, &message(7, request)));
        let (tag, reply) = decode_reply(&answer).expect("a well-formed reply");
        assert_eq!(tag, 7);
        assert!(matches!(reply, Reply::Error(_)) || reply.kind() == request.kind() + 1);
        look(reply)
    }

    /// Sends a request whose reply carries nothing.
    pub fn tell(&self, request: &Request<'_>) -> Result<(), Errno> {
        self.ask(request, |reply| match reply {
            Reply::Error(errno) => Err(errno),
            _ => Ok(()),
        })
    }

    pub fn walk(&self, path: &str) -> Result<u32, Errno> {
        let newfid = self.fid();
        let names = path.split('/').filter(|name| !name.is_empty());
        let names: Vec<ByteStr<'_>> = names.map(ByteStr::from).collect();
        let request = Request::Walk {
            fid: ROOT,
            newfid,
            names: Names::new(&names),
        };
        self.ask(&request, |reply| match reply {
            Reply::Walk { qids } if qids.len() == names.len() => Ok(newfid),
            Reply::Walk { .. } => Err(Errno::ENOENT),
            Reply::Error(errno) => Err(errno),
            other => panic!("{other:?}"),
        })
    }

    pub fn open_with(&self, path: &str, flags: u32) -> Result<u32, Errno> {
        let fid = self.walk(path)?;
        if let Err(errno) = self.tell(&Request::Lopen { fid, flags }) {
            self.clunk(fid);
            return Err(errno);
        }
        Ok(fid)
    }

    pub fn open(&self, path: &str) -> u32 {
        self.open_with(path, open::RDWR).expect("open")
    }

    /// The fid is gone, whatever the server beneath says of it.
    pub fn clunk(&self, fid: u32) {
        let clunked = self.tell(&Request::Clunk { fid });
        assert_ne!(clunked, Err(Errno::EBADF), "there was no fid {fid}");
    }

    pub fn trim(&self, snapfid: u32, ranges: &[(u64, u64)]) {
        let ranges = List::new(ranges);
        assert_eq!(self.tell(&Request::Trim { snapfid, ranges }), Ok(()));
    }

    pub fn read(&self, fid: u32, offset: u64, count: u32) -> Result<Vec<u8>, Errno> {
        self.ask(&Request::Read { fid, offset, count }, |reply| match reply {
            Reply::Read { data } => Ok(data.to_vec()),
            Reply::Error(errno) => Err(errno),
            other => panic!("{other:?}"),
        })
    }

    /// Reads all of a range, in as many messages as it takes.
    pub fn read_all(&self, fid: u32, off: u64, len: u64) -> Result<Vec<u8>, Errno> {
        let mut out = Vec::new();
        while (out.len() as u64) < len {
            let left = (len - out.len() as u64) as u32;
            let data = self.read(fid, off + out.len() as u64, left)?;
            if data.is_empty() {
                break;
            }
            out.extend(data);
        }
        Ok(out)
    }

    pub fn write(&self, fid: u32, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        self.ask(&Request::Write { fid, offset, data }, |reply| match reply {
            Reply::Write { count } => Ok(count),
            Reply::Error(errno) => Err(errno),
            other => panic!("{other:?}"),
        })
    }

    /// Adds to a snapshot: bytes covered.
    pub fn snap_into(&self, fid: u32, snapfid: u32, off: u64, count: u64) -> Result<u64, Errno> {
        let request = Request::Snap {
            fid,
            snapfid,
            off,
            count,
            epoch: 0,
            known: 0,
        };
        self.ask(&request, |reply| match reply {
            Reply::Snap { count, .. } => Ok(count),
            Reply::Error(errno) => Err(errno),
            other => panic!("{other:?}"),
        })
    }

    /// A new snapshot.
    pub fn snap(&self, fid: u32, off: u64, count: u64) -> u32 {
        let snapfid = self.fid();
        self.snap_into(fid, snapfid, off, count).expect("snap");
        snapfid
    }

    pub fn resize(&self, fid: u32, size: u64) -> Result<(), Errno> {
        let attr = SetAttr {
            valid: setattr::SIZE,
            size,
            ..SetAttr::default()
        };
        self.tell(&Request::Setattr { fid, attr })
    }

    pub fn attr(&self, fid: u32) -> Result<Attr, Errno> {
        self.ask(
            &Request::Getattr { fid, mask: 0x7ff },
            |reply| match reply {
                Reply::Getattr(attr) => Ok(attr),
                Reply::Error(errno) => Err(errno),
                other => panic!("{other:?}"),
            },
        )
    }

    pub fn put_with(&self, request: &Request<'_>) -> Result<PutDone, Errno> {
        self.ask(request, |reply| match reply {
            Reply::Put {
                off,
                count,
                epoch,
                assoc,
                ..
            } => Ok(PutDone {
                off,
                count,
                epoch,
                assoc,
            }),
            Reply::Error(errno) => Err(errno),
            other => panic!("{other:?}"),
        })
    }

    /// A write in one message with a wid of its own.
    pub fn put(
        &self,
        fid: u32,
        off: u64,
        into: u32,
        ops: &[PutOp],
        data: &[u8],
    ) -> Result<PutDone, Errno> {
        self.put_with(&Request::Put {
            fid,
            wid: u64::from(self.fid()),
            ack: 0,
            flags: put::COMMIT,
            off,
            into,
            known: 0,
            ops: PutOps::new(ops),
            data,
        })
    }

    pub fn unlink(&self, name: &str) -> Result<(), Errno> {
        self.tell(&Request::Unlinkat {
            dirfid: ROOT,
            name: name.into(),
            flags: 0,
        })
    }

    pub fn rmdir(&self, name: &str) -> Result<(), Errno> {
        self.tell(&Request::Unlinkat {
            dirfid: ROOT,
            name: name.into(),
            flags: unlink::REMOVEDIR,
        })
    }

    pub fn rename(&self, oldname: &str, newname: &str) -> Result<(), Errno> {
        let (olddirfid, newdirfid) = (ROOT, ROOT);
        self.tell(&Request::Renameat {
            olddirfid,
            oldname: oldname.into(),
            newdirfid,
            newname: newname.into(),
        })
    }

    /// Names in the root, as a client sees them.
    pub fn names(&self, count: u32) -> Vec<String> {
        let fid = self.open_with("", open::RDONLY).expect("open root");
        let (mut names, mut offset) = (Vec::new(), 0);
        loop {
            let data = self.ask(
                &Request::Readdir { fid, offset, count },
                |reply| match reply {
                    Reply::Readdir { data } => data.to_vec(),
                    other => panic!("{other:?}"),
                },
            );
            if data.is_empty() {
                self.clunk(fid);
                return names;
            }
            for entry in DirEntries::new(&data) {
                let entry = entry.expect("a well-formed entry");
                offset = entry.offset;
                names.push(String::from_utf8(entry.name.to_vec()).expect("text"));
            }
        }
    }

    /// The connection ends; nothing may be left of it.
    pub fn end(self) {
        self.hang_up();
        self.nothing_is_left();
    }

    /// The server holds what one holds that nobody has ever talked to.
    pub fn nothing_is_left(&self) {
        let counters = self.counters();
        let idle = Counters {
            fids_lower: 1,
            rescued: counters.rescued,
            lost: counters.lost,
            epoch: counters.epoch,
            lookups: counters.lookups,
            ..Counters::default()
        };
        assert_eq!(counters, idle, "only the root's fid may be left");
        assert_eq!(self.fs.backing().fids(), 1, "fids leaked beneath");
        let names = self.fs.backing().names("");
        assert!(
            !names.iter().any(|name| name == ".snapfs"),
            "litter: {names:?}"
        );
    }
}

/// The whole operation as KEEP, DATA or ZERO.
pub fn op(kind: PutKind, off: u64, len: u64) -> PutOp {
    PutOp { kind, off, len }
}

/// The first write of a client, at the beginning of a file, in one message.
pub fn whole_write<'a>(fid: u32, ops: &'a [PutOp], data: &'a [u8]) -> Request<'a> {
    Request::Put {
        fid,
        wid: 1,
        ack: 0,
        flags: put::COMMIT,
        off: 0,
        into: NOFID,
        known: 0,
        ops: PutOps::new(ops),
        data,
    }
}

pub fn keep(snapfid: u32, soff: u64) -> PutKind {
    PutKind::Keep { snapfid, soff }
}

/// Bytes that differ from block to block and from seed to seed.
pub fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| (n / 4096 * 7 + n % 251) as u8 ^ seed)
        .collect()
}

/// A small generator of numbers.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }
}

/// The seeds of a random test: `DORMOUSE_SEED`, one or `FIRST-LAST`, or the first `count`.
pub fn seeds(count: u64) -> std::ops::Range<u64> {
    let asked = std::env::var("DORMOUSE_SEED").ok();
    let asked = asked.as_deref().and_then(|asked| {
        let (first, last) = asked.split_once('-').unwrap_or((asked, asked));
        Some(first.parse().ok()?..last.parse::<u64>().ok()? + 1)
    });
    asked.unwrap_or(1..1 + count)
}
