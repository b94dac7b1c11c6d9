//! A start over what an earlier instance logged: until every session of its
//! time has claimed its snapshots, or its lease has run out, each file it knew
//! counts as covered by snapshots of every earlier epoch.

use crate::changes::History;
use crate::conn::Conn;
use crate::file::{File, Locked};
use crate::hidden::HIDDEN;
use crate::lower::LowerFid;
use crate::persist::{LOG, place_of, session_id};
use crate::record::{Record, Records};
use crate::session::SessionId;
use crate::versions::{Noted, Place};
use crate::{BLOCK, Backing, Snapfs};
use abi::Errno;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::Range;
use ninep::ByteStr;
use ninep::consts::open;

/// Bytes of a log read at once.
const CHUNK: usize = 64 << 10;

/// What a log says.
#[derive(Default)]
struct Image {
    sessions: BTreeSet<SessionId>,
    epoch: u64,
    files: BTreeMap<u64, OldFile>,
    /// Who uses a place in the store, and the check of what is there.
    slots: BTreeMap<u64, (Saved, u64)>,
}

/// A file as the earlier instance left it.
#[derive(Default)]
struct OldFile {
    epoch: u64,
    size: u64,
    /// `None`: it was being changed.
    mtime: Option<(u64, u64)>,
    /// Blocks of one content, by first block, count and epoch.
    saved: BTreeMap<(u64, u64, u64), u64>,
    breaks: Vec<u64>,
}

/// A key of [`OldFile::saved`] and the file's path.
type Saved = (u64, (u64, u64, u64));

impl Image {
    /// What a log of ours says; of another boot's only the epoch is of use.
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

    fn add(&mut self, record: Record) {
        // Changes that told nobody their epoch go on past the mark.
        if let Record::File { epoch, .. }
        | Record::Saved { epoch, .. }
        | Record::Broken { epoch, .. } = record
        {
            self.epoch = self.epoch.max(epoch);
        }
        match record {
            Record::Start { .. } => {}
            Record::Session { id } => drop(self.sessions.insert(session_id(id))),
            Record::Ended { id } => drop(self.sessions.remove(&session_id(id))),
            Record::Mark { epoch } => self.epoch = self.epoch.max(epoch),
            Record::File {
                path,
                epoch,
                size,
                mtime,
            } => {
                let file = self.files.entry(path).or_default();
                (file.epoch, file.size, file.mtime) = (epoch, size, Some(mtime));
            }
            Record::Begun { path } => self.files.entry(path).or_default().mtime = None,
            Record::Broken { path, epoch } => {
                self.files.entry(path).or_default().breaks.push(epoch);
            }
            Record::Saved {
                path,
                block,
                count,
                epoch,
                slot,
                check,
            } => {
                let key = (block, count, epoch);
                self.files.entry(path).or_default().saved.insert(key, slot);
                if let Place::Saved(_) = place_of(slot) {
                    self.free(slot);
                    self.slots.insert(slot, ((path, key), check));
                }
            }
            Record::Freed { slot } => self.free(slot),
        }
    }

    /// What was at a place before is not there any more.
    fn free(&mut self, slot: u64) {
        if let Some(((path, key), _)) = self.slots.remove(&slot)
            && let Some(file) = self.files.get_mut(&path)
        {
            file.saved.remove(&key);
        }
    }
}

impl<B: Backing> Snapfs<B> {
    /// Takes up what an earlier instance logged. `false`: nothing, or nothing
    /// that anybody could come back for.
    pub(crate) async fn take_up(&self, root: LowerFid) -> Result<bool, Errno> {
        if self.sessions.lease == 0 {
            return Ok(false);
        }
        let Some(log) = self.old_log(root).await? else {
            return Ok(false);
        };
        let image = Image::of(&log, self.boot);
        drop(log);
        self.epoch.set(self.epoch.get().max(image.epoch));
        if image.sessions.is_empty() {
            return Ok(false);
        }
        image
            .sessions
            .iter()
            .for_each(|id| self.sessions.add_old(*id));
        let hidden = self.hidden_dir().await?;
        self.take_up_store(&image).await?;
        for (path, old) in image.files {
            self.take_up_file(path, old);
        }
        self.remove_rest(hidden.dir).await?;
        self.rewrite_log().await?;
        self.leave_hidden_dir(hidden).await;
        Ok(true)
    }

    /// The log that an earlier instance left, if there is one.
    async fn old_log(&self, root: LowerFid) -> Result<Option<Vec<u8>>, Errno> {
        let (dir, qid) = match self.walk_lower(root, &[HIDDEN]).await {
            Ok(found) => found,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        self.hidden.path.set(qid.map(|qid| qid.path));
        let log = match self.walk_lower(dir, &[LOG]).await {
            Ok((fid, _)) => {
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
        self.open_lower(fid, open::RDONLY).await?;
        let mut log = Vec::new();
        loop {
            let at = log.len();
            self.read_lower(fid, at as u64, CHUNK, &mut log).await?;
            if log.len() < at + CHUNK {
                return Ok(log);
            }
        }
    }

    /// Opens the store as it was left. If it is gone, so is what was in it.
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
        let slots = slots.map(|(slot, (_, check))| (*slot as u32, *check));
        self.store.slots.borrow_mut().take_up(slots);
        Ok(())
    }

    fn take_up_file(&self, path: u64, old: OldFile) {
        let file = self.file(path);
        let mut state = file.state.borrow_mut();
        state.epoch = old.epoch;
        state.history = History::new(old.epoch);
        state.size = old.size;
        state.mtime = old.mtime;
        // As if there were one snapshot of all of it. What the mounts of its
        // owners put up with nobody knows any more.
        state.snaps += 1;
        state.precious += 1;
        for ((block, count, epoch), slot) in old.saved {
            let place = match place_of(slot) {
                Place::Saved(_) if !self.store.is_open() => Place::Lost,
                place => place,
            };
            let blocks = block..block.saturating_add(count);
            state.versions.restore(Noted::Saved(blocks, epoch, place));
        }
        for epoch in old.breaks {
            state.versions.restore(Noted::Broken(epoch));
        }
        state.versions.begin_grace(old.epoch);
        state.weigh();
        drop(state);
        self.old_files.borrow_mut().push(file);
    }

    /// Removes all but the store. A file that was removed while it was in use
    /// cannot be found by its client any more; the old log goes when the new
    /// one takes its place.
    async fn remove_rest(&self, dir: LowerFid) -> Result<(), Errno> {
        let store = self.store.is_open();
        let kept = |name: ByteStr<'_>| name == LOG || name == crate::store::NAME && store;
        self.empty_dir(dir, kept).await
    }

    /// Nobody may claim any more: what was kept for that alone is given up.
    pub(crate) async fn end_recovery(&self) {
        let files = self.old_files.take();
        for file in files {
            self.end_cover(file).await;
        }
        self.close_idle_store().await;
    }

    async fn end_cover(&self, file: Rc<File>) {
        let locked = file.lock().await;
        {
            let state = &mut *file.state.borrow_mut();
            let mut slots = self.store.slots.borrow_mut();
            state.snaps -= 1;
            state.precious -= 1;
            state
                .versions
                .end_grace(|slot, count| slots.give_back(slot, count));
        }
        drop(locked);
        self.done_with(file).await;
    }

    /// How far from `bytes.start` on the file's bytes as of `epoch` are still
    /// there, for a client that says it had a snapshot of them. One that had
    /// it of an earlier instance is believed: nothing it covered was lost.
    ///
    /// # Errors
    /// `ESTALE`: not even the first byte.
    pub(crate) fn provable(
        &self,
        conn: &Conn,
        file: &File,
        bytes: Range<u64>,
        epoch: u64,
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
        if at == bytes.start {
            return Err(Errno::ESTALE);
        }
        Ok(at)
    }

    /// A file of an earlier instance is read to rescue what is about to be
    /// overwritten, though nobody may have opened it for reading yet. `fid` is
    /// one of its lower fids.
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
            Ok(qid) if qid.path == file.path => Ok(()),
            Ok(_) => Err(Errno::ESTALE),
            Err(errno) => Err(errno),
        };
        if opened.is_err() {
            self.clunk_lower(reader).await;
            return opened;
        }
        let state = &mut *file.state.borrow_mut();
        (state.reader, state.orphan) = (Some(reader), true);
        Ok(())
    }
}
