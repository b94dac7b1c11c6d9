//! What snapfs knows of one file while it is open, or there is a
//! snapshot of it.

use crate::budget::{Growth, Share};
use crate::doubt::Doubt;
use crate::durable::Logged;
use crate::hidden::HiddenName;
use crate::history::History;
use crate::lower::LowerFid;
use crate::snap::Snapshot;
use crate::sync::{Acquire, Held, Lock};
use crate::unused::Past;
use crate::versions::{Epoch, Versions};
use crate::zeros::Zeros;
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ops::{Deref, Range};
use ninep::{Attr, Changes};

/// A file without blocks is believed to be all zeros only from this size on:
/// smaller ones may be kept in an inode, and are read quickly.
pub const HOLLOW_MIN: u64 = 1 << 20;

/// The largest size of a file, in bytes.
pub const SIZE_MAX: u64 = i64::MAX as u64;

/// One file, by qid.path. Fids, snapshots and running tasks hold it.
pub struct File {
    /// The lower server's identity for it.
    pub path: u64,
    pub(crate) lock: Lock,
    pub(crate) state: RefCell<State>,
}

impl File {
    /// Waits until nothing else reads or changes the live file, for work that must be
    /// done. A request that may fail waits by [`Snapfs::lock`].
    pub async fn lock(&self) -> Locked<'_> {
        Locked::new(self, self.lock.exclusive().await)
    }

    /// Returns true if both are the same file.
    pub fn is(&self, other: &File) -> bool {
        core::ptr::eq(self, other)
    }

    /// Waits until nothing changes the live file.
    pub fn share(&self) -> Acquire<'_> {
        self.lock.shared()
    }
}

/// Proof of holding a file's lock. Only its holder may change the file, its
/// size, its versions and the references of its snapshots, also across
/// messages. Reading a snapshot needs no lock: it checks again when the data
/// has arrived.
#[must_use]
pub struct Locked<'f> {
    file: &'f File,
    _held: Held<'f>,
}

impl<'f> Locked<'f> {
    pub(crate) fn new(file: &'f File, held: Held<'f>) -> Locked<'f> {
        Locked { file, _held: held }
    }
}

impl Deref for Locked<'_> {
    type Target = File;

    fn deref(&self) -> &File {
        self.file
    }
}

/// When a file was changed, in seconds and nanoseconds.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// The time of the last change of content.
    pub mtime: (u64, u64),
    /// The time of the last change of content, attributes or names; external
    /// writers cannot restore it. `None`: a difference is due to snapfs itself.
    pub ctime: Option<(u64, u64)>,
}

impl From<&Attr> for Times {
    fn from(attr: &Attr) -> Times {
        Times {
            mtime: (attr.mtime_sec, attr.mtime_nsec),
            ctime: Some((attr.ctime_sec, attr.ctime_nsec)),
        }
    }
}

/// The part of a [`File`] that changes. No borrow of it spans an `await`.
#[cfg_attr(feature = "duplicate", derive(Clone))]
pub struct State {
    /// Bytes, as of the last revalidation or own change.
    pub size: u64,
    /// Those after the last own change or revalidation; `None`: not known, as there
    /// was no snapshot that an external writer could have broken.
    pub times: Option<Times>,
    /// Own changes since `times` were learnt: whatever times are found next are due to
    /// those.
    pub unlearnt: u32,
    /// How often `times` were set, and how many own changes are under way: what
    /// a revalidation without the lock must know, or one while names are changed.
    pub seen: u64,
    pub changing: u32,
    /// Epoch of the last change.
    pub epoch: u64,
    /// The epoch at which the file was old when it was first seen with its present times
    /// ([`crate::unused`]).
    pub settled: Option<Epoch>,
    /// What is remembered of its last use, until it is looked at, or changed.
    pub past: Option<Past>,
    /// Which bytes changed at which epoch.
    pub history: History,
    /// Open fids, snapshots and tasks that need the file to be known.
    users: u32,
    /// The number of live snapshots.
    pub snaps: u32,
    /// Those of them that must not lose anything.
    pub precious: u32,
    /// A fid open for reading, for snapshots and rescues. It belongs to an
    /// open client fid until that is clunked, then to the file.
    pub reader: Option<LowerFid>,
    /// The reader belongs to the file.
    pub orphan: bool,
    /// Names of this file in the hidden directory.
    pub hidden: Vec<HiddenName>,
    /// The versions of blocks, and the references to them.
    pub versions: Versions,
    /// A failed write whose extent is unknown.
    pub doubt: Option<Doubt>,
    /// Which bytes are known to be zeros. What an external writer does to them is
    /// noticed as everywhere: nothing is known while `times` are not.
    pub zeros: Zeros,
    /// The state of the file in the log.
    pub logged: Option<Logged>,
    /// The log says that we are changing it.
    pub begun: bool,
    /// The memory charged for all this.
    pub share: Share,
}

impl State {
    fn new(epoch: u64, share: Share) -> State {
        State {
            size: 0,
            times: None,
            unlearnt: 0,
            seen: 0,
            changing: 0,
            epoch,
            settled: None,
            past: None,
            history: History::new(epoch),
            users: 0,
            snaps: 0,
            precious: 0,
            reader: None,
            orphan: false,
            hidden: Vec::new(),
            versions: Versions::default(),
            doubt: None,
            zeros: Zeros::default(),
            logged: None,
            begun: false,
            share,
        }
    }

    /// Updates the charge after growth or shrinking. Optional knowledge is
    /// dropped before it takes memory that snapshots need.
    pub fn weigh(&mut self) {
        let known = self.zeros.weight() + self.history.weight();
        self.share.set(self.versions.weight() + known);
        if known > 0 && self.share.is_scarce() {
            self.forget_known();
        }
    }

    /// Drops knowledge that nothing relies on.
    fn forget_known(&mut self) {
        self.zeros.clear();
        self.history.note_all(self.epoch);
        self.share.set(self.versions.weight());
    }

    /// Makes sure that the state may take `more` bytes.
    ///
    /// # Errors
    /// `ENOMEM`: less than that is left, or less than the state would have.
    pub fn make_room(&mut self, more: usize, growth: Growth) -> Result<(), Errno> {
        if self.share.check(more, growth).is_err() {
            self.forget_known();
        }
        self.share.check(more, growth)
    }

    /// Records that ranges of bytes of the file changed at `epoch`.
    pub fn changed(&mut self, ranges: impl IntoIterator<Item = Range<u64>>, epoch: u64) {
        self.epoch = epoch;
        self.past = None;
        self.history.note(ranges, epoch);
        self.weigh();
    }

    /// Records that any byte may have changed at `epoch`.
    pub fn all_changed(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.past = None;
        self.history.note_all(epoch);
    }

    /// The changes after `known`, as a CHG; the list is put into `out`.
    pub fn changes<'o>(&self, known: u64, out: &'o mut Vec<(u64, u64)>) -> Changes<'o> {
        if known > self.epoch {
            // No client was told such an epoch of this file.
            return Changes::All;
        }
        self.history.since(known, out)
    }

    /// Sets the known size and times of the file.
    pub fn saw(&mut self, size: u64, times: Option<Times>) {
        self.size = size;
        self.times = times;
        self.settled = None;
        self.unlearnt = 0;
        self.seen += 1;
    }

    /// Prepares for a write of `bytes`: knowledge about them is dropped,
    /// whether the write succeeds or not.
    pub fn begin_write(&mut self, bytes: Range<u64>) {
        self.zeros.remove(bytes);
    }

    /// Records a write of `bytes`. The file reaches at least to their end, and
    /// the gap between its old end and them is zeros, if the old end is known.
    pub fn wrote(&mut self, bytes: Range<u64>) {
        if bytes.is_empty() {
            return;
        }
        if self.times.is_some() {
            self.zeros.add(self.size..bytes.start.max(self.size));
        }
        self.size = self.size.max(bytes.end);
    }
}

impl<B: Backing> Snapfs<B> {
    /// The next value of the server's one epoch counter.
    pub(crate) fn next_epoch(&self) -> u64 {
        self.epoch.set(self.epoch.get() + 1);
        self.epoch.get()
    }

    /// The file with this identity. [`Snapfs::done_with`] ends the use.
    pub(crate) fn file(&self, path: u64) -> Rc<File> {
        let make = || {
            let mut state = State::new(self.next_epoch(), Share::of(&self.tables));
            state.past = self.unused.borrow_mut().take(path);
            Rc::new(File {
                path,
                lock: Lock::default(),
                state: RefCell::new(state),
            })
        };
        let file = self
            .files
            .borrow_mut()
            .entry(path)
            .or_insert_with(make)
            .clone();
        file.state.borrow_mut().users += 1;
        file
    }

    /// The same, if it is in use now.
    pub(crate) fn known_file(&self, path: u64) -> Option<Rc<File>> {
        let known = self.files.borrow().contains_key(&path);
        known.then(|| self.file(path))
    }

    /// Ends a use of the file; the last one forgets it and gives back what it
    /// holds at the lower server.
    pub(crate) async fn done_with(&self, file: Rc<File>) {
        self.unhide(&file).await;
        let users = {
            let mut state = file.state.borrow_mut();
            state.users -= 1;
            state.users
        };
        if users > 0 {
            return;
        }
        self.files.borrow_mut().remove(&file.path);
        self.remember(&file);
        let reader = {
            let mut state = file.state.borrow_mut();
            state.reader.take().filter(|_| state.orphan)
        };
        if let Some(fid) = reader {
            self.clunk_lower(fid).await;
        }
    }

    /// Removes the names of the file in the hidden directory if nothing else uses it than
    /// what is about to end. The file still has a fid then, and the removal takes no time:
    /// with the last fid, or a name that goes after it, a host frees all blocks before it
    /// answers, which may take half a minute. The machine does not wait for that when it
    /// stops, and nothing by name may be left.
    pub(crate) async fn unhide(&self, file: &File) {
        loop {
            let name = {
                let mut state = file.state.borrow_mut();
                if state.users > 1 {
                    return;
                }
                state.hidden.pop()
            };
            let Some(name) = name else { return };
            self.remove_hidden(name).await;
        }
    }

    /// Makes `bytes` of a snapshot of the file refer to `epoch`, or to nothing;
    /// drops versions that cannot be reached any more.
    pub(crate) fn refer(
        &self,
        file: &Locked<'_>,
        snapshot: &Snapshot,
        bytes: &Range<u64>,
        epoch: Option<Epoch>,
    ) {
        let mut slots = self.store.slots.borrow_mut();
        let state = &mut *file.state.borrow_mut();
        let mut references = snapshot.references.borrow_mut();
        references.set(bytes, epoch, &mut state.versions, |slot, count| {
            slots.give_back(slot, count);
        });
        state.weigh();
    }
}
