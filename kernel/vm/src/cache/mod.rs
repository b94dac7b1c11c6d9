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
//! frames in the cache in order to know. The number of frames bounds
//! everything; without memory for its entry a page is not shared.

mod epochs;
mod history;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::ops::Range;

use crate::{Frame, PAGE};
use history::History;

pub use epochs::{Epochs, Row};
pub use history::Changes;

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

/// The page in one frame; `next` is the next frame of the same bucket.
#[derive(Clone, Copy, Debug)]
struct Entry {
    file: u32,
    next: u32,
    page: u64,
    lo: u64,
    hi: u64,
}

const NONE: u32 = u32::MAX;
const VACANT: Entry = Entry {
    file: NONE,
    next: NONE,
    page: 0,
    lo: 0,
    hi: 0,
};

/// Entries are kept by the number of their frame, in spans that come and go.
const SPAN: usize = 64;

#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Default, Debug)]
struct Span {
    /// Empty, or [`SPAN`] entries.
    entries: Vec<Entry>,
    used: u32,
}

/// The result of offering a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// It is in the cache now.
    Yes,
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
    spans: Vec<Span>,
    /// The last span that was given up, so that one frame that comes and goes
    /// need not allocate.
    spare: Vec<Entry>,
    /// First frame of each bucket. They grow one by one: bucket `b` is split
    /// into itself and `b + half`, `half` being the power of two below.
    buckets: Vec<u32>,
    frames: usize,
    /// Chooses the buckets, so that a program cannot find pages that share one.
    secret: [u64; 2],
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
            spans: Vec::new(),
            spare: Vec::new(),
            buckets: Vec::new(),
            frames: 0,
            secret: [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9],
        }
    }

    /// Gives it random numbers to choose buckets by, while it is empty.
    pub fn set_secret(&mut self, secret: [u64; 2]) {
        if self.is_empty() {
            self.secret = secret;
        }
    }

    /// The number of frames in the cache.
    pub const fn len(&self) -> usize {
        self.frames
    }

    /// Returns true if the cache is empty.
    pub const fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Opens a file for a new snapshot. Must be undone with [`Cache::close`].
    pub fn open(&mut self, conn: u32, path: u64) -> Epochs {
        let file = match self.find_key(conn, path) {
            Ok(at) => self.by_key.get(at).map(|key| key.2),
            Err(at) => self.new_file(conn, path, at),
        };
        if let Some(file) = file.and_then(|id| self.file_mut(id)) {
            file.holders += 1;
        }
        Epochs::of(file)
    }

    /// The snapshot is no more.
    pub fn close(&mut self, epochs: Epochs) {
        if let Some(id) = epochs.file
            && let Some(file) = self.file_mut(id)
        {
            file.holders -= 1;
            self.forget_unused(id);
        }
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
        self.find_in(&mut Row::of(epochs), soff)
    }

    #[inline]
    fn find_in(&mut self, row: &mut Row<'_>, soff: u64) -> Option<Frame> {
        let (id, page, epoch) = row.page_at(soff)?;
        self.find_page(id, page, epoch)
    }

    #[inline]
    fn find_page(&mut self, id: FileId, page: u64, epoch: u64) -> Option<Frame> {
        let mut at = *self.buckets.get(self.bucket(id, page))?;
        while at != NONE {
            let entry = self.entry(at)?;
            if entry.file == id.0 && entry.page == page && self.valid(at, entry, epoch) {
                return Some(Frame(at));
            }
            at = entry.next;
        }
        None
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
        let Some(id) = epochs.file.filter(|_| soff.is_multiple_of(PAGE)) else {
            return 0;
        };
        let (mut found, mut epoch, mut end) = (0, 0, 0);
        while wanted != 0 {
            let at = wanted.trailing_zeros();
            wanted &= wanted - 1;
            let page = soff / PAGE + u64::from(at);
            if page >= end {
                let Some(from) = epochs.from(page) else {
                    continue;
                };
                (end, epoch) = from;
            }
            if let Some(frame) = self.find_page(id, page, epoch)
                && let Some(place) = frames.get_mut(at as usize)
            {
                *place = frame;
                found |= 1 << at;
            }
        }
        found
    }

    /// How many pages of the snapshot's file from `soff` on, at most `pages`, are not in
    /// here before the first that is.
    pub fn missing(&mut self, epochs: &Epochs, soff: u64, pages: u64) -> u64 {
        let none = epochs.file.and_then(|id| self.file_ref(id));
        if none.is_none_or(|file| file.frames == 0) {
            return pages;
        }
        let mut row = Row::of(epochs);
        let there = |page: &u64| {
            let soff = soff.wrapping_add(page * PAGE);
            self.find_in(&mut row, soff).is_some()
        };
        (0..pages).find(there).unwrap_or(pages)
    }

    /// Returns true if the frame is in the cache as the page at `soff` of the
    /// snapshot. For tests.
    #[doc(hidden)]
    pub fn is_good(&mut self, frame: Frame, epochs: &Epochs, soff: u64) -> bool {
        let here = self.entry(frame.0);
        let there = Row::of(epochs).page_at(soff);
        there.is_some_and(|(id, page, epoch)| {
            here.is_some_and(|entry| {
                (entry.file, entry.page) == (id.0, page) && self.valid(frame.0, entry, epoch)
            })
        })
    }

    /// Offers a frame whose content is, and stays, the page at `soff` of the
    /// snapshot.
    pub fn insert(&mut self, epochs: &Epochs, soff: u64, frame: Frame) -> Kept {
        self.insert_in(&mut Row::of(epochs), soff, frame)
    }

    /// The same for one of several pages in a row.
    pub fn insert_in(&mut self, row: &mut Row<'_>, soff: u64, frame: Frame) -> Kept {
        let Some((id, page, epoch)) = row.page_at(soff) else {
            return Kept::No;
        };
        if let Some(other) = self.find_page(id, page, epoch) {
            return match other == frame {
                true => Kept::Yes,
                false => Kept::Other(other),
            };
        }
        if frame.0 == NONE || !self.make_room(frame) {
            return Kept::No;
        }
        let bucket = self.bucket(id, page);
        let Some(next) = self.buckets.get(bucket).copied() else {
            return Kept::No;
        };
        let new = Entry {
            file: id.0,
            next,
            page,
            lo: epoch,
            hi: epoch,
        };
        // It may already be a page of another file, for another process.
        match self.entry_mut(frame.0) {
            Some(entry) if entry.file == NONE => *entry = new,
            _ => return Kept::No,
        }
        if let Some(first) = self.buckets.get_mut(bucket) {
            *first = frame.0;
        }
        if let Some(span) = self.spans.get_mut(frame.0 as usize / SPAN) {
            span.used += 1;
        }
        if let Some(file) = self.file_mut(id) {
            file.frames += 1;
        }
        self.frames += 1;
        Kept::Yes
    }

    /// A frame is about to be freed or changed. Nothing happens if it is not in
    /// here.
    pub fn remove(&mut self, frame: Frame) {
        let Some(gone) = self.entry(frame.0).filter(|entry| entry.file != NONE) else {
            return;
        };
        let id = FileId(gone.file);
        let bucket = self.bucket(id, gone.page);
        self.unlink(bucket, frame.0, gone.next);
        if let Some(entry) = self.entry_mut(frame.0) {
            *entry = VACANT;
        }
        if let Some(span) = self.spans.get_mut(frame.0 as usize / SPAN) {
            span.used -= 1;
            if span.used == 0 {
                self.spare = core::mem::take(&mut span.entries);
            }
        }
        self.frames -= 1;
        if let Some(file) = self.file_mut(id) {
            file.frames -= 1;
            if file.frames == 0 {
                self.forget_unused(id);
            }
        }
    }
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
        }
    }
}

/// Operations on entries and buckets.
impl Cache {
    #[inline]
    fn entry(&self, frame: u32) -> Option<Entry> {
        let span = self.spans.get(frame as usize / SPAN)?;
        span.entries.get(frame as usize % SPAN).copied()
    }

    #[inline]
    fn entry_mut(&mut self, frame: u32) -> Option<&mut Entry> {
        let span = self.spans.get_mut(frame as usize / SPAN)?;
        span.entries.get_mut(frame as usize % SPAN)
    }

    /// Returns true if the frame of that entry is valid for that epoch too; its range
    /// then includes it.
    #[inline]
    fn valid(&mut self, frame: u32, entry: Entry, epoch: u64) -> bool {
        (entry.lo..=entry.hi).contains(&epoch) || self.becomes_valid(frame, entry, epoch)
    }

    #[cold]
    fn becomes_valid(&mut self, frame: u32, entry: Entry, epoch: u64) -> bool {
        let Entry {
            file, page, lo, hi, ..
        } = entry;
        let edge = if epoch < lo { lo } else { hi };
        let same = self
            .file_ref(FileId(file))
            .is_some_and(|file| file.history.same(edge, epoch, &(page..page + 1)));
        if same && let Some(entry) = self.entry_mut(frame) {
            (entry.lo, entry.hi) = (lo.min(epoch), hi.max(epoch));
        }
        same
    }

    /// Which bucket a page is in.
    #[inline]
    fn bucket(&self, id: FileId, page: u64) -> usize {
        bucket_of(self.hash(id.0, page), self.buckets.len())
    }

    /// Both halves of a product of secret numbers, so that all bits count, and
    /// once more, for numbers with a pattern.
    #[inline]
    fn hash(&self, file: u32, page: u64) -> u64 {
        let [a, b] = self.secret;
        let product = u128::from(page ^ a) * u128::from(u64::from(file) ^ b);
        let folded = product as u64 ^ (product >> 64) as u64;
        folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
    }

    /// Room for the entry of a frame, and a bucket more for it.
    fn make_room(&mut self, frame: Frame) -> bool {
        let index = frame.0 as usize / SPAN;
        if self.spans.len() <= index {
            let more = index + 1 - self.spans.len();
            if self.spans.try_reserve(more).is_err() {
                return false;
            }
            self.spans.resize_with(index + 1, Span::default);
        }
        let Some(span) = self.spans.get_mut(index) else {
            return false;
        };
        if span.entries.is_empty() {
            if self.spare.is_empty() {
                if self.spare.try_reserve_exact(SPAN).is_err() {
                    return false;
                }
                self.spare.resize(SPAN, VACANT);
            }
            span.entries = core::mem::take(&mut self.spare);
        }
        if self.buckets.len() <= self.frames {
            self.split();
        }
        // Without memory for more buckets the chains grow, but within a limit.
        self.frames / 8 < self.buckets.len()
    }

    /// One more bucket, with its share of the one it is split from.
    fn split(&mut self) {
        if self.buckets.try_reserve(1).is_err() {
            return;
        }
        let new = self.buckets.len();
        self.buckets.push(NONE);
        let from = new - (new + 1).next_power_of_two() / 2;
        let Some(first) = self.buckets.get_mut(from).filter(|_| new > 0) else {
            return;
        };
        let mut at = core::mem::replace(first, NONE);
        while let Some(entry) = self.entry(at) {
            let bucket = bucket_of(self.hash(entry.file, entry.page), new + 1);
            if let Some(first) = self.buckets.get_mut(bucket) {
                let next = core::mem::replace(first, at);
                if let Some(entry) = self.entry_mut(at) {
                    entry.next = next;
                }
            }
            at = entry.next;
        }
    }

    /// Takes a frame out of its bucket.
    fn unlink(&mut self, bucket: usize, frame: u32, next: u32) {
        let Some(first) = self.buckets.get_mut(bucket) else {
            return;
        };
        if *first == frame {
            *first = next;
            return;
        }
        let mut at = *first;
        while let Some(entry) = self.entry_mut(at) {
            if entry.next == frame {
                entry.next = next;
                return;
            }
            at = entry.next;
        }
    }
}

/// Linear hashing: of `buckets` buckets, those not yet split share a bucket.
#[inline]
fn bucket_of(hash: u64, buckets: usize) -> usize {
    let whole = buckets.next_power_of_two().max(1) as u64;
    let bucket = hash & (whole - 1);
    match bucket < buckets as u64 {
        true => bucket as usize,
        false => (bucket - whole / 2) as usize,
    }
}
