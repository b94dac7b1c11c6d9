//! The table of snapshots that the kernel holds at servers.
//!
//! A snapshot is named by a [`SnapId`]: the number of its entry. It is held by
//! the segments whose extents refer to it, and by an operation in progress;
//! the last one to let go gives its snapfid back to the server.
//!
//! A file of the boot bundle never changes: it is a snapshot of itself, without a
//! server.
use super::sink::Sink;
use super::{Mount, entries::Entries, remote::Remote};
use crate::bundle;
use crate::counters;
use crate::sched::{Reason, Wait, WaitQueue};
use crate::text;
use abi::{Errno, Stat64};
use alloc::sync::Arc;
use core::ops::Range;
use hw::cache;
use hw::heap::new_box;
use hw::lock::{Lock, Rank};
use ninep::client::Failed;
use ninep::consts::NOFID;
use ninep::{Reply, Request};
use vm::{Changes, Epochs, Frame, SnapId, Snapped};

/// Who has the bytes of a snapshot.
enum Home {
    /// A server.
    Server(Site),
    /// The kernel.
    Bundle(&'static [u8]),
}

impl Home {
    fn site(&self) -> Option<&Site> {
        match self {
            Home::Server(site) => Some(site),
            Home::Bundle(_) => None,
        }
    }

    fn is_down(&self) -> bool {
        self.site().is_some_and(|site| site.mount.is_down())
    }

    /// The number of the connection, for the frame cache.
    fn connection(&self) -> u32 {
        self.site().map_or(vm::KERNELS_OWN, |site| site.mount.id)
    }
}

/// One snapshot.
struct Held {
    home: Home,
    qid_path: u64,
    /// The name of the file, for the message about a lost snapshot.
    path: Arc<str>,
    holders: u32,
    /// Ttrims without an answer.
    trims: u32,
    /// At which epochs its bytes are.
    epochs: Epochs,
}

struct Table {
    entries: Entries<Held>,
    /// Processes that wait for answers to trims. Rare enough for one queue.
    trimming: WaitQueue,
}

static TABLE: Lock<Table> = Lock::new(
    Rank::Snapshots,
    Table {
        entries: Entries::new(),
        trimming: WaitQueue::new(),
    },
);

/// Bytes of the bundle that are copied in one step.
const BUNDLE_IOUNIT: u32 = 64 << 10;

/// Where a snapshot is: the server and its snapfid there.
#[derive(Clone)]
pub struct Site {
    /// The server.
    pub mount: Arc<Mount>,
    /// The fid of the snapshot.
    pub snapfid: u32,
}

impl Table {
    fn held(&mut self, snap: SnapId) -> Option<&mut Held> {
        self.entries.get(snap.0)
    }
}

/// A new entry, held once, for a snapshot of `file` that is not made yet.
pub fn reserve(file: &Remote, path: &Arc<str>) -> Result<SnapId, Errno> {
    let snapfid = file.mount.new_fid()?;
    let held = Held {
        home: Home::Server(Site {
            mount: file.mount.clone(),
            snapfid,
        }),
        qid_path: file.qid.path,
        path: path.clone(),
        holders: 1,
        trims: 0,
        epochs: Epochs::default(),
    };
    let snap = insert(held);
    if snap.is_err() {
        file.mount.free_fid(snapfid);
    }
    snap
}

/// A file of the bundle as a snapshot, held once.
pub fn of_bundle(file: &'static bundle::File) -> Result<SnapId, Errno> {
    let snap = insert(Held {
        home: Home::Bundle(file.content),
        qid_path: file.number,
        path: file.path.clone(),
        holders: 1,
        trims: 0,
        epochs: Epochs::default(),
    })?;
    // Any epoch does: the file has one.
    is_at(snap, 0..file.content.len() as u64, 1);
    Ok(snap)
}

fn insert(held: Held) -> Result<SnapId, Errno> {
    let held = new_box(held)?;
    let mut table = TABLE.lock();
    let (index, held) = table.entries.insert(held)?;
    held.epochs = cache::with(|cache| cache.open(held.home.connection(), held.qid_path));
    counters::add(Stat64::Snapshots, 1);
    Ok(SnapId(index))
}

/// The place of a snapshot, if that is a server.
pub fn site(snap: SnapId) -> Option<Site> {
    let mut table = TABLE.lock();
    table.held(snap)?.home.site().cloned()
}

/// Its fid at its server.
pub fn snapfid(snap: SnapId) -> Result<u32, Errno> {
    site(snap).map(|site| site.snapfid).ok_or(Errno::ESTALE)
}

/// The name of its file, and whether its server is gone.
pub fn path(snap: SnapId) -> Option<(Arc<str>, bool)> {
    let mut table = TABLE.lock();
    let held = table.held(snap)?;
    Some((held.path.clone(), held.home.is_down()))
}

/// Returns true if the server of a snapshot is gone.
pub fn is_down(snap: SnapId) -> bool {
    TABLE.lock().held(snap).is_none_or(|h| h.home.is_down())
}

/// Adds a holder.
pub fn retain(snap: SnapId) {
    if let Some(held) = TABLE.lock().held(snap) {
        held.holders += 1;
    }
}

/// The number of holders.
pub fn holders(snap: SnapId) -> u32 {
    TABLE.lock().held(snap).map_or(0, |h| h.holders)
}

/// Returns true if the snapshot is at that server.
pub fn at_server(snap: SnapId, mount: &Mount) -> bool {
    TABLE
        .lock()
        .held(snap)
        .is_some_and(|h| h.home.connection() == mount.id)
}

/// Returns true if it is a snapshot of that file.
pub fn of_file(snap: SnapId, file: &Remote) -> bool {
    let mut table = TABLE.lock();
    let held = table.held(snap);
    held.is_some_and(|h| h.home.connection() == file.mount.id && h.qid_path == file.qid.path)
}

/// One holder less; the last gives the snapfid back, without waiting.
pub fn release(snap: SnapId) {
    let gone = {
        let mut table = TABLE.lock();
        let Some(held) = table.held(snap) else { return };
        held.holders = held.holders.saturating_sub(1);
        if held.holders > 0 {
            return;
        }
        table.entries.remove(snap.0)
    };
    counters::subtract_one(Stat64::Snapshots);
    if let Some(held) = gone {
        let held = *held;
        cache::close(held.epochs);
        if let Home::Server(site) = held.home {
            site.mount.clunk_later(site.snapfid);
        }
    }
}

/// Tells the server that its only holder does not refer to these ranges of it
/// any more, without waiting. `false`: there are others, or not possible now.
pub fn trim(snap: SnapId, ranges: &[Range<u64>]) -> bool {
    let mut list = [(0, 0); vm::TRIM_MAX];
    for (entry, range) in list.iter_mut().zip(ranges) {
        *entry = (range.start, range.end - range.start);
    }
    let list = &list[..ranges.len()];
    let (mount, what) = {
        let mut table = TABLE.lock();
        let Some(held) = table.held(snap) else {
            return true;
        };
        let Home::Server(Site { mount, snapfid }) = &held.home else {
            return true;
        };
        if mount.is_down() {
            return true;
        }
        if held.holders > 1 {
            return false;
        }
        held.trims += 1;
        let (of, snapfid) = (mount.id, *snapfid);
        (mount.clone(), Trimmed { snap, of, snapfid })
    };
    let sent = mount.trim(what, list);
    if !sent {
        trimmed(what);
    }
    sent
}

/// The subject of a Ttrim. At the time of the answer an entry of the table may
/// belong to another snapshot.
#[derive(Clone, Copy)]
pub struct Trimmed {
    snap: SnapId,
    /// The number of its server.
    of: u32,
    pub(super) snapfid: u32,
}

/// A trim was answered.
pub fn trimmed(what: Trimmed) {
    let mut table = TABLE.lock();
    if let Some(held) = table.held(what.snap)
        && held
            .home
            .site()
            .is_some_and(|site| (site.mount.id, site.snapfid) == (what.of, what.snapfid))
    {
        held.trims = held.trims.saturating_sub(1);
        if held.trims == 0 {
            table.trimming.wake_all();
        }
    }
}

/// Waits until no trim of the snapshot is under way, before something is sent
/// that gives it new content: a server may do the two in any order.
pub fn finish_trims(snap: SnapId) -> Result<(), Errno> {
    TABLE.wait(
        |table| &mut table.trimming,
        Reason::Reply,
        |table| {
            let settled = table.held(snap).is_none_or(|held| held.trims == 0);
            settled.then_some(())
        },
    )
}

/// Takes a snapshot of `[off, off + count)` of an open file as it is now;
/// with `grow`, into one that is held already. Blocks.
///
/// # Errors
/// `EMFILE`: the server has no room for it. `ENOMEM`: the kernel has none.
pub fn take(
    file: &Remote,
    path: &Arc<str>,
    off: u64,
    count: u64,
    grow: Option<SnapId>,
) -> Result<Snapped, Errno> {
    let snap = match grow {
        Some(snap) => {
            finish_trims(snap)?;
            snap
        }
        None => reserve(file, path)?,
    };
    let result = request(file, snap, off, count, grow.is_none());
    if result.is_err() && grow.is_none() {
        release(snap);
    }
    result.map(|count| Snapped { snap, count })
}

fn request(file: &Remote, snap: SnapId, off: u64, count: u64, fresh: bool) -> Result<u64, Errno> {
    let snapfid = snapfid(snap)?;
    let known = known(&file.mount, file.qid.path);
    let request = Request::Snap {
        fid: file.fid,
        snapfid,
        off,
        count,
        epoch: 0,
        known,
    };
    let answer = file.mount.call(&request);
    if let Err(Failed::Unsent(_) | Failed::Refused(_)) = answer
        && fresh
    {
        refused(file, snap);
    }
    let answer = answer.map_err(|failed| match failed {
        Failed::Refused(Errno::ENOMEM) => Errno::EMFILE,
        failed => failed.into(),
    })?;
    let Reply::Snap {
        count: taken,
        epoch,
        changes,
        ..
    } = answer.reply()?
    else {
        return Err(Errno::EPROTO);
    };
    let taken = taken.min(count);
    let changes = told(changes);
    let news = News {
        known,
        epoch,
        changes,
    };
    learn(&file.mount, file.qid.path, &news);
    is_at(snap, off..off.saturating_add(taken), epoch);
    Ok(taken)
}

/// The server has refused to make the snapshot: there is nothing to give back.
fn refused(file: &Remote, snap: SnapId) {
    let unmade = {
        let mut table = TABLE.lock();
        match table.held(snap).map(|held| &mut held.home) {
            Some(Home::Server(site)) => Some(core::mem::replace(&mut site.snapfid, NOFID)),
            Some(Home::Bundle(_)) | None => None,
        }
    };
    if let Some(snapfid) = unmade {
        file.mount.free_fid(snapfid);
    }
}

/// The statement of an answer about the past of a file.
pub struct News {
    /// The epoch that the request named.
    pub known: u64,
    /// The file's.
    pub epoch: u64,
    /// The changes between them; `None`: any byte may have changed.
    pub changes: Option<Changes>,
}

/// A list of changes as the frame cache has it; `None`: anything may have changed.
pub fn told(changes: ninep::Changes<'_>) -> Option<Changes> {
    if changes.all() {
        return None;
    }
    let mut told = Changes::NONE;
    for (off, len) in changes.iter() {
        told.add(off..off.saturating_add(len)).ok()?;
    }
    Some(told)
}

/// The newest known epoch of a file, to be named in a request.
pub fn known(mount: &Mount, path: u64) -> u64 {
    cache::with(|cache| cache.known(cache.file(mount.id, path)))
}

/// Records the statements of an answer. Must be called before the answer has
/// any other effect.
pub fn learn(mount: &Mount, path: u64, news: &News) {
    cache::with(|cache| {
        let file = cache.file(mount.id, path);
        cache.note(file, news.known, news.epoch, news.changes.as_ref());
    });
}

/// The bytes in `range` of the snapshot are at that epoch of its file now.
pub fn is_at(snap: SnapId, range: Range<u64>, epoch: u64) {
    if let Some(held) = TABLE.lock().held(snap) {
        cache::with(|cache| cache.set(&mut held.epochs, range, epoch));
    }
}

/// A frame with the page at `soff` of the snapshot, held once more, if any
/// reader has one.
#[inline]
pub fn cached(snap: SnapId, soff: u64) -> Option<Frame> {
    let mut table = TABLE.lock();
    cache::find(&table.held(snap)?.epochs, soff)
}

/// The same for the pages from `soff` on, for each bit of `wanted` one: puts their frames
/// at their places and returns the bits of those that were found.
pub fn cached_run(snap: SnapId, soff: u64, wanted: u64, frames: &mut [Frame]) -> u64 {
    let mut table = TABLE.lock();
    let held = table.held(snap);
    held.map_or(0, |held| {
        cache::find_run(&held.epochs, soff, wanted, frames)
    })
}

/// How many pages from `soff` on, at most `pages`, no reader has.
pub fn uncached(snap: SnapId, soff: u64, pages: u64) -> u64 {
    let mut table = TABLE.lock();
    let held = table.held(snap);
    held.map_or(pages, |held| cache::missing(&held.epochs, soff, pages))
}

/// Most bytes that one [`read`] of the snapshot brings.
pub fn iounit(snap: SnapId) -> u32 {
    let mut table = TABLE.lock();
    table.held(snap).map_or(0, |held| match &held.home {
        Home::Server(site) => site.mount.iounit(),
        Home::Bundle(_) => BUNDLE_IOUNIT,
    })
}

/// Reads from a snapshot, of a server in one message: how many bytes came, 0 at the end.
/// Blocks.
pub fn read(snap: SnapId, offset: u64, sink: impl Into<Sink>) -> Result<usize, Errno> {
    let bytes = match TABLE.lock().held(snap).map(|held| &held.home) {
        None => return Err(Errno::ESTALE),
        Some(Home::Bundle(bytes)) => Ok(*bytes),
        Some(Home::Server(site)) => Err(site.clone()),
    };
    match bytes {
        Ok(bytes) => Ok(sink.into().fill(text::part(bytes, offset, u64::MAX))),
        Err(site) => read_at_server(&site, offset, sink.into()),
    }
}

fn read_at_server(site: &Site, offset: u64, sink: Sink) -> Result<usize, Errno> {
    site.mount.read(site.snapfid, offset, sink)
}

/// As [`publish`] for frames of the pages from `soff` on. Where a frame was there first,
/// the caller's reference moves to it.
pub fn publish_run(snap: SnapId, soff: u64, frames: &mut [Frame]) {
    let mut table = TABLE.lock();
    if let Some(held) = table.held(snap) {
        cache::publish_run(&held.epochs, soff, frames);
    }
}

/// Offers a frame to others as that page; one that was there first, held once
/// more.
pub fn publish(snap: SnapId, soff: u64, frame: Frame) -> Option<Frame> {
    let mut table = TABLE.lock();
    cache::publish(&table.held(snap)?.epochs, soff, frame)
}
