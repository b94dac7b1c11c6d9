//! Swap files: where the changed pages of a segment go that leave memory.
//!
//! A segment has sparse temporary files at the swap server, in which a page has the
//! offset that it has in the segment. So a place is a file and a page, and a place
//! in use is never looked for. Page-outs go to one file, the *current* one, which no
//! other segment refers to. A fork shares all files, and both sides begin a fresh
//! one: a place that two segments refer to is never overwritten (invariant 6). Once
//! the other side is gone, the former current file is used again.
//!
//! The word of a swapped page holds its file and the checksum of its bytes, so a
//! page whose bytes have changed in the file is an error and never wrong data.

use alloc::vec::Vec;
use core::ops::Range;

use abi::Errno;
use ranges::RangeMap;

use crate::discard::Job;
use crate::{Frame, Memory, NoMemory, PageState, SwapId};

/// The place of a swapped page; its offset in the file is that of the page in the
/// segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Place {
    /// Which swap file of the segment, below 1024.
    pub(crate) file: u16,
    /// The [`checksum`] of the page.
    pub(crate) sum: u32,
}

impl Place {
    pub(crate) const FILE_BITS: u32 = 10;

    /// The number of the file among those of the segment.
    pub const fn file(self) -> u16 {
        self.file
    }

    /// The checksum of the page.
    pub const fn sum(self) -> u32 {
        self.sum
    }
}

/// Most swap files of a segment: as many as a [`Place`] can name.
const FILES_MAX: usize = 1 << Place::FILE_BITS;

/// Most ranges of given-up pages noted for one file: as many as one step of an operation
/// may give up.
const NOTED_MAX: usize = 256;
/// Beyond that, pages are merged with ranges that are no farther away. The pages between
/// them are written as zeros to the server, and in a sparse segment there may be thousands
/// of millions.
const NEAR: u64 = 16;

/// The checksum of a page by its 512 words, eight at a time: equal for different content
/// once in four thousand million times.
pub fn checksum(words: impl Iterator<Item = [u64; 8]>) -> u32 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    const OTHER: u64 = 0xd1b5_4a32_d192_ed03;
    // Both halves of the product: each bit of both factors reaches all of the state.
    let folded = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    // Two words to a product, and four products to a turn: a page costs half of what it
    // does word by word.
    let mixed = words.fold(ODD, |mixed, [a, b, c, d, e, f, g, h]| {
        let mixed = folded(mixed ^ a, OTHER ^ b);
        let mixed = folded(mixed ^ c, OTHER ^ d);
        let mixed = folded(mixed ^ e, OTHER ^ f);
        folded(mixed ^ g, OTHER ^ h)
    });
    let mixed = folded(mixed ^ mixed >> 32, ODD);
    (mixed ^ mixed >> 32) as u32
}

/// The swap server, for a process that brings pages back or makes them leave. The
/// defaults are those of a host without swap.
pub trait Swap {
    /// Creates an empty swap file with one reference, the caller's. Blocks.
    ///
    /// # Errors
    /// `ENOSPC` if there is no swap.
    fn new_swap(&mut self) -> Result<SwapId, Errno> {
        Err(Errno::ENOSPC)
    }
    /// Adds a reference. Does not block.
    fn retain_swap(&mut self, file: SwapId) {
        let _ = file;
    }
    /// Drops a reference; the last one removes the file, without waiting for the
    /// answer.
    fn release_swap(&mut self, file: SwapId) {
        let _ = file;
    }
    /// References to the file.
    fn swap_holders(&self, file: SwapId) -> u32 {
        let _ = file;
        0
    }
    /// Writes the frames, at most [`crate::RUN_MAX`], as the pages from `page` on.
    /// Blocks, and must not wait for memory that only a page-out can free. The
    /// caller holds the file and the frames, whose bytes do not change meanwhile.
    ///
    /// # Errors
    /// `ENOSPC` if swap is full, `ENOMEM`. After any other the request may still take
    /// effect later.
    fn swap_out(&mut self, file: SwapId, page: u64, frames: &[Frame]) -> Result<(), Errno> {
        let _ = (file, page, frames);
        Err(Errno::ENOSPC)
    }
    /// Reads the pages from `page` on into frames that are not mapped, at most
    /// [`crate::RUN_MAX`]; all of their bytes, or an error. Blocks. The file may be
    /// released meanwhile; the result does not count then.
    fn swap_in(&mut self, file: SwapId, page: u64, frames: &[Frame]) -> Result<(), Errno> {
        let _ = (file, page, frames);
        Err(Errno::EIO)
    }
    /// Gives the room of these pages back to the swap server: at most
    /// [`crate::TRIM_MAX`] ranges, ascending. Waits for the answer.
    ///
    /// # Errors
    /// As [`Swap::swap_out`].
    fn discard_swap(&mut self, file: SwapId, pages: &[Range<u64>]) -> Result<(), Errno> {
        let _ = (file, pages);
        Ok(())
    }
    /// Pages that are worth a [`Swap::discard_swap`].
    fn discard_worth(&self) -> u64 {
        256
    }
}

/// A swap file as a segment sees it.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
struct SwapFile {
    id: SwapId,
    /// Pages of the segment whose content is in it.
    pages: u64,
    /// Pages it may still have that the segment gave up, and perhaps pages between
    /// them that are in use.
    untold: RangeMap<()>,
    /// Pages that were given up since the server was last told.
    given_up: u64,
}

impl SwapFile {
    /// Notes pages that were given up. Without memory, and where too many lie too far
    /// apart, the room of some is lost until the file goes.
    fn note(&mut self, pages: Range<u64>) {
        let mut noted = pages.clone();
        if self.untold.len() >= NOTED_MAX {
            let near = pages.start.saturating_sub(NEAR)..pages.end.saturating_add(NEAR);
            let mut spans = self.untold.touching(near);
            let Some(first) = spans.next() else {
                return;
            };
            let last = spans.last().unwrap_or(first);
            noted = first.start.min(pages.start)..last.end.max(pages.end);
        }
        // Without memory there is one range less.
        let _ = self.untold.set(noted, ());
    }
}

/// The swap files of one segment.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
pub(crate) struct SwapFiles {
    /// By [`Place::file`].
    files: Vec<Option<SwapFile>>,
    /// Page-outs go there. No other segment has a place in it.
    current: Option<u16>,
    /// The current file before the last fork; others may have places in it.
    former: Option<u16>,
    /// Forks so far.
    forks: u32,
    /// Pages that are in files, whether a frame has them too or not.
    pages: u64,
    /// A request that changes the current file is under way. There is one at a time,
    /// because two for one place could arrive in either order.
    busy: bool,
    /// Forks under way, whose copy no page may leave between two steps, and one more
    /// for a pinned segment. Never 0 again at the segment's end.
    held: u16,
    /// A file may have no pages left.
    unused: bool,
}

impl SwapFiles {
    pub(crate) const fn new() -> SwapFiles {
        SwapFiles {
            files: Vec::new(),
            current: None,
            former: None,
            forks: 0,
            pages: 0,
            busy: false,
            held: 0,
            unused: false,
        }
    }

    /// Pages that are in files, whether a frame has them too or not.
    #[inline]
    pub(crate) const fn pages(&self) -> u64 {
        self.pages
    }

    /// Returns true if there are no files.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.iter().all(Option::is_none)
    }

    fn get(&self, file: u16) -> Option<&SwapFile> {
        self.files.get(usize::from(file))?.as_ref()
    }

    fn get_mut(&mut self, file: u16) -> Option<&mut SwapFile> {
        self.files.get_mut(usize::from(file))?.as_mut()
    }

    /// The files that are held.
    pub(crate) fn iter(&self) -> impl Iterator<Item = SwapId> + '_ {
        self.files.iter().flatten().map(|file| file.id)
    }

    /// The same, and the pages of the segment in each.
    pub(crate) fn pages_by_file(&self) -> impl Iterator<Item = (SwapId, u64)> + '_ {
        self.files
            .iter()
            .flatten()
            .map(|file| (file.id, file.pages))
    }

    /// The handle of a file by its number.
    pub(crate) fn id(&self, file: u16) -> Option<SwapId> {
        self.get(file).map(|file| file.id)
    }

    /// The number of a file.
    pub(crate) fn number(&self, id: SwapId) -> Option<u16> {
        let is = |file: &Option<SwapFile>| file.as_ref().is_some_and(|file| file.id == id);
        self.files.iter().position(is).map(|index| index as u16)
    }

    /// The file that page-outs go to, if there is one.
    pub(crate) fn current(&self) -> Option<SwapId> {
        self.id(self.current?)
    }

    /// The current file before the last fork, and the number of that fork.
    pub(crate) fn former(&self) -> Option<(SwapId, u32)> {
        self.id(self.former?).map(|id| (id, self.forks))
    }

    /// Page-outs go to the former file again, to which nobody else referred after
    /// that fork; `false` if there has been another.
    pub(crate) fn resume(&mut self, fork: u32) -> bool {
        let same = self.forks == fork && self.held == 0;
        if same {
            self.current = self.former.take();
        }
        same
    }

    /// Begins a request that changes the current file; `false` if there must be none
    /// now.
    pub(crate) const fn begin(&mut self) -> bool {
        let free = !self.busy && self.held == 0;
        self.busy |= free;
        free
    }

    /// Ends the request. If it may take effect later, the file gets no more pages.
    pub(crate) fn end(&mut self, result: Result<(), Errno>) {
        self.busy = false;
        if result.is_err_and(|error| !matches!(error, Errno::ENOSPC | Errno::ENOMEM)) {
            self.retire();
        }
    }

    /// No page goes to the current file any more.
    pub(crate) const fn retire(&mut self) {
        self.current = None;
        self.unused = true;
    }

    /// The segment has ended, perhaps while another process moves pages of it to swap:
    /// that gets no file any more.
    pub(crate) fn close(&mut self) {
        self.held += 1;
        self.retire();
        self.pages = 0;
        for file in self.files.iter_mut().flatten() {
            file.pages = 0;
        }
    }

    /// A fork begins: its copy shares all files.
    pub(crate) const fn hold(&mut self) {
        self.held += 1;
        self.forks = self.forks.wrapping_add(1);
        if self.current.is_some() {
            self.former = self.current;
        }
        self.retire();
    }

    /// No page leaves until [`let_go`](Self::let_go); files and forks stay as they are.
    pub(crate) const fn pin(&mut self) {
        self.held += 1;
    }

    /// Returns true if no page may leave.
    pub(crate) const fn is_held(&self) -> bool {
        self.held > 0
    }

    /// The fork is over, or the pages need not stay.
    pub(crate) const fn let_go(&mut self) {
        self.held -= 1;
    }

    /// Takes over the caller's reference to a fresh file, the current one from now
    /// on. `false` if a fork is under way, whose copy would not have the file, or if
    /// the segment has ended.
    pub(crate) fn adopt(&mut self, id: SwapId) -> Result<bool, NoMemory> {
        if self.held > 0 {
            return Ok(false);
        }
        let free = self.files.iter().position(Option::is_none);
        let index = free.unwrap_or(self.files.len());
        if index == FILES_MAX {
            return Err(NoMemory);
        }
        if index == self.files.len() {
            self.files.try_reserve(1).map_err(|_| NoMemory)?;
            self.files.push(None);
        }
        if let Some(place) = self.files.get_mut(index) {
            *place = Some(SwapFile {
                id,
                pages: 0,
                untold: RangeMap::new(),
                given_up: 0,
            });
        }
        self.current = Some(index as u16);
        Ok(true)
    }

    /// A page is in a file from now on.
    pub(crate) fn gain(&mut self, file: u16) {
        self.pages += 1;
        if let Some(file) = self.get_mut(file) {
            file.pages += 1;
        }
    }

    /// Releases what a page that becomes absent has: a frame, a place in a file, or
    /// both.
    pub(crate) fn let_go_of<M: Memory>(&mut self, m: &mut M, page: u64, state: PageState) {
        if let Some(frame) = state.frame() {
            m.release(frame);
        }
        if let Some(file) = state.swap_file() {
            self.give_up(page, file);
        }
    }

    /// A page that was in a file is so no more.
    pub(crate) fn give_up(&mut self, page: u64, file: u16) {
        self.pages -= 1;
        let Some(file) = self.get_mut(file) else {
            debug_assert!(false, "a page in no file");
            return;
        };
        file.pages -= 1;
        file.given_up += 1;
        file.note(page..page + 1);
        self.unused |= file.pages == 0;
    }

    /// The next file with enough to tell the server of, if a request may begin.
    pub(crate) fn next_job(&mut self, worth: u64) -> Option<Job> {
        let ready = |file: &Option<SwapFile>| file.as_ref().is_some_and(|f| f.given_up >= worth);
        let index = self.files.iter().position(ready)?;
        if !self.begin() {
            return None;
        }
        let file = self.files.get_mut(index)?.as_mut()?;
        file.given_up = 0;
        Some(Job {
            id: file.id,
            file: index as u16,
            untold: core::mem::replace(&mut file.untold, RangeMap::new()),
            from: 0,
        })
    }

    /// Ends a job of which nothing was told; more may be another time.
    pub(crate) fn keep(&mut self, job: Job) {
        self.end(Ok(()));
        if let Some(file) = self.get_mut(job.file).filter(|file| file.id == job.id) {
            for span in job.untold.iter() {
                file.note(span.range());
            }
        }
    }

    /// All pages of `other`, of which this is a clone, are in the same files here.
    pub(crate) fn gain_all(&mut self, other: &SwapFiles) {
        self.pages = other.pages;
        for (file, from) in self.files.iter_mut().zip(&other.files) {
            if let (Some(file), Some(from)) = (file, from) {
                file.pages = from.pages;
            }
        }
    }

    /// The same files for another segment, which then needs a reference to each.
    pub(crate) fn try_clone(&self) -> Result<SwapFiles, NoMemory> {
        let mut copy = SwapFiles::new();
        let len = self.files.len();
        copy.files.try_reserve_exact(len).map_err(|_| NoMemory)?;
        for file in &self.files {
            let file = match file {
                Some(file) => Some(SwapFile {
                    id: file.id,
                    pages: 0,
                    untold: file.untold.try_clone().map_err(|_| NoMemory)?,
                    given_up: file.given_up,
                }),
                None => None,
            };
            copy.files.push(file);
        }
        copy.unused = len > 0;
        Ok(copy)
    }

    /// Removes a file that no page is in; the caller now has its reference.
    pub(crate) fn take_unused(&mut self) -> Option<SwapId> {
        if !self.unused {
            return None;
        }
        let kept = self.current.filter(|_| self.busy).map(usize::from);
        let unused = |(index, file): (usize, &Option<SwapFile>)| {
            let empty = file.as_ref().is_some_and(|file| file.pages == 0);
            empty && Some(index) != kept
        };
        let Some(index) = self.files.iter().enumerate().position(unused) else {
            self.unused = false;
            return None;
        };
        for named in [&mut self.current, &mut self.former] {
            if named.map(usize::from) == Some(index) {
                *named = None;
            }
        }
        self.files.get_mut(index)?.take().map(|file| file.id)
    }

    /// Panics unless `pages` says how many pages each file has; for tests.
    pub(crate) fn check(&self, pages: impl Fn(u16) -> u64) {
        let mut sum = 0;
        for index in 0..self.files.len() as u16 {
            let known = self.get(index).map_or(0, |file| file.pages);
            assert_eq!(known, pages(index), "pages in swap file {index}");
            sum += known;
        }
        assert_eq!(sum, self.pages, "swapped pages");
        assert!(!self.busy && self.held == 0, "a request is left");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_depends_on_every_bit_and_on_the_order_of_words() {
        let page = |change: usize| {
            let mut words = [0x0123_4567_89ab_cdef_u64; 512];
            words[change / 64] ^= 1 << (change % 64);
            checksum(words.as_chunks().0.iter().copied())
        };
        let mut sums: Vec<u32> = (0..512 * 64).map(page).collect();
        sums.sort_unstable();
        sums.dedup();
        // Two of 32,768 random numbers of 32 bits are equal once in eight tries.
        assert!(sums.len() >= 512 * 64 - 2, "{}", sums.len());
        let two = |first: usize, second: usize| {
            let mut words = [0; 512];
            (words[first], words[second]) = (1, 2);
            checksum(words.as_chunks().0.iter().copied())
        };
        for (first, second) in [(0, 1), (1, 2), (0, 2), (8, 511)] {
            assert_ne!(two(first, second), two(second, first));
        }
    }

    #[test]
    fn a_file_does_not_join_in_the_middle_of_a_fork() {
        let mut files = SwapFiles::new();
        assert!(files.begin());
        // The file is being made; a fork takes several steps meanwhile.
        files.hold();
        assert_eq!(files.adopt(SwapId(1)), Ok(false));
        assert_eq!((files.current(), files.iter().count()), (None, 0));
        files.let_go();
        files.end(Ok(()));
        assert!(files.begin());
        assert_eq!(files.adopt(SwapId(2)), Ok(true));
        assert_eq!(files.current(), Some(SwapId(2)));
    }

    /// The pages that are noted as given up of those that `page` names.
    fn noted(count: u64, page: impl Fn(u64) -> u64) -> (SwapFiles, u64) {
        let mut files = SwapFiles::new();
        assert_eq!(files.adopt(SwapId(1)), Ok(true));
        for _ in 0..=count {
            files.gain(0);
        }
        (0..count).for_each(|n| files.give_up(page(n), 0));
        let untold = &files.get(0).unwrap().untold;
        assert!(untold.len() <= NOTED_MAX);
        let pages = untold.iter().map(|span| span.len()).sum();
        (files, pages)
    }

    #[test]
    fn notes_of_pages_far_apart_do_not_name_what_lies_between() {
        let (mut files, pages) = noted(NOTED_MAX as u64, |n| n << 30);
        assert_eq!(pages, NOTED_MAX as u64, "all are known");
        assert!(files.next_job(NOTED_MAX as u64).is_some());
        let (_, pages) = noted(10_000, |n| n << 30);
        assert!(pages <= NOTED_MAX as u64, "{pages}");
    }

    #[test]
    fn notes_of_pages_close_together_lose_none() {
        let (_, pages) = noted(10_000, |n| n * 3);
        assert!((10_000..=30_000).contains(&pages), "{pages}");
    }

    #[test]
    fn there_are_as_many_files_as_a_place_can_name() {
        let mut files = SwapFiles::new();
        for id in 0..FILES_MAX as u32 {
            assert_eq!(files.adopt(SwapId(id)), Ok(true));
            files.gain(id as u16);
        }
        assert_eq!(files.adopt(SwapId(9999)), Err(NoMemory));
        files.give_up(7, 500);
        assert_eq!(files.take_unused(), Some(SwapId(500)));
        assert_eq!(files.take_unused(), None);
        assert_eq!(files.adopt(SwapId(9999)), Ok(true));
        assert_eq!(files.number(SwapId(9999)), Some(500));
    }
}
