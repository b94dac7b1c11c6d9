//! Access to the bytes of frames through the physical map.
//!
//! Only for this folder, which knows the uses of frames: nothing here checks
//! whether a frame may be accessed. Ranges that leave the frame are kernel bugs
//! and panic. Programs may map the frames at the same time; there are no
//! references to their bytes, only copies, and no program runs meanwhile.

use core::arch::asm;
use core::mem::MaybeUninit;
use core::ops::Range;

use vm::Frame;

use super::physical;
use crate::user::{self, UserFault};

/// Bytes in a frame.
pub const SIZE: usize = abi::PAGE as usize;

/// Physical address of a frame.
pub trait Physical {
    /// Of its first byte.
    fn pa(self) -> u64;
}

impl Physical for Frame {
    #[inline]
    fn pa(self) -> u64 {
        u64::from(self.0) << 12
    }
}

/// First byte of a frame in the physical map.
#[inline]
fn address(frame: Frame) -> *mut u8 {
    physical(frame.pa())
}

/// The address of byte `at` of a frame, of which `len` bytes are used.
#[inline]
fn bytes(frame: Frame, at: usize, len: usize) -> *mut u8 {
    assert!(at <= SIZE && len <= SIZE - at, "range leaves the frame");
    address(frame).wrapping_add(at)
}

/// Copies words with `rep movsq`, then the rest.
///
/// # Safety
/// `len` bytes at `from` are readable and at `to` writable, and they do not
/// overlap.
#[inline]
unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller's conditions.
    unsafe {
        asm!(
            "rep movsq",
            "mov ecx, {rest:e}",
            "rep movsb",
            rest = in(reg) len & 7,
            inout("rcx") len >> 3 => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags)
        );
    }
}

/// Writes `from` into a frame, beginning at byte `at`.
#[inline]
pub(super) fn copy_to(frame: Frame, at: usize, from: &[u8]) {
    let to = bytes(frame, at, from.len());
    // SAFETY: the range is inside the frame; `from` is a Rust object, and
    // those are never in frames that are handed out.
    unsafe { copy(to, from.as_ptr(), from.len()) };
}

/// Fills `to` from a frame, beginning at byte `at`.
#[inline]
pub(super) fn copy_from(frame: Frame, at: usize, to: &mut [u8]) {
    let from = bytes(frame, at, to.len());
    // SAFETY: as in `copy_to`.
    unsafe { copy(to.as_mut_ptr(), from, to.len()) };
}

/// Fills `len` bytes of a frame (and byte in it) from user address `va`.
#[inline]
pub(super) fn copy_in(to: (Frame, usize), va: u64, len: usize) -> Result<(), UserFault> {
    let to = bytes(to.0, to.1, len);
    // SAFETY: the range is inside the frame.
    unsafe { user::copy_in_raw(to, va, len) }
}

/// Copies `len` bytes of a frame (and byte in it) to user address `va`.
#[inline]
pub(super) fn copy_out(va: u64, from: (Frame, usize), len: usize) -> Result<(), UserFault> {
    let from = bytes(from.0, from.1, len);
    // SAFETY: the range is inside the frame.
    unsafe { user::copy_out_raw(va, from, len) }
}

/// Copies `len` bytes from one frame (and byte in it) to another. Within one
/// frame the ranges may overlap: the former content is copied.
#[inline]
pub(super) fn copy_between(from: (Frame, usize), to: (Frame, usize), len: usize) {
    let overlaps = from.0 == to.0 && from.1 < to.1 && to.1 - from.1 < len;
    let (from, to) = (bytes(from.0, from.1, len), bytes(to.0, to.1, len));
    if overlaps {
        // SAFETY: both ranges are inside the frame; the copy may overlap.
        unsafe { core::ptr::copy(from, to, len) };
    } else {
        // SAFETY: both ranges are inside their frames; a forward copy may overlap
        // towards lower addresses.
        unsafe { copy(to, from, len) };
    }
}

/// Zeroes a whole frame: 16 bytes at a time, half of what `rep stosq` counts.
#[inline(always)]
pub(super) fn zero(frame: Frame) {
    let to = address(frame);
    let mut saved = MaybeUninit::<[u8; 16]>::uninit();
    // SAFETY: 1. writes the 4096 bytes of the frame; 2. xmm0, which belongs
    // to some program, is put back.
    unsafe {
        asm!(
            "movups [{saved}], xmm0",
            "xorps xmm0, xmm0",
            ".set at, 0",
            ".rept 256",
            "movaps [{to} + at], xmm0",
            ".set at, at + 16",
            ".endr",
            "movups xmm0, [{saved}]",
            saved = in(reg) saved.as_mut_ptr(),
            to = in(reg) to,
            options(nostack, preserves_flags)
        );
    }
}

/// Zeroes `len` bytes of a frame from byte `at`.
#[inline]
pub(super) fn zero_range(frame: Frame, at: usize, len: usize) {
    let to = bytes(frame, at, len);
    // SAFETY: the range is inside the frame.
    unsafe { core::ptr::write_bytes(to, 0, len) };
}

/// Word `index` (0 to 511) of a frame.
#[inline(always)]
pub(super) fn read_word(frame: Frame, index: usize) -> u64 {
    assert!(index < SIZE / 8, "no such word");
    // SAFETY: aligned and inside the frame.
    unsafe { address(frame).cast::<u64>().add(index).read_volatile() }
}

/// The [`vm::checksum`] of a frame that no program can store to meanwhile.
pub(super) fn checksum(frame: Frame) -> u32 {
    let start = address(frame).cast::<u64>();
    // SAFETY: aligned and inside the frame. If a device changes it meanwhile, the sum is
    // wrong, and nothing else.
    let word = |index| unsafe { start.add(index).read() };
    vm::checksum((0..SIZE / 64).map(|block| core::array::from_fn(|at| word(block * 8 + at))))
}

/// The first of words `at..end` of a frame that is not 0, or `end`. Four at a time:
/// most are 0 where this is asked. Volatile, for the processor sets bits in the words
/// of page tables.
#[inline]
pub(super) fn next_word(frame: Frame, mut at: usize, end: usize) -> usize {
    assert!(end <= SIZE / 8, "no such word");
    let first = address(frame).cast::<u64>();
    // SAFETY: called for indices below `end`: aligned and inside the frame.
    let word = |index: usize| unsafe { first.add(index).read_volatile() };
    while at + 4 <= end && word(at) | word(at + 1) | word(at + 2) | word(at + 3) == 0 {
        at += 4;
    }
    while at < end && word(at) == 0 {
        at += 1;
    }
    at.min(end)
}

/// The last of words `at..end` of a frame that is not 0, or `end`; as [`next_word`].
#[inline]
pub(super) fn last_word(frame: Frame, at: usize, end: usize) -> usize {
    assert!(end <= SIZE / 8, "no such word");
    let first = address(frame).cast::<u64>();
    // SAFETY: called for indices below `end`: aligned and inside the frame.
    let word = |index: usize| unsafe { first.add(index).read_volatile() };
    let mut from = end;
    while from >= at + 4 && word(from - 1) | word(from - 2) | word(from - 3) | word(from - 4) == 0 {
        from -= 4;
    }
    while from > at {
        from -= 1;
        if word(from) != 0 {
            return from;
        }
    }
    end
}

/// The first of `words` of a frame that is not 0 and that `is_it`, with its index.
#[inline]
pub(super) fn find_word(
    frame: Frame,
    words: Range<usize>,
    is_it: impl Fn(u64) -> bool,
) -> Option<(usize, u64)> {
    let Range { start: mut at, end } = words;
    assert!(end <= SIZE / 8, "no such word");
    let first = address(frame).cast::<u64>();
    // SAFETY: called for indices below `end`: aligned and inside the frame.
    let word = |index: usize| unsafe { first.add(index).read_volatile() };
    while at < end {
        if at + 4 <= end && word(at) | word(at + 1) | word(at + 2) | word(at + 3) == 0 {
            at += 4;
            continue;
        }
        let stop = end.min(at + 4);
        while at < stop {
            let found = word(at);
            if found != 0 && is_it(found) {
                return Some((at, found));
            }
            at += 1;
        }
    }
    None
}

/// Sets word `index` (0 to 511) of a frame.
#[inline(always)]
pub(super) fn write_word(frame: Frame, index: usize, value: u64) {
    assert!(index < SIZE / 8, "no such word");
    // SAFETY: as in `read_word`.
    unsafe {
        address(frame)
            .cast::<u64>()
            .add(index)
            .write_volatile(value)
    };
}

/// Fills a frame with a word.
pub(super) fn fill(frame: Frame, word: u64) {
    (0..SIZE / 8).for_each(|index| write_word(frame, index, word));
}

/// Returns true if the word is among these words of the frame.
pub(super) fn has(frame: Frame, mut words: Range<usize>, word: u64) -> bool {
    words.any(|index| read_word(frame, index) == word)
}
