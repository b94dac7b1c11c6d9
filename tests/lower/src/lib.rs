//! A lower 9P server in memory, for tests: with the manners of QEMU's local
//! export or of others ([`Manners`]), on a tree of [`ramtree`]. It answers late,
//! out of order and with errors, and dies, as it is told.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod fids;
mod nodes;

use abi::Errno;
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use fids::Fids;
use ninep::consts::{TREAD, TWRITE};
use ninep::{ByteStr, Request};
pub use nodes::{Manners, Refuse, Rights};
use ramtree::{Change, Id, ROOT};
use snapfs::{Backing, Lent, LentBytes};

/// What goes wrong with an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing.
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

impl From<Option<Errno>> for Fault {
    fn from(errno: Option<Errno>) -> Fault {
        errno.map_or(Fault::No, Fault::Before)
    }
}

/// An exchange, as a fault injector sees it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Type number of the T message.
    pub kind: u8,
    /// Its fid.
    pub fid: u32,
    /// The path of its fid.
    pub path: String,
    /// The name in it, if it has one.
    pub name: String,
    /// Where it reads or writes.
    pub off: u64,
    /// How many bytes it reads or writes.
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
    /// It has not taken effect yet.
    before: bool,
    call: Call,
}

/// The server.
pub struct Host {
    files: RefCell<Fids>,
    injector: RefCell<Option<Injector>>,
    calls: Cell<u64>,
    read_bytes: Cell<u64>,
    written_bytes: Cell<u64>,
    manual: Cell<bool>,
    gates: RefCell<Vec<Rc<Gate>>>,
    /// The memory of clients, and writes from it so far.
    lent: RefCell<Vec<u8>>,
    lent_writes: Cell<u32>,
    /// The time, if it has a clock.
    now_s: Cell<Option<u64>>,
}

/// Most data bytes in a read or write.
const IOUNIT: u32 = 128 << 10;

/// One whose fids are files and whose writes say how much they wrote.
impl Default for Host {
    fn default() -> Host {
        Host::new(Manners::plain())
    }
}

/// How it answers.
impl Host {
    /// A server of an empty directory.
    pub fn new(manners: Manners) -> Host {
        Host {
            files: RefCell::new(Fids::new(manners)),
            injector: RefCell::default(),
            calls: Cell::new(0),
            read_bytes: Cell::new(0),
            written_bytes: Cell::new(0),
            manual: Cell::new(false),
            gates: RefCell::default(),
            lent: RefCell::default(),
            lent_writes: Cell::new(0),
            now_s: Cell::new(Some(1 << 40)),
        }
    }

    /// From now on there is a clock that shows this time, in seconds.
    pub fn set_clock(&self, now_s: u64) {
        self.now_s.set(Some(now_s));
    }

    /// From now on there is none.
    pub fn stop_clock(&self) {
        self.now_s.set(None);
    }

    /// A copy that goes its own way. No exchange may be under way; what
    /// [`Host::inject`] was told is not copied.
    pub fn duplicate(&self) -> Host {
        assert!(self.gates.borrow().is_empty(), "an exchange waits");
        Host {
            files: self.files.clone(),
            injector: RefCell::default(),
            calls: self.calls.clone(),
            read_bytes: self.read_bytes.clone(),
            written_bytes: self.written_bytes.clone(),
            manual: self.manual.clone(),
            gates: RefCell::default(),
            lent: self.lent.clone(),
            lent_writes: self.lent_writes.clone(),
            now_s: self.now_s.clone(),
        }
    }

    /// In manual mode every exchange waits twice, before and after it takes
    /// effect, each time for [`Host::release`].
    pub fn set_manual(&self, manual: bool) {
        self.manual.set(manual);
    }

    /// The manual mode ends, and all that wait go on.
    pub fn release_all(&self) {
        self.manual.set(false);
        while self.waiting() > 0 {
            self.release(0);
        }
    }

    /// How many exchanges wait.
    pub fn waiting(&self) -> usize {
        self.gates.borrow().len()
    }

    /// Whether the `n`th that waits has yet to take effect, and what it is.
    pub fn wait(&self, n: usize) -> (bool, Call) {
        let gates = self.gates.borrow();
        (gates[n].before, gates[n].call.clone())
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
    pub fn inject<F: Into<Fault>>(&self, mut injector: impl FnMut(&Call) -> F + 'static) {
        let injector = move |call: &Call| injector(call).into();
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

    /// Data bytes read and written so far.
    pub fn traffic(&self) -> (u64, u64) {
        (self.read_bytes.get(), self.written_bytes.get())
    }

    /// Fids in use.
    pub fn fids(&self) -> usize {
        self.files.borrow().len()
    }

    /// Changes the manners.
    pub fn adapt(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.files.borrow_mut().nodes.manners);
    }

    /// Says whether writes to temporary files in the hidden directory, the
    /// server's own, find no room.
    pub fn set_full(&self, full: bool) {
        self.files.borrow_mut().nodes.full = full;
    }

    /// After that many writes to temporary files, makes some fail.
    pub fn refuse(&self, after: Option<(u64, Refuse)>) {
        self.files.borrow_mut().nodes.refuse = after;
    }

    /// Writes to temporary files that [`Host::refuse`] made fail.
    pub fn refused(&self) -> u64 {
        self.files.borrow().nodes.refused
    }

    /// Says from which offset on writes to all other files find no room.
    pub fn set_limit(&self, limit: u64) {
        self.files.borrow_mut().nodes.limit = limit;
    }
}

/// What is there, and changes behind the server's back.
impl Host {
    fn at(&self, path: &str) -> Option<Id> {
        self.files.borrow().nodes.at(path).ok()
    }

    /// The number of what is at `path`, by which its qids have it.
    pub fn find(&self, path: &str) -> Option<u64> {
        let id = self.at(path)?;
        Some(self.files.borrow().nodes.number(id))
    }

    /// The same for what must be there.
    pub fn number(&self, path: &str) -> u64 {
        self.find(path).expect("it is there")
    }

    /// From now on the file at `path` has that number, whatever else has it.
    pub fn set_number(&self, path: &str, number: u64) {
        let id = self.at(path).expect("it is there");
        self.files.borrow_mut().nodes.set_number(id, number);
    }

    /// Puts a file at `path`, or changes its bytes.
    pub fn set(&self, path: &str, bytes: &[u8]) {
        self.set_size(path, 0);
        let id = self.at(path).expect("just made");
        let mut files = self.files.borrow_mut();
        let wrote = files.nodes.tree_now().write(id, Some(0), bytes);
        assert_eq!(wrote, Ok(bytes.len()));
    }

    /// Makes the file at `path` a sparse one of `size` bytes.
    pub fn set_size(&self, path: &str, size: u64) {
        let there = self.at(path);
        let nodes = &mut self.files.borrow_mut().nodes;
        let id = there.unwrap_or_else(|| {
            let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
            let dir = nodes.at(dir).expect("the directory is there");
            let make = |tree: &mut ramtree::Tree| tree.create(dir, name.as_bytes(), 0o666);
            nodes.make(dir, 0, make).expect("a new file")
        });
        for size in [0, size] {
            let size = Some(size);
            let change = Change {
                size,
                ..Change::default()
            };
            nodes.tree_now().change(id, &change).expect("a file");
        }
    }

    /// From now on attributes of the file at `path` tell that size, whatever it is.
    pub fn claim_size(&self, path: &str, size: u64) {
        let id = self.at(path).expect("it is there");
        self.files.borrow_mut().nodes.claim_size(id, size);
    }

    /// Overwrites bytes of the file with that number.
    pub fn overwrite(&self, number: u64, off: u64, bytes: &[u8]) {
        let nodes = &mut self.files.borrow_mut().nodes;
        if let Some(id) = nodes.with_number(number) {
            let _ = nodes.tree_now().write(id, Some(off), bytes);
        }
    }

    /// Makes a directory.
    pub fn make_dir(&self, path: &str) {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let nodes = &mut self.files.borrow_mut().nodes;
        let dir = nodes.at(dir).expect("the directory is there");
        let make = |tree: &mut ramtree::Tree| tree.mkdir(dir, name.as_bytes(), 0o777);
        nodes.make(dir, 0, make).expect("a new directory");
    }

    /// Makes a directory that is the root of another file system, one that
    /// says of its files that they take no blocks.
    pub fn mount(&self, path: &str) {
        self.make_dir(path);
        let id = self.at(path).expect("just made");
        self.files.borrow_mut().nodes.set_device(id, id);
    }

    /// Sets rights.
    pub fn set_mode(&self, path: &str, mode: u32) {
        let mode = Some(mode);
        self.change(
            path,
            &Change {
                mode,
                ..Change::default()
            },
        );
    }

    /// Sets the time of the last change of the content.
    pub fn set_mtime(&self, path: &str, mtime: u64) {
        let modified = Some(mtime);
        self.change(
            path,
            &Change {
                modified,
                ..Change::default()
            },
        );
    }

    fn change(&self, path: &str, change: &Change) {
        let id = self.at(path).expect("it is there");
        let mut files = self.files.borrow_mut();
        files.nodes.tree_now().change(id, change).expect("a node");
    }

    /// The time of the last change of the content.
    pub fn mtime(&self, path: &str) -> u64 {
        let id = self.at(path).expect("it is there");
        let facts = self.files.borrow().nodes.tree.facts(id);
        facts.expect("a node").modified
    }

    /// Renames in the root: fids do not follow, if they are paths.
    pub fn steal(&self, name: &str, to: &str) {
        let nodes = &mut self.files.borrow_mut().nodes;
        let (old, new) = ((ROOT, name.as_bytes()), (ROOT, to.as_bytes()));
        nodes.rename(old, new).expect("a rename");
    }

    /// Removes a name in the root.
    pub fn remove(&self, name: &str) {
        let nodes = &mut self.files.borrow_mut().nodes;
        nodes
            .unlink(ROOT, name.as_bytes(), false)
            .expect("it is there");
    }

    /// The bytes of the file at `path`.
    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        let id = self.at(path)?;
        self.files.borrow().nodes.bytes(id)
    }

    /// The bytes of the file with that number, named or not.
    pub fn content(&self, number: u64) -> Option<Vec<u8>> {
        let nodes = &self.files.borrow().nodes;
        nodes.bytes(nodes.with_number(number)?)
    }

    /// The names in the directory at `path`, in order; none if there is no such.
    pub fn names(&self, path: &str) -> Vec<String> {
        let nodes = &self.files.borrow().nodes;
        let id = nodes.at(path).unwrap_or(u64::MAX);
        let Ok(entries) = nodes.tree.entries(id, 0) else {
            return Vec::new();
        };
        let mut names: Vec<_> = entries.map(|(_, name, _)| text(ByteStr(name))).collect();
        names.sort();
        names
    }
}

/// The exchanges.
impl Host {
    /// An exchange begins: what goes wrong with it.
    async fn begin(&self, call: &mut Call) -> Fault {
        call.number = self.calls.get();
        self.calls.set(call.number + 1);
        self.gate(true, call).await;
        let mut injector = self.injector.borrow_mut();
        injector.as_mut().map_or(Fault::No, |inject| inject(call))
    }

    async fn gate(&self, before: bool, call: &Call) {
        if !self.manual.get() {
            return;
        }
        let gate = Rc::new(Gate {
            open: Cell::new(false),
            waker: RefCell::default(),
            before,
            call: call.clone(),
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
        // Only who looks at it needs it.
        let seen = self.manual.get() || self.injector.borrow().is_some();
        Call {
            kind,
            fid,
            path: match seen {
                true => self.files.borrow().path(fid),
                false => String::new(),
            },
            name,
            off,
            len,
            number: 0,
        }
    }
}

fn text(name: ByteStr<'_>) -> String {
    name.to_string()
}

/// The fid that a request is about, and the name in it.
fn about(request: &Request<'_>) -> (u32, String) {
    match *request {
        Request::Walk { fid, names, .. } => {
            let join = |path: String, name: String| format!("{path}/{name}");
            let path = names.iter().map(text).reduce(join);
            (fid, path.unwrap_or_default())
        }
        Request::Clunk { fid }
        | Request::Lopen { fid, .. }
        | Request::Getattr { fid, .. }
        | Request::Setattr { fid, .. }
        | Request::Remove { fid }
        | Request::Statfs { fid }
        | Request::Fsync { fid, .. } => (fid, String::new()),
        Request::Lcreate { fid, name, .. } | Request::Rename { fid, name, .. } => (fid, text(name)),
        Request::Mkdir { dfid, name, .. } | Request::Link { dfid, name, .. } => (dfid, text(name)),
        Request::Unlinkat { dirfid, name, .. } => (dirfid, text(name)),
        Request::Renameat {
            olddirfid, oldname, ..
        } => (olddirfid, text(oldname)),
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
        self.gate(false, &call).await;
        match fault {
            Fault::After(errno) => Err(errno),
            _ => answer,
        }
    }

    async fn read(&self, fid: u32, off: u64, count: u32) -> Result<Vec<u8>, Errno> {
        let count = count.min(IOUNIT) as usize;
        let mut call = self.call(TREAD, (fid, String::new()), off, count);
        let len = match self.begin(&mut call).await {
            Fault::Before(errno) | Fault::After(errno) | Fault::Partial(_, errno) => {
                return Err(errno);
            }
            Fault::Short(len) => len.min(count),
            Fault::No => count,
        };
        let data = self.files.borrow_mut().read(fid, off, len);
        self.gate(false, &call).await;
        let data = data?;
        self.read_bytes
            .set(self.read_bytes.get() + data.len() as u64);
        Ok(data)
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
        self.gate(false, &call).await;
        let written = written?;
        self.written_bytes
            .set(self.written_bytes.get() + written as u64);
        Ok(written as u32)
    }

    type Write<'a> = Pin<Box<dyn Future<Output = Result<u32, Errno>> + 'a>>;

    fn write_now(&self, fid: u32, off: u64, data: &[u8]) -> Option<Self::Write<'_>> {
        let data = data.to_vec();
        let mut write: Self::Write<'_> = Box::pin(async move { self.write(fid, off, &data).await });
        // It is submitted when it is first polled.
        Some(
            match write.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(done) => Box::pin(core::future::ready(done)),
                Poll::Pending => write,
            },
        )
    }

    fn write_lent(&self, fid: u32, off: u64, data: LentBytes<'_>) -> Option<Self::Write<'_>> {
        // A device has no room for every fourth.
        self.lent_writes.set(self.lent_writes.get() + 1);
        let bytes = self.copy_lent(data).ok()?;
        (!self.lent_writes.get().is_multiple_of(4)).then_some(())?;
        self.write_now(fid, off, &bytes)
    }

    fn copy_lent(&self, data: LentBytes<'_>) -> Result<Vec<u8>, Errno> {
        let lent = self.lent.borrow();
        let mut copy = Vec::new();
        for (at, len) in data.parts() {
            let part = lent.get(at as usize..at as usize + len);
            copy.extend_from_slice(part.ok_or(Errno::EIO)?);
        }
        Ok(copy)
    }

    fn iounit(&self) -> u32 {
        IOUNIT
    }

    fn now_s(&self) -> Option<u64> {
        self.now_s.get()
    }
}

impl Host {
    /// Lends bytes: pages of memory, the first of which they begin in the middle of.
    pub fn lend(&self, data: &[u8]) -> Lent {
        let mut lent = self.lent.borrow_mut();
        let (first, rest) = data.split_at(data.len().min(1000));
        let mut parts = Vec::new();
        for piece in core::iter::once(first).chain(rest.chunks(4096)) {
            if !piece.is_empty() {
                parts.push(abi::lent::pack(lent.len() as u64, piece.len()));
                lent.extend_from_slice(piece);
                // The next is elsewhere.
                lent.push(0xee);
            }
        }
        parts.into()
    }
}
