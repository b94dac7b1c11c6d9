//! A map from ranges of numbers (bytes, pages, blocks) to values, with as few
//! entries as possible.
//!
//! A [`RangeMap`] is sorted, its [`Span`]s do not overlap, and neighbours that
//! continue each other are merged. A value may shift with the position inside
//! its range ([`Value::advance`]): adjacent bytes of one file are one span,
//! whatever their offset.
//!
//! Only [`RangeMap::reserve`] allocates, so that a change is made as a whole
//! or, without memory, not at all. A lookup is a binary search; a change moves
//! the entries of one chunk of at most 64. The user limits the number of
//! entries: [`RangeMap::coarsen`] merges the entries whose confusion costs
//! least, [`RangeMap::shortest`] names one to drop.
//!
//! This is own code because `rangemap` and similar crates abort without memory,
//! which a kernel must not do, and support only values that are constant within
//! a range.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bits;
mod chunks;
mod family;

use alloc::collections::TryReserveError;
use core::cmp::Ordering;
use core::fmt;
use core::ops::Range;

pub use bits::Bits;
use chunks::{Chunks, Position};
pub use family::Family;

/// The values of a map.
pub trait Value: Copy + PartialEq {
    /// The value `by` further on in the same range; the default is a value that is
    /// the same everywhere in it.
    #[must_use]
    fn advance(self, by: u64) -> Self {
        let _ = by;
        self
    }
}

/// For sets of ranges.
impl Value for () {}
impl Value for u64 {}

/// One entry: `[start, end)` is mapped to `value`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span<V> {
    /// First number.
    pub start: u64,
    /// One past the last; more than `start`.
    pub end: u64,
    /// The value at `start`.
    pub value: V,
}

impl<V: Value> Span<V> {
    /// The numbers in it.
    pub const fn range(&self) -> Range<u64> {
        self.start..self.end
    }

    /// The length of the range.
    pub const fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Never: a span has numbers.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The part of it in `range`, if any.
    #[inline]
    pub fn clip(&self, range: &Range<u64>) -> Option<Span<V>> {
        let start = self.start.max(range.start);
        let end = self.end.min(range.end);
        (start < end).then(|| Span {
            start,
            end,
            value: self.value.advance(start - self.start),
        })
    }

    /// Returns true if the two can be merged.
    fn continues_in(&self, next: &Span<V>) -> bool {
        self.end == next.start && self.value.advance(self.len()) == next.value
    }
}

/// A map from ranges to values.
pub struct RangeMap<V> {
    spans: Chunks<Span<V>>,
}

impl<V: Value> Default for RangeMap<V> {
    fn default() -> RangeMap<V> {
        RangeMap::new()
    }
}

impl<V: Value + fmt::Debug> fmt::Debug for RangeMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spans = self.iter().map(|span| (span.range(), span.value));
        f.debug_map().entries(spans).finish()
    }
}

/// For tests and for programs; aborts where there is no memory.
impl<V: Value> Clone for RangeMap<V> {
    fn clone(&self) -> RangeMap<V> {
        match self.try_clone() {
            Ok(copy) => copy,
            Err(error) => panic!("no memory for a copy of a map of ranges: {error}"),
        }
    }
}

/// Looking up.
impl<V: Value> RangeMap<V> {
    /// Nothing is mapped.
    pub const fn new() -> RangeMap<V> {
        RangeMap {
            spans: Chunks::new(false),
        }
    }

    /// Nothing is mapped, and a [`RangeMap::replace`] for which there is no room is a
    /// defect: debug builds panic there.
    pub const fn strict() -> RangeMap<V> {
        RangeMap {
            spans: Chunks::new(true),
        }
    }

    /// Returns true if the map is empty.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The number of spans.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// All spans, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Span<V>> + Clone {
        self.spans.iter().copied()
    }

    /// Where the first span is that ends after `at`.
    #[inline]
    fn seek(&self, at: u64) -> Position {
        self.spans.partition_point(|span| span.end <= at)
    }

    /// The spans over `range`, clipped to it.
    pub fn over(&self, range: Range<u64>) -> impl Iterator<Item = Span<V>> + Clone {
        let spans = self.spans.from(self.seek(range.start));
        spans.map_while(move |span| span.clip(&range))
    }

    /// The first span over `range`, clipped to it.
    #[inline]
    pub fn first(&self, range: Range<u64>) -> Option<Span<V>> {
        if self.is_empty() {
            return None;
        }
        self.spans.get(self.seek(range.start))?.clip(&range)
    }

    /// The span that holds `at`, all of it.
    #[inline]
    pub fn at(&self, at: u64) -> Option<Span<V>> {
        let span = self.spans.get(self.seek(at))?;
        (span.start <= at).then_some(*span)
    }

    /// The last span that ends at or before `at`.
    pub fn before(&self, at: u64) -> Option<Span<V>> {
        let before = self.spans.previous(self.seek(at))?;
        self.spans.get(before).copied()
    }

    /// The spans that have a number in `range` or end or begin beside it, all of
    /// each: those that [`RangeMap::replace`] may change.
    pub fn touching(&self, range: Range<u64>) -> impl Iterator<Item = Span<V>> + Clone {
        let first = self.spans.partition_point(|span| span.end < range.start);
        let spans = self.spans.from(first).copied();
        spans.take_while(move |span| span.start <= range.end)
    }

    /// Where the part of `range` ends that has at most `most` spans.
    pub fn step(&self, range: &Range<u64>, most: usize) -> u64 {
        match self.spans.from(self.seek(range.start)).nth(most) {
            Some(beyond) => beyond.start.clamp(range.start, range.end),
            None => range.end,
        }
    }

    /// The shortest span, the first of several.
    pub fn shortest(&self) -> Option<Span<V>> {
        self.iter().min_by_key(Span::len)
    }
}

/// Changing.
impl<V: Value> RangeMap<V> {
    /// Makes room for one [`RangeMap::replace`], also if it is done in steps that
    /// follow each other.
    ///
    /// # Errors
    /// No memory; the map is as it was.
    pub fn reserve(&mut self) -> Result<(), TryReserveError> {
        self.spans.reserve()
    }

    /// Maps `range` to `value`, or to nothing. Allocates, and aborts where there is
    /// no memory, unless [`RangeMap::reserve`] has succeeded since the last change.
    pub fn replace(&mut self, range: Range<u64>, value: Option<V>) {
        if range.is_empty() {
            return;
        }
        let Range { start, end } = range;
        let mut at = self.seek(start);
        if let Some(value) = value
            && self.renew(at, Span { start, end, value })
        {
            return;
        }
        let mut rest = None;
        if let Some(span) = self.spans.get_mut(at).filter(|span| span.start < start) {
            rest = span.clip(&(end..u64::MAX));
            span.end = start;
            at = self.spans.next(at);
        }
        if let Some(rest) = rest {
            // One span went on over both ends.
            at = self.spans.insert(at, rest);
        } else {
            let behind = self.spans.partition_point(|span| span.end <= end);
            at = self.spans.remove(at, behind);
            if let Some(span) = self.spans.get_mut(at)
                && let Some(rest) = span.clip(&(end..u64::MAX))
            {
                *span = rest;
            }
        }
        if let Some(value) = value {
            self.put(at, Span { start, end, value });
        }
    }

    /// Gives the span at `at` the value of `new`, if it has the same range and joins
    /// none of its neighbours then: many maps change a range over and over again.
    fn renew(&mut self, at: Position, new: Span<V>) -> bool {
        let same = |span: &&Span<V>| span.start == new.start && span.end == new.end;
        if self.spans.get(at).filter(same).is_none() {
            return false;
        }
        let right = self.spans.get(self.spans.next(at));
        let left = self
            .spans
            .previous(at)
            .and_then(|left| self.spans.get(left));
        if right.is_some_and(|right| new.continues_in(right))
            || left.is_some_and(|left| left.continues_in(&new))
        {
            return false;
        }
        if let Some(span) = self.spans.get_mut(at) {
            *span = new;
        }
        true
    }

    /// Puts a span into a hole before the one at `at`, and joins the three.
    fn put(&mut self, at: Position, new: Span<V>) {
        let right = self.spans.get(at).filter(|right| new.continues_in(right));
        let right = right.map(|right| right.end);
        let before = self.spans.previous(at);
        let left = before.and_then(|before| self.spans.get_mut(before));
        match (left.filter(|left| left.continues_in(&new)), right) {
            (Some(left), None) => left.end = new.end,
            (Some(left), Some(end)) => {
                left.end = end;
                self.spans.remove(at, self.spans.next(at));
            }
            (None, Some(end)) => {
                if let Some(right) = self.spans.get_mut(at) {
                    *right = Span { end, ..new };
                }
            }
            (None, None) => {
                self.spans.insert(at, new);
            }
        }
    }

    /// Maps `range` to `value`.
    ///
    /// # Errors
    /// No memory; the map is as it was.
    pub fn set(&mut self, range: Range<u64>, value: V) -> Result<(), TryReserveError> {
        self.reserve()?;
        self.replace(range, Some(value));
        Ok(())
    }

    /// Maps `range` to nothing.
    ///
    /// # Errors
    /// No memory, which a hole inside of a span takes; the map is as it was.
    pub fn remove(&mut self, range: Range<u64>) -> Result<(), TryReserveError> {
        self.reserve()?;
        self.replace(range, None);
        Ok(())
    }

    /// Makes room for [`RangeMap::set_aside`] of all spans.
    ///
    /// # Errors
    /// No memory; the map is as it was.
    pub fn reserve_aside(&mut self) -> Result<(), TryReserveError> {
        self.spans.reserve_aside()
    }

    /// Takes most of the spans in `range` out of the map if they are very many and there is
    /// room, so that a replacement of them is quick; they wait for
    /// [`RangeMap::take_aside`]. To be followed by [`RangeMap::replace`].
    pub fn set_aside(&mut self, range: &Range<u64>) {
        let from = self.seek(range.start);
        let to = self.spans.partition_point(|span| span.end <= range.end);
        self.spans.set_aside(from, to);
    }

    /// Calls `f` for some tens of the spans that were set aside, which are gone then.
    /// `false`: there were none.
    pub fn take_aside(&mut self, f: impl FnMut(Span<V>)) -> bool {
        let spans = self.spans.take_aside();
        let some = spans.is_some();
        spans.into_iter().flatten().for_each(f);
        some
    }

    /// The spans that were set aside, in no order.
    pub fn aside(&self) -> impl Iterator<Item = Span<V>> {
        self.spans.aside().copied()
    }

    /// Removes spans from the end, some more than `most` of them; `false` if there are no
    /// more.
    pub fn shorten(&mut self, most: usize) -> bool {
        let mut gone = 0;
        while gone < most
            && let Some(more) = self.spans.shorten()
        {
            gone += more;
        }
        !self.is_empty()
    }

    /// Removes all spans.
    pub fn clear(&mut self) {
        self.spans.clear();
    }

    /// Merges neighbours, with the gap between them, until there are at most
    /// `most` spans, roughly in the order of their `cost`. `value` is the value
    /// of the merged span. For maps that may claim too much; needs no memory.
    pub fn coarsen(
        &mut self,
        most: usize,
        cost: impl Fn(&Span<V>, &Span<V>) -> u64,
        value: impl Fn(V, V) -> V,
    ) {
        let mut left = self.len().saturating_sub(most.max(1));
        while left > 0 {
            // Twice the least, so that few rounds are enough.
            let pairs = self.iter().zip(self.iter().skip(1));
            let least = pairs.map(|(a, b)| cost(&a, &b)).min();
            let bound = least.map_or(u64::MAX, |least| least.saturating_mul(2));
            let mut at = self.spans.begin();
            while let Some((a, b)) = self.pair(at) {
                // A new value may be that of a neighbour.
                let value = match a.continues_in(&b) {
                    true => a.value,
                    false if left > 0 && cost(&a, &b) <= bound => value(a.value, b.value),
                    false => {
                        at = self.spans.next(at);
                        continue;
                    }
                };
                left = left.saturating_sub(1);
                at = self.join(
                    at,
                    Span {
                        end: b.end,
                        value,
                        ..a
                    },
                );
            }
        }
    }
}

/// Maps of the times (epochs) of last changes.
impl RangeMap<u64> {
    /// Bounds a map with more than `most` spans to half as many: neighbours become
    /// one as of the later change. So a time is never too early, and ranges that
    /// did not change count as changed; as few as possible do.
    pub fn coarsen_changes(&mut self, most: usize) {
        if self.len() <= most {
            return;
        }
        // Keys that count as changed later than they were.
        let cost = |a: &Span<u64>, b: &Span<u64>| {
            let earlier = match a.value.cmp(&b.value) {
                Ordering::Less => a.len(),
                Ordering::Equal => 0,
                Ordering::Greater => b.len(),
            };
            b.start - a.end + earlier
        };
        self.coarsen(most / 2, cost, u64::max);
    }
}

impl<V: Value> RangeMap<V> {
    /// The span at a position and the next.
    fn pair(&self, at: Position) -> Option<(Span<V>, Span<V>)> {
        let next = self.spans.get(self.spans.next(at))?;
        Some((*self.spans.get(at)?, *next))
    }

    /// Makes the span at `at` and the next one; where to look for the next pair.
    fn join(&mut self, at: Position, joined: Span<V>) -> Position {
        let next = self.spans.next(at);
        self.spans.remove(next, self.spans.next(next));
        let at = self.spans.partition_point(|span| span.end <= joined.start);
        if let Some(span) = self.spans.get_mut(at) {
            *span = joined;
        }
        self.spans.previous(at).unwrap_or(at)
    }

    /// The same map once more.
    ///
    /// # Errors
    /// No memory.
    pub fn try_clone(&self) -> Result<RangeMap<V>, TryReserveError> {
        let spans = self.spans.try_clone()?;
        Ok(RangeMap { spans })
    }

    /// Gives `copy`, which has the first spans of this map, the next ones, some more than
    /// `most`; `true`: it is the same map.
    ///
    /// # Errors
    /// No memory; some may have been added.
    pub fn copy_some(&self, copy: &mut RangeMap<V>, most: usize) -> Result<bool, TryReserveError> {
        self.spans.copy_some(&mut copy.spans, most)
    }

    /// Panics unless the map is sound; for tests.
    #[doc(hidden)]
    pub fn check(&self) {
        self.spans.check();
        for (left, right) in self.iter().zip(self.iter().skip(1)) {
            assert!(left.end <= right.start, "spans overlap");
            assert!(!left.continues_in(&right), "spans not joined");
        }
        assert!(self.iter().all(|span| span.start < span.end), "empty span");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_was_reserved_takes_no_memory() {
        // A map of each length, changed where that takes most: inside of a span.
        for spans in 0..300u64 {
            for inside in [0, spans / 2, spans.saturating_sub(1)] {
                let mut map = RangeMap::new();
                for n in 0..spans {
                    map.set(n * 10..n * 10 + 9, n).unwrap();
                }
                map.reserve().unwrap();
                let before = map.spans.capacity();
                let start = inside * 10 + 3;
                map.replace(start..start + 4, Some(spans));
                // The second step of the same change.
                map.replace(start + 4..start + 5, Some(spans));
                assert_eq!(map.spans.capacity(), before, "{spans} spans");
                map.check();
            }
        }
    }

    #[test]
    fn an_empty_map_keeps_the_memory_of_few_spans() {
        let mut map = RangeMap::new();
        map.set(0..10, ()).unwrap();
        let before = map.spans.capacity();
        map.replace(0..10, None);
        map.set(0..10, ()).unwrap();
        assert_eq!(map.spans.capacity(), before);
    }
}
