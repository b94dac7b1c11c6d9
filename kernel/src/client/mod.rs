//! The kernel's 9P client: one [`Mount`] per connection to a file server.
//!
//! [`rpc`] sends a T message and waits for its R, many at a time; [`deliver`]
//! takes the R messages when the server sends them and copies a payload once,
//! from the server's memory into the waiting frames. [`remote`] has the files,
//! [`snapshots`] the table of snapshots held at servers.
mod deliver;
pub mod put;
pub mod remote;
pub mod rpc;
pub mod snapshots;

use crate::chan::{End, Piece, room};
use crate::counters;
use crate::sched::{Reason, Semaphore, Slot, Wait, WaitQueue};
use abi::{Errno, Stat64};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use hw::frames;
use hw::heap::new_arc;
use hw::lock::{Lock, Rank};
use ninep::client::Fids;
use ninep::consts::{IOHDRSZ, NOFID, NONUNAME, NOTAG, VERSION_L, VERSION_SNAP};
use ninep::{ByteStr, Qid, Reply, Request};
use vm::SnapId;

/// Requests in flight at one server.
const TAGS: usize = 64;
/// Of these, messages of writes, whose answers may stay while the writer waits
/// for something else. The others' are taken as soon as they come, so that
/// whatever a writer waits for goes on.
const HELD_MAX: usize = 48;
/// Writes that have something staged at a time. The server's room is for four
/// (docs/protocol.md); what was given up may still take some of it.
const STAGING_MAX: usize = 2;
/// Data bytes in one message the kernel asks for.
const IOUNIT: u32 = 128 * 1024;
/// Room for the head of the longest message beside its data.
const HEADROOM: u32 = 4096;
/// Longest message.
const MSIZE: u32 = IOUNIT + HEADROOM;
/// Most bytes one commit may move, until the server says otherwise.
const WMAX: u32 = 8 << 20;

static NEXT_ID: AtomicU32 = AtomicU32::new(1);

/// What has become of a request.
enum Progress {
    /// The tag is unused.
    Free,
    /// On its way.
    Sent,
    /// The reply is here.
    Answered(Result<rpc::Answer, Errno>),
}

/// One tag.
struct Pending {
    progress: Progress,
    /// Who waits; `None` once nobody does any more.
    waiter: Option<Slot>,
    /// Where the data of an Rread goes.
    sink: Vec<Piece>,
    /// Its tag in messages.
    wire_tag: u16,
    /// A fid that the server makes for it, or a snapshot that it changes.
    makes: u32,
    /// That fid is to be given back as soon as the reply is there.
    unwanted: bool,
    /// It is a Tclunk of this fid.
    clunks: Option<u32>,
    /// The tag this one flushes.
    flushes: Option<u16>,
    /// A flush of this tag is on its way: the tag is not free before the
    /// answer to that.
    flushed: bool,
    /// It is a Ttrim of this snapshot.
    trims: Option<Trimmed>,
    /// It is one of [`State::held`].
    held: bool,
}

/// What a Ttrim is about; an entry of the table may have become another
/// snapshot's by the time of the answer.
#[derive(Clone, Copy)]
pub struct Trimmed {
    snap: SnapId,
    snapfid: u32,
}

/// What is left to do after a reply.
#[derive(Default)]
struct Afterwards {
    /// A fid that it made and nobody wants.
    clunk: Option<u32>,
    /// A trim that is done.
    trimmed: Option<Trimmed>,
}

impl Pending {
    fn new(progress: Progress, wire_tag: u16) -> Pending {
        Pending {
            progress,
            waiter: None,
            sink: Vec::new(),
            wire_tag,
            makes: NOFID,
            unwanted: false,
            clunks: None,
            flushes: None,
            flushed: false,
            trims: None,
            held: false,
        }
    }

    /// The fid that the request made, if it is to be given back.
    fn take_unwanted(&mut self) -> Option<u32> {
        core::mem::take(&mut self.unwanted).then_some(self.makes)
    }
}

/// A write that the server may have something of.
struct Outstanding {
    wid: u64,
    /// Nobody wants it any more; the fid it was to.
    given_up: Option<u32>,
}

struct State {
    /// [`TAGS`] of them.
    pending: Vec<Pending>,
    /// A bit for each tag in use.
    used: u64,
    free: WaitQueue,
    /// Tags of messages of writes, at most [`HELD_MAX`]; writers with no
    /// message in flight wait for one of those.
    held: Semaphore,
    /// Writes of which something is staged, at most [`STAGING_MAX`].
    staging: Semaphore,
    fids: Fids,
    next_wid: u64,
    /// Writes whose results are still wanted, and those that the server is to
    /// forget as soon as a tag is free.
    writes: Vec<Outstanding>,
    /// How many of the latter.
    given_up: usize,
    /// Fids to clunk as soon as a tag is free; has room for all.
    unwanted: Vec<u32>,
    down: bool,
}

/// A connection to a file server.
pub struct Mount {
    /// The kernel's number for the server.
    pub id: u32,
    end: Arc<End>,
    state: Lock<State>,
    root: AtomicU32,
    root_qid: Lock<Qid>,
    snapshots: AtomicBool,
    eager: AtomicBool,
    msize: AtomicU32,
    iounit: AtomicU32,
    wmax: AtomicU32,
}

impl Drop for Mount {
    fn drop(&mut self) {
        // The root fid goes with the connection.
        if self.root.load(Relaxed) != NOFID {
            counters::subtract_one(Stat64::Fids);
        }
    }
}

impl Mount {
    /// Speaks 9P on `end`: version, session, attach to what the server calls
    /// `name`. Blocks.
    pub fn connect(end: Arc<End>, name: &[u8]) -> Result<Arc<Mount>, Errno> {
        let mut pending = room(TAGS)?;
        pending.resize_with(TAGS, || Pending::new(Progress::Free, NOTAG));
        let state = State {
            pending,
            used: 0,
            free: WaitQueue::new(),
            held: Semaphore::new(HELD_MAX),
            staging: Semaphore::new(STAGING_MAX),
            fids: Fids::NONE,
            next_wid: 1,
            writes: Vec::new(),
            given_up: 0,
            unwanted: room(TAGS)?,
            down: false,
        };
        let mount = new_arc(Mount {
            id: NEXT_ID.fetch_add(1, Relaxed),
            end,
            state: Lock::new(Rank::Mount, state),
            root: AtomicU32::new(NOFID),
            root_qid: Lock::new(Rank::Mount, Qid::default()),
            snapshots: AtomicBool::new(false),
            eager: AtomicBool::new(false),
            msize: AtomicU32::new(MSIZE),
            iounit: AtomicU32::new(IOUNIT),
            wmax: AtomicU32::new(WMAX),
        })?;
        let client: Weak<Mount> = Arc::downgrade(&mount);
        mount.end.set_client(client)?;
        mount.negotiate()?;
        mount.attach(name)?;
        Ok(mount)
    }

    fn negotiate(&self) -> Result<(), Errno> {
        for version in [VERSION_SNAP, VERSION_L] {
            let msize = MSIZE;
            let answer = self.call_untagged(&Request::Version { msize, version })?;
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
                self.msize.store(agreed_msize, Relaxed);
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

    /// Does the server keep snapshots?
    pub fn has_snapshots(&self) -> bool {
        self.snapshots.load(Relaxed)
    }

    /// No read of its files is to be deferred.
    pub fn be_eager(&self) {
        self.eager.store(true, Relaxed);
    }

    /// May reads of its files be deferred?
    pub fn deferred(&self) -> bool {
        !self.eager.load(Relaxed)
    }

    /// Longest message, either way.
    fn msize(&self) -> u32 {
        self.msize.load(Relaxed)
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

    /// A number that is no fid on this connection: its own until the server has
    /// answered [`Self::clunk_later`], or [`Self::free_fid`]. Room to give it back
    /// without allocating is made now.
    pub fn new_fid(&self) -> Result<u32, Errno> {
        let state = &mut *self.state.lock();
        let more = (state.fids.in_use() + 1).saturating_sub(state.unwanted.len());
        frames::for_all(|| {
            let reserved = state.unwanted.try_reserve(more);
            reserved.map_err(|_| Errno::ENOMEM)?;
            state.fids.take()
        })
    }

    /// The server has refused to make this fid.
    pub fn free_fid(&self, fid: u32) {
        self.state.lock().fids.give_back(fid);
    }

    /// A number for one write, which is outstanding until [`Self::end_wid`]
    /// or [`Self::give_up`].
    pub fn new_wid(&self) -> Result<u64, Errno> {
        let state = &mut *self.state.lock();
        state.writes.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        state.next_wid += 1;
        let wid = state.next_wid;
        let given_up = None;
        state.writes.push(Outstanding { wid, given_up });
        Ok(wid)
    }

    /// The write's result is known, or nobody wants it any more and nothing of
    /// it is staged.
    pub fn end_wid(&self, wid: u64) {
        self.state.lock().writes.retain(|w| w.wid != wid);
    }

    /// Results of writes before this one will not be asked for again.
    pub fn oldest_wid(&self) -> u64 {
        let state = self.state.lock();
        let wids = state.writes.iter().map(|w| w.wid);
        wids.min().unwrap_or(state.next_wid)
    }

    /// A write is about to stage something, and will wait for no other server
    /// until [`Self::end_staging`].
    ///
    /// # Errors
    /// `EINTR`; `EIO` if the server is gone.
    pub fn begin_staging(&self) -> Result<(), Errno> {
        self.take_permit(|state| &mut state.staging)
    }

    /// It is committed, or given up.
    pub fn end_staging(&self) {
        self.state.lock().staging.give();
    }

    /// Waits in `queue` until `try_it` returns something.
    ///
    /// # Errors
    /// `EINTR`; `EIO` if the server is gone.
    fn wait<R>(
        &self,
        queue: impl Fn(&mut State) -> &mut WaitQueue,
        mut try_it: impl FnMut(&mut State) -> Option<R>,
    ) -> Result<R, Errno> {
        self.state.wait(queue, Reason::Tag, |state| {
            if state.down {
                return Some(Err(Errno::EIO));
            }
            try_it(state).map(Ok)
        })?
    }

    /// Waits for a permit.
    ///
    /// # Errors
    /// `EINTR`; `EIO` if the server is gone.
    fn take_permit(&self, of: impl Fn(&mut State) -> &mut Semaphore) -> Result<(), Errno> {
        self.wait(|state| of(state).queue(), |state| of(state).try_take())
    }

    /// Is the server gone for good?
    pub fn is_down(&self) -> bool {
        self.state.lock().down
    }

    /// The other side is closed: every wait is over, and every later call
    /// fails at once.
    fn end_all(&self) {
        {
            let mut state = self.state.lock();
            state.down = true;
            state.free.wake_all();
            state.held.queue().wake_all();
            state.staging.queue().wake_all();
        }
        // Nothing has to be given back to a server that is gone.
        for tag in 0..TAGS {
            self.answer(tag, Err(Errno::EIO));
        }
    }
}

/// Data bytes that fit into a message of `msize` bytes; 0: it is too small. A
/// message of a write with snapshots may have a long head.
fn data_in(msize: u32, version: ByteStr<'_>) -> u32 {
    let spare = msize.saturating_sub(HEADROOM);
    if version == VERSION_SNAP {
        return spare;
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
