//! A client's connection: its fids, its requests in flight, its writes.

use crate::ConnId;
use crate::durable::Session;
use crate::file::File;
use crate::lower::LowerFid;
use crate::options::MountOptions;
use crate::put::Write;
use crate::snap::Snapshot;
use crate::sync::Condition;
use abi::Errno;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::ops::Deref;
use ninep::Qid;
use ninep::consts::NOFID;

/// Bytes of the server's memory for each fid that a connection may have: as many as all
/// descriptors of a small machine's processes, and snapshots beside them.
pub const PER_FID: usize = 512;
/// The part of a connection's fids that may be snapshots. A program without a snapshot
/// reads at once; without a fid it opens nothing.
const SNAPFIDS_PART: usize = 3;

/// A lower fid and what is known of it.
#[derive(Clone, Copy)]
pub struct Plain {
    pub back: LowerFid,
    /// The file.
    pub qid: Qid,
    /// Of the mount it was reached through.
    pub options: MountOptions,
}

/// The meaning of a client's fid.
#[derive(Clone)]
pub enum Entry {
    /// A lower fid and no more: not open, or not a regular file.
    Plain(Plain),
    /// An open regular file.
    Open(Rc<Open>),
    /// A snapshot.
    Snap(Rc<Snapshot>),
    /// Taken by a request in flight.
    Reserved,
}

/// A regular file that a client opened.
pub struct Open {
    /// Open at the lower server, without `O_APPEND` and `O_TRUNC`.
    pub back: LowerFid,
    pub qid: Qid,
    pub file: Rc<File>,
    pub readable: bool,
    pub writable: bool,
    pub append: bool,
    pub options: MountOptions,
    /// The reader of the file, if `back` was seen to be the same file.
    pub same_as: Cell<Option<LowerFid>>,
    /// The fid was clunked while a request waited for the file's lock.
    pub closed: Cell<bool>,
}

impl Entry {
    fn is_snapshot(&self) -> bool {
        matches!(self, Entry::Snap(_))
    }

    /// The lower fid that ends with it, and what is known of it.
    pub fn plain(&self) -> Option<Plain> {
        match self {
            Entry::Plain(plain) => Some(*plain),
            Entry::Open(open) => Some(Plain {
                back: open.back,
                qid: open.qid,
                options: open.options,
            }),
            Entry::Snap(_) | Entry::Reserved => None,
        }
    }
}

/// The place of a request in the order of arrival. Requests wait only for
/// earlier ones, so that no two ever wait for each other, whatever their tags.
pub type Turn = u64;

/// A connection.
#[derive(Default)]
pub struct Conn {
    /// Its own number.
    pub id: Cell<ConnId>,
    pub(crate) fids: RefCell<BTreeMap<u32, Entry>>,
    /// Most it may have.
    pub fids_max: Cell<usize>,
    /// How many of them are snapshots.
    pub(crate) snapfids: Cell<usize>,
    /// 0 before `Tversion`.
    pub msize: Cell<u32>,
    /// Tversions in flight: what comes behind one finds nothing yet.
    pub versions: Cell<u32>,
    /// The snapshot messages were negotiated.
    pub snaps: Cell<bool>,
    /// Tags of requests in flight, each with its turn.
    pub(crate) tags: RefCell<Vec<(u16, Turn)>>,
    /// Those of them that the client does not want any more.
    pub(crate) flushed: RefCell<BTreeSet<Turn>>,
    /// The number of requests so far.
    pub(crate) turns: Cell<Turn>,
    /// Signalled when a tag is done or a write has its result.
    pub done: Condition,
    /// Writes by wid.
    pub writes: RefCell<BTreeMap<u64, Write>>,
    /// No write up to this wid is begun: some were refused of which nothing else
    /// could be kept.
    pub refused: Cell<Option<u64>>,
    /// The session it belongs to, if that has a lease.
    pub(crate) session: RefCell<Option<Rc<Session>>>,
    /// Lower fids that requests in flight hold, and how many of them.
    pub(crate) holds: RefCell<BTreeMap<LowerFid, u32>>,
}

/// A lower fid that a request uses for longer than one message, or after it
/// has waited: its number is not used for another meanwhile.
pub struct Hold<'c> {
    conn: &'c Conn,
    plain: Plain,
}

impl Deref for Hold<'_> {
    type Target = Plain;

    fn deref(&self) -> &Plain {
        &self.plain
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut holds = self.conn.holds.borrow_mut();
        if let Some(count) = holds.get_mut(&self.back) {
            *count -= 1;
            if *count == 0 {
                holds.remove(&self.back);
                self.conn.done.signal();
            }
        }
    }
}

impl Conn {
    /// The meaning of `fid`.
    ///
    /// # Errors
    /// `EBADF`: it is not in use.
    #[inline]
    pub fn get(&self, fid: u32) -> Result<Entry, Errno> {
        match self.fids.borrow().get(&fid) {
            Some(Entry::Reserved) | None => Err(Errno::EBADF),
            Some(entry) => Ok(entry.clone()),
        }
    }

    /// The lower fid of `fid`, for requests that are passed on at once and are one
    /// message there. Others take [`Conn::hold`].
    ///
    /// # Errors
    /// `EBADF` for no fid and for snapshots.
    pub fn plain(&self, fid: u32) -> Result<Plain, Errno> {
        self.get(fid)?.plain().ok_or(Errno::EBADF)
    }

    /// The same, held: until the end of a request that waits, or sends more
    /// than one message.
    ///
    /// # Errors
    /// As [`Conn::plain`].
    pub fn hold(&self, fid: u32) -> Result<Hold<'_>, Errno> {
        let (conn, plain) = (self, self.plain(fid)?);
        *self.holds.borrow_mut().entry(plain.back).or_default() += 1;
        Ok(Hold { conn, plain })
    }

    /// Waits until no request holds that lower fid. No lock may be held that
    /// such a request could wait for.
    pub async fn wait_until_free(&self, back: LowerFid) {
        while self.holds.borrow().contains_key(&back) {
            self.done.wait().await;
        }
    }

    /// Gives an unused `fid` a meaning.
    ///
    /// # Errors
    /// `EBADF`: it has one, or cannot. `EMFILE`: too many.
    pub fn put_new(&self, fid: u32, entry: Entry) -> Result<(), Errno> {
        let (fids, max) = (self.fids.borrow().len(), self.fids_max.get());
        let snapfids = self.snapfids.get() + usize::from(entry.is_snapshot());
        if fids >= max || entry.is_snapshot() && snapfids > max / SNAPFIDS_PART {
            return Err(Errno::EMFILE);
        }
        if fid == NOFID || self.fids.borrow().contains_key(&fid) {
            return Err(Errno::EBADF);
        }
        self.replace(fid, entry);
        Ok(())
    }

    /// Changes the meaning of `fid`.
    pub fn replace(&self, fid: u32, entry: Entry) {
        let more = usize::from(entry.is_snapshot());
        let before = self.fids.borrow_mut().insert(fid, entry);
        let less = usize::from(before.is_some_and(|entry| entry.is_snapshot()));
        self.snapfids.set(self.snapfids.get() + more - less);
    }

    /// Takes a plain fid for a request that makes something else of it: for
    /// others it is reserved, until it is replaced.
    ///
    /// # Errors
    /// `EBADF`: it is nothing. `EINVAL`: it is open, or a snapshot.
    pub fn reserve(&self, fid: u32) -> Result<Plain, Errno> {
        let Entry::Plain(plain) = self.get(fid)? else {
            return Err(Errno::EINVAL);
        };
        self.replace(fid, Entry::Reserved);
        Ok(plain)
    }

    /// Ends the reservation of a new fid, which is what was `made`, if anything.
    ///
    /// # Errors
    /// That of making it.
    pub fn fill(&self, fid: u32, made: Result<Plain, Errno>) -> Result<Plain, Errno> {
        match made {
            Ok(plain) => self.replace(fid, Entry::Plain(plain)),
            Err(_) => drop(self.fids.borrow_mut().remove(&fid)),
        }
        made
    }

    /// Waits until no request in flight has reserved `fid`.
    pub async fn wait_while_reserved(&self, fid: u32) {
        while matches!(self.fids.borrow().get(&fid), Some(Entry::Reserved)) {
            self.done.wait().await;
        }
    }

    /// `fid` is nothing any more.
    ///
    /// # Errors
    /// `EBADF`: it was nothing.
    pub fn remove(&self, fid: u32) -> Result<Entry, Errno> {
        let mut fids = self.fids.borrow_mut();
        match fids.remove(&fid) {
            None => Err(Errno::EBADF),
            Some(Entry::Reserved) => {
                fids.insert(fid, Entry::Reserved);
                Err(Errno::EBADF)
            }
            Some(entry) => {
                let snapfids = self.snapfids.get() - usize::from(entry.is_snapshot());
                self.snapfids.set(snapfids);
                Ok(entry)
            }
        }
    }

    /// All fids, which are nothing any more.
    pub fn take_all(&self) -> BTreeMap<u32, Entry> {
        self.snapfids.set(0);
        core::mem::take(&mut *self.fids.borrow_mut())
    }

    /// Returns true if the connection has no fid.
    pub fn is_empty(&self) -> bool {
        self.fids.borrow().is_empty()
    }

    /// The session it belongs to, if that has a lease.
    pub fn session(&self) -> Option<Rc<Session>> {
        self.session.borrow().clone()
    }

    /// It belongs to this session now.
    pub fn set_session(&self, session: Option<Rc<Session>>) {
        *self.session.borrow_mut() = session;
    }

    /// The session it belonged to.
    pub fn take_session(&self) -> Option<Rc<Session>> {
        self.session.borrow_mut().take()
    }

    /// A request is in flight.
    pub fn begin(&self, tag: u16) -> Turn {
        let turn = self.turns.get();
        self.turns.set(turn + 1);
        self.tags.borrow_mut().push((tag, turn));
        turn
    }

    /// A request is answered.
    pub fn end(&self, turn: Turn) {
        let mut tags = self.tags.borrow_mut();
        if let Some(at) = tags.iter().position(|(_, other)| *other == turn) {
            tags.swap_remove(at);
        }
        drop(tags);
        self.flushed.borrow_mut().remove(&turn);
        self.done.signal();
    }

    /// The client does not want the requests `tag` that came before `own`.
    pub fn flush(&self, tag: u16, own: Turn) {
        let tags = self.tags.borrow();
        let old = tags.iter().filter(|(of, turn)| *of == tag && *turn < own);
        let mut flushed = self.flushed.borrow_mut();
        flushed.extend(old.map(|(_, turn)| *turn));
    }

    /// Returns true if the client has flushed this request.
    pub fn is_flushed(&self, turn: Turn) -> bool {
        self.flushed.borrow().contains(&turn)
    }

    async fn wait_until_none(&self, is_waited_for: impl Fn(u16, Turn) -> bool) {
        let waits = || {
            let tags = self.tags.borrow();
            tags.iter().any(|(tag, turn)| is_waited_for(*tag, *turn))
        };
        while waits() {
            self.done.wait().await;
        }
    }

    /// Waits until no request `tag` that came before `own` is in flight: its
    /// answer comes first.
    pub async fn wait_for(&self, tag: u16, own: Turn) {
        self.wait_until_none(|other, turn| other == tag && turn < own)
            .await;
    }

    /// Waits until no request that came before `own` is in flight.
    pub async fn wait_for_earlier(&self, own: Turn) {
        self.wait_until_none(|_, turn| turn < own).await;
    }

    /// Waits until no request is in flight.
    pub async fn wait_for_all(&self) {
        self.wait_until_none(|_, _| true).await;
    }
}
