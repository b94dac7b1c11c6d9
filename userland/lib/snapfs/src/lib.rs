//! snapfs: a 9P2000.L server over another one, adding snapshots.
//!
//! It owns fids, epochs, the versions of files and the temporary store of saved
//! blocks; it does not own the transport to its clients, nor the lower server
//! ([`Backing`]). One thread: requests are tasks of an [`Executor`]
//! that interleave where they wait for the backing.
//!
//! ```text
//! message -> Snapfs::handle (a future) -> Answer, gathered -> client
//!                  |  Backing::{rpc, read, write}
//!                  v
//!            a plain 9P2000.L server
//! ```
//!
//! Complexity: taking and releasing a snapshot costs O(log n) in the number of
//! snapshots; releasing also some look-ups for each run of blocks saved at its
//! epoch in its range. A write costs O(log n) per block, and at most one rescue
//! per block and epoch in use, however many snapshots there are. What is known
//! to be zeros costs O(log n), for any length.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod apply;
mod attr;
mod backing;
mod budget;
mod combined;
mod commit;
mod conn;
mod doubt;
#[cfg(feature = "duplicate")]
mod duplicate;
mod durable;
mod exec;
mod file;
mod fill;
mod hidden;
mod history;
mod known;
mod lent;
mod lower;
mod names;
mod open;
mod options;
mod pass;
mod plan;
mod put;
mod references;
mod rescue;
mod revalidate;
mod serve;
mod slots;
mod snap;
mod store;
pub mod sync;
mod unused;
mod versions;
mod zeros;

use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use ninep::ByteStr;
use ninep::consts::NONUNAME;

pub use backing::{Answer, Backing, ConnId, Head, Payload};
pub use exec::{Executor, TASKS_MAX};
pub use fill::{Fill, Filled, LowerRead};
pub use lent::{Lent, LentBytes};
pub use put::{Held, WMAX};

/// Bytes in a block: the unit of rescues.
pub const BLOCK: u64 = abi::PAGE;

/// The file server. [`Backing`] is its lower server.
pub struct Snapfs<B: Backing> {
    backing: B,
    conns: RefCell<BTreeMap<ConnId, Rc<conn::Conn>>>,
    /// Files in use, by qid.path.
    files: RefCell<BTreeMap<u64, Rc<file::File>>>,
    /// Files that were.
    unused: RefCell<unused::Unused>,
    fids: RefCell<lower::FidPool>,
    /// See [`Options::by_names`].
    by_names: bool,
    known: RefCell<known::KnownNames>,
    store: store::Store,
    hidden: hidden::Hidden,
    /// Held exclusively while names are removed or replaced, shared by walks:
    /// a rename over a file in use takes two steps, which are not to be seen.
    names: sync::Lock,
    /// Memory for the state of files and snapshots.
    tables: Rc<budget::Budget>,
    /// Memory for staged writes.
    staging: Rc<budget::Budget>,
    /// Most bytes one commit moves.
    wmax: u64,
    /// Most fids of one connection.
    fids_max: usize,
    /// Held by the one commit that has copied bytes in memory.
    copying: sync::Lock,
    /// The request that runs now: its connection, and its turn there.
    now_served: Cell<(ConnId, conn::Turn)>,
    /// Signalled when requests are flushed.
    flushes: sync::Condition,
    /// The name of the lower tree, as it was attached.
    tree: RefCell<ninep::ByteString>,
    /// The newest epoch given out.
    epoch: Cell<u64>,
    /// When the clock was last looked at, seconds since 1970; 0: there is none.
    now_s: Cell<u64>,
    /// See [`Options::old_s`].
    old_s: u64,
    durable: durable::Durable,
    /// See [`Options::lazy`].
    lazy: Cell<bool>,
    /// The files whose times are not learnt yet after own changes.
    unlearnt: RefCell<Vec<u64>>,
    /// The number of live snapshots.
    snapshots: Cell<u32>,
    /// Blocks rescued so far.
    rescued: Cell<u64>,
    /// Blocks that could not be.
    lost: Cell<u64>,
    /// The identity of the hidden directory's file system, if that counts the
    /// blocks of files; `None`: not examined yet.
    counts_blocks: Cell<Option<Option<rescue::FileSystem>>>,
}

/// The options of a server. By default it keeps nothing of disconnected
/// clients, and uses 64 MiB.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The newest epoch that an earlier server over the same tree may have
    /// used; 0 if there was none. An owner with a clock can give microseconds.
    pub epoch: u64,
    /// Seconds for which a session may be disconnected before its snapshots
    /// are given back. If not 0, [`Snapfs::tick`] must be called.
    pub lease: u32,
    /// Another number after each boot of the machine that holds the files. What
    /// an earlier instance left of its snapshots is used only if it is the
    /// same: a machine that lost power may have written in any order.
    pub boot: [u64; 2],
    /// The memory in bytes that all clients together may make the server use,
    /// approximately: half of it for staged writes, half for the state of
    /// snapshots. Requests that need more are refused, with `EAGAIN` and
    /// `ENOMEM`.
    pub memory: usize,
    /// The times of a file after an own change need not be learnt before the answer:
    /// the owner calls [`Snapfs::learn_times`] soon after [`Snapfs::has_unlearnt`]
    /// says so. Until then the changes of external writers to it are taken for own ones.
    pub lazy: bool,
    /// A fid at the lower server that is not open stands for whatever file has its
    /// name, as QEMU's do.
    pub by_names: bool,
    /// A file whose last change is that many seconds ago, or more, has its epoch again if it
    /// is the same when it is opened next. The grain of times at the lower server is less.
    pub old_s: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            epoch: 0,
            lease: 0,
            boot: [0; 2],
            memory: 64 << 20,
            lazy: false,
            by_names: false,
            old_s: unused::OLD_S,
        }
    }
}

/// The objects that a server holds, for tests and for display.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Lower fids in use, the server's own included, those of known names not.
    pub fids_lower: u32,
    /// Files in use.
    pub files: usize,
    /// Live snapshots, those that wait for their clients included.
    pub snapshots: u32,
    /// Sessions with a lease.
    pub sessions: usize,
    /// Runs of blocks in the versions of all files.
    pub versions: usize,
    /// Blocks in the temporary store.
    pub saved: u32,
    /// Blocks rescued since the start.
    pub rescued: u64,
    /// Blocks since the start that could not be rescued and are lost to
    /// snapshots that put up with it.
    pub lost: u64,
    /// The newest epoch.
    pub epoch: u64,
    /// Bytes of memory that clients make it hold, about.
    pub memory: usize,
    /// Look-ups in the tables of the files now known: how much work it was.
    pub lookups: u64,
}

impl<B: Backing> Snapfs<B> {
    /// A server over `backing` without leases; [`Snapfs::start`] must run
    /// before requests. `epoch`: see [`Options::epoch`].
    pub fn new(backing: B, epoch: u64) -> Self {
        let default = Options::default();
        Snapfs::with(backing, Options { epoch, ..default })
    }

    /// A server over `backing`; [`Snapfs::start`] must run before requests.
    pub fn with(backing: B, options: Options) -> Self {
        let memory = options.memory / 2;
        Snapfs {
            backing,
            conns: RefCell::default(),
            files: RefCell::default(),
            unused: RefCell::default(),
            fids: RefCell::default(),
            by_names: options.by_names,
            known: RefCell::default(),
            store: store::Store::default(),
            hidden: hidden::Hidden::default(),
            names: sync::Lock::default(),
            tables: budget::Budget::new(memory),
            staging: budget::Budget::new(memory.max(put::STAGED_MIN)),
            wmax: put::wmax(memory),
            fids_max: options.memory / conn::PER_FID,
            copying: sync::Lock::default(),
            now_served: Cell::default(),
            flushes: sync::Condition::default(),
            tree: RefCell::default(),
            epoch: Cell::new(options.epoch),
            now_s: Cell::new(0),
            old_s: options.old_s,
            durable: durable::Durable::new(&options),
            lazy: Cell::new(options.lazy),
            unlearnt: RefCell::default(),
            snapshots: Cell::new(0),
            rescued: Cell::new(0),
            lost: Cell::new(0),
            counts_blocks: Cell::new(None),
        }
    }

    /// The memory in bytes that clients may make the server use, about: see
    /// [`Options::memory`].
    pub fn memory(&self) -> usize {
        self.tables.limit() + self.staging.limit()
    }

    /// The lower server.
    pub fn backing(&self) -> &B {
        &self.backing
    }

    /// The server dies: the lower one is all that is left. A lower server
    /// takes its fids back when the connection to it ends.
    pub fn into_backing(self) -> B {
        self.backing
    }

    /// Attaches to the tree `aname` of the lower server, takes up what an earlier, dead
    /// instance left for sessions with a lease, and removes the rest of it. The
    /// caller holds the lock on the tree.
    ///
    /// # Errors
    /// The backing's.
    pub async fn start(&self, uname: ByteStr<'_>, aname: ByteStr<'_>) -> Result<(), Errno> {
        let (root, qid) = self.attach_lower(uname, aname, NONUNAME).await?;
        self.hidden.set_home((root, qid.path));
        *self.tree.borrow_mut() = aname.into();
        self.look_at_clock();
        if self.take_up(root).await? {
            return Ok(());
        }
        self.clean_at_start(root).await
    }

    /// The objects that the server holds now.
    pub fn counters(&self) -> Counters {
        let files = self.files.borrow();
        let entries = |file: &Rc<file::File>| file.state.borrow().versions.len();
        let lookups = |file: &Rc<file::File>| file.state.borrow().versions.lookups();
        Counters {
            versions: files.values().map(entries).sum(),
            lookups: files.values().map(lookups).sum(),
            ..self.totals()
        }
    }

    /// The same in constant time, without the versions.
    pub fn totals(&self) -> Counters {
        Counters {
            fids_lower: self.fids.borrow().used() - self.known.borrow().len() as u32,
            files: self.files.borrow().len(),
            snapshots: self.snapshots.get(),
            sessions: self.durable.sessions(),
            versions: 0,
            saved: self.store.slots.borrow().used(),
            rescued: self.rescued.get(),
            lost: self.lost.get(),
            epoch: self.epoch.get(),
            memory: self.tables.used() + self.staging.used(),
            lookups: 0,
        }
    }
}
