//! The real snapfs over a server in memory, asked in real, encoded messages.

mod held;
mod restart;
mod servers;

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use abi::Errno;
use lower::{Host, Refuse};
use ninep::consts::{NOFID, VERSION_L, VERSION_SNAP, open, put, setattr};
use ninep::{Changes, List, Names, PUT_OP_MAX, PutKind, PutOp, PutOps, Reply, Request, SetAttr};
use snapfs::{Options, Snapfs};
use vm::PutReply;

use self::held::Held;
use crate::run::Failure;
use crate::server::{File, News, Servers, Staged, StagedKind};

/// The connections to each server: the kernel's, another client's, and the
/// kernel's where it does not ask for snapshots.
const KERNEL: u32 = 0;
const OTHER: u32 = 1;
const PLAIN: u32 = 2;

/// Fids of roots; files' fids come after.
const ROOT: u32 = 1;
const FIRST_FID: u32 = 10;
/// A snapshot of no account.
const LOOK: u32 = 999;
/// Snapshot handles are fids from here on.
const FIRST_SNAP: u32 = 1000;

/// The kernel's session, and for how many seconds a server that can be
/// restarted keeps it.
const SESSION: [u8; 16] = [7; 16];
const LEASE: u32 = 60;

/// A file, open on the kernel's connection and on the other client's.
#[derive(Clone, Copy)]
struct OpenFile {
    server: usize,
    conn: u32,
    /// The kernel's fid; another one after it was closed and opened again.
    fid: u32,
    /// Descriptors the kernel has of it, all with that one fid.
    opens: u32,
    /// The other client's fid.
    other: u32,
    /// The lower server's identity for it.
    path: u64,
    /// It had no name when the server died.
    gone: bool,
}

/// One or more servers.
pub struct Real {
    servers: Vec<Snapfs<Host>>,
    /// They have leases: they may be restarted.
    lease: bool,
    files: Vec<OpenFile>,
    /// The next fid for a file.
    next_fid: u32,
    /// Each live snapshot.
    snaps: BTreeMap<u32, Held>,
}

/// The description of a file of [`Real`].
#[derive(Clone, Debug)]
pub struct RealFile {
    /// Its server.
    pub server: usize,
    /// The kernel asks this server for snapshots.
    pub snapshots: bool,
    /// The kernel's descriptor may not read.
    pub write_only: bool,
    /// Its bytes.
    pub content: Vec<u8>,
}

impl Real {
    /// Starts servers with these files.
    pub fn new(files: &[RealFile]) -> Real {
        Real::start(files, 0)
    }

    /// The same, and the servers can be restarted.
    pub fn with_leases(files: &[RealFile]) -> Real {
        Real::start(files, LEASE)
    }

    fn start(files: &[RealFile], lease: u32) -> Real {
        let count = files.iter().map(|f| f.server + 1).max().unwrap_or(0);
        let plain = |server| files.iter().any(|f| f.server == server && !f.snapshots);
        let session = (lease > 0).then_some(SESSION);
        let servers = (0..count).map(|n| {
            let server = start_server(Host::default(), lease);
            connect(&server, KERNEL, session);
            connect(&server, OTHER, None);
            if plain(n) {
                connect(&server, PLAIN, None);
            }
            server
        });
        let mut real = Real {
            servers: servers.collect(),
            lease: lease > 0,
            files: Vec::new(),
            next_fid: FIRST_FID,
            snaps: BTreeMap::new(),
        };
        for file in files {
            real.add(file);
        }
        real
    }

    fn add(&mut self, file: &RealFile) {
        let name = name_of(self.files.len());
        self.servers[file.server]
            .backing()
            .set(&name, &file.content);
        let conn = if file.snapshots { KERNEL } else { PLAIN };
        let flags = match file.write_only {
            true => open::WRONLY,
            false => open::RDWR,
        };
        let (fid, path) = self
            .open_fid(file.server, conn, &name, flags)
            .expect("open");
        let (other, _) = self
            .open_fid(file.server, OTHER, &name, open::RDWR)
            .expect("open");
        self.files.push(OpenFile {
            server: file.server,
            conn,
            fid,
            opens: 1,
            other,
            path,
            gone: false,
        });
    }

    /// Opens a name in the root: a new fid, and the file's identity.
    fn open_fid(
        &mut self,
        server: usize,
        conn: u32,
        name: &str,
        flags: u32,
    ) -> Result<(u32, u64), Errno> {
        let fid = self.next_fid;
        self.next_fid += 1;
        let names = [name.into()];
        let walk = Request::Walk {
            fid: ROOT,
            newfid: fid,
            names: Names::new(&names),
        };
        self.tell(server, conn, &walk)?;
        let lopen = Request::Lopen { fid, flags };
        let path = self.ask(server, conn, &lopen, |reply| match reply {
            Reply::Lopen { qid, .. } => Some(qid.path),
            _ => None,
        })?;
        Ok((fid, path))
    }

    /// A copy of everything; both go on on their own.
    pub fn duplicate(&self) -> Real {
        Real {
            servers: self.servers.iter().map(copy_of).collect(),
            lease: self.lease,
            files: self.files.clone(),
            next_fid: self.next_fid,
            snaps: self.snaps.clone(),
        }
    }

    /// Server `number`.
    pub fn server(&self, number: usize) -> &Snapfs<Host> {
        &self.servers[number]
    }

    /// Sends a request and looks at the reply.
    fn ask<T>(
        &self,
        server: usize,
        conn: u32,
        request: &Request<'_>,
        look: impl FnOnce(Reply<'_>) -> Option<T>,
    ) -> Result<T, Errno> {
        exchange(&self.servers[server], conn, request, look)
    }

    fn tell(&self, server: usize, conn: u32, request: &Request<'_>) -> Result<(), Errno> {
        self.ask(server, conn, request, |_| Some(()))
    }

    fn read(
        &self,
        server: usize,
        conn: u32,
        fid: u32,
        off: u64,
        into: &mut [u8],
    ) -> Result<usize, Errno> {
        let request = Request::Read {
            fid,
            offset: off,
            count: into.len() as u32,
        };
        self.ask(server, conn, &request, |reply| match reply {
            Reply::Read { data } => {
                into[..data.len()].copy_from_slice(data);
                Some(data.len())
            }
            _ => None,
        })
    }
}

/// The name that file `number` has at first.
fn name_of(number: File) -> String {
    format!("file{number}")
}

/// The statement of a reply about the file's changes.
fn news(known: u64, epoch: u64, changes: Changes<'_>) -> News {
    let listed = (!changes.all()).then(|| {
        let mut listed = vm::Changes::NONE;
        for (off, len) in changes.iter() {
            listed.add(off..off + len).expect("memory");
        }
        listed
    });
    News {
        known,
        epoch,
        changes: listed,
    }
}

/// Runs a future whose every wait is already over.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the future waits for something nobody does"),
    }
}

fn exchange<T>(
    server: &Snapfs<Host>,
    conn: u32,
    request: &Request<'_>,
    look: impl FnOnce(Reply<'_>) -> Option<T>,
) -> Result<T, Errno> {
    let payload = match request {
        Request::Write { data, .. } => data.len(),
        Request::Put { data, ops, .. } => data.len() + ops.len() * PUT_OP_MAX,
        _ => 0,
    };
    let mut message = vec![0; 1024 + payload];
    let len = ninep::encode_request(7, request, &mut message).expect("a message that fits");
    let answer = now(server.handle(conn, &message[..len])).to_vec();
    match ninep::decode_reply(&answer).expect("a well-formed reply") {
        (7, Reply::Error(error)) => Err(error),
        (7, reply) => Ok(look(reply).expect("the reply to this request")),
        (tag, _) => panic!("tag {tag}"),
    }
}

fn copy_of(server: &Snapfs<Host>) -> Snapfs<Host> {
    server.duplicate(server.backing().duplicate())
}

fn start_server(backing: Host, lease: u32) -> Snapfs<Host> {
    let options = Options {
        lease,
        ..Options::default()
    };
    let server = Snapfs::with(backing, options);
    now(server.start("root".into(), "".into())).expect("start");
    server
}

/// A new connection, with a fid for the root.
fn connect(server: &Snapfs<Host>, conn: u32, session: Option<[u8; 16]>) {
    let version = if conn == PLAIN {
        VERSION_L
    } else {
        VERSION_SNAP
    };
    let hello = Request::Version {
        msize: 1 << 20,
        version,
    };
    let same = |reply: Reply<'_>| match reply {
        Reply::Version { version: v, .. } => Some(v == version),
        _ => None,
    };
    assert_eq!(exchange(server, conn, &hello, same), Ok(true));
    if let Some(session) = session {
        let session = Request::Session { session };
        exchange(server, conn, &session, |_| Some(())).expect("session");
    }
    let attach = Request::Attach {
        fid: ROOT,
        afid: NOFID,
        uname: "root".into(),
        aname: "".into(),
        n_uname: 0,
    };
    exchange(server, conn, &attach, |_| Some(())).expect("attach");
}

impl Real {
    /// The record of a snapshot of that file.
    fn held(&mut self, snap: u32, file: File) -> &mut Held {
        self.snaps.entry(snap).or_insert_with(|| Held::new(file))
    }

    /// The file of a name.
    fn file_at(&self, name: File) -> Option<File> {
        let server = self.files[name].server;
        let path = self.servers[server].backing().find(&name_of(name))?;
        self.number_of(server, path)
    }

    /// The file with that identity.
    fn number_of(&self, server: usize, path: u64) -> Option<File> {
        let same = |file: &OpenFile| (file.server, file.path) == (server, path);
        self.files.iter().position(same)
    }

    /// Disconnects the kernel and the other client; panics if anything is left
    /// at the servers or below.
    pub fn check_empty(&mut self) {
        for server in &self.servers {
            for conn in [KERNEL, OTHER, PLAIN] {
                now(server.hangup(conn));
            }
            now(server.tick(u64::from(LEASE) + 1));
            let left = server.counters();
            assert_eq!((left.files, left.fids_lower), (0, 1), "left behind");
            let names = server.backing().names("");
            let ours = |name: &String| !name.starts_with("file");
            assert!(!names.iter().any(ours), "left beneath: {names:?}");
            assert_eq!(server.backing().fids(), 1, "fids left beneath");
        }
    }

    /// A plain Twrite.
    fn write(&self, staged: &Staged) -> Result<PutReply, Errno> {
        let file = &self.files[staged.file];
        assert!(staged.commit && staged.into.is_none() && staged.ops.len() == 1);
        let off = if staged.append {
            let mask = ninep::consts::getattr::SIZE;
            let ask = Request::Getattr {
                fid: file.fid,
                mask,
            };
            self.ask(file.server, PLAIN, &ask, |reply| match reply {
                Reply::Getattr(attr) => Some(attr.size),
                _ => None,
            })?
        } else {
            staged.off
        };
        let request = Request::Write {
            fid: file.fid,
            offset: off,
            data: &staged.data,
        };
        let count = self.ask(file.server, PLAIN, &request, |reply| match reply {
            Reply::Write { count } => Some(u64::from(count)),
            _ => None,
        })?;
        Ok(PutReply {
            off,
            count,
            assoc: false,
        })
    }
}
