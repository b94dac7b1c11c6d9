//! The frames and translations that the VM core works with.

use core::ops::Range;

use crate::{Frame, NoMemory, Owner, PAGE, PageState, SegmentNumber, SnapId, SwapId};

/// The events that are counted, see [`Memory::count`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// A page filled from a snapshot.
    Fill,
    /// A page made from zeros.
    ZeroFill,
    /// A page copied because a store met a shared frame.
    Copy,
    /// A fill thrown away because the page had become something else.
    Stale,
    /// Bytes of a `write` that were named instead of sent.
    Elided,
    /// Bytes of a `write` that were sent.
    Sent,
    /// A page taken away whose content is elsewhere too.
    Evict,
    /// A sleeping page that was found in the frame cache.
    Cached,
    /// A changed page that was moved to swap.
    PageOut,
    /// A page that was brought back from swap.
    PageIn,
    /// A page brought by read-ahead, beside the one that was touched.
    Ahead,
}

impl Count {
    /// The number of kinds.
    pub const KINDS: usize = Count::Ahead as usize + 1;
}

/// Frames, nodes of the page table the core keeps for itself (the *overlay*),
/// and the hardware translations of one segment. Nothing here blocks.
pub trait Memory {
    /// A frame of zeros with one reference.
    fn alloc_zeroed(&mut self) -> Option<Frame>;
    /// An uninitialised frame with one reference; the caller overwrites all of it.
    fn alloc(&mut self) -> Option<Frame> {
        self.alloc_zeroed()
    }
    /// A frame with one reference and the content of another.
    fn alloc_copy(&mut self, of: Frame) -> Option<Frame>;
    /// The same for the quick way of a store. `None`: the caller goes the long way.
    fn alloc_copy_quickly(&mut self, of: Frame) -> Option<Frame> {
        self.alloc_copy(of)
    }
    /// Adds a reference.
    fn retain(&mut self, frame: Frame);
    /// Drops a reference; frees the frame with the last.
    fn release(&mut self, frame: Frame);
    /// Returns true if there is more than one reference.
    fn shared(&self, frame: Frame) -> bool;
    /// Returns true if somebody besides pages has a reference, or if that is unknown: a
    /// call may write the frame of a changed page at any time then.
    fn is_held(&self, frame: Frame) -> bool {
        let _ = frame;
        false
    }
    /// Returns true if the caller's reference is the only one, and unpublishes the
    /// frame so that it stays so ([`Memory::cached`]). Required before any store,
    /// and before a translation that allows one.
    fn make_exclusive(&mut self, frame: Frame) -> bool {
        !self.shared(frame)
    }
    /// A frame from the cache with the page at `soff` of a snapshot's file, at
    /// the same epoch; with a reference for the caller, who must not write it.
    fn cached(&mut self, snap: SnapId, soff: u64) -> Option<Frame> {
        let _ = (snap, soff);
        None
    }
    /// As `cached` for the pages from `soff` on, for each bit of `wanted` one: puts their
    /// frames at their places and returns the bits of those that were found.
    fn cached_run(&mut self, snap: SnapId, soff: u64, wanted: u64, frames: &mut [Frame]) -> u64 {
        let mut found = 0;
        for (at, place) in (0..u64::BITS).zip(frames) {
            if wanted >> at & 1 != 0
                && let Some(frame) = self.cached(snap, soff.wrapping_add(u64::from(at) * PAGE))
            {
                *place = frame;
                found |= 1 << at;
            }
        }
        found
    }
    /// How many pages of the snapshot's file from `soff` on, at most `pages`, the cache
    /// does not have.
    fn uncached(&mut self, snap: SnapId, soff: u64, pages: u64) -> u64 {
        let _ = (snap, soff);
        pages
    }
    /// Offers a frame, to which the caller has a reference, to the cache as
    /// that page. It has the page's content and is mapped for writing nowhere.
    /// If another frame was there first, the caller uses that one, and gets a
    /// reference to it.
    fn publish(&mut self, snap: SnapId, soff: u64, frame: Frame) -> Option<Frame> {
        let _ = (snap, soff, frame);
        None
    }
    /// The [`crate::checksum`] of a frame.
    fn sum(&self, frame: Frame) -> u32 {
        crate::checksum(
            (0..PAGE as usize / 64)
                .map(|block| core::array::from_fn(|word| self.entry(frame, block * 8 + word))),
        )
    }
    /// Returns false if the server of a snapshot is known to be gone: what memory
    /// has of it cannot be had again.
    fn can_provide(&self, snap: SnapId) -> bool {
        let _ = snap;
        true
    }
    /// Returns true if the server of a swap file is known to be gone: what memory has
    /// of it cannot be had again.
    fn has_lost_swap(&self, file: SwapId) -> bool {
        let _ = file;
        false
    }
    /// As `publish` for the pages from `soff` on, which is a multiple of a page. The
    /// caller's references move to the frames that were there first.
    fn publish_run(&mut self, snap: SnapId, soff: u64, frames: &mut [Frame]) {
        for (page, frame) in (0..).zip(frames) {
            if let Some(first) = self.publish(snap, soff.wrapping_add(page * PAGE), *frame) {
                self.release(*frame);
                *frame = first;
            }
        }
    }
    /// Copies `len` bytes from one frame (and byte in it) to another.
    fn copy(&mut self, from: (Frame, usize), to: (Frame, usize), len: usize);
    /// Zeros `len` bytes of a frame from byte `at`.
    fn zero(&mut self, frame: Frame, at: usize, len: usize);

    /// A zeroed overlay node: 512 entries of 64 bits in one frame.
    fn alloc_node(&mut self) -> Option<Frame>;
    /// Adds a reference to an overlay node, which nobody changes while it has several.
    fn share_node(&mut self, node: Frame);
    /// Returns true if an overlay node has more than one reference.
    fn is_shared_node(&self, node: Frame) -> bool;
    /// Drops a reference to an overlay node; the last one frees it, and all its entries are
    /// 0 then.
    fn free_node(&mut self, node: Frame);
    /// Entry `index` (below 512) of a node; of any frame, for [`Memory::sum`].
    fn entry(&self, node: Frame, index: usize) -> u64;
    /// The first of `entries` (at most 512) of a node that `is_it`, and its index. An
    /// entry that is 0 may be left out.
    fn find_entry(
        &self,
        node: Frame,
        entries: Range<usize>,
        is_it: impl Fn(u64) -> bool,
    ) -> Option<(usize, u64)> {
        let mut words = entries.map(|at| (at, self.entry(node, at)));
        words.find(|(_, word)| *word != 0 && is_it(*word))
    }
    /// Sets entry `index` (below 512) of a node.
    fn set_entry(&mut self, node: Frame, index: usize, value: u64);

    /// Translates `page` (relative to the segment's base) to `frame`, in place
    /// of any older translation, which is flushed. On failure the older
    /// translation may still be there.
    fn map(&mut self, page: u64, frame: Frame, writable: bool) -> Result<(), NoMemory>;
    /// Translates `page` to a frame of zeros with one reference, for stores, which the
    /// segment permits, and makes `owner` its owner. `None`, and nothing has changed, where that is not done in a few
    /// steps: the caller goes the long way.
    #[inline]
    fn map_zeroed_quickly(&mut self, page: u64, owner: Owner) -> Option<Frame> {
        let frame = self.alloc_zeroed()?;
        if self.map(page, frame, true).is_err() {
            self.release(frame);
            return None;
        }
        self.own(frame, owner);
        Some(frame)
    }
    /// As `map` for stores, for a page that may be translated to the same frame already.
    fn allow_stores(&mut self, page: u64, frame: Frame) -> Result<(), NoMemory> {
        self.map(page, frame, true)
    }
    /// As `map` without stores, for pages from `page` on that nobody has touched yet.
    /// Without memory for a translation it is left out: it is made when it is needed.
    fn map_ahead(&mut self, page: u64, frames: &[Frame]) {
        for (page, frame) in (page..).zip(frames) {
            let _ = self.map(page, *frame, false);
        }
    }
    /// As `map` with stores, for pages from `page` on that have no translation: each
    /// frame is the page's alone. Without memory for a translation it is left out, as
    /// with `map_ahead`.
    fn map_new(&mut self, page: u64, frames: &[Frame]) {
        for (page, frame) in (page..).zip(frames) {
            let _ = self.map(page, *frame, true);
        }
    }
    /// The number of these pages (at most 32) that the program has used since
    /// they were mapped. Such a page is no longer one that nobody has touched.
    fn used(&mut self, pages: Range<u64>) -> u64 {
        pages.end - pages.start
    }
    /// Pages that read-ahead may bring now: few where memory is short.
    fn ahead_max(&self) -> u64 {
        u64::MAX
    }
    /// Removes translations, flushed on return. The cost must follow the mapped
    /// pages, not the length of the range.
    fn unmap(&mut self, pages: Range<u64>);
    /// No more pages than this are translated.
    fn mapped(&self) -> u64 {
        u64::MAX
    }
    /// Removes the write permission, flushed on return. Same cost.
    fn protect(&mut self, pages: Range<u64>);

    /// The frame, or node, has that owner from now on. Called by the overlay alone.
    #[inline]
    fn own(&mut self, frame: Frame, owner: Owner) {
        let _ = (frame, owner);
    }
    /// It no longer has that owner, and may have been released already.
    #[inline]
    fn disown(&mut self, frame: Frame, owner: Owner) {
        let _ = (frame, owner);
    }

    /// Returns true if somebody wants to hear of the states of pages.
    #[inline(always)]
    fn listens(&self) -> bool {
        false
    }
    /// A page of the segment of that number has that state from now on.
    #[inline(always)]
    fn enters(&mut self, segment: SegmentNumber, page: u64, state: PageState) {
        let _ = (segment, page, state);
    }
    /// All pages of a range are absent from now on: a node that others have too left the
    /// segment.
    fn leave(&mut self, segment: SegmentNumber, pages: Range<u64>) {
        let _ = (segment, pages);
    }

    /// Something happened `n` times.
    fn count(&mut self, what: Count, n: u64) {
        let _ = (what, n);
    }
}
