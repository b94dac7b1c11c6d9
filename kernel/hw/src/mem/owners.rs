//! The pages that have each frame: the words of [`vm::OwnerWord`] behind the VM
//! core's overlays, for eviction.
//!
//! Nothing here is trusted: who goes from a frame to a page looks whether the page
//! still has the frame.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use vm::{Chains, Frame, OWNERS_MAX, Owner, OwnerWord, SegmentNumber};

use super::payer::for_all;
use super::words;
use crate::lock::{Lock, Rank};

static CHAINS: Lock<Chains> = Lock::new(Rank::Owners, Chains::new());

/// Adds a page to those that have the frame.
#[inline(always)]
pub fn own(frame: Frame, owner: Owner) {
    let word = words::owners(frame);
    if word.load(Relaxed) == OwnerWord::NOBODY.bits() {
        word.store(OwnerWord::one(owner).bits(), Relaxed);
    } else {
        own_too(frame, owner);
    }
}

#[cold]
fn own_too(frame: Frame, owner: Owner) {
    let word = words::owners(frame);
    let mut now = OwnerWord::from_bits(word.load(Relaxed));
    if now == OwnerWord::UNLISTED && !words::is_shared(frame) {
        // Left from an earlier use: this page is the only holder.
        now = OwnerWord::NOBODY;
    }
    let then = for_all(|| CHAINS.lock().add(now, owner));
    word.store(then.bits(), Relaxed);
}

/// Removes a page from those that have the frame.
#[inline]
pub fn disown(frame: Frame, owner: Owner) {
    let word = words::owners(frame);
    if word.load(Relaxed) == OwnerWord::one(owner).bits() {
        word.store(OwnerWord::NOBODY.bits(), Relaxed);
    } else {
        disown_one(frame, owner);
    }
}

#[cold]
fn disown_one(frame: Frame, owner: Owner) {
    let word = words::owners(frame);
    let now = OwnerWord::from_bits(word.load(Relaxed));
    let then = for_all(|| CHAINS.lock().remove(now, owner));
    word.store(then.bits(), Relaxed);
}

/// The owners of a frame.
#[derive(Debug)]
pub struct Owners {
    list: [Owner; OWNERS_MAX],
    count: usize,
    /// Holders of the frame, owners included.
    pub holders: u32,
}

impl Owners {
    /// The pages that have the frame, in no order.
    pub fn pages(&self) -> &[Owner] {
        &self.list[..self.count]
    }
}

/// The page that alone holds a frame of data, if that is so: the usual case.
#[inline]
pub fn only(frame: Frame) -> Option<Owner> {
    let now = OwnerWord::from_bits(words::owners(frame).load(Relaxed));
    now.only().filter(|_| words::holders(frame) == Some(1))
}

/// The pages that have a frame of data; `None` if there is none, or if not all are
/// known.
pub fn of(frame: Frame) -> Option<Owners> {
    let now = OwnerWord::from_bits(words::owners(frame).load(Relaxed));
    if matches!(now, OwnerWord::NOBODY | OwnerWord::UNLISTED) {
        return None;
    }
    let holders = words::holders(frame)?;
    let mut list = [Owner::new(SegmentNumber::new(0), 0); OWNERS_MAX];
    let count = CHAINS.lock().list(now, &mut list)?;
    Some(Owners {
        list,
        count,
        holders,
    })
}

/// Returns true if the table does not know all pages that have the frame.
pub fn is_unlisted(frame: Frame) -> bool {
    words::owners(frame).load(Relaxed) == OwnerWord::UNLISTED.bits()
}

/// The first frame at or after `from`, among the next `most`, that has one owner, which
/// fits, or several which are all known; `Err`: there is none, and where the search
/// ended.
#[inline]
pub fn next(from: Frame, most: u32, fits: impl Fn(Owner) -> bool) -> Result<Frame, Frame> {
    let words = words::owners_from(from, most);
    let wanted = |word: &AtomicU64| {
        let bits = word.load(Relaxed);
        let nobody = bits == OwnerWord::NOBODY.bits();
        !nobody && wanted(OwnerWord::from_bits(bits), &fits)
    };
    match words.iter().position(wanted) {
        Some(at) => Ok(Frame(from.0 + at as u32)),
        None => Err(Frame(from.0 + words.len() as u32)),
    }
}

fn wanted(word: OwnerWord, fits: impl Fn(Owner) -> bool) -> bool {
    word != OwnerWord::UNLISTED && word.only().is_none_or(fits)
}

/// One past the last frame.
pub fn end() -> Frame {
    Frame(words::limit())
}

/// The owners that all frames have together, those of unlisted frames left out. The
/// cost follows the size of memory.
pub fn count() -> u64 {
    let word = |frame| OwnerWord::from_bits(words::owners(Frame(frame)).load(Relaxed));
    (0..words::limit())
        .filter_map(|frame| word(frame).count())
        .map(|count| count as u64)
        .sum()
}
