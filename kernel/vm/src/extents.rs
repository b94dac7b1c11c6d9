//! The association map: which bytes of a segment are bytes of which snapshot.
//!
//! It is byte-granular, sorted, without overlaps, coalesced. Bytes under no
//! extent are zeros. Beside it are the snapshots in use, with the number of
//! bytes that refer to each.
//!
//! Memory is reserved before any change, so that [`Extents::replace`] cannot
//! fail. It is quick however many extents there are: very many are only *set aside*, and
//! count as uses of their snapshots until they are let go of in steps
//! ([`Extents::settle`]).
//!
//! While a write is under way the map is *held*: the ranges named in its
//! messages must stay unchanged at the server until the commit is answered,
//! even if the program reads over the buffer or frees it meanwhile. A held map
//! releases nothing, trims nothing and lets no snapshot grow.

use core::ops::Range;

use ranges::{RangeMap, Span, Value};

use crate::steps::{EXTENTS, LOOKS};
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
        let reserved = self.map.reserve();
        let reserved = reserved.and_then(|()| self.map.reserve_aside());
        reserved.map_err(|_| NoMemory)
    }

    /// Makes `range` mean `source`, or zeros. [`Extents::reserve`] must have
    /// succeeded since the last one, and the snapshot must be pinned.
    pub(crate) fn replace(&mut self, range: Range<u64>, source: Option<Source>) {
        if range.is_empty() {
            return;
        }
        self.generation += 1;
        self.map.set_aside(&range);
        for old in self.map.over(range.clone()).map(Extent::from) {
            self.uses.let_go_of(&old, source);
        }
        if let Some(source) = source {
            self.uses.change(source.snap, |u| {
                u.bytes += range.end - range.start;
                u.delta = source.soff.wrapping_sub(range.start);
            });
        }
        self.map.replace(range, source);
    }

    /// Lets go of extents that a replacement has set aside, as many as one step may;
    /// `false` if there are no more.
    pub(crate) fn settle(&mut self) -> bool {
        let mut left = EXTENTS;
        while left > 0 {
            let let_go = |old: Span<Source>| {
                self.uses.let_go_of(&old.into(), None);
                left = left.saturating_sub(1);
            };
            if !self.map.take_aside(let_go) {
                return false;
            }
        }
        true
    }

    /// Returns true if an operation may grow the snapshot or replace its
    /// content. It may not while another operation uses or may have named it,
    /// nor if it is lost.
    pub(crate) fn may_change(&self, snap: SnapId) -> bool {
        let free = |u: &crate::uses::Use| u.pins == 0 && !u.lost;
        self.held == 0 && self.uses.get(snap).is_some_and(free)
    }

    /// The first extent over `range` with that delta whose snapshot may change. `Err`: there
    /// is none before that place, where one step ends.
    pub(crate) fn changeable(&self, delta: u64, range: &Range<u64>) -> Result<Extent, u64> {
        let end = self.step(range, LOOKS);
        let mut over = self.over(range.start..end);
        let fits = |extent: &Extent| extent.delta() == delta && self.may_change(extent.source.snap);
        over.find(fits).ok_or(end)
    }

    /// Returns true if few extents are over `range`, none of them of that snapshot.
    pub(crate) fn are_others(&self, range: &Range<u64>, snap: SnapId) -> bool {
        self.step(range, EXTENTS) == range.end
            && self.over(range.clone()).all(|e| e.source.snap != snap)
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

    /// Hands out snapshots that nothing refers to; see [`Uses::take_unused`].
    pub(crate) fn take_unused(&mut self, snaps: &mut [SnapId]) -> usize {
        match self.held() {
            true => 0,
            false => self.uses.take_unused(snaps),
        }
    }

    /// Removes extents at the segment's end, as many as one step may, without a look at each:
    /// all snapshots go with them. `false` if there are no more.
    pub(crate) fn remove_last(&mut self) -> bool {
        self.generation += 1;
        let more = self.map.shorten(EXTENTS);
        if !more {
            self.uses.forget_bytes();
        }
        more
    }

    /// Where the part of `range` ends that has at most `most` extents.
    pub(crate) fn step(&self, range: &Range<u64>, most: usize) -> u64 {
        self.map.step(range, most)
    }

    /// The snapshots that extents refer to, ascending.
    pub fn snapshots(&self) -> impl Iterator<Item = SnapId> + '_ {
        self.uses.referred(None)
    }

    /// Makes `copy`, which is empty at first, the same map for another segment, as much of it
    /// as one step may; `true`: all. It then needs a reference to each of
    /// [`Extents::snapshots`]. Nothing is set aside here, and nothing changes before it is
    /// complete.
    pub(crate) fn copy_some(&self, copy: &mut Extents) -> Result<bool, NoMemory> {
        if copy.is_empty() {
            copy.uses = self.uses.try_clone()?;
            copy.generation = self.generation;
        }
        debug_assert!(copy.generation == self.generation, "changed in between");
        self.map
            .copy_some(&mut copy.map, EXTENTS)
            .map_err(|_| NoMemory)
    }

    /// Panics unless the structure is sound; for tests.
    #[doc(hidden)]
    pub fn check(&self) {
        self.map.check();
        self.uses.check();
        for u in self.uses.iter() {
            let referred = self.iter().filter(|e| e.source.snap == u.snap);
            let aside = self.map.aside().filter(|span| span.value.snap == u.snap);
            let bytes = referred.clone().map(|e| e.len()).sum::<u64>()
                + aside.map(|span| span.len()).sum::<u64>();
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
    fn a_step_looks_at_few_of_very_many_extents() {
        let mut e = with(&[1, 2]);
        for n in 0..10_000 {
            e.reserve().unwrap();
            e.replace(n * 16..n * 16 + 8, at(1, n * 16));
        }
        e.reserve().unwrap();
        e.replace(200_000..200_008, at(2, 5));
        e.uses.unpin(SnapId(2));
        assert!(!e.are_others(&(0..160_000), SnapId(2)), "not all are asked");
        assert!(e.are_others(&(0..1600), SnapId(2)));
        assert!(!e.are_others(&(0..1600), SnapId(1)));
        let (mut range, mut steps) = (0..u64::MAX, 0);
        let found = loop {
            match e.changeable(5u64.wrapping_sub(200_000), &range) {
                Ok(extent) => break extent,
                Err(end) => {
                    assert!(end - range.start <= LOOKS as u64 * 16);
                    range.start = end;
                    steps += 1;
                }
            }
        };
        assert_eq!((found.source.snap, steps), (SnapId(2), 4));
        assert_eq!(e.changeable(0, &(0..100)), Err(100), "it is pinned");
        // Parts that are not tied are not looked for among so many.
        e.drop_untied(0..160_000, at(1, 0).unwrap());
        assert!(e.uses.get(SnapId(1)).unwrap().withheld);
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
