//! Frames by name, for the VM core.
//!
//! # Guarantee
//!
//! A [`Frame`] is only a name, and any number is one. Safe code with arbitrary names
//! cannot corrupt the kernel:
//!
//! - The functions here panic unless the frame is data that is held, or a node where
//!   one is changed: Rust objects, stacks, page tables, the kernel's image and devices
//!   are out of reach. Only [`node_entry`] and [`find_node_entry`], which read, take
//!   any frame.
//! - A frame of data becomes none of these while it has a holder, or while a
//!   translation of a program leads to it (`words`).
//! - A frame that is written by name, or translated for stores, has one holder and is
//!   not in the frame cache, or was taken to be shared for good. So no other
//!   program has the frame at the moment of the store; that none is given it while
//!   the translation exists rests on the VM core.
//!
//! # Trust
//!
//! That a frame with one holder is the caller's, and that a holder releases only its
//! own frames: the VM core keeps its frames by name, and its tests and models stand
//! for that. Only `kernel/src/seg` may use this module (`tests/proof/tests/floors.rs`);
//! all other code has a [`FrameRef`], or a [`Page`](super::paging::Page) borrowed from
//! an address space. The loader's memory map is believed, and so are drivers: a device
//! can write any memory.

use core::ops::Range;
use core::sync::atomic::Ordering::Relaxed;
use vm::{Frame, OwnerWord};

use super::frames::FrameRef;
use super::pool::Held;
use super::words::{self, Use};
use super::{page, payer, pool};

/// An uninitialised frame of data with one holder, the caller.
#[inline]
pub fn alloc() -> Option<Frame> {
    let frame = pool::take(Use::Data)?;
    pool::emptied(frame);
    Some(frame)
}

/// As [`alloc()`], with all bytes zero.
#[inline]
pub fn alloc_zeroed() -> Option<Frame> {
    let frame = pool::take(Use::Data)?;
    page::zero(frame);
    Some(frame)
}

/// A frame of zeros that several programs may write, with one holder.
pub fn alloc_shared() -> Option<Frame> {
    let frame = pool::take(Use::Shared)?;
    page::zero(frame);
    Some(frame)
}

/// A node of zeros: 512 words, see [`node_entry`].
#[inline]
pub fn alloc_node() -> Option<Frame> {
    let frame = pool::take_zeroed(Held::Node, Use::Node)?;
    words::owners(frame).store(OwnerWord::NOBODY.bits(), Relaxed);
    Some(frame)
}

/// Adds a reference to a node. Panics if it is none.
pub fn share_node(node: Frame) {
    words::retain_object(node, Use::Node);
}

/// Returns true if it is a node with more than one reference.
#[inline(always)]
pub fn is_shared_node(node: Frame) -> bool {
    words::is_shared_node(node)
}

/// Drops a reference to a node; the last one frees it, and all its words are 0 then. Panics
/// if it is none.
#[inline]
pub fn free_node(node: Frame) {
    pool::free_own(node, Use::Node, Held::Node);
}

/// Runs `f`, which gives back `frame` and may need nodes for that, with what is left for
/// kernel objects. The account that pays for the frame pays for them.
pub fn from_reserve<R>(frame: Frame, f: impl FnOnce() -> R) -> R {
    payer::from_reserve(pool::owner(frame), f)
}

/// Word `index` (0 to 511) of a node. Panics for frames beyond the last. Reads any
/// other frame, for a walk reads several nodes: a wrong name gives a wrong word.
#[inline(always)]
pub fn node_entry(node: Frame, index: usize) -> u64 {
    words::assert_exists(node);
    page::read_word(node, index)
}

/// The first of `words` (at most 512) that is not 0 and that `is_it`, with its index;
/// of any frame, as [`node_entry`].
#[inline]
pub fn find_node_entry(
    node: Frame,
    words: Range<usize>,
    is_it: impl Fn(u64) -> bool,
) -> Option<(usize, u64)> {
    words::assert_exists(node);
    page::find_word(node, words, is_it)
}

/// Sets word `index` (0 to 511) of a node. Panics if it is none, or has several
/// references.
#[inline(always)]
pub fn set_node_entry(node: Frame, index: usize, value: u64) {
    words::assert_own_node(node);
    page::write_word(node, index, value);
}

/// Adds a holder.
#[inline]
pub fn retain(frame: Frame) {
    pool::retain(frame);
}

/// Removes a holder; the last one frees the frame. Panics if it was the last and a
/// translation leads to the frame.
#[inline]
pub fn release(frame: Frame) {
    pool::release(frame);
}

/// A reference to a frame that is held.
#[inline]
pub fn hold(frame: Frame) -> FrameRef {
    FrameRef::hold(frame)
}

/// Returns true if the frame has more than one holder.
#[inline]
pub fn shared(frame: Frame) -> bool {
    words::is_shared(frame)
}

/// Returns true if the frame has one holder; it is out of the frame cache then, so
/// that it stays so, and may be written.
#[inline]
pub fn make_exclusive(frame: Frame) -> bool {
    let (shared, cached) = words::sharing(frame);
    if !shared && cached {
        pool::forget(frame);
        words::set_cached(frame, false);
    }
    !shared
}

/// Copies `len` bytes from a frame (and byte in it) to one that may be written.
#[inline]
pub fn copy_between(from: (Frame, usize), to: (Frame, usize), len: usize) {
    words::data(from.0);
    words::assert_writable(to.0);
    page::copy_between(from, to, len);
}

/// The [`vm::checksum`] of a frame of data.
pub fn checksum(frame: Frame) -> u32 {
    words::data(frame);
    page::checksum(frame)
}

/// Zeroes `len` bytes from byte `at` of a frame that may be written.
#[inline]
pub fn zero_range(frame: Frame, at: usize, len: usize) {
    words::assert_writable(frame);
    page::zero_range(frame, at, len);
}

/// Panics if a frame that a program is about to see was not written entirely
/// (invariant 14). Looks only if frames are poisoned.
#[inline]
pub fn check_written(frame: Frame) {
    pool::check_written(frame, 0..page::SIZE / 8);
}
