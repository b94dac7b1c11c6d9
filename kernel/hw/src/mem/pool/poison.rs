//! Poison: for tests, what is in frames without content.

use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::super::chance::{self, What};
use super::super::payer::running;
use super::super::{page, words};
use vm::Frame;

/// True if frames without content are filled with [`POISON`].
static POISONED: AtomicBool = AtomicBool::new(false);

/// Random, so that no program has it in its memory by chance.
const POISON: u64 = 0xd35c_4be9_17a6_8f32;

/// For tests: fills frames with poison from now on when they are freed or taken,
/// and [`named::check_written`](super::super::named::check_written) looks for it.
pub fn poison() {
    POISONED.store(true, Relaxed);
}

/// The frame has no content any more, or none yet.
#[inline]
pub(in super::super) fn emptied(frame: Frame) {
    if POISONED.load(Relaxed) {
        page::fill(frame, POISON);
    }
}

/// Panics if poison is on and is among these words of the frame.
#[inline(always)]
pub(in super::super) fn check_written(frame: Frame, words: Range<usize>) {
    if POISONED.load(Relaxed) && words::is_data(frame) {
        look_for_poison(frame, words);
    }
}

#[cold]
fn look_for_poison(frame: Frame, words: Range<usize>) {
    if chance::fails(What::Content, running) {
        // As if its writing had been left out.
        emptied(frame);
    }
    let written = !page::has(frame, words, POISON);
    assert!(written, "{frame:?} is not initialised");
}

/// Returns true if frames without content are filled.
#[inline]
pub(super) fn is_on() -> bool {
    POISONED.load(Relaxed)
}
