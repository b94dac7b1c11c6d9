//! A host file system behind a server with the manners of QEMU's local export:
//! fids are paths, fixed up where names change through the server; open fids
//! have a descriptor; inode numbers are used again; a write that runs out of
//! room has written a part and says only ENOSPC. It fails, waits and dies as it
//! is told.
#![allow(dead_code)]

mod fids;
mod tree;

use abi::Errno;
use dormouse_snapfs::Backing;
use fids::Fids;
use ninep::Request;
use ninep::consts::{TREAD, TWRITE};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
pub use tree::{Kind, Manners, Node, Place, ROOT};

/// What goes wrong with an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    No,
    /// Nothing is done, and the answer is an error.
    Before(Errno),
    /// All is done, and the answer is an error.
    After(Errno),
    /// So many bytes are written, and the answer is an error.
    Partial(usize, Errno),
    /// So many bytes are read or written, as the answer says.
    Short(usize),
}

/// An exchange, as a fault injector sees it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Type number of the T message.
    pub kind: u8,
    /// The path of its fid.
    pub path: String,
    /// The name in it, if it has one.
    pub name: String,
    pub off: u64,
    pub len: usize,
    /// How many exchanges came before it.
    pub number: u64,
}

impl Call {
    /// Is it a `Twrite` to that file?
    pub fn writes(&self, path: &str) -> bool {
        self.kind == TWRITE && self.path == path
    }
}

/// Decides what goes wrong.
type Injector = Box<dyn FnMut(&Call) -> Fault>;

/// A wait of one exchange.
struct Gate {
    open: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// `before` or `after`, and the exchange.
    what: (&'static str, Call),
}

/// The server.
pub struct Host {
    pub files: RefCell<Fids>,
    injector: RefCell<Option<Injector>>,
    calls: Cell<u64>,
    manual: Cell<bool>,
    gates: RefCell<Vec<Rc<Gate>>>,
}

/// Most data bytes in a read or write.
const IOUNIT: u32 = 128 << 10;

impl Host {
    pub fn new(manners: Manners) -> Host {
        Host {
            files: RefCell::new(Fids::new(manners)),
            injector: RefCell::default(),
            calls: Cell::new(0),
            manual: Cell::new(false),
            gates: RefCell::default(),
        }
    }

    /// In manual mode every exchange waits twice, before and after it takes
    /// effect, each time for [`Host::release`]. When the mode ends, all go on.
    pub fn set_manual(&self, manual: bool) {
        self.manual.set(manual);
        while !manual && self.waiting() > 0 {
            self.release(0);
        }
    }

    /// How many exchanges wait.
    pub fn waiting(&self) -> usize {
        self.gates.borrow().len()
    }

    /// Whether the `n`th that waits has yet to take effect, and what it is.
    pub fn wait(&self, n: usize) -> (bool, Call) {
        let (when, call) = &self.gates.borrow()[n].what;
        (*when == "before", call.clone())
    }

    /// Lets the `n`th that waits go on.
    pub fn release(&self, n: usize) {
        let gate = self.gates.borrow_mut().remove(n);
        gate.open.set(true);
        if let Some(waker) = gate.waker.take() {
            waker.wake();
        }
    }

    /// Makes exchanges go wrong.
    pub fn inject(&self, injector: impl FnMut(&Call) -> Fault + 'static) {
        *self.injector.borrow_mut() = Some(Box::new(injector));
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        *self.injector.borrow_mut() = None;
    }

    /// The connection to the server above has ended: all its fids are gone.
    pub fn hang_up(&self) {
        self.heal();
        self.manual.set(false);
        self.gates.borrow_mut().clear();
        self.files.borrow_mut().clunk_all();
    }

    /// Exchanges so far.
    pub fn exchanges(&self) -> u64 {
        self.calls.get()
    }

    /// Fids in use.
    pub fn fids(&self) -> usize {
        self.files.borrow().fids.len()
    }

    /// Changes the manners.
    pub fn adapt(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.files.borrow_mut().tree.manners);
    }

    /// What is at `path`, which must exist.
    pub fn number(&self, path: &str) -> u64 {
        self.files.borrow_mut().tree.at(path).expect("it is there")
    }

    /// Changes the inode at `path`, behind the server's back.
    pub fn change<T>(&self, path: &str, change: impl FnOnce(&mut Node) -> T) -> T {
        let number = self.number(path);
        let mut files = self.files.borrow_mut();
        change(files.tree.node(number).expect("it is there"))
    }

    fn make(&self, path: &str, kind: Kind, mode: u32) -> u64 {
        let tree = &mut self.files.borrow_mut().tree;
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = tree.at(dir).expect("the directory is there");
        let made = tree.make(dir, kind, mode, 0);
        tree.enter(dir, name, made).expect("a directory");
        made
    }

    /// Puts a file at `path`, or changes it behind the server's back.
    pub fn set(&self, path: &str, bytes: &[u8]) -> u64 {
        let there = self.files.borrow_mut().tree.at(path);
        let number =
            there.unwrap_or_else(|_| self.make(path, Kind::File(Default::default()), 0o666));
        let tree = &mut self.files.borrow_mut().tree;
        let file = tree.file(number).expect("a file");
        file.resize(0);
        file.write(0, bytes);
        tree.touch(number);
        number
    }

    /// Makes a sparse file of `size` bytes.
    pub fn set_size(&self, path: &str, size: u64) {
        let number = self.set(path, &[]);
        let tree = &mut self.files.borrow_mut().tree;
        tree.file(number).expect("a file").resize(size);
    }

    pub fn make_dir(&self, path: &str) -> u64 {
        self.make(path, Kind::Dir(Default::default()), 0o777)
    }

    /// Makes a directory that is the root of another file system, one that
    /// says of its files that they take no blocks.
    pub fn mount(&self, path: &str) {
        let number = self.make_dir(path);
        let mut files = self.files.borrow_mut();
        files.tree.node(number).expect("just made").device = number;
    }

    /// Renames in the root, behind the server's back: fids do not follow.
    pub fn steal(&self, name: &str, to: &str) {
        let in_root = |name: &str| Place {
            path: Vec::new(),
            dir: ROOT,
            name: name.into(),
        };
        let tree = &mut self.files.borrow_mut().tree;
        tree.rename(&in_root(name), &in_root(to)).expect("a rename");
    }

    /// The bytes of the file at `path`.
    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        let tree = &mut self.files.borrow_mut().tree;
        let number = tree.at(path).ok()?;
        let file = tree.file(number).ok()?;
        Some(file.read(0, file.size))
    }

    /// The names in the directory at `path`; none if there is no such.
    pub fn names(&self, path: &str) -> Vec<String> {
        let tree = &mut self.files.borrow_mut().tree;
        let dir = tree.at(path).and_then(|number| tree.dir(number).cloned());
        dir.map(|names| names.into_keys().collect())
            .unwrap_or_default()
    }

    /// An exchange begins, unless it waits: what goes wrong with it.
    async fn begin(&self, call: &mut Call) -> Fault {
        call.number = self.calls.get();
        self.calls.set(call.number + 1);
        self.gate("before", call).await;
        let mut injector = self.injector.borrow_mut();
        injector.as_mut().map_or(Fault::No, |inject| inject(call))
    }

    async fn gate(&self, when: &'static str, call: &Call) {
        if !self.manual.get() {
            return;
        }
        let gate = Rc::new(Gate {
            open: Cell::new(false),
            waker: RefCell::default(),
            what: (when, call.clone()),
        });
        self.gates.borrow_mut().push(gate.clone());
        poll_fn(|cx| {
            if gate.open.get() {
                return Poll::Ready(());
            }
            gate.waker.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    fn call(&self, kind: u8, (fid, name): (u32, String), off: u64, len: usize) -> Call {
        let files = self.files.borrow();
        let path = files.fid(fid).map_or("?".into(), |fid| fid.path.join("/"));
        Call {
            kind,
            path,
            name,
            off,
            len,
            number: 0,
        }
    }
}

/// The fid that a request is about, and the name in it.
fn about(request: &Request<'_>) -> (u32, String) {
    match *request {
        Request::Walk { fid, names, .. } => (
            fid,
            names
                .iter()
                .map(|name| name.to_string())
                .collect::<Vec<_>>()
                .join("/"),
        ),
        Request::Clunk { fid }
        | Request::Lopen { fid, .. }
        | Request::Getattr { fid, .. }
        | Request::Setattr { fid, .. }
        | Request::Remove { fid }
        | Request::Statfs { fid }
        | Request::Fsync { fid, .. } => (fid, String::new()),
        Request::Lcreate { fid, name, .. } | Request::Rename { fid, name, .. } => {
            (fid, name.to_string())
        }
        Request::Mkdir { dfid, name, .. } | Request::Link { dfid, name, .. } => {
            (dfid, name.to_string())
        }
        Request::Unlinkat { dirfid, name, .. } => (dirfid, name.to_string()),
        Request::Renameat {
            olddirfid, oldname, ..
        } => (olddirfid, oldname.to_string()),
        _ => (0, String::new()),
    }
}

impl Backing for Host {
    type Buf = Vec<u8>;

    async fn rpc(&self, request: &Request<'_>) -> Result<Vec<u8>, Errno> {
        let mut call = self.call(request.kind(), about(request), 0, 0);
        let fault = self.begin(&mut call).await;
        let answer = match fault {
            Fault::Before(errno) => Err(errno),
            _ => self.files.borrow_mut().answer(request),
        };
        self.gate("after", &call).await;
        match fault {
            Fault::After(errno) => Err(errno),
            _ => answer,
        }
    }

    async fn read(&self, fid: u32, off: u64, count: u32) -> Result<Vec<u8>, Errno> {
        let mut call = self.call(TREAD, (fid, String::new()), off, count as usize);
        let len = match self.begin(&mut call).await {
            Fault::Before(errno) | Fault::After(errno) | Fault::Partial(_, errno) => {
                return Err(errno);
            }
            Fault::Short(len) => len.min(count as usize),
            Fault::No => count as usize,
        };
        let data = self.files.borrow_mut().read(fid, off, len as u64);
        self.gate("after", &call).await;
        data
    }

    async fn write(&self, fid: u32, off: u64, data: &[u8]) -> Result<u32, Errno> {
        let mut call = self.call(TWRITE, (fid, String::new()), off, data.len());
        let fault = self.begin(&mut call).await;
        let write = |len: usize| {
            let data = &data[..len.min(data.len())];
            self.files.borrow_mut().write(fid, off, data)
        };
        let written = match fault {
            Fault::Before(errno) => Err(errno),
            Fault::After(errno) => write(data.len()).and(Err(errno)),
            Fault::Partial(len, errno) => write(len).and(Err(errno)),
            Fault::Short(len) => write(len),
            Fault::No => write(data.len()),
        };
        self.gate("after", &call).await;
        written.map(|count| count as u32)
    }

    fn iounit(&self) -> u32 {
        IOUNIT
    }
}
