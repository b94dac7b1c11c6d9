//! Which bytes of a segment are bytes of which snapshot: the association map.
//!
//! Byte-granular, sorted, never overlapping, coalesced. Bytes under no extent
//! are zeros. Beside it a table of the snapshots in use, with the number of
//! bytes that refer to each: a snapshot whose number falls to zero is *unused*
//! and is handed out by [`Extents::take_unused`] for its release.
//!
//! Look-up is a binary search. Whatever needs memory is reserved before
//! anything is changed, so that [`Extents::replace`] cannot fail.
//!
//! While a write is under way the map is *held*: what its messages name must
//! stay as it is at the server until the commit is answered, even if somebody
//! reads over the buffer or frees it meanwhile. A held map hands out nothing
//! for release, trims nothing and lets no snapshot grow.

use alloc::vec::Vec;
use core::ops::Range;

use crate::trim::Dropped;
use crate::{NoMemory, SnapId};

/// A place in a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    /// Which snapshot.
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

/// Bytes `[start, end)` of the segment are bytes of a snapshot from `source`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// First byte.
    pub start: u64,
    /// One past the last byte; more than `start`.
    pub end: u64,
    /// What `start` is.
    pub source: Source,
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

    /// The part of it in `range`, if any.
    pub fn clip(&self, range: &Range<u64>) -> Option<Extent> {
        let start = self.start.max(range.start);
        let end = self.end.min(range.end);
        (start < end).then(|| Extent {
            start,
            end,
            source: self.source.advance(start - self.start),
        })
    }

    fn continues_in(&self, next: &Extent) -> bool {
        self.end == next.start
            && self.source.snap == next.source.snap
            && self.delta() == next.delta()
    }
}

/// A snapshot in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Use {
    pub snap: SnapId,
    /// Bytes of extents that refer to it.
    pub bytes: u64,
    /// Operations under way that need it.
    pub pins: u32,
    /// [`Extent::delta`] of all its extents, while it has bytes.
    pub delta: u64,
    /// Something of it was let go of that the server was not told, because
    /// others held it too: to be made up for when nobody else does.
    pub withheld: bool,
    /// The server could not give bytes of it: what is here is all there is.
    pub lost: bool,
}

/// The association map of one segment.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
pub struct Extents {
    /// Sorted by `start`.
    list: Vec<Extent>,
    /// Sorted by `snap`.
    pub(crate) uses: Vec<Use>,
    /// Entries of `uses` with neither bytes nor pins.
    unused: usize,
    /// Counts changes of `list`.
    generation: u64,
    /// Pieces of writes under way.
    held: u32,
    /// What was let go of and the server has not been told yet.
    pub(crate) dropped: Dropped,
}

impl Extents {
    /// No associations.
    pub(crate) const fn new() -> Extents {
        Extents {
            list: Vec::new(),
            uses: Vec::new(),
            unused: 0,
            generation: 0,
            held: 0,
            dropped: Dropped::new(),
        }
    }

    /// All extents, ascending.
    pub fn list(&self) -> &[Extent] {
        &self.list
    }

    /// Changes whenever an association does.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// The extents over `range`, clipped to it.
    pub fn over(&self, range: Range<u64>) -> impl Iterator<Item = Extent> + '_ {
        let first = self.list.partition_point(|e| e.end <= range.start);
        self.list
            .get(first..)
            .unwrap_or_default()
            .iter()
            .map_while(move |e| e.clip(&range))
    }

    /// The first extent over `range`, clipped to it.
    #[inline]
    pub fn first(&self, range: Range<u64>) -> Option<Extent> {
        if self.list.is_empty() {
            return None;
        }
        let first = self.list.partition_point(|e| e.end <= range.start);
        self.list.get(first)?.clip(&range)
    }

    /// The last extent that ends at or before `at`.
    pub(crate) fn before(&self, at: u64) -> Option<Extent> {
        let after = self.list.partition_point(|e| e.end <= at);
        self.list.get(after.checked_sub(1)?).copied()
    }

    /// Makes room for one [`Extents::replace`], also if it is done in steps that
    /// follow each other.
    pub(crate) fn reserve(&mut self) -> Result<(), NoMemory> {
        // One extent may be cut in two and again in two, and one is new.
        self.list.try_reserve(3).map_err(|_| NoMemory)
    }

    /// Makes `range` mean `source`, or zeros. [`Extents::reserve`] must have
    /// succeeded since the last one, and the snapshot must be pinned.
    pub(crate) fn replace(&mut self, range: Range<u64>, source: Option<Source>) {
        if range.is_empty() {
            return;
        }
        self.generation += 1;
        let from = self.cut(range.start);
        let to = self.cut(range.end);
        for index in from..to {
            if let Some(old) = self.list.get(index).copied() {
                self.unuse(&old, source.is_some_and(|s| s.snap == old.source.snap));
            }
        }
        let new = source.map(|source| Extent {
            start: range.start,
            end: range.end,
            source,
        });
        if let Some(new) = &new {
            self.reuse(new);
        }
        self.list.splice(from..to, new);
        let inserted = from + usize::from(new.is_some());
        self.join(inserted);
        self.join(from);
    }

    /// Cuts the extent that spans `at` in two; the index of the first extent
    /// that starts at or after `at`.
    fn cut(&mut self, at: u64) -> usize {
        let index = self.list.partition_point(|e| e.end <= at);
        let Some(extent) = self.list.get_mut(index).filter(|e| e.start < at) else {
            return index;
        };
        let right = Extent {
            start: at,
            end: extent.end,
            source: extent.source.advance(at - extent.start),
        };
        extent.end = at;
        self.list.insert(index + 1, right);
        index + 1
    }

    /// Joins the extents before and at `index` if they are one.
    fn join(&mut self, index: usize) {
        let Some(before) = index.checked_sub(1) else {
            return;
        };
        if let (Some(left), Some(right)) = (self.list.get(before), self.list.get(index))
            && left.continues_in(right)
        {
            let end = right.end;
            if let Some(left) = self.list.get_mut(before) {
                left.end = end;
            }
            self.list.remove(index);
        }
    }

    fn find(&self, snap: SnapId) -> Result<usize, usize> {
        self.uses.binary_search_by_key(&snap, |u| u.snap)
    }

    /// The entry of a snapshot.
    pub(crate) fn of(&self, snap: SnapId) -> Option<&Use> {
        self.uses.get(self.find(snap).ok()?)
    }

    /// Changes one entry of the table and keeps the count of unused ones.
    pub(crate) fn tally(&mut self, snap: SnapId, change: impl FnOnce(&mut Use)) {
        let Ok(index) = self.find(snap) else {
            debug_assert!(false, "{snap:?} is not in the table");
            return;
        };
        if let Some(entry) = self.uses.get_mut(index) {
            let was = entry.bytes == 0 && entry.pins == 0;
            change(entry);
            let is = entry.bytes == 0 && entry.pins == 0;
            self.unused = self.unused + usize::from(is) - usize::from(was);
        }
    }

    fn reuse(&mut self, new: &Extent) {
        self.tally(new.source.snap, |u| {
            u.bytes += new.len();
            u.delta = new.delta();
        });
    }

    /// An extent is gone; its bytes are let go of unless they are the same
    /// snapshot's again.
    fn unuse(&mut self, old: &Extent, again: bool) {
        self.tally(old.source.snap, |u| u.bytes -= old.len());
        if !again {
            let soffs = old.source.soff..old.source.soff + old.len();
            self.drop_bytes(old.source.snap, soffs, Some(self.generation));
        }
    }

    /// Takes over the caller's reference to a fresh snapshot, pinned.
    pub(crate) fn adopt(&mut self, snap: SnapId) -> Result<(), NoMemory> {
        let Err(index) = self.find(snap) else {
            debug_assert!(false, "{snap:?} was fresh and is known");
            return Err(NoMemory);
        };
        self.uses.try_reserve(1).map_err(|_| NoMemory)?;
        let entry = Use {
            snap,
            bytes: 0,
            pins: 1,
            delta: 0,
            withheld: false,
            lost: false,
        };
        self.uses.insert(index, entry);
        Ok(())
    }

    /// Keeps a snapshot of this segment from being released or changed.
    pub(crate) fn pin(&mut self, snap: SnapId) {
        self.tally(snap, |u| u.pins += 1);
    }

    /// Takes back one [`Extents::pin`] or [`Extents::adopt`].
    pub(crate) fn unpin(&mut self, snap: SnapId) {
        self.tally(snap, |u| u.pins -= 1);
    }

    /// May an operation add to what the snapshot covers, or replace that? Not
    /// while another one works with it or may have named it, nor if it is lost.
    pub(crate) fn may_change(&self, snap: SnapId) -> bool {
        self.held == 0 && self.of(snap).is_some_and(|u| u.pins == 0 && !u.lost)
    }

    /// A piece of a write begins: see the top of this module.
    pub(crate) const fn hold(&mut self) {
        self.held += 1;
    }

    /// It is answered.
    pub(crate) const fn let_go(&mut self) {
        self.held -= 1;
    }

    /// Is a write under way?
    pub(crate) const fn held(&self) -> bool {
        self.held > 0
    }

    /// The server could not give bytes of the snapshots over `range`.
    pub(crate) fn mark_lost(&mut self, range: Range<u64>) {
        let mut from = range.start;
        while let Some(extent) = self.first(from..range.end) {
            self.tally(extent.source.snap, |u| u.lost = true);
            from = extent.end;
        }
    }

    /// Are bytes of `range` those of a lost snapshot?
    pub(crate) fn lost(&self, range: Range<u64>) -> bool {
        self.over(range)
            .any(|e| self.of(e.source.snap).is_some_and(|u| u.lost))
    }

    /// Removes snapshots that nothing refers to from the table, as many as
    /// there is room for; the caller now has their references.
    pub(crate) fn take_unused(&mut self, snaps: &mut [SnapId]) -> usize {
        if self.unused == 0 || self.held() {
            return 0;
        }
        let (mut count, dropped) = (0, &mut self.dropped);
        self.uses.retain(|u| {
            let place = snaps.get_mut(count).filter(|_| u.bytes == 0 && u.pins == 0);
            if let Some(place) = place {
                *place = u.snap;
                count += 1;
                dropped.forget(u.snap);
                return false;
            }
            true
        });
        self.unused -= count;
        count
    }

    /// Removes the last extents, at most `most`; `false` if there are no more.
    pub(crate) fn remove_last(&mut self, most: usize) -> bool {
        for _ in 0..most {
            match self.list.last().copied() {
                Some(last) => self.replace(last.start..last.end, None),
                None => return false,
            }
        }
        !self.list.is_empty()
    }

    /// Where the part of `range` ends that has at most `most` extents.
    pub(crate) fn step(&self, range: &Range<u64>, most: usize) -> u64 {
        let first = self.list.partition_point(|e| e.end <= range.start);
        match self.list.get(first + most) {
            Some(beyond) => beyond.start.clamp(range.start, range.end),
            None => range.end,
        }
    }

    /// The first snapshot after `snap` that extents refer to.
    pub(crate) fn next_snapshot(&self, after: Option<SnapId>) -> Option<SnapId> {
        let first = self.uses.partition_point(|u| Some(u.snap) <= after);
        let mut rest = self.uses.get(first..)?.iter();
        rest.find(|u| u.bytes > 0).map(|u| u.snap)
    }

    /// The snapshots that extents refer to, ascending.
    pub fn snapshots(&self) -> impl Iterator<Item = SnapId> + '_ {
        self.uses.iter().filter(|u| u.bytes > 0).map(|u| u.snap)
    }

    /// The same map for another segment, which then needs a reference to each
    /// of [`Extents::snapshots`].
    pub(crate) fn try_clone(&self) -> Result<Extents, NoMemory> {
        let mut copy = Extents::new();
        copy.list
            .try_reserve_exact(self.list.len())
            .map_err(|_| NoMemory)?;
        copy.uses
            .try_reserve_exact(self.uses.len())
            .map_err(|_| NoMemory)?;
        copy.list.extend_from_slice(&self.list);
        let referred = self.uses.iter().filter(|u| u.bytes > 0);
        copy.uses.extend(referred.map(|u| Use {
            pins: 0,
            // What the original has not told the server yet is told by
            // whoever of the two is left.
            withheld: u.withheld || u.pins > 0 || self.dropped.has(u.snap),
            ..*u
        }));
        copy.dropped.withheld = copy.uses.iter().any(|u| u.withheld);
        Ok(copy)
    }

    /// Panics unless the structure is sound; for tests.
    #[doc(hidden)]
    pub fn check(&self) {
        for pair in self.list.windows(2) {
            assert!(pair[0].end <= pair[1].start, "extents overlap");
            assert!(!pair[0].continues_in(&pair[1]), "extents not joined");
        }
        let unused = self.uses.iter().filter(|u| u.bytes == 0 && u.pins == 0);
        assert_eq!(unused.count(), self.unused, "unused snapshots miscounted");
        assert!(self.uses.is_sorted_by(|a, b| a.snap < b.snap));
        for u in &self.uses {
            let referred = self.list.iter().filter(|e| e.source.snap == u.snap);
            let bytes: u64 = referred.clone().map(Extent::len).sum();
            assert_eq!(bytes, u.bytes, "bytes of {:?} miscounted", u.snap);
            let delta = referred.clone().next().map(Extent::delta);
            assert!(
                referred.clone().all(|e| Some(e.delta()) == delta),
                "{:?} has two deltas",
                u.snap
            );
            assert!(delta.is_none_or(|delta| delta == u.delta));
        }
        let known = |e: &Extent| self.find(e.source.snap).is_ok();
        assert!(self.list.iter().all(known), "unknown snapshot");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(snap: u32, soff: u64) -> Option<Source> {
        Some(Source {
            snap: SnapId(snap),
            soff,
        })
    }

    fn with(snaps: &[u32]) -> Extents {
        let mut extents = Extents::new();
        for &snap in snaps {
            extents.adopt(SnapId(snap)).unwrap();
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
        assert_eq!(e.list().len(), 1);
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
        e.unpin(SnapId(1));
        e.unpin(SnapId(2));
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
