//! The page in each frame of the cache, by the number of the frame.

use alloc::vec::Vec;

use super::{File, FileId, Kept};
use crate::Frame;

/// No frame.
pub(super) const NONE: u32 = u32::MAX;
/// Most frames of one page, at different epochs. It bounds a look-up: whoever has more
/// snapshots shares fewer pages, and idle frames make room.
const VERSIONS: usize = 16;
/// Entries in a span. Spans come and go with their frames.
const SPAN: usize = 64;

/// The page in one frame, and the epochs at which it is the file's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub file: u32,
    /// The next frame of the same page.
    next: u32,
    pub page: u64,
    lo: u64,
    hi: u64,
}

const VACANT: Entry = Entry {
    file: NONE,
    next: NONE,
    page: 0,
    lo: 0,
    hi: 0,
};

#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Default, Debug)]
struct Span {
    /// Empty, or [`SPAN`] entries.
    entries: Vec<Entry>,
    used: u32,
}

/// All entries.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
pub(super) struct Entries {
    spans: Vec<Span>,
    /// The last span that was given up, so that one frame that comes and goes
    /// need not allocate.
    spare: Vec<Entry>,
    len: usize,
}

impl Entries {
    pub const fn new() -> Entries {
        Entries {
            spans: Vec::new(),
            spare: Vec::new(),
            len: 0,
        }
    }

    /// The number of entries.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// The entry of a frame, if it is in the cache.
    #[inline]
    pub fn get(&self, frame: u32) -> Option<Entry> {
        self.place(frame).filter(|entry| entry.file != NONE)
    }

    #[inline]
    fn place(&self, frame: u32) -> Option<Entry> {
        let span = self.spans.get(frame as usize / SPAN)?;
        span.entries.get(frame as usize % SPAN).copied()
    }

    #[inline]
    fn place_mut(&mut self, frame: u32) -> Option<&mut Entry> {
        let span = self.spans.get_mut(frame as usize / SPAN)?;
        span.entries.get_mut(frame as usize % SPAN)
    }

    /// Of the frames of a page, `first` being the first one, the one that is valid for
    /// that epoch.
    #[inline]
    pub fn valid(&mut self, files: &[Option<File>], first: u32, epoch: u64) -> Option<Frame> {
        let mut at = first;
        while at != NONE {
            if self.is_valid(files, at, epoch) {
                return Some(Frame(at));
            }
            at = self.place(at)?.next;
        }
        None
    }

    /// Returns true if the frame is valid for that epoch; the range of its epochs then
    /// includes it.
    #[inline]
    pub fn is_valid(&mut self, files: &[Option<File>], frame: u32, epoch: u64) -> bool {
        self.place(frame).is_some_and(|entry| {
            (entry.lo..=entry.hi).contains(&epoch) || self.becomes_valid(files, frame, entry, epoch)
        })
    }

    #[cold]
    fn becomes_valid(
        &mut self,
        files: &[Option<File>],
        frame: u32,
        entry: Entry,
        epoch: u64,
    ) -> bool {
        let Entry {
            file, page, lo, hi, ..
        } = entry;
        let edge = if epoch < lo { lo } else { hi };
        let file = files.get(file as usize).and_then(Option::as_ref);
        let same = file.is_some_and(|file| file.history.same(edge, epoch, &(page..page + 1)));
        if same && let Some(entry) = self.place_mut(frame) {
            (entry.lo, entry.hi) = (lo.min(epoch), hi.max(epoch));
        }
        same
    }

    /// Offers a frame as a page of a file at an epoch; `first` is the first frame of the
    /// page. Where the page has as many as it may, one that is idle makes room.
    #[inline]
    pub fn offer(
        &mut self,
        files: &[Option<File>],
        first: &mut u32,
        (frame, id, page, epoch): (Frame, FileId, u64, u64),
        is_idle: &impl Fn(Frame) -> bool,
    ) -> Kept {
        let mut gone = None;
        if *first != NONE {
            if let Some(other) = self.valid(files, *first, epoch) {
                return match other == frame {
                    true => Kept::Yes,
                    false => Kept::Other(other),
                };
            }
            if self.versions(*first).count() >= VERSIONS {
                // The one that came first.
                gone = self.versions(*first).filter(|at| is_idle(*at)).last();
                if gone.is_none() {
                    return Kept::No;
                }
            }
        }
        let new = Entry {
            file: id.0,
            next: *first,
            page,
            lo: epoch,
            hi: epoch,
        };
        if !self.fill(frame.0, new) {
            return Kept::No;
        }
        *first = frame.0;
        let Some(gone) = gone else { return Kept::Yes };
        self.remove(first, gone.0);
        Kept::Instead(gone)
    }

    /// The frames of a page, the one that came last first.
    fn versions(&self, first: u32) -> impl Iterator<Item = Frame> {
        let next = |at: &u32| self.get(*at).map(|entry| entry.next);
        let all = core::iter::successors(Some(first), next);
        all.take_while(|at| *at != NONE).map(Frame)
    }

    /// Sets the entry of a frame. False if it has one, as a page of another file for
    /// another process, or if there is no memory.
    #[inline]
    fn fill(&mut self, frame: u32, new: Entry) -> bool {
        let index = frame as usize / SPAN;
        if self
            .spans
            .get(index)
            .is_none_or(|span| span.entries.is_empty())
            && (frame == NONE || !self.add_span(index))
        {
            return false;
        }
        let Some(span) = self.spans.get_mut(index) else {
            return false;
        };
        let entry = span.entries.get_mut(frame as usize % SPAN);
        let Some(entry) = entry.filter(|entry| entry.file == NONE) else {
            return false;
        };
        *entry = new;
        span.used += 1;
        self.len += 1;
        true
    }

    #[cold]
    fn add_span(&mut self, index: usize) -> bool {
        if self.spans.len() <= index {
            let more = index + 1 - self.spans.len();
            if self.spans.try_reserve(more).is_err() {
                return false;
            }
            self.spans.resize_with(index + 1, Span::default);
        }
        if self.spare.is_empty() {
            if self.spare.try_reserve_exact(SPAN).is_err() {
                return false;
            }
            self.spare.resize(SPAN, VACANT);
        }
        let spare = core::mem::take(&mut self.spare);
        let span = self.spans.get_mut(index);
        span.is_some_and(|span| {
            span.entries = spare;
            true
        })
    }

    /// Takes out the entry of a frame, whose page has `first` as its first one.
    pub fn remove(&mut self, first: &mut u32, frame: u32) {
        let Some(gone) = self.get(frame) else {
            return;
        };
        if *first == frame {
            *first = gone.next;
        } else {
            let mut at = *first;
            while let Some(entry) = self.place_mut(at) {
                if entry.next == frame {
                    entry.next = gone.next;
                    break;
                }
                at = entry.next;
            }
        }
        let Some(span) = self.spans.get_mut(frame as usize / SPAN) else {
            return;
        };
        if let Some(entry) = span.entries.get_mut(frame as usize % SPAN) {
            *entry = VACANT;
        }
        span.used -= 1;
        if span.used == 0 {
            self.spare = core::mem::take(&mut span.entries);
        }
        self.len -= 1;
    }

    /// Returns true if there are no spans.
    #[cfg(test)]
    pub fn is_given_back(&self) -> bool {
        self.spans.iter().all(|span| span.entries.is_empty())
    }
}
