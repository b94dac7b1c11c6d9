//! The frame cache: the frames that hold a page of a file at some epochs, so
//! that unrelated readers share them.
//!
//! A page of a file is (connection, path of its qid, number), because the ids
//! of two servers are unrelated. A frame is valid for a range of epochs: the
//! one it was filled at, and those to which the server's lists of changes leave
//! the page out ([`Changes`]). Lookups extend the range. The epochs of a
//! snapshot's bytes are kept in [`Epochs`].
//!
//! The cache is *weak*: it has no reference to its frames. A host removes a
//! frame before it frees or changes it ([`Cache::remove`]), and marks the
//! frames in the cache in order to know. A frame that nobody has any more may
//! stay, *idle*, until the host needs it. The number of frames bounds
//! everything; without memory for its entry a page is not shared.

mod blocks;
mod entries;
mod epochs;
mod history;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::ops::Range;

use crate::{Frame, PAGE};
use blocks::Blocks;
use entries::Entries;
use history::History;

pub use epochs::Epochs;
pub use history::Changes;

/// The connection of the kernel's own files, that of no server.
pub const KERNELS_OWN: u32 = 0;

/// Files without a snapshot, of which idle frames are left: with more, the oldest frames
/// are to be freed, so that to find a file stays quick.
const FILES_LEFT: usize = 1024;

/// A file with snapshots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileId(u32);

#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
struct File {
    conn: u32,
    path: u64,
    /// The number of its snapshots.
    holders: u32,
    /// Frames in here with its pages.
    frames: u32,
    history: History,
}

/// The result of offering a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// It is in the cache now.
    Yes,
    /// It is in the cache now, and this one, which was idle, is not any more: to be freed.
    Instead(Frame),
    /// This one is in the cache already, with the same content.
    Other(Frame),
    /// It is not in the cache.
    No,
}

/// The frames of all files.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
pub struct Cache {
    files: Vec<Option<File>>,
    /// Places in `files` that are none.
    free: Vec<u32>,
    /// Connection, path and place in `files`, sorted.
    by_key: Vec<(u32, u64, FileId)>,
    /// Files without a snapshot.
    left: usize,
    /// The page in each frame.
    entries: Entries,
    /// The frames of each page.
    blocks: Blocks,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache::new()
    }
}

impl Cache {
    /// Nothing.
    pub const fn new() -> Cache {
        Cache {
            files: Vec::new(),
            free: Vec::new(),
            by_key: Vec::new(),
            left: 0,
            entries: Entries::new(),
            blocks: Blocks::new(),
        }
    }

    /// Gives it random numbers to choose buckets by, while it is empty.
    pub fn set_secret(&mut self, secret: [u64; 2]) {
        if self.is_empty() {
            self.blocks.set_secret(secret);
        }
    }

    /// The number of frames in the cache.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if the cache is empty.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Opens a file for a new snapshot. Must be undone with [`Cache::close`].
    pub fn open(&mut self, conn: u32, path: u64) -> Epochs {
        let file = match self.find_key(conn, path) {
            Ok(at) => self.by_key.get(at).map(|key| key.2),
            Err(at) => self.new_file(conn, path, at),
        };
        if let Some(file) = file.and_then(|id| self.file_mut(id)) {
            file.holders += 1;
            self.left -= usize::from(file.holders == 1);
        }
        Epochs::of(file)
    }

    /// The snapshot is no more.
    pub fn close(&mut self, epochs: Epochs) {
        if let Some(id) = epochs.file
            && let Some(file) = self.file_mut(id)
        {
            file.holders -= 1;
            self.left += usize::from(file.holders == 0);
            self.forget_unused(id);
        }
    }

    /// Returns true if idle frames of too many files are in here.
    pub const fn has_many_left(&self) -> bool {
        self.left > FILES_LEFT
    }

    /// The file, if it has a snapshot.
    pub fn file(&self, conn: u32, path: u64) -> Option<FileId> {
        let at = self.find_key(conn, path).ok()?;
        self.by_key.get(at).map(|key| key.2)
    }

    /// The newest reported epoch of the file, from which a server may count
    /// changes; 0 if none.
    pub fn known(&self, file: Option<FileId>) -> u64 {
        file.and_then(|id| self.file_ref(id))
            .map_or(0, |file| file.history.known())
    }

    /// Records that the file is at `epoch`, and its changes since the epoch
    /// `asked` (`None`: any byte may have changed). Must be called before all
    /// other statements of the answer are used.
    pub fn note(
        &mut self,
        file: Option<FileId>,
        asked: u64,
        epoch: u64,
        changes: Option<&Changes>,
    ) {
        if let Some(file) = file.and_then(|id| self.file_mut(id)) {
            file.history.note(asked, epoch, changes);
        }
    }

    /// The bytes in `range` of a snapshot are now at that epoch.
    pub fn set(&self, epochs: &mut Epochs, range: Range<u64>, epoch: u64) {
        if let Some(file) = epochs.file.and_then(|id| self.file_ref(id)) {
            epochs.set(range, epoch, &file.history);
        }
    }

    /// A frame with the page at `soff` of that snapshot.
    #[inline]
    pub fn find(&mut self, epochs: &Epochs, soff: u64) -> Option<Frame> {
        let (id, page) = page_of(epochs, soff)?;
        let (_, epoch) = epochs.from(page)?;
        let first = self.blocks.get(id, page)?.first(page);
        self.entries.valid(&self.files, first, epoch)
    }

    /// As `find` for the pages from `soff` on, for each bit of `wanted` one: puts their
    /// frames at their places and returns the bits of those that were found.
    pub fn find_run(
        &mut self,
        epochs: &Epochs,
        soff: u64,
        mut wanted: u64,
        frames: &mut [Frame],
    ) -> u64 {
        let Some((id, start)) = page_of(epochs, soff) else {
            return 0;
        };
        let mut found = 0;
        while wanted != 0 {
            let at = wanted.trailing_zeros();
            let page = start + u64::from(at);
            let Some((end, epoch)) = epochs.part(page) else {
                wanted &= wanted - 1;
                continue;
            };
            let block = self.blocks.get(id, page);
            // Those of the same part and block.
            let count = (end - page).min(u64::from(64 - at)) as u32;
            let mut these = wanted & (u64::MAX >> (64 - count)) << at;
            wanted &= !these;
            while let Some(block) = block.filter(|_| these != 0) {
                let at = these.trailing_zeros();
                these &= these - 1;
                let first = block.first(start + u64::from(at));
                if let Some(frame) = self.entries.valid(&self.files, first, epoch)
                    && let Some(place) = frames.get_mut(at as usize)
                {
                    *place = frame;
                    found |= 1 << at;
                }
            }
        }
        found
    }

    /// How many pages of the snapshot's file from `soff` on, at most `pages`, are not in
    /// here before the first that is.
    pub fn missing(&mut self, epochs: &Epochs, soff: u64, pages: u64) -> u64 {
        let Some((id, start)) = page_of(epochs, soff) else {
            return pages;
        };
        if self.file_ref(id).is_none_or(|file| file.frames == 0) {
            return pages;
        }
        let (mut page, end) = (start, start.saturating_add(pages));
        while page < end {
            let Some((stop, epoch)) = epochs.part(page) else {
                page += 1;
                continue;
            };
            let stop = stop.min(end);
            if let Some(block) = self.blocks.get(id, page) {
                let firsts = block.firsts(page..stop);
                let there = |first| self.entries.valid(&self.files, first, epoch).is_some();
                if let Some(at) = firsts.iter().copied().position(there) {
                    return page + at as u64 - start;
                }
            }
            page = stop;
        }
        pages
    }

    /// Returns true if the frame is in the cache as the page at `soff` of the
    /// snapshot. For tests.
    #[doc(hidden)]
    pub fn is_good(&mut self, frame: Frame, epochs: &Epochs, soff: u64) -> bool {
        page_of(epochs, soff).is_some_and(|(id, page)| {
            let here = self.entries.get(frame.0);
            let same = here.is_some_and(|entry| (entry.file, entry.page) == (id.0, page));
            let epoch = epochs.at(page).filter(|_| same);
            epoch.is_some_and(|epoch| self.entries.is_valid(&self.files, frame.0, epoch))
        })
    }

    /// Offers a frame whose content is, and stays, the page at `soff` of the
    /// snapshot; tells idle frames by `is_idle`.
    pub fn insert(
        &mut self,
        epochs: &Epochs,
        soff: u64,
        frame: Frame,
        is_idle: impl Fn(Frame) -> bool,
    ) -> Kept {
        let mut kept = Kept::No;
        let frames = &mut [frame];
        self.insert_run(epochs, soff, frames, (|_| true, is_idle), |_, result| {
            kept = result;
        });
        kept
    }

    /// The same for the pages from `soff` on, with the frames that may be kept; calls
    /// `kept` with what became of each that was offered, in order.
    pub fn insert_run(
        &mut self,
        epochs: &Epochs,
        soff: u64,
        mut frames: &mut [Frame],
        (may, is_idle): (impl Fn(Frame) -> bool, impl Fn(Frame) -> bool),
        mut kept: impl FnMut(&mut Frame, Kept),
    ) {
        let Some((id, mut page)) = page_of(epochs, soff) else {
            return;
        };
        while !frames.is_empty() {
            let part = epochs.part(page);
            let end = part.map_or(page + 1, |(end, _)| end);
            let count = (end - page).min(frames.len() as u64);
            let (now, later) = core::mem::take(&mut frames).split_at_mut(count as usize);
            if let Some((_, epoch)) = part {
                self.insert_in_block(id, (page, epoch), now, (&may, &is_idle), &mut kept);
            }
            (page, frames) = (page + count, later);
        }
    }

    /// Pages from `page` on of one block, which are at that epoch.
    fn insert_in_block(
        &mut self,
        id: FileId,
        (page, epoch): (u64, u64),
        frames: &mut [Frame],
        (may, is_idle): (&impl Fn(Frame) -> bool, &impl Fn(Frame) -> bool),
        kept: &mut impl FnMut(&mut Frame, Kept),
    ) {
        let Some(block) = self.blocks.make(id, page) else {
            return;
        };
        let before = self.entries.len();
        let firsts = block.firsts_mut(page).iter_mut();
        for ((first, frame), page) in firsts.zip(frames).zip(page..) {
            if !may(*frame) {
                continue;
            }
            let offered = (*frame, id, page, epoch);
            let result = self.entries.offer(&self.files, first, offered, is_idle);
            kept(frame, result);
        }
        let new = self.entries.len() - before;
        block.used += new as u32;
        if block.used == 0 {
            self.blocks.remove(id, page);
        }
        if let Some(file) = self.file_mut(id) {
            file.frames += new as u32;
        }
    }

    /// A frame is about to be freed or changed. Nothing happens if it is not in
    /// here.
    pub fn remove(&mut self, frame: Frame) {
        let Some(gone) = self.entries.get(frame.0) else {
            return;
        };
        let id = FileId(gone.file);
        if let Some(block) = self.blocks.get_mut(id, gone.page) {
            if let Some(first) = block.firsts_mut(gone.page).first_mut() {
                self.entries.remove(first, frame.0);
            }
            block.used -= 1;
            if block.used == 0 {
                self.blocks.remove(id, gone.page);
            }
        }
        if let Some(file) = self.file_mut(id) {
            file.frames -= 1;
            if file.frames == 0 {
                self.forget_unused(id);
            }
        }
    }
}

/// The file, and the number of its page at `soff`, if a page begins there.
#[inline]
fn page_of(epochs: &Epochs, soff: u64) -> Option<(FileId, u64)> {
    let id = epochs.file?;
    soff.is_multiple_of(PAGE).then_some((id, soff / PAGE))
}

/// Operations on files.
impl Cache {
    fn find_key(&self, conn: u32, path: u64) -> Result<usize, usize> {
        self.by_key
            .binary_search_by_key(&(conn, path), |&(conn, path, _)| (conn, path))
    }

    /// `at` is its place in `by_key`.
    fn new_file(&mut self, conn: u32, path: u64, at: usize) -> Option<FileId> {
        self.by_key.try_reserve(1).ok()?;
        if self.free.is_empty() {
            self.files.try_reserve(1).ok()?;
            // Room to free all of them without allocating.
            self.free.try_reserve(self.files.len() + 1).ok()?;
            self.free.push(self.files.len() as u32);
            self.files.push(None);
        }
        let id = FileId(self.free.pop()?);
        *self.files.get_mut(id.0 as usize)? = Some(File {
            conn,
            path,
            holders: 0,
            frames: 0,
            history: History::default(),
        });
        self.by_key.insert(at, (conn, path, id));
        self.left += 1;
        Some(id)
    }

    fn file_ref(&self, id: FileId) -> Option<&File> {
        self.files.get(id.0 as usize)?.as_ref()
    }

    fn file_mut(&mut self, id: FileId) -> Option<&mut File> {
        self.files.get_mut(id.0 as usize)?.as_mut()
    }

    fn forget_unused(&mut self, id: FileId) {
        let Some(file) = self.file_ref(id) else {
            return;
        };
        if file.holders > 0 || file.frames > 0 {
            return;
        }
        if let Ok(at) = self.find_key(file.conn, file.path) {
            self.by_key.remove(at);
        }
        if let Some(place) = self.files.get_mut(id.0 as usize) {
            *place = None;
            self.free.push(id.0);
            self.left -= 1;
        }
    }
}
