//! A start with the log of an earlier instance. In the grace period, until
//! every logged session has reclaimed its snapshots or its lease has expired,
//! each logged file counts as covered by snapshots of every earlier epoch.

use super::log::{LOG, place_of};
use super::record::{Record, Records, UNKNOWN};
use super::session::SessionId;
use crate::conn::Conn;
use crate::file::{File, Locked, Times};
use crate::history::History;
use crate::lower::LowerFid;
use crate::versions::{Epoch, Noted, Place, Versions};
use crate::{BLOCK, Backing, Snapfs, store};
use abi::Errno;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::Range;
use ninep::ByteStr;
use ninep::consts::open;

/// Bytes of a log read at once.
const CHUNK: usize = 64 << 10;

/// The content of a log.
#[derive(Default)]
struct Image {
    sessions: BTreeSet<SessionId>,
    epoch: Epoch,
    files: BTreeMap<u64, OldFile>,
    /// The file, block and epoch of each place in the store, and the checksum
    /// of its content.
    slots: BTreeMap<u64, (u64, u64, Epoch, u64)>,
}

/// A file as the earlier instance left it.
#[derive(Default)]
struct OldFile {
    epoch: Epoch,
    size: u64,
    /// `None`: it was being changed.
    times: Option<Times>,
    versions: Versions,
}

impl Image {
    /// Parses a log of snapfs; of another boot's log only the epoch is used.
    fn of(log: &[u8], boot: [u64; 2]) -> Image {
        let mut records = Records::new(log);
        let mut image = Image::default();
        let Some(written_in) = records.next().and_then(|first| first.boot()) else {
            return image;
        };
        records.for_each(|record| image.add(record));
        if written_in != boot {
            let epoch = image.epoch;
            image = Image {
                epoch,
                ..Image::default()
            };
        }
        image
    }

    fn file(&mut self, path: u64) -> &mut OldFile {
        self.files.entry(path).or_default()
    }

    fn add(&mut self, record: Record) {
        let session = |low, high| u128::from(low) | u128::from(high) << 64;
        match record {
            Record::Start { .. } => {}
            Record::Session { id_low, id_high } => {
                self.sessions.insert(session(id_low, id_high));
            }
            Record::Ended { id_low, id_high } => {
                self.sessions.remove(&session(id_low, id_high));
            }
            Record::HighWater { epoch } => self.epoch = self.epoch.max(epoch),
            Record::File {
                path,
                epoch,
                size,
                mtime,
                mtime_nsec,
                ctime,
                ctime_nsec,
            } => {
                // Epochs that no client was told go on past the high-water mark.
                self.epoch = self.epoch.max(epoch);
                let file = self.file(path);
                let ctime = (ctime, ctime_nsec);
                file.times = Some(Times {
                    mtime: (mtime, mtime_nsec),
                    ctime: Some(ctime).filter(|ctime| *ctime != (UNKNOWN, UNKNOWN)),
                });
                (file.epoch, file.size) = (epoch, size);
            }
            Record::Begun { path } => self.file(path).times = None,
            Record::Broken { path, epoch } => {
                self.epoch = self.epoch.max(epoch);
                self.file(path).versions.restore(Noted::Broken(epoch));
            }
            Record::Saved {
                path,
                block,
                count,
                epoch,
                slot,
                check,
            } => {
                self.epoch = self.epoch.max(epoch);
                let (blocks, place) = (block..block.saturating_add(count), place_of(slot));
                if let Place::Saved(_) = place {
                    self.free(slot);
                    self.slots.insert(slot, (path, block, epoch, check));
                }
                let saved = Noted::Saved(blocks, epoch, place);
                self.file(path).versions.restore(saved);
            }
            Record::Freed { slot } => self.free(slot),
        }
    }

    /// The former content of a place is gone.
    fn free(&mut self, slot: u64) {
        if let Some((path, block, epoch, _)) = self.slots.remove(&slot) {
            let versions = &mut self.file(path).versions;
            versions.forget_saved(block, epoch, place_of(slot));
        }
    }
}

impl<B: Backing> Snapfs<B> {
    /// Takes over the state that an earlier instance logged. `false`: there is
    /// none, or none that a client could reclaim.
    pub(crate) async fn take_up(&self, root: LowerFid) -> Result<bool, Errno> {
        if !self.durable.has_leases() {
            return Ok(false);
        }
        let Some(log) = self.old_log(root).await? else {
            return Ok(false);
        };
        let image = Image::of(&log, self.durable.boot);
        drop(log);
        self.epoch.set(self.epoch.get().max(image.epoch));
        if image.sessions.is_empty() {
            return Ok(false);
        }
        let sessions = &self.durable.sessions;
        image.sessions.iter().for_each(|id| sessions.add_old(*id));
        let hidden = self.hidden_dir().await?;
        self.take_up_store(&image).await?;
        for (path, mut old) in image.files {
            if old.times.is_none() {
                // A change was under way: a client may know of any epoch that
                // was given out, and refer to what the file has now.
                old.epoch = image.epoch;
            }
            self.take_up_file(path, old);
        }
        self.remove_rest(hidden.dir).await?;
        self.rewrite_log().await?;
        self.leave_hidden_dir(hidden).await;
        Ok(true)
    }

    /// The log that an earlier instance left, if there is one.
    async fn old_log(&self, root: LowerFid) -> Result<Option<Vec<u8>>, Errno> {
        let Some((dir, qid)) = self.old_hidden_dir(root).await? else {
            return Ok(None);
        };
        self.hidden.path.set(Some(qid.path));
        let log = match self.open_lower_at(dir, LOG, open::RDONLY).await {
            Ok(fid) => {
                let read = self.read_log(fid).await;
                self.clunk_lower(fid).await;
                read.map(Some)
            }
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        };
        self.clunk_lower(dir).await;
        log
    }

    async fn read_log(&self, fid: LowerFid) -> Result<Vec<u8>, Errno> {
        let mut log = Vec::new();
        loop {
            let at = log.len();
            self.read_lower(fid, at as u64, CHUNK, &mut log).await?;
            if log.len() < at + CHUNK {
                return Ok(log);
            }
        }
    }

    /// Opens the store of the earlier instance. If it is gone, so are its
    /// before-images.
    async fn take_up_store(&self, image: &Image) -> Result<(), Errno> {
        if image.slots.is_empty() {
            return Ok(());
        }
        match self.open_old_store().await {
            Ok(()) => {}
            Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        }
        let slots = image.slots.iter();
        let slots = slots.map(|(slot, (.., check))| (*slot as u32, *check));
        let taken_up = &mut self.store.slots.borrow_mut();
        taken_up.take_up(slots, &self.tables);
        Ok(())
    }

    fn take_up_file(&self, path: u64, old: OldFile) {
        let file = self.file(path);
        let mut state = file.state.borrow_mut();
        state.epoch = old.epoch;
        state.history = History::new(old.epoch);
        state.size = old.size;
        state.times = old.times;
        // As if there were one snapshot of the whole file. The mount options of
        // its owners are no longer known.
        state.snaps += 1;
        state.precious += 1;
        state.versions = old.versions;
        if !self.store.is_open() {
            state.versions.lose_saved();
        }
        state.versions.begin_grace(old.epoch);
        state.weigh();
        drop(state);
        self.durable.old_files.borrow_mut().push(file);
    }

    /// Removes all but the store. A file that was removed while it was in use
    /// cannot be found by its client any more; the old log goes when the new
    /// one takes its place.
    async fn remove_rest(&self, dir: LowerFid) -> Result<(), Errno> {
        let store = self.store.is_open();
        let kept = |name: ByteStr<'_>| name == LOG || name == store::NAME && store;
        self.empty_dir(dir, kept).await
    }

    /// Ends the grace period: drops the versions kept for it alone.
    pub(super) async fn end_grace(&self) {
        let files = self.durable.old_files.take();
        for file in files {
            self.end_grace_of(file).await;
        }
        self.close_idle_store().await;
    }

    async fn end_grace_of(&self, file: Rc<File>) {
        let locked = file.lock().await;
        {
            let state = &mut *file.state.borrow_mut();
            let mut slots = self.store.slots.borrow_mut();
            state.snaps -= 1;
            state.precious -= 1;
            state
                .versions
                .end_grace(|slot, count| slots.give_back(slot, count));
            state.weigh();
        }
        drop(locked);
        self.done_with(file).await;
    }

    /// Up to where, from `bytes.start` on, the file's bytes as of `epoch` are
    /// still there, for a client that says it had a snapshot of them. One that
    /// had it of an earlier instance is believed: nothing it covered was lost.
    ///
    /// # Errors
    /// `ESTALE`: not even the first byte.
    pub(crate) fn reclaim(
        &self,
        conn: &Conn,
        file: &File,
        bytes: Range<u64>,
        epoch: Epoch,
    ) -> Result<u64, Errno> {
        let state = file.state.borrow();
        if epoch > state.epoch {
            return Err(Errno::ESTALE);
        }
        let session = conn.session();
        let had_it = session.is_some_and(|session| session.claims.get());
        let had_it = had_it && state.versions.in_grace();
        let mut at = bytes.start;
        while at < bytes.end {
            let left = at / BLOCK..bytes.end.div_ceil(BLOCK);
            let Ok((place, count)) = state.versions.find(left.clone(), epoch) else {
                break;
            };
            let blocks = left.start..left.start + count;
            let good = match place {
                Place::Live if had_it => (blocks.end * BLOCK).min(state.size),
                Place::Live => {
                    let same = state.history.unchanged(&blocks, epoch);
                    (same * BLOCK).min(state.size)
                }
                _ if had_it => blocks.end * BLOCK,
                _ => at,
            };
            at = at.max(good.min(bytes.end));
            if good < bytes.end.min(blocks.end * BLOCK) {
                break;
            }
        }
        match at == bytes.start {
            true => Err(Errno::ESTALE),
            false => Ok(at),
        }
    }

    /// Opens a file of an earlier instance for reading, so that blocks about to
    /// be overwritten can be rescued; nothing may have opened it for reading
    /// yet. `fid` is one of its lower fids.
    pub(crate) async fn need_reader(&self, file: &Locked<'_>, fid: LowerFid) -> Result<(), Errno> {
        let needed = {
            let state = file.state.borrow();
            state.versions.in_grace() && state.reader.is_none()
        };
        if !needed {
            return Ok(());
        }
        let (reader, _) = self.walk_lower(fid, &[]).await?;
        let opened = match self.open_lower(reader, open::RDONLY).await {
            Ok(qid) if qid.path != file.path => Err(Errno::ESTALE),
            opened => opened,
        };
        let reader = self.keep_if(opened, reader).await?;
        let state = &mut *file.state.borrow_mut();
        (state.reader, state.orphan) = (Some(reader), true);
        Ok(())
    }
}
