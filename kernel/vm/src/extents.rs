//! The association map: which bytes of a segment are bytes of which snapshot.
//!
//! It is byte-granular, sorted, without overlaps, coalesced. Bytes under no
//! extent are zeros. Beside it are the snapshots in use, with the number of
//! bytes that refer to each.
//!
//! Memory is reserved before any change, so that [`Extents::replace`] cannot
//! fail.
//!
//! While a write is under way the map is *held*: the ranges named in its
//! messages must stay unchanged at the server until the commit is answered,
//! even if the program reads over the buffer or frees it meanwhile. A held map
//! releases nothing, trims nothing and lets no snapshot grow.

use core::ops::Range;

use ranges::{RangeMap, Span, Value};

use crate::uses::Uses;
use crate::{NoMemory, PAGE, SnapId};

/// A place in a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    /// The snapshot.
    pub snap: SnapId,
    /// Offset in the snapshot's file.
    pub soff: u64,
}

impl Source {
    /// The place `by` bytes further on.
    pub const fn advance(self, by: u64) -> Source {
        Source {
            snap: self.snap,
            soff: self.soff.wrapping_add(by),
        }
    }
}

impl Source {
    /// The place of page `page` of a segment in which this is the place of page `of`.
    pub(crate) const fn at_page(self, page: u64, of: u64) -> Source {
        self.advance(page.wrapping_sub(of).wrapping_mul(PAGE))
    }
}

impl Value for Source {
    fn advance(self, by: u64) -> Source {
        Source::advance(self, by)
    }
}

/// Bytes `[start, end)` of the segment are bytes of a snapshot from `source`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// First byte.
    pub start: u64,
    /// One past the last byte; more than `start`.
    pub end: u64,
    /// The source of the byte at `start`.
    pub source: Source,
}

impl From<Span<Source>> for Extent {
    #[inline]
    fn from(span: Span<Source>) -> Extent {
        Extent {
            start: span.start,
            end: span.end,
            source: span.value,
        }
    }
}

impl Extent {
    /// Where in the file address 0 of the segment would be: equal for extents
    /// that continue each other.
    pub const fn delta(&self) -> u64 {
        self.source.soff.wrapping_sub(self.start)
    }

    /// Bytes.
    pub const fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Never: an extent has bytes.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The bytes of the snapshot's file.
    pub(crate) const fn soffs(&self) -> Range<u64> {
        self.source.soff..self.source.soff + self.len()
    }

    /// The part of it before `end`, if any.
    pub(crate) fn up_to(self, end: u64) -> Option<Extent> {
        let end = self.end.min(end);
        (self.start < end).then_some(Extent { end, ..self })
    }
}

/// The association map of one segment.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
pub struct Extents {
    map: RangeMap<Source>,
    pub(crate) uses: Uses,
    /// Counts changes of `map`.
    generation: u64,
    /// Pieces of writes under way.
    held: u32,
}

impl Extents {
    /// A map without associations.
    pub(crate) const fn new() -> Extents {
        Extents {
            map: RangeMap::strict(),
            uses: Uses::new(),
            generation: 0,
            held: 0,
        }
    }

    /// Returns true if all bytes are zeros.
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// All extents, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Extent> + Clone {
        self.map.iter().map(Extent::from)
    }

    /// Changes whenever an association does.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// The extents over `range`, clipped to it.
    pub fn over(&self, range: Range<u64>) -> impl Iterator<Item = Extent> {
        self.map.over(range).map(Extent::from)
    }

    /// The first extent over `range`, clipped to it.
    #[inline]
    pub fn first(&self, range: Range<u64>) -> Option<Extent> {
        self.map.first(range).map(Extent::from)
    }

    /// The last extent that ends at or before `at`.
    pub(crate) fn before(&self, at: u64) -> Option<Extent> {
        self.map.before(at).map(Extent::from)
    }

    /// Makes room for one [`Extents::replace`], also if it is done in steps that
    /// follow each other.
    pub(crate) fn reserve(&mut self) -> Result<(), NoMemory> {
        self.map.reserve().map_err(|_| NoMemory)
    }

    /// Makes `range` mean `source`, or zeros. [`Extents::reserve`] must have
    /// succeeded since the last one, and the snapshot must be pinned.
    pub(crate) fn replace(&mut self, range: Range<u64>, source: Option<Source>) {
        if range.is_empty() {
            return;
        }
        self.generation += 1;
        for old in self.map.over(range.clone()).map(Extent::from) {
            let snap = old.source.snap;
            self.uses.change(snap, |u| u.bytes -= old.len());
            // Its bytes are let go of unless they are the same snapshot's again.
            if source.is_none_or(|source| source.snap != snap) {
                self.uses.note(snap, old.soffs());
            }
        }
        if let Some(source) = source {
            self.uses.change(source.snap, |u| {
                u.bytes += range.end - range.start;
                u.delta = source.soff.wrapping_sub(range.start);
            });
        }
        self.map.replace(range, source);
    }

    /// Returns true if an operation may grow the snapshot or replace its
    /// content. It may not while another operation uses or may have named it,
    /// nor if it is lost.
    pub(crate) fn may_change(&self, snap: SnapId) -> bool {
        let free = |u: &crate::uses::Use| u.pins == 0 && !u.lost;
        self.held == 0 && self.uses.get(snap).is_some_and(free)
    }

    /// A piece of a write begins: see the top of this module.
    pub(crate) const fn hold(&mut self) {
        self.held += 1;
    }

    /// Ends the hold after the answer.
    pub(crate) const fn let_go(&mut self) {
        self.held -= 1;
    }

    /// Returns true while a write is under way.
    pub(crate) const fn held(&self) -> bool {
        self.held > 0
    }

    /// The server could not give bytes of the snapshots over `range`.
    pub(crate) fn mark_lost(&mut self, range: Range<u64>) {
        for span in self.map.over(range) {
            self.uses.change(span.value.snap, |u| u.lost = true);
        }
    }

    /// Returns true if bytes of `range` belong to a lost snapshot.
    pub(crate) fn lost(&self, range: Range<u64>) -> bool {
        self.over(range).any(|e| self.uses.is_lost(e.source.snap))
    }

    /// Hands out snapshots that nothing refers to; see [`Uses::take_unused`].
    pub(crate) fn take_unused(&mut self, snaps: &mut [SnapId]) -> usize {
        match self.held() {
            true => 0,
            false => self.uses.take_unused(snaps),
        }
    }

    /// Removes the last extents, at most `most`; `false` if there are no more.
    pub(crate) fn remove_last(&mut self, most: usize) -> bool {
        if self.map.len() <= most {
            self.generation += 1;
            self.map.clear();
            self.uses.forget_bytes();
            return false;
        }
        for _ in 0..most {
            let last = self.map.iter().next_back();
            match last {
                Some(last) => self.replace(last.range(), None),
                None => return false,
            }
        }
        !self.map.is_empty()
    }

    /// Where the part of `range` ends that has at most `most` extents.
    pub(crate) fn step(&self, range: &Range<u64>, most: usize) -> u64 {
        self.map.step(range, most)
    }

    /// The snapshots that extents refer to, ascending.
    pub fn snapshots(&self) -> impl Iterator<Item = SnapId> + '_ {
        self.uses.referred(None)
    }

    /// The same map for another segment, which then needs a reference to each
    /// of [`Extents::snapshots`].
    pub(crate) fn try_clone(&self) -> Result<Extents, NoMemory> {
        Ok(Extents {
            map: self.map.try_clone().map_err(|_| NoMemory)?,
            uses: self.uses.try_clone()?,
            ..Extents::new()
        })
    }

    /// Panics unless the structure is sound; for tests.
    #[doc(hidden)]
    pub fn check(&self) {
        self.map.check();
        self.uses.check();
        for u in self.uses.iter() {
            let referred = self.iter().filter(|e| e.source.snap == u.snap);
            let bytes: u64 = referred.clone().map(|e| e.len()).sum();
            assert_eq!(bytes, u.bytes, "bytes of {:?} miscounted", u.snap);
            let mut deltas = referred.map(|e| e.delta());
            assert!(deltas.all(|d| d == u.delta), "{:?} has two deltas", u.snap);
        }
        let known = |e: Extent| self.uses.get(e.source.snap).is_some();
        assert!(self.iter().all(known), "unknown snapshot");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn at(snap: u32, soff: u64) -> Option<Source> {
        Some(Source {
            snap: SnapId(snap),
            soff,
        })
    }

    fn with(snaps: &[u32]) -> Extents {
        let mut extents = Extents::new();
        for &snap in snaps {
            extents.uses.adopt(SnapId(snap)).unwrap();
        }
        extents
    }

    fn take_unused(extents: &mut Extents) -> Vec<SnapId> {
        let mut snaps = [SnapId(0); 2];
        let count = extents.take_unused(&mut snaps);
        snaps[..count].to_vec()
    }

    fn put(extents: &mut Extents, range: Range<u64>, source: Option<Source>) {
        extents.reserve().unwrap();
        extents.replace(range, source);
        extents.check();
    }

    #[test]
    fn adjacent_ranges_of_one_delta_are_one_extent() {
        let mut e = with(&[1]);
        put(&mut e, 0..4093, at(1, 0));
        put(&mut e, 8186..9000, at(1, 8186));
        put(&mut e, 4093..8186, at(1, 4093));
        assert_eq!(e.iter().count(), 1);
    }

    #[test]
    fn a_hole_cuts_an_extent_in_two() {
        let mut e = with(&[1]);
        put(&mut e, 100..200, at(1, 1000));
        put(&mut e, 120..130, None);
        let over: Vec<_> = e.over(110..140).map(|x| (x.start, x.end)).collect();
        assert_eq!(over, [(110, 120), (130, 140)]);
        assert_eq!(e.first(115..200).map(|x| x.source.soff), Some(1015));
        assert_eq!(e.first(120..130), None);
    }

    #[test]
    fn a_snapshot_without_bytes_is_handed_out_once() {
        let mut e = with(&[1, 2]);
        put(&mut e, 0..10, at(1, 0));
        put(&mut e, 0..10, at(2, 0));
        assert_eq!(take_unused(&mut e), [], "still pinned");
        e.uses.unpin(SnapId(1));
        e.uses.unpin(SnapId(2));
        assert_eq!(take_unused(&mut e), [SnapId(1)]);
        assert_eq!(take_unused(&mut e), []);
        put(&mut e, 0..100, None);
        assert_eq!(take_unused(&mut e), [SnapId(2)]);
    }

    #[test]
    fn every_replacement_equals_one_on_bytes() {
        // A byte array is the model; a small generator picks the ranges.
        let mut e = with(&[0, 1, 2]);
        let mut model = [None; 64];
        let mut seed = 7u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            let (a, b) = ((seed >> 20) % 65, (seed >> 40) % 65);
            let range = a.min(b)..a.max(b);
            // One delta a snapshot, as the invariant has it.
            let snap = (seed >> 60) as u32 % 4;
            let source = at(snap, range.start + 100 * snap as u64).filter(|_| snap < 3);
            put(&mut e, range.clone(), source);
            for i in range {
                model[i as usize] = source.map(|s| (s.snap, i + 100 * s.snap.0 as u64));
            }
            for (i, want) in model.iter().enumerate() {
                let got = e.first(i as u64..i as u64 + 1);
                assert_eq!(got.map(|x| (x.source.snap, x.source.soff)), *want);
            }
        }
    }
}
