//! The kernel's 9P client: one [`Mount`] per connection to a file server.
//!
//! [`rpc`] sends a T message and waits for its R, many at a time; [`deliver`]
//! takes the R messages when the server sends them and copies a payload once,
//! from the server's memory into the waiting frames. [`remote`] has the files,
//! [`snapshots`] the table of snapshots held at servers, [`swap`] the place of memory
//! without frames.
mod deliver;
mod entries;
mod lent;
pub mod put;
pub mod remote;
pub mod rpc;
pub mod sink;
pub mod snapshots;
pub mod swap;
mod unsent;
pub mod walk;

pub use unsent::send_unsent;

use crate::chan::{DEPTH, End, room};
use crate::counters;
use crate::sched::{Reason, Semaphore, Slot, Wait, WaitQueue};
use abi::{Errno, PAGE, Stat64};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use hw::frames;
use hw::heap::new_arc;
use hw::lock::{Lock, Rank};
use ninep::client::FLUSH_TAGS;
use ninep::consts::{IOHDRSZ, NOFID, NONUNAME, VERSION_L, VERSION_SNAP};
use ninep::{ByteStr, Qid, Reply, Request};
use sink::{Borrower, Sink};
use snapshots::Trimmed;
use spin::Once;

/// Requests in flight at one server, its Tflushes included.
const TAGS: u16 = 64;
const _: () = assert!(TAGS as u32 <= u64::BITS, "a word has a bit for each tag");
const _: () = assert!(
    TAGS as usize <= DEPTH,
    "a request with a tag has room in the channel"
);
/// The most writes that are staged at a time. The server has room for four
/// (docs/protocol.md), part of which abandoned writes may still occupy.
const STAGING_MAX: usize = 2;
/// Data bytes in one message the kernel asks for.
const IOUNIT: u32 = 128 * 1024;
/// Room for the head of the longest message beside its data.
const HEADROOM: u32 = 4096;
/// Bytes of the longest message.
const MSIZE: u32 = IOUNIT + HEADROOM;
/// Most bytes one commit may move, until the server says otherwise.
const WMAX: u32 = 8 << 20;

/// A number for a connection that no other has had, because frames of the cache are
/// found by it. `ENFILE` after the last: frames of one server must not be taken for
/// those of another. 0 is the kernel itself ([`snapshots`]).
fn next_id() -> Result<u32, Errno> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let next = NEXT.fetch_update(Relaxed, Relaxed, |id| id.checked_add(1));
    next.map_err(|_| Errno::ENFILE)
}

/// The state machine: a waiting process is named by its slot, and trims are
/// reported.
type Machine = ninep::client::Client<Slot, rpc::Answer, Trimmed>;
type Then = ninep::client::Then<Slot, Trimmed>;

struct State {
    /// That of its [`Mount`].
    id: u32,
    /// Requests in flight, fids, writes.
    machine: Machine,
    /// By tag, where the data of an Rread goes.
    sinks: Vec<Sink>,
    /// The tags whose sink is lent, one bit each.
    lent: u64,
    /// The data of writes that is lent.
    data: lent::Kept,
    borrower: Borrower,
    /// Processes that wait for a tag.
    starved: WaitQueue,
    /// Writes of which something is staged, at most [`STAGING_MAX`].
    staging: Semaphore,
}

/// A connection to a file server.
pub struct Mount {
    /// The kernel's number for the server.
    pub id: u32,
    /// Itself, for those that find it later.
    itself: Once<Weak<Mount>>,
    end: Arc<End>,
    state: Lock<State>,
    root: AtomicU32,
    root_qid: Lock<Qid>,
    snapshots: AtomicBool,
    eager: AtomicBool,
    iounit: AtomicU32,
    wmax: AtomicU32,
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.state.lock().forget_loans();
        // The root fid goes with the connection.
        if self.root.load(Relaxed) != NOFID {
            counters::subtract_one(Stat64::Fids);
        }
    }
}

impl Mount {
    /// Connects to the server at `end`: version, session, attach to the tree
    /// `name`. Blocks.
    pub fn connect(end: Arc<End>, name: &[u8]) -> Result<Arc<Mount>, Errno> {
        let mut sinks = room(usize::from(TAGS))?;
        sinks.resize_with(usize::from(TAGS), Sink::default);
        let id = next_id()?;
        let state = State {
            id,
            machine: Machine::new(TAGS - FLUSH_TAGS, MSIZE)?,
            sinks,
            lent: 0,
            data: lent::Kept::default(),
            borrower: Borrower::default(),
            starved: WaitQueue::new(),
            staging: Semaphore::new(STAGING_MAX),
        };
        let mount = new_arc(Mount {
            id,
            itself: Once::new(),
            end,
            state: Lock::new(Rank::Mount, state),
            root: AtomicU32::new(NOFID),
            root_qid: Lock::new(Rank::Mount, Qid::default()),
            snapshots: AtomicBool::new(false),
            eager: AtomicBool::new(false),
            iounit: AtomicU32::new(IOUNIT),
            wmax: AtomicU32::new(WMAX),
        })?;
        let client: &Weak<Mount> = mount.itself.call_once(|| Arc::downgrade(&mount));
        mount.end.set_client(client.clone())?;
        mount.negotiate()?;
        mount.attach(name)?;
        Ok(mount)
    }

    fn negotiate(&self) -> Result<(), Errno> {
        for version in [VERSION_SNAP, VERSION_L] {
            let msize = MSIZE;
            let answer = self.call(&Request::Version { msize, version })?;
            let Reply::Version {
                msize: theirs,
                version: agreed,
            } = answer.reply()?
            else {
                return Err(Errno::EPROTO);
            };
            let agreed_msize = theirs.min(msize);
            let iounit = data_in(agreed_msize, agreed);
            if agreed == version && iounit > 0 {
                self.state.lock().machine.set_msize(agreed_msize);
                self.iounit.store(iounit.min(IOUNIT), Relaxed);
                self.snapshots.store(agreed == VERSION_SNAP, Relaxed);
                return Ok(());
            }
        }
        Err(Errno::EPROTO)
    }

    fn attach(&self, name: &[u8]) -> Result<(), Errno> {
        if self.has_snapshots() {
            let session = session_id(self.id);
            let answer = self.call(&Request::Session { session })?;
            let Reply::Session { wmax, .. } = answer.reply()? else {
                return Err(Errno::EPROTO);
            };
            self.wmax.store(wmax.clamp(IOUNIT, WMAX), Relaxed);
        }
        let fid = self.new_fid()?;
        let request = Request::Attach {
            fid,
            afid: NOFID,
            uname: ByteStr(b"dormouse"),
            aname: ByteStr(name),
            n_uname: NONUNAME,
        };
        let answer = self.call(&request)?;
        let Reply::Attach { qid } = answer.reply()? else {
            return Err(Errno::EPROTO);
        };
        counters::add(Stat64::Fids, 1);
        self.root.store(fid, Relaxed);
        *self.root_qid.lock() = qid;
        Ok(())
    }

    /// Returns true if the server has snapshots.
    pub fn has_snapshots(&self) -> bool {
        self.snapshots.load(Relaxed)
    }

    /// Makes all reads of its files eager.
    pub fn be_eager(&self) {
        self.eager.store(true, Relaxed);
    }

    /// Returns true if reads of its files may be deferred.
    pub fn deferred(&self) -> bool {
        !self.eager.load(Relaxed)
    }

    /// Most data bytes in one message.
    pub fn iounit(&self) -> u32 {
        self.iounit.load(Relaxed)
    }

    /// Most bytes one commit moves.
    pub fn wmax(&self) -> u32 {
        self.wmax.load(Relaxed)
    }

    /// Fid and qid of the root of the tree.
    pub fn root(&self) -> (u32, Qid) {
        (self.root.load(Relaxed), *self.root_qid.lock())
    }

    /// A number that is no fid on this connection: the caller's until
    /// [`Self::clunk_later`] or [`Self::free_fid`].
    pub fn new_fid(&self) -> Result<u32, Errno> {
        frames::for_all(|| self.state.lock().machine.new_fid())
    }

    /// The server has refused to make this fid.
    pub fn free_fid(&self, fid: u32) {
        self.state.lock().machine.free_fid(fid);
    }

    /// A write is about to stage something, and will wait for no other server
    /// until [`Self::end_staging`].
    ///
    /// # Errors
    /// `EINTR`; `EIO` if the server is gone.
    fn begin_staging(&self) -> Result<(), Errno> {
        self.state.wait(
            |state| state.staging.queue(),
            Reason::Tag,
            |state| match state.machine.is_down() {
                true => Some(Err(Errno::EIO)),
                false => state.staging.try_take().map(Ok),
            },
        )?
    }

    /// It is committed, or given up.
    fn end_staging(&self) {
        self.state.lock().staging.give();
    }

    /// Returns true if the server has answered all that it was asked.
    pub fn is_quiet(&self) -> bool {
        let state = self.state.lock();
        state.machine.is_down() || state.machine.is_quiet()
    }

    /// Returns true if the connection is closed.
    pub fn is_down(&self) -> bool {
        self.state.lock().machine.is_down()
    }

    /// The other side is closed: every wait is over, and every later call
    /// fails at once.
    fn end_all(&self) {
        {
            let mut state = self.state.lock();
            state.machine.hang_up(Errno::EIO);
            state.forget_loans();
            state.starved.wake_all();
            state.staging.queue().wake_all();
        }
        while let Some(effects) = self.step(|state| state.machine.next_hung_up()) {
            deliver::apply(effects);
        }
    }
}

/// Data bytes that fit into a message of `msize` bytes; 0: it is too small. A
/// message of a write with snapshots may have a long head.
fn data_in(msize: u32, version: ByteStr<'_>) -> u32 {
    let spare = msize.saturating_sub(HEADROOM);
    if version == VERSION_SNAP {
        // Staged in smaller parts, a write would take messages without number.
        return if spare < PAGE as u32 { 0 } else { spare };
    }
    // A small server: plain reads and writes still fit.
    spare.max(msize.saturating_sub(IOHDRSZ).min(4096))
}

/// The client's random id, the same for the life of the connection.
fn session_id(mount: u32) -> [u8; 16] {
    let ticks = hw::time::ticks();
    let mut id = [0; 16];
    let (a, b) = id.split_at_mut(8);
    a.copy_from_slice(&ticks.to_le_bytes());
    b.copy_from_slice(&(u64::from(mount) << 32 | 0x6d6f_7573).to_le_bytes());
    id
}
