//! The state of each frame, in one word: its use, its holders, and the
//! translations of programs that lead to it.
//!
//! Every function that safe code can call on a frame tests this word first.
//! Without it, the name of a frame would reach the memory of Rust objects, stacks
//! and page tables, and a frame could become such memory while a program can still
//! store to it.

use core::ops::Range;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed};

use vm::{Frame, IdleLinks, Links, OwnerWord};

// The tag is in the top four bits, translations and holders below.
const TAG: u32 = 60;
/// Data of one program, or of several that only read it. The tags of data have 01 on
/// top.
const DATA: u64 = 4 << TAG;
/// The same, and the frame cache names it.
const CACHED: u64 = 5 << TAG;
/// Data that several programs, or a program and a device, write.
const SHARED: u64 = 6 << TAG;
/// A node of an overlay: 512 words for the VM core.
const NODE: u64 = 8 << TAG;
/// Memory of the kernel: Rust objects, stacks, page tables.
const OBJECT: u64 = 9 << TAG;
/// Free; the low half of the word names the next in the list.
const FREE: u64 = 10 << TAG;
/// Never handed out: the kernel, the bundle, the loader's page tables.
pub(super) const KEPT: u64 = 11 << TAG;
/// Nobody has it and the frame cache names it; the rest of the word are the links of the
/// list of such frames. Not data: to use it by name is a panic.
const IDLE: u64 = 12 << TAG;
/// Never used yet.
const FRESH: u64 = 0;
/// Not memory.
const ABSENT: u64 = u64::MAX;
/// `init` writes both byte by byte.
const _: () = assert!(FRESH == 0 && ABSENT == u64::MAX);
const _: () = assert!(2 * Links::BITS <= TAG);

const ONE_HOLDER: u64 = 1;
const HOLDERS: u64 = (1 << 30) - 1;
const ONE_TRANSLATION: u64 = 1 << 30;
const TRANSLATIONS: u64 = HOLDERS << 30;

/// The use for which a frame is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub(super) enum Use {
    Data = DATA,
    Shared = SHARED,
    Node = NODE,
    Object = OBJECT,
}

static WORDS: AtomicPtr<AtomicU64> = AtomicPtr::new(core::ptr::null_mut());
/// One past the highest frame there is.
static LIMIT: AtomicU32 = AtomicU32::new(0);

/// One past the highest frame there is.
#[inline]
pub(super) fn limit() -> u32 {
    LIMIT.load(Relaxed)
}

/// The words that a frame has here: its state, and its owners ([`super::owners`]).
pub(super) const WORDS_PER_FRAME: usize = 2;

/// Starts with `limit` frames that have no owners: those of `fresh` were never used, the
/// others are absent.
///
/// # Safety
/// `words` is memory for [`WORDS_PER_FRAME`] times that many words, without any
/// other use, permanently. Called once.
pub(super) unsafe fn init(words: *mut AtomicU64, limit: u32, fresh: Range<u32>) {
    assert!(limit <= Links::END, "too much memory");
    let limit_words = limit as usize;
    let end = fresh.end.min(limit) as usize;
    let start = (fresh.start as usize).min(end);
    // SAFETY: the caller's condition.
    unsafe {
        core::ptr::write_bytes(words, 0xff, start);
        core::ptr::write_bytes(words.add(start), 0, end - start);
        core::ptr::write_bytes(words.add(end), 0xff, limit_words - end);
        core::ptr::write_bytes(words.add(limit_words), 0, limit_words);
    }
    WORDS.store(words, Relaxed);
    LIMIT.store(limit, Relaxed);
}

/// A frame's word and its value.
#[derive(Clone, Copy)]
pub(super) struct Word {
    at: &'static AtomicU64,
    now: u64,
}

impl Word {
    #[inline]
    fn set(self, value: u64) {
        self.at.store(value, Relaxed);
    }
}

/// The word of a frame. Panics for frames beyond the last.
#[inline(always)]
fn word(frame: Frame) -> Word {
    if frame.0 >= limit() {
        wrong(frame, "does not exist");
    }
    // SAFETY: `init` has set both; the index is below the limit.
    let at = unsafe { &*WORDS.load(Relaxed).add(frame.0 as usize) };
    let now = at.load(Relaxed);
    Word { at, now }
}

/// The word of a frame's owners. Panics for frames beyond the last.
#[inline(always)]
pub(super) fn owners(frame: Frame) -> &'static AtomicU64 {
    let limit = limit();
    if frame.0 >= limit {
        wrong(frame, "does not exist");
    }
    // SAFETY: `init` has set both, and the words of owners follow those of states;
    // the index is below the limit.
    unsafe { &*WORDS.load(Relaxed).add(limit as usize + frame.0 as usize) }
}

/// The words of the owners of at most `most` frames from that one on.
pub(super) fn owners_from(from: Frame, most: u32) -> &'static [AtomicU64] {
    let limit = limit();
    let count = most.min(limit.saturating_sub(from.0));
    if count == 0 {
        return &[];
    }
    // SAFETY: `init` has set both, and the words of owners follow those of states; the
    // first index is below the limit, and the last is too.
    unsafe {
        let first = WORDS.load(Relaxed).add(limit as usize + from.0 as usize);
        core::slice::from_raw_parts(first, count as usize)
    }
}

/// The value of a frame's word; [`ABSENT`] for frames beyond the last.
#[inline(always)]
fn value(frame: Frame) -> u64 {
    match frame.0 < limit() {
        true => word(frame).now,
        false => ABSENT,
    }
}

#[cold]
fn wrong(frame: Frame, why: &str) -> ! {
    panic!("{frame:?} {why}")
}

#[inline]
fn is_tagged_data(word: u64) -> bool {
    word >> (TAG + 2) == DATA >> (TAG + 2)
}

/// The word of a frame of data that is held. Panics for any other frame: the caller
/// has lost track of memory, and to go on would corrupt it.
#[inline]
pub(super) fn data(frame: Frame) -> Word {
    let word = word(frame);
    if !is_tagged_data(word.now) {
        wrong(frame, "is not held");
    }
    word
}

/// Panics for frames beyond the last.
#[inline(always)]
pub(super) fn assert_exists(frame: Frame) {
    if frame.0 >= limit() {
        wrong(frame, "does not exist");
    }
}

/// Panics unless the frame is a node of an overlay that nobody else has.
#[inline(always)]
pub(super) fn assert_own_node(frame: Frame) {
    if word(frame).now != NODE | ONE_HOLDER {
        wrong(frame, "is not a node of one overlay");
    }
}

/// Returns true for memory, the kernel's own included; false for devices and holes.
#[inline]
pub(super) fn is_memory(frame: Frame) -> bool {
    value(frame) != ABSENT
}

/// Returns true for data that is held.
#[inline]
pub(super) fn is_data(frame: Frame) -> bool {
    is_tagged_data(value(frame))
}

impl Use {
    /// Marks a frame as taken for this use, by one holder.
    #[inline(always)]
    pub(super) fn begin(self, frame: Frame) {
        word(frame).set(self as u64 | ONE_HOLDER);
    }
}

/// Adds a holder to a frame of data.
#[inline]
pub(super) fn retain(frame: Frame) {
    let word = data(frame);
    if word.now & HOLDERS == HOLDERS {
        wrong(frame, "has too many holders");
    }
    word.set(word.now + ONE_HOLDER);
}

/// The state of a frame after [`release`].
pub(super) enum Left {
    /// It has other holders.
    Held,
    /// It is to be freed.
    Unheld,
    /// It becomes idle, or is to be freed once the frame cache has forgotten it.
    Cached,
}

/// Removes a holder of a frame of data. Panics if that was the last and a program
/// can still reach the frame.
#[inline]
pub(super) fn release(frame: Frame) -> Left {
    let word = data(frame);
    let before = word.now;
    if before & HOLDERS == 0 {
        wrong(frame, "is not held");
    }
    let now = before - ONE_HOLDER;
    word.set(now);
    if now & HOLDERS != 0 {
        return Left::Held;
    }
    if now & TRANSLATIONS != 0 {
        wrong(frame, "is given up while a program can reach it");
    }
    match now {
        CACHED => Left::Cached,
        _ => Left::Unheld,
    }
}

/// Returns true if the frame cache names the frame and nobody has it.
#[inline]
pub(super) fn is_idle(frame: Frame) -> bool {
    value(frame) >> TAG == IDLE >> TAG
}

/// The words of idle frames. Only the list of them uses it.
pub(super) struct IdleWords;

impl IdleLinks for IdleWords {
    fn links(&self, frame: Frame) -> Links {
        let word = word(frame).now;
        if word >> TAG != IDLE >> TAG {
            wrong(frame, "is not idle");
        }
        Links::from_bits(word)
    }

    fn set_links(&mut self, frame: Frame, links: Links) {
        let word = word(frame);
        if word.now != CACHED && word.now >> TAG != IDLE >> TAG {
            wrong(frame, "cannot become idle");
        }
        word.set(IDLE | links.bits());
    }
}

/// A frame that was idle has one holder, and the frame cache names it.
pub(super) fn begin_cached(frame: Frame) {
    word(frame).set(CACHED | ONE_HOLDER);
}

/// The number of holders of a frame of data; `None` for any other frame.
pub(super) fn holders(frame: Frame) -> Option<u32> {
    let word = value(frame);
    is_tagged_data(word).then_some((word & HOLDERS) as u32)
}

/// Whether the frame of data has more than one holder, and whether the frame cache names
/// it.
#[inline]
pub(super) fn sharing(frame: Frame) -> (bool, bool) {
    let now = data(frame).now;
    (now & HOLDERS > 1, now >> TAG == CACHED >> TAG)
}

/// Returns true if the frame has more than one holder.
#[inline]
pub(super) fn is_shared(frame: Frame) -> bool {
    data(frame).now & HOLDERS > 1
}

/// Panics unless the frame is data that may be written by name: with one holder and
/// not cached, or shared for good.
#[inline]
pub(super) fn assert_writable(frame: Frame) {
    if !is_writable(data(frame).now) {
        wrong(frame, "is not exclusive");
    }
}

#[inline]
fn is_writable(word: u64) -> bool {
    word & !TRANSLATIONS == DATA | ONE_HOLDER || word >> TAG == SHARED >> TAG
}

/// Panics unless the frame is data that the frame cache does not name.
#[inline]
pub(super) fn assert_uncached(frame: Frame) {
    if is_cached(frame) {
        wrong(frame, "is in the frame cache");
    }
}

/// Returns true if the frame cache names the frame.
#[inline]
pub(super) fn is_cached(frame: Frame) -> bool {
    data(frame).now >> TAG == CACHED >> TAG
}

/// Marks the frame as named by the frame cache, or not.
pub(super) fn set_cached(frame: Frame, cached: bool) {
    let word = data(frame);
    let now = word.now;
    if now >> TAG == SHARED >> TAG {
        wrong(frame, "is shared for good");
    }
    let counts = now & (HOLDERS | TRANSLATIONS);
    word.set(counts | if cached { CACHED } else { DATA });
}

/// Counts a translation that leads to the frame of data. With `write` it panics
/// unless the frame is shared for good, or has one holder and is not cached.
#[inline]
pub(super) fn translate(frame: Frame, write: bool) {
    let word = data(frame);
    let now = word.now;
    if write && !is_writable(now) {
        wrong(frame, "is not exclusive");
    }
    if now & TRANSLATIONS == TRANSLATIONS {
        wrong(frame, "has too many translations");
    }
    word.set(now + ONE_TRANSLATION);
}

/// Counts one such translation less.
#[inline]
pub(super) fn forget_translation(frame: Frame) {
    let word = data(frame);
    let now = word.now;
    if now & TRANSLATIONS == 0 {
        wrong(frame, "is not translated");
    }
    word.set(now - ONE_TRANSLATION);
}

/// Adds a reference to a page-table root, or a node.
pub(super) fn retain_object(frame: Frame, kind: Use) {
    let word = word(frame);
    if word.now >> TAG != kind as u64 >> TAG {
        wrong(frame, "is not that kind of object");
    }
    if word.now & HOLDERS == HOLDERS {
        wrong(frame, "has too many holders");
    }
    word.set(word.now + ONE_HOLDER);
}

/// Returns true if the frame is a node with more than one reference.
#[inline(always)]
pub(super) fn is_shared_node(frame: Frame) -> bool {
    // Nodes have no translations, and the tag of objects is the next.
    ((NODE | ONE_HOLDER) + 1..OBJECT).contains(&word(frame).now)
}

/// Removes a reference to an object or node; returns true if it was the last.
pub(super) fn release_object(frame: Frame, kind: Use) -> bool {
    let word = word(frame);
    if word.now >> TAG != kind as u64 >> TAG {
        wrong(frame, "is not that kind of object");
    }
    let now = word.now - ONE_HOLDER;
    word.set(now);
    now & HOLDERS == 0
}

/// Marks the frame as free, with `next` behind it in the list.
#[inline]
pub(super) fn set_free(frame: Frame, next: u32) {
    word(frame).set(FREE | u64::from(next));
}

/// Marks a frame as taken by one holder to whose page a translation leads, with those
/// owners.
#[inline(always)]
pub(super) fn begin_translated(frame: Frame, owners: OwnerWord) {
    let limit = limit();
    if frame.0 >= limit {
        wrong(frame, "does not exist");
    }
    let (words, at) = (WORDS.load(Relaxed), frame.0 as usize);
    // SAFETY: as in `word` and `owners`.
    let (state, owned) = unsafe { (&*words.add(at), &*words.add(limit as usize + at)) };
    state.store(DATA | ONE_TRANSLATION | ONE_HOLDER, Relaxed);
    owned.store(owners.bits(), Relaxed);
}

/// The frame behind a free one in the list; `None` if it is not free.
#[inline(always)]
pub(super) fn next_free(frame: Frame) -> Option<u32> {
    let word = value(frame);
    (word >> TAG == FREE >> TAG).then_some(word as u32)
}

/// At start: sets the word of a frame.
pub(super) fn set(frame: Frame, kind: u64) {
    word(frame).set(kind);
}
