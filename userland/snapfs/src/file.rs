//! What snapfs knows of one file while somebody has it open or holds a
//! snapshot of it, and the rescue of blocks about to be overwritten.

use crate::below::Below;
use crate::changes::History;
use crate::cover::Cover;
use crate::hidden::name_text;
use crate::journal::Journal;
use crate::ranges::{self, Piece};
use crate::sync::Lock;
use crate::{BLOCK, Backing, Snapfs};
use abi::Errno;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ops::Range;
use ninep::{Attr, Changes};

/// Blocks saved with one read.
const RESCUE_BLOCKS: u64 = 32;

/// One file, by qid.path. Fids, snapshots and running tasks hold it.
pub struct File {
    /// The server beneath's identity for it.
    pub path: u64,
    /// Held by whoever changes the file, its size, its journal or what any
    /// snapshot of it covers, messages included. Reading a snapshot needs no
    /// lock: it looks again when the data is there.
    pub lock: Lock,
    pub(crate) state: RefCell<State>,
}

/// The part of a [`File`] that changes. No borrow of it spans an `await`.
#[cfg_attr(feature = "memory", derive(Clone))]
pub struct State {
    /// Bytes, as of the last look or own change.
    pub size: u64,
    /// mtime after our last change or look; `None`: not known, because nobody
    /// had a snapshot that a stranger's change could have broken.
    pub mtime: Option<(u64, u64)>,
    /// Epoch of the last change.
    pub epoch: u64,
    /// Which bytes changed at which epoch.
    pub history: History,
    /// Open fids, snapshots and tasks that need the file to be known.
    users: u32,
    /// Live snapshots.
    pub snaps: u32,
    /// A fid open for reading, for snapshots and rescues. It belongs to an
    /// open client fid until that is clunked, then to the file.
    pub reader: Option<Below>,
    /// The reader belongs to the file.
    pub orphan: bool,
    /// Names of this file in the hidden directory.
    pub hidden: Vec<u64>,
    pub journal: Journal,
    pub cover: Cover,
}

impl State {
    fn new(epoch: u64) -> State {
        State {
            size: 0,
            mtime: None,
            epoch,
            history: History::new(epoch),
            users: 0,
            snaps: 0,
            reader: None,
            orphan: false,
            hidden: Vec::new(),
            journal: Journal::default(),
            cover: Cover::default(),
        }
    }

    /// Bytes of the file are not what they were before `epoch`.
    pub fn changed(&mut self, bytes: &Range<u64>, epoch: u64) {
        self.epoch = epoch;
        self.history.note(bytes, epoch);
    }

    /// Any byte may not be what it was before `epoch`.
    pub fn all_changed(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.history.note_all(epoch);
    }

    /// What changed after `known`, as a CHG; the list is put into `out`.
    pub fn changes<'o>(&self, known: u64, out: &'o mut Vec<(u64, u64)>) -> Changes<'o> {
        if known > self.epoch {
            // Nobody was told such an epoch of this file.
            return Changes::All;
        }
        self.history.since(known, out)
    }

    /// The next blocks in `blocks` that must be saved, at most
    /// [`RESCUE_BLOCKS`].
    fn next_unsaved(&self, blocks: Range<u64>) -> Option<Range<u64>> {
        let mut at = blocks.start;
        loop {
            at = self
                .cover
                .next_covered(at)
                .filter(|block| *block < blocks.end)?;
            if self.journal.must_save(at, &self.cover) {
                break;
            }
            at += 1;
        }
        let most = blocks.end.min(at + RESCUE_BLOCKS);
        let saved = |block: &u64| !self.journal.must_save(*block, &self.cover);
        let end = (at + 1..most).find(saved).unwrap_or(most);
        Some(at..end)
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
            let state = RefCell::new(State::new(self.next_epoch()));
            Rc::new(File {
                path,
                lock: Lock::default(),
                state,
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

    /// The same, if anybody uses it now.
    pub(crate) fn known_file(&self, path: u64) -> Option<Rc<File>> {
        let known = self.files.borrow().contains_key(&path);
        known.then(|| self.file(path))
    }

    /// Ends a use of the file; the last one forgets it and gives back what it
    /// holds beneath.
    pub(crate) async fn done_with(&self, file: Rc<File>) {
        let users = {
            let mut state = file.state.borrow_mut();
            state.users -= 1;
            state.users
        };
        if users > 0 {
            return;
        }
        self.files.borrow_mut().remove(&file.path);
        let (reader, hidden) = {
            let mut state = file.state.borrow_mut();
            let reader = state.reader.take().filter(|_| state.orphan);
            (reader, core::mem::take(&mut state.hidden))
        };
        if let Some(fid) = reader {
            self.clunk_below(fid).await;
        }
        for number in hidden {
            if let Ok(dir) = self.hidden_dir().await {
                let _ = self.unlink_below(dir, &name_text(number), 0).await;
                self.leave_hidden_dir().await;
            }
            self.leave_hidden_dir().await;
        }
    }

    /// Looks at the file beneath and finds out whether a stranger changed it.
    /// `None`: a stranger took its name away or gave it to another file, and
    /// the server beneath goes by names; what we know is the best there is.
    /// The lock must be held.
    pub(crate) async fn look(&self, file: &File, fid: Below) -> Result<Option<Attr>, Errno> {
        let Some(attr) = self.own_attr(file, fid).await? else {
            return Ok(None);
        };
        let mtime = (attr.mtime_sec, attr.mtime_nsec);
        let mut state = file.state.borrow_mut();
        if state.mtime != Some(mtime) || state.size != attr.size {
            if state.mtime.is_some() {
                self.break_snapshots(&mut state);
            } else {
                state.all_changed(self.next_epoch());
            }
            state.size = attr.size;
            state.mtime = Some(mtime);
        }
        Ok(Some(attr))
    }

    /// The attributes, if they are this file's.
    async fn own_attr(&self, file: &File, fid: Below) -> Result<Option<Attr>, Errno> {
        match self.attr_below(fid).await {
            Ok(attr) => Ok(Some(attr).filter(|attr| attr.qid.path == file.path)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// A stranger changed the file: what is not saved is lost to snapshots.
    pub(crate) fn break_snapshots(&self, state: &mut State) {
        if state.snaps > 0 {
            let epoch = state.epoch;
            state.journal.note_break(epoch);
        }
        state.all_changed(self.next_epoch());
    }

    /// After an own change: learns the new mtime while snapshots need it.
    /// The lock must be held.
    pub(crate) async fn look_after_change(&self, file: &File, fid: Below) {
        let needed = file.state.borrow().snaps > 0;
        let attr = if needed {
            self.own_attr(file, fid).await
        } else {
            Ok(None)
        };
        let mut state = file.state.borrow_mut();
        state.mtime = attr
            .ok()
            .flatten()
            .map(|attr| (attr.mtime_sec, attr.mtime_nsec));
    }

    /// Saves what snapshots still need of `bytes`, which are about to be
    /// overwritten or cut off. When this returns, the store has acknowledged
    /// every block and the journal knows it (invariant 10). The lock must be
    /// held.
    pub(crate) async fn rescue(&self, file: &File, bytes: Range<u64>) -> Result<(), Errno> {
        let end = bytes.end.min(file.state.borrow().size);
        let mut left = ranges::blocks(&(bytes.start..end.max(bytes.start)));
        loop {
            let run = file.state.borrow().next_unsaved(left.clone());
            let Some(run) = run else { return Ok(()) };
            left.start = run.end;
            self.rescue_run(file, run).await?;
        }
    }

    async fn rescue_run(&self, file: &File, run: Range<u64>) -> Result<(), Errno> {
        let (reader, epoch, size) = {
            let state = file.state.borrow();
            (state.reader.ok_or(Errno::EIO)?, state.epoch, state.size)
        };
        let at = run.start * BLOCK;
        let len = ((run.end - run.start) * BLOCK) as usize;
        let mut data = Vec::new();
        self.read_below(reader, at, len, &mut data).await?;
        if (data.len() as u64) < (len as u64).min(size.saturating_sub(at)) {
            // Shorter than we know it: a stranger cut it.
            self.break_snapshots(&mut file.state.borrow_mut());
            return Ok(());
        }
        data.resize(len, 0);
        let places = self.save_blocks(&data).await?;
        self.rescued.set(self.rescued.get() + places.len() as u64);
        let journal = &mut file.state.borrow_mut().journal;
        for (block, place) in run.zip(places) {
            journal.save(block, epoch, place);
        }
        Ok(())
    }

    /// Forgets what only the references in `gone` could reach. They must be
    /// out of the cover already. The lock must be held.
    pub(crate) fn sweep(&self, file: &File, gone: &[Piece]) {
        let mut state = file.state.borrow_mut();
        let State { journal, cover, .. } = &mut *state;
        let mut slots = self.store.slots.borrow_mut();
        for (bytes, epoch) in gone {
            journal.sweep(ranges::blocks(bytes), *epoch, cover, |slot| {
                slots.give_back(slot)
            });
        }
    }
}
