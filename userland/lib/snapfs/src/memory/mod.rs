//! A server beneath in memory, for tests and models: it can answer out of
//! order, late, and with errors, as it is told.

mod tree;

use crate::Backing;
use abi::Errno;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use ninep::{ByteStr, Qids, Reply, Request, StatFs};
pub use tree::{Content, Refuse};
use tree::{Kind, ROOT, Tree};

/// An exchange, as a fault injector sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exchange {
    /// Type number of the T message.
    pub kind: u8,
    /// Its fid.
    pub fid: u32,
    /// How many came before it.
    pub number: u64,
}

/// Decides which exchanges fail.
type Injector = Box<dyn FnMut(Exchange) -> Option<Errno>>;

/// A wait of one exchange, in manual mode.
#[derive(Default)]
struct Gate {
    open: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// The server.
#[derive(Default)]
pub struct Memory {
    tree: RefCell<Tree>,
    manual: Cell<bool>,
    waiting: RefCell<Vec<Rc<Gate>>>,
    injector: RefCell<Option<Injector>>,
    exchanges: Cell<u64>,
    read_bytes: Cell<u64>,
    written_bytes: Cell<u64>,
}

/// Most data bytes in a read or write.
const IOUNIT: u32 = 128 << 10;

impl Memory {
    /// In manual mode every exchange waits twice, before and after it takes
    /// effect, each time for [`Memory::release`].
    pub fn set_manual(&self, manual: bool) {
        self.manual.set(manual);
    }

    /// A copy that goes its own way. No exchange may be under way; what
    /// [`Memory::inject`] was told is not copied.
    pub fn duplicate(&self) -> Memory {
        assert!(self.waiting.borrow().is_empty(), "an exchange waits");
        Memory {
            tree: self.tree.clone(),
            manual: self.manual.clone(),
            waiting: RefCell::default(),
            injector: RefCell::default(),
            exchanges: self.exchanges.clone(),
            read_bytes: self.read_bytes.clone(),
            written_bytes: self.written_bytes.clone(),
        }
    }

    /// How many exchanges wait.
    pub fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Lets the `n`th that waits go on.
    pub fn release(&self, n: usize) {
        let gate = self.waiting.borrow_mut().remove(n);
        gate.open.set(true);
        if let Some(waker) = gate.waker.take() {
            waker.wake();
        }
    }

    /// Makes exchanges fail, before they take effect.
    pub fn inject(&self, injector: impl FnMut(Exchange) -> Option<Errno> + 'static) {
        *self.injector.borrow_mut() = Some(Box::new(injector));
    }

    /// Says whether writes to temporary files in the hidden directory, the
    /// server's own, find no room.
    pub fn set_full(&self, full: bool) {
        self.tree.borrow_mut().full = full;
    }

    /// Says from which offset on writes to all other files find no room.
    pub fn set_limit(&self, limit: u64) {
        self.tree.borrow_mut().limit = limit;
    }

    /// After that many writes to temporary files, makes some fail.
    pub fn refuse(&self, after: Option<(u64, Refuse)>) {
        self.tree.borrow_mut().refuse = after;
    }

    /// Writes to temporary files that [`Memory::refuse`] made fail.
    pub fn refused(&self) -> u64 {
        self.tree.borrow().refused
    }

    /// No more failures.
    pub fn heal(&self) {
        *self.injector.borrow_mut() = None;
    }

    /// Exchanges so far.
    pub fn exchanges(&self) -> u64 {
        self.exchanges.get()
    }

    /// Data bytes read and written so far.
    pub fn traffic(&self) -> (u64, u64) {
        (self.read_bytes.get(), self.written_bytes.get())
    }

    /// Fids in use.
    pub fn fids(&self) -> usize {
        self.tree.borrow().fid_count()
    }

    /// The connection to the server above has ended: all its fids are gone.
    pub fn hang_up(&self) {
        self.tree.borrow_mut().clunk_all();
    }

    /// Puts a file at `path`, or changes it behind the server's back.
    pub fn set(&self, path: &str, content: &[u8]) {
        let mut tree = self.tree.borrow_mut();
        let node = tree.find(path).or_else(|_| {
            let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
            let dir = tree.find(dir)?;
            tree.add(dir, name.as_bytes(), Kind::File(Content::default()), 0o666)
        });
        let Ok(node) = node else { return };
        let Ok(file) = tree.content(node) else { return };
        file.resize(0);
        file.write(0, content);
        tree.touch(node);
    }

    /// Makes a directory in the root.
    pub fn make_dir(&self, name: &str) {
        let _ =
            self.tree
                .borrow_mut()
                .add(ROOT, name.as_bytes(), Kind::Dir(Default::default()), 0o755);
    }

    /// Makes a sparse file of `size` bytes.
    pub fn set_size(&self, path: &str, size: u64) {
        self.set(path, &[]);
        let mut tree = self.tree.borrow_mut();
        if let Ok(node) = tree.find(path)
            && let Ok(content) = tree.content(node)
        {
            content.resize(size);
        }
    }

    /// From now on attributes say that files take no blocks, as those of some
    /// servers do.
    pub fn count_no_blocks(&self) {
        self.tree.borrow_mut().no_blocks = true;
    }

    /// Moves a file in the root behind the server's back, over another if
    /// there is one; to nowhere: removes it.
    pub fn steal(&self, name: &str, to: Option<&str>) {
        let mut tree = self.tree.borrow_mut();
        let _ = match to {
            Some(to) => tree.rename((ROOT, name.as_bytes()), (ROOT, to.as_bytes())),
            None => tree.unlink(ROOT, name.as_bytes(), 0),
        };
    }

    /// What is at `path`, by qid.path.
    pub fn find(&self, path: &str) -> Option<u64> {
        self.tree.borrow_mut().find(path).ok()
    }

    /// The bytes of the file with that qid.path, named or not.
    pub fn content(&self, number: u64) -> Option<Vec<u8>> {
        let mut tree = self.tree.borrow_mut();
        let content = tree.content(number).ok()?;
        Some(content.read(0, content.size))
    }

    /// A stranger overwrites bytes of the file with that qid.path.
    pub fn overwrite(&self, number: u64, off: u64, bytes: &[u8]) {
        let mut tree = self.tree.borrow_mut();
        if let Ok(content) = tree.content(number) {
            content.write(off, bytes);
            tree.touch(number);
        }
    }

    /// The bytes of a file; `None` if there is none.
    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        let mut tree = self.tree.borrow_mut();
        let node = tree.find(path).ok()?;
        let content = tree.content(node).ok()?;
        Some(content.read(0, content.size))
    }

    /// Names in a directory.
    pub fn names(&self, path: &str) -> Vec<String> {
        let mut tree = self.tree.borrow_mut();
        let node = tree.find(path).and_then(|node| tree.node(node));
        match node.map(|node| &node.kind) {
            Ok(Kind::Dir(names)) => names.keys().map(ToString::to_string).collect(),
            _ => Vec::new(),
        }
    }

    async fn gate(&self) {
        if self.manual.get() {
            let gate = Rc::new(Gate::default());
            self.waiting.borrow_mut().push(gate.clone());
            Pass(gate).await;
        }
    }

    /// An exchange begins: waits its turn, and fails if it is to fail.
    async fn begin(&self, kind: u8, fid: u32) -> Result<(), Errno> {
        let number = self.exchanges.get();
        self.exchanges.set(number + 1);
        self.gate().await;
        let exchange = Exchange { kind, fid, number };
        let failed = self
            .injector
            .borrow_mut()
            .as_mut()
            .and_then(|inject| inject(exchange));
        failed.map_or(Ok(()), Err)
    }

    fn answer(&self, request: &Request<'_>) -> Result<Vec<u8>, Errno> {
        let mut tree = self.tree.borrow_mut();
        let (mut qids, data, text);
        let reply = match *request {
            Request::Attach { fid, .. } => Reply::Attach {
                qid: tree.attach(fid)?,
            },
            Request::Walk { fid, newfid, names } => {
                let names: Vec<ByteStr<'_>> = names.iter().collect();
                qids = Vec::new();
                qids.extend(tree.walk(fid, newfid, names.into_iter())?);
                Reply::Walk {
                    qids: Qids::new(&qids),
                }
            }
            Request::Lopen { fid, flags } => Reply::Lopen {
                qid: tree.open(fid, flags)?,
                iounit: 0,
            },
            Request::Lcreate {
                fid,
                name,
                flags,
                mode,
                ..
            } => Reply::Lcreate {
                qid: tree.create(fid, &name, flags, mode)?,
                iounit: 0,
            },
            Request::Getattr { fid, .. } => Reply::Getattr(tree.attr(fid)?),
            Request::Setattr { fid, attr } => {
                tree.set_attr(fid, &attr)?;
                Reply::Setattr
            }
            Request::Readdir { fid, offset, count } => {
                data = tree.readdir(fid, offset, count)?;
                Reply::Readdir { data: &data }
            }
            Request::Readlink { fid } => {
                let node = tree.of(fid)?;
                match &tree.node(node)?.kind {
                    Kind::Link(target) => text = target.clone(),
                    _ => return Err(Errno::EINVAL),
                }
                Reply::Readlink {
                    target: ByteStr::from(&text),
                }
            }
            Request::Clunk { fid } => {
                tree.clunk(fid)?;
                Reply::Clunk
            }
            Request::Fsync { .. } => Reply::Fsync,
            Request::Statfs { .. } => Reply::Statfs(StatFs {
                fsid: 1,
                ..StatFs::default()
            }),
            _ => change(&mut tree, request)?,
        };
        let mut out = vec![0; 1024 + reply_payload(&reply)];
        let len = ninep::encode_reply(0, &reply, &mut out).map_err(|_| Errno::EIO)?;
        out.truncate(len);
        Ok(out)
    }
}

fn reply_payload(reply: &Reply<'_>) -> usize {
    match reply {
        Reply::Readdir { data } => data.len(),
        _ => 0,
    }
}

/// Requests that change names.
fn change(tree: &mut Tree, request: &Request<'_>) -> Result<Reply<'static>, Errno> {
    match *request {
        Request::Mkdir {
            dfid, name, mode, ..
        } => {
            let dir = tree.of(dfid)?;
            let node = tree.add(dir, &name, Kind::Dir(Default::default()), mode & 0o777)?;
            Ok(Reply::Mkdir {
                qid: tree.qid(node),
            })
        }
        Request::Symlink {
            dfid, name, target, ..
        } => {
            let dir = tree.of(dfid)?;
            let node = tree.add(dir, &name, Kind::Link(target.into()), 0o777)?;
            Ok(Reply::Symlink {
                qid: tree.qid(node),
            })
        }
        Request::Link { dfid, fid, name } => {
            let (dir, node) = (tree.of(dfid)?, tree.of(fid)?);
            tree.link(dir, &name, node)?;
            Ok(Reply::Link)
        }
        Request::Unlinkat {
            dirfid,
            name,
            flags,
        } => {
            let dir = tree.of(dirfid)?;
            tree.unlink(dir, &name, flags)?;
            Ok(Reply::Unlinkat)
        }
        Request::Renameat {
            olddirfid,
            oldname,
            newdirfid,
            newname,
        } => {
            let (old, new) = (tree.of(olddirfid)?, tree.of(newdirfid)?);
            tree.rename((old, &oldname), (new, &newname))?;
            Ok(Reply::Renameat)
        }
        Request::Rename { fid, dfid, name } => {
            let (node, dir) = (tree.of(fid)?, tree.of(dfid)?);
            let (from, old) = tree.name_of(node).ok_or(Errno::ENOENT)?;
            tree.rename((from, &old), (dir, &name))?;
            Ok(Reply::Rename)
        }
        Request::Remove { fid } => {
            let node = tree.of(fid)?;
            let named = tree.name_of(node).ok_or(Errno::ENOENT);
            tree.clunk(fid)?;
            let (dir, name) = named?;
            tree.unlink(dir, &name, 0)?;
            Ok(Reply::Remove)
        }
        _ => Err(Errno::EOPNOTSUPP),
    }
}

impl Backing for Memory {
    type Buf = Vec<u8>;

    async fn rpc(&self, request: &Request<'_>) -> Result<Vec<u8>, Errno> {
        let fid = match *request {
            Request::Walk { fid, .. } | Request::Clunk { fid } | Request::Lopen { fid, .. } => fid,
            _ => ROOT as u32,
        };
        self.begin(request.kind(), fid).await?;
        let answer = self.answer(request);
        self.gate().await;
        answer
    }

    async fn read(&self, fid: u32, off: u64, count: u32) -> Result<Vec<u8>, Errno> {
        self.begin(ninep::consts::TREAD, fid).await?;
        let data = self
            .tree
            .borrow_mut()
            .read(fid, off, u64::from(count.min(IOUNIT)));
        self.gate().await;
        let data = data?;
        self.read_bytes
            .set(self.read_bytes.get() + data.len() as u64);
        Ok(data)
    }

    async fn write(&self, fid: u32, off: u64, data: &[u8]) -> Result<u32, Errno> {
        self.begin(ninep::consts::TWRITE, fid).await?;
        let written = self.tree.borrow_mut().write(fid, off, data);
        self.gate().await;
        let written = written?;
        self.written_bytes
            .set(self.written_bytes.get() + written as u64);
        Ok(written as u32)
    }

    fn iounit(&self) -> u32 {
        IOUNIT
    }
}

/// The wait for a [`Gate`].
struct Pass(Rc<Gate>);

impl Future for Pass {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.open.get() {
            return Poll::Ready(());
        }
        self.0.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}
