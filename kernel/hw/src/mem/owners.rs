//! The owners of each frame, and of each node: the words of [`vm::OwnerWord`] behind the
//! VM core's overlays, for eviction.
//!
//! Nothing here is trusted: who goes from a frame to a page looks whether the page
//! still has the frame.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use vm::{Above, Chains, Frame, OWNERS_MAX, Owner, OwnerWord, SegmentNumber};

use super::payer::for_all;
use super::words;
use crate::lock::{Lock, Rank};

static CHAINS: Lock<Chains> = Lock::new(Rank::Owners, Chains::new());

/// Adds an owner of a frame or node.
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
    if now == OwnerWord::UNLISTED && words::holders(frame) == Some(1) {
        // Left from an earlier use: this page is the only holder.
        now = OwnerWord::NOBODY;
    }
    let then = for_all(|| CHAINS.lock().add(now, owner));
    word.store(then.bits(), Relaxed);
}

/// Removes an owner of a frame or node.
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
    holders: u32,
}

impl Owners {
    /// The entries of leaves that name the frame, in no order.
    pub fn entries(&self) -> &[Owner] {
        &self.list[..self.count]
    }

    /// Returns true if others hold the frame too: a message or a call.
    pub fn others_hold(&self) -> bool {
        self.holders as usize != self.count
    }
}

/// The entry that alone holds a frame of data, if that is so: the usual case.
#[inline]
pub fn only(frame: Frame) -> Option<Owner> {
    let now = OwnerWord::from_bits(words::owners(frame).load(Relaxed));
    now.only().filter(|_| words::holders(frame) == Some(1))
}

/// The owners of a frame of data; `None` if there is none, or if not all are
/// known.
pub fn of(frame: Frame) -> Option<Owners> {
    let holders = words::holders(frame)?;
    let mut list = [NO_OWNER; OWNERS_MAX];
    let count = list_of(frame, &mut list)?;
    (count > 0).then_some(Owners {
        list,
        count,
        holders,
    })
}

/// Returns true if others than its owners hold a frame of data, or if not all owners are
/// known.
pub fn others_hold(frame: Frame) -> bool {
    only(frame).is_none() && of(frame).is_none_or(|owners| owners.others_hold())
}

const NO_OWNER: Owner = Owner::segment(SegmentNumber::new(0));

/// The owners of a frame or node; `None` if not all are known.
fn list_of(frame: Frame, list: &mut [Owner; OWNERS_MAX]) -> Option<usize> {
    let now = OwnerWord::from_bits(words::owners(frame).load(Relaxed));
    match now.only() {
        Some(owner) => {
            list[0] = owner;
            Some(1)
        }
        None => CHAINS.lock().list(now, list),
    }
}

/// A page of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The segment.
    pub segment: SegmentNumber,
    /// The page in it.
    pub page: u64,
}

/// The page that an entry of a leaf is, if no node on the way is shared.
#[inline]
pub fn only_place(owner: Owner) -> Option<Place> {
    let (mut owner, mut page, mut shift) = (owner, 0, 0);
    loop {
        match owner.above() {
            Above::Segment(segment) => return Some(Place { segment, page }),
            Above::Node(node, index) => {
                page |= index << shift;
                shift += INDEX_BITS;
                let now = OwnerWord::from_bits(words::owners(node).load(Relaxed));
                owner = now.only().filter(|_| shift <= SHIFT_MAX)?;
            }
        }
    }
}

/// Bits of a page that are an index in a node.
const INDEX_BITS: u32 = 9;
/// A page has four indices at most.
const SHIFT_MAX: u32 = 4 * INDEX_BITS;

/// Calls `f` for each page that an entry of a leaf is: one in each segment that shares it.
/// `None` if not all are known, or there are more than [`OWNERS_MAX`], or `f` says so.
pub fn places(owner: Owner, mut f: impl FnMut(Place) -> Option<()>) -> Option<()> {
    let mut left = OWNERS_MAX;
    places_above(owner, (0, 0), &mut left, &mut f)
}

fn places_above(
    owner: Owner,
    (page, shift): (u64, u32),
    left: &mut usize,
    f: &mut impl FnMut(Place) -> Option<()>,
) -> Option<()> {
    match owner.above() {
        Above::Segment(segment) => {
            *left = left.checked_sub(1)?;
            f(Place { segment, page })
        }
        Above::Node(node, index) if shift < SHIFT_MAX => {
            let at = (page | index << shift, shift + INDEX_BITS);
            let now = OwnerWord::from_bits(words::owners(node).load(Relaxed));
            if let Some(only) = now.only() {
                return places_above(only, at, left, f);
            }
            several_above(node, at, left, f)
        }
        Above::Node(..) => None,
    }
}

#[cold]
#[inline(never)]
fn several_above(
    node: Frame,
    at: (u64, u32),
    left: &mut usize,
    f: &mut impl FnMut(Place) -> Option<()>,
) -> Option<()> {
    let mut list = [NO_OWNER; OWNERS_MAX];
    let count = list_of(node, &mut list)?;
    for owner in list.iter().take(count) {
        places_above(*owner, at, left, f)?;
    }
    Some(())
}

/// Returns true if the table does not know all owners of the frame.
pub fn is_unlisted(frame: Frame) -> bool {
    words::owners(frame).load(Relaxed) == OwnerWord::UNLISTED.bits()
}

/// The first frame of data at or after `from`, among the next `most`, that has one owner,
/// which fits, or several which are all known; `Err`: there is none, and where the search
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
    let fits = |owner: Owner| !owner.is_of_node() && fits(owner);
    word != OwnerWord::UNLISTED && word.only().is_none_or(fits)
}

/// One past the last frame.
pub fn end() -> Frame {
    Frame(words::limit())
}

/// The owners that all frames of data have together, those of unlisted frames left out.
/// The cost follows the size of memory.
pub fn count() -> u64 {
    let word = |frame| OwnerWord::from_bits(words::owners(Frame(frame)).load(Relaxed));
    (0..words::limit())
        .filter(|frame| words::is_data(Frame(*frame)))
        .filter_map(|frame| word(frame).count())
        .map(|count| count as u64)
        .sum()
}
