//! What is known of each frame, in one word: what it is, how many hold it, and
//! how many translations of programs lead to it.
//!
//! Everything that safe code can do to a frame looks here first. So the memory of
//! Rust objects, stacks and page tables cannot be written through the name of a
//! frame, and no frame becomes such memory while a program can still reach it.

use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed};

use vm::Frame;

// The tag is in the top four bits, translations and holders below.
const TAG: u32 = 60;
/// Data of one program or, read-only, of several: what the users of this crate hold,
/// translate and copy. The tags of data have 01 on top.
const DATA: u64 = 4 << TAG;
/// The same, and the frame cache may find it.
const CACHED: u64 = 5 << TAG;
/// Data that several programs, or a program and a device, may write.
const SHARED: u64 = 6 << TAG;
/// A node of an overlay: 512 words for the VM core.
const NODE: u64 = 8 << TAG;
/// The kernel's: Rust objects, stacks, page tables.
const OBJECT: u64 = 9 << TAG;
/// Free; the low half of the word names the next in the list.
const FREE: u64 = 10 << TAG;
/// Never handed out: the kernel, the bundle, the loader's page tables.
pub(super) const KEPT: u64 = 11 << TAG;
/// Never used yet.
pub(super) const FRESH: u64 = 0;
/// Not memory.
const ABSENT: u64 = u64::MAX;

const ONE_HOLDER: u64 = 1;
const HOLDERS: u64 = (1 << 30) - 1;
const ONE_TRANSLATION: u64 = 1 << 30;
const TRANSLATIONS: u64 = HOLDERS << 30;

/// What a frame is taken for.
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

/// Begins with `limit` words for frames that are not there.
///
/// # Safety
/// `words` is memory for so many words that nothing else uses, for ever. Called
/// once.
pub(super) unsafe fn init(words: *mut AtomicU64, limit: u32) {
    // SAFETY: the caller's condition.
    unsafe { core::ptr::write_bytes(words, 0xff, limit as usize) };
    WORDS.store(words, Relaxed);
    LIMIT.store(limit, Relaxed);
}

#[inline]
fn word(frame: Frame) -> Option<&'static AtomicU64> {
    if frame.0 >= limit() {
        return None;
    }
    // SAFETY: `init` has set both; the index is below the limit.
    Some(unsafe { &*WORDS.load(Relaxed).add(frame.0 as usize) })
}

#[cold]
fn is_not(frame: Frame, what: &str) -> ! {
    panic!("{frame:?} is not {what}")
}

#[inline]
fn is_tagged_data(word: u64) -> bool {
    word >> (TAG + 2) == DATA >> (TAG + 2)
}

/// The word of a frame of data that someone holds. Panics for any other: whoever
/// names it has lost track of memory and must not go on.
#[inline]
pub(super) fn data(frame: Frame) -> &'static AtomicU64 {
    match word(frame) {
        Some(word) if is_tagged_data(word.load(Relaxed)) => word,
        _ => is_not(frame, "held"),
    }
}

/// Panics unless the frame is a node of an overlay.
#[inline]
pub(super) fn assert_node(frame: Frame) {
    match word(frame) {
        Some(word) if word.load(Relaxed) >> TAG == NODE >> TAG => {}
        _ => is_not(frame, "a node"),
    }
}

/// Is it memory, the kernel's own included, and not a device or nothing?
#[inline]
pub(super) fn is_memory(frame: Frame) -> bool {
    word(frame).is_some_and(|word| word.load(Relaxed) != ABSENT)
}

/// Is it data that someone holds?
#[inline]
pub(super) fn is_data(frame: Frame) -> bool {
    word(frame).is_some_and(|word| is_tagged_data(word.load(Relaxed)))
}

impl Use {
    /// The frame has been taken for that, by one holder.
    #[inline]
    pub(super) fn begin(self, frame: Frame) {
        if let Some(word) = word(frame) {
            word.store(self as u64 | ONE_HOLDER, Relaxed);
        }
    }
}

/// One more holder of a frame of data.
#[inline]
pub(super) fn retain(frame: Frame) {
    let word = data(frame);
    let now = word.load(Relaxed);
    if now & HOLDERS == HOLDERS {
        is_not(frame, "to be held so often");
    }
    word.store(now + ONE_HOLDER, Relaxed);
}

/// What is left of a frame after [`release`].
pub(super) enum Left {
    /// Other holders.
    Held,
    /// Nothing: it is to be freed.
    Nothing,
    /// The frame cache can still find it.
    Cached,
}

/// One holder less of a frame of data. Panics if that was the last and a program
/// can still reach the frame.
#[inline]
pub(super) fn release(frame: Frame) -> Left {
    let word = data(frame);
    let now = word.load(Relaxed) - ONE_HOLDER;
    word.store(now, Relaxed);
    if now & HOLDERS != 0 {
        return Left::Held;
    }
    if now & TRANSLATIONS != 0 {
        is_not(frame, "to be given up while it is translated");
    }
    match now {
        CACHED => Left::Cached,
        _ => Left::Nothing,
    }
}

/// Has the cached frame no holders?
pub(super) fn is_unheld(frame: Frame) -> bool {
    data(frame).load(Relaxed) & HOLDERS == 0
}

/// More than one holder?
#[inline]
pub(super) fn is_shared(frame: Frame) -> bool {
    data(frame).load(Relaxed) & HOLDERS > 1
}

/// May the frame cache find it?
#[inline]
pub(super) fn is_cached(frame: Frame) -> bool {
    data(frame).load(Relaxed) >> TAG == CACHED >> TAG
}

/// The frame cache may find it from now on, or not any more.
pub(super) fn set_cached(frame: Frame, cached: bool) {
    let word = data(frame);
    let now = word.load(Relaxed);
    if now >> TAG == SHARED >> TAG {
        is_not(frame, "for the cache");
    }
    let counts = now & (HOLDERS | TRANSLATIONS);
    word.store(counts | if cached { CACHED } else { DATA }, Relaxed);
}

/// A translation of a program's leads to the frame of data. With `write`, the frame
/// must be shared for good, or have one holder and not be cached.
#[inline]
pub(super) fn translate(frame: Frame, write: bool) {
    let word = data(frame);
    let now = word.load(Relaxed);
    let exclusive = now & !TRANSLATIONS == DATA | ONE_HOLDER;
    if write && !exclusive && now >> TAG != SHARED >> TAG {
        is_not(frame, "one holder's");
    }
    if now & TRANSLATIONS == TRANSLATIONS {
        is_not(frame, "to be translated so often");
    }
    word.store(now + ONE_TRANSLATION, Relaxed);
}

/// One such translation is gone.
#[inline]
pub(super) fn forget_translation(frame: Frame) {
    let word = data(frame);
    let now = word.load(Relaxed);
    if now & TRANSLATIONS == 0 {
        is_not(frame, "translated");
    }
    word.store(now - ONE_TRANSLATION, Relaxed);
}

/// Another reference to a page-table root.
pub(super) fn retain_object(frame: Frame) {
    let word = object(frame);
    word.store(word.load(Relaxed) + ONE_HOLDER, Relaxed);
}

/// A reference less to an object or node; was it the last?
pub(super) fn release_object(frame: Frame, kind: Use) -> bool {
    let word = match word(frame) {
        Some(word) if word.load(Relaxed) >> TAG == kind as u64 >> TAG => word,
        _ => is_not(frame, "that kind of object"),
    };
    let now = word.load(Relaxed) - ONE_HOLDER;
    word.store(now, Relaxed);
    now & HOLDERS == 0
}

fn object(frame: Frame) -> &'static AtomicU64 {
    match word(frame) {
        Some(word) if word.load(Relaxed) >> TAG == OBJECT >> TAG => word,
        _ => is_not(frame, "an object"),
    }
}

/// The frame is free, and `next` follows it in the list.
#[inline]
pub(super) fn set_free(frame: Frame, next: u32) {
    if let Some(word) = word(frame) {
        word.store(FREE | u64::from(next), Relaxed);
    }
}

/// What follows a free frame in the list; `None` if it is not free.
#[inline]
pub(super) fn next_free(frame: Frame) -> Option<u32> {
    let word = word(frame)?.load(Relaxed);
    (word >> TAG == FREE >> TAG).then_some(word as u32)
}

/// At start: what a frame is.
pub(super) fn set(frame: Frame, kind: u64) {
    if let Some(word) = word(frame) {
        word.store(kind, Relaxed);
    }
}
