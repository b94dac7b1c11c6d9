//! The references of one snapshot: byte ranges of its file, each at an epoch.
//!
//! Each span here is one reference to whole blocks in the file's [`Versions`];
//! every change keeps the two in step.

use crate::BLOCK;
use crate::versions::{Epoch, Slot, Versions};
use alloc::vec::Vec;
use core::ops::Range;
use ranges::{RangeMap, Span};

/// The references of one snapshot.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Default)]
pub struct References {
    spans: RangeMap<Epoch>,
}

/// The blocks that `bytes` touch.
pub fn blocks(bytes: &Range<u64>) -> Range<u64> {
    bytes.start / BLOCK..bytes.end.div_ceil(BLOCK)
}

fn blocks_of(span: &Span<Epoch>) -> Range<u64> {
    blocks(&span.range())
}

impl References {
    /// The end and the epoch of the reference to byte `at`.
    #[inline]
    pub fn find(&self, at: u64) -> Option<(u64, Epoch)> {
        let span = self.spans.at(at)?;
        Some((span.end, span.value))
    }

    /// Where to go on, up to `end`, after byte `at` that cannot be read: at the next block
    /// of the same reference, or at the next reference, both at any byte of a block.
    pub fn after(&self, at: u64, end: u64) -> u64 {
        match self.find(at) {
            Some((until, _)) => until.min((at / BLOCK + 1) * BLOCK),
            None => self.spans.first(at..end).map_or(end, |span| span.start),
        }
    }

    /// Returns true if `bytes` lie within one reference that has more on both sides.
    pub fn splits(&self, bytes: &Range<u64>) -> bool {
        let around = self.spans.at(bytes.start);
        around.is_some_and(|span| span.start < bytes.start && bytes.end < span.end)
    }

    /// Makes `bytes` refer to `epoch`, or to nothing. The places of unreachable
    /// versions, the first and how many, go to `freed`.
    pub fn set(
        &mut self,
        bytes: &Range<u64>,
        epoch: Option<Epoch>,
        versions: &mut Versions,
        freed: impl FnMut(Slot, u64),
    ) {
        if self.renew(bytes, epoch, versions) {
            return;
        }
        let before: Vec<_> = self.spans.touching(bytes.clone()).collect();
        self.spans.replace(bytes.clone(), epoch);
        let after: Vec<_> = self.spans.touching(bytes.clone()).collect();
        for span in after.iter().filter(|span| !before.contains(span)) {
            versions.refer(&blocks_of(span), span.value);
        }
        for span in before.iter().filter(|span| !after.contains(span)) {
            versions.unrefer(&blocks_of(span), span.value);
        }
        let gone = before.iter().filter_map(|span| span.clip(bytes));
        versions.sweep(gone.map(|gone| (blocks_of(&gone), gone.value)), freed);
    }

    /// Moves the one reference to exactly `bytes` to `epoch`, if no version can
    /// become unreachable by that; returns true if it did.
    fn renew(&mut self, bytes: &Range<u64>, epoch: Option<Epoch>, versions: &mut Versions) -> bool {
        let touching = {
            let mut touching = self.spans.touching(bytes.clone());
            [touching.next(), touching.next()]
        };
        let ([Some(only), None], Some(epoch)) = (touching, epoch) else {
            return false;
        };
        if only.range() != *bytes || !versions.is_empty() {
            return false;
        }
        let blocks = blocks_of(&only);
        self.spans.replace(bytes.clone(), Some(epoch));
        versions.refer(&blocks, epoch);
        versions.unrefer(&blocks, only.value);
        true
    }

    /// Returns true if there is a reference to bytes beside those of `written`, in
    /// blocks that they touch.
    pub fn has_beside(&self, written: &[Range<u64>]) -> bool {
        written.iter().any(|bytes| {
            let touched = blocks(bytes);
            let before = touched.start * BLOCK..bytes.start;
            let after = bytes.end..touched.end * BLOCK;
            [before, after]
                .into_iter()
                .any(|beside| !beside.is_empty() && self.spans.first(beside).is_some())
        })
    }

    /// The references to `written`: whole, and without those bytes.
    fn without(&self, written: &[Range<u64>]) -> (RangeMap<Epoch>, RangeMap<Epoch>) {
        let mut whole = RangeMap::new();
        for bytes in written {
            let touched = self.spans.over(bytes.clone());
            let touched = touched.filter_map(|span| self.spans.at(span.start));
            touched.for_each(|span| whole.replace(span.range(), Some(span.value)));
        }
        let mut rest = whole.clone();
        written
            .iter()
            .for_each(|bytes| rest.replace(bytes.clone(), None));
        (whole, rest)
    }

    /// Sets the references to `written` aside before a write of these bytes:
    /// nothing needs to be saved for this snapshot, which will refer to the
    /// written bytes. They can be read as before. [`References::take_back`]
    /// must follow with the same bytes.
    pub fn set_aside(&self, written: &[Range<u64>], versions: &mut Versions) {
        let (whole, rest) = self.without(written);
        for bytes in written {
            let aside = self.spans.over(bytes.clone());
            aside.for_each(|span| versions.set_aside(&blocks_of(&span), span.value));
        }
        rest.iter()
            .for_each(|span| versions.refer(&blocks_of(&span), span.value));
        whole
            .iter()
            .for_each(|span| versions.unrefer(&blocks_of(&span), span.value));
    }

    /// Ends a [`References::set_aside`]: everything is referred to as before.
    pub fn take_back(&self, written: &[Range<u64>], versions: &mut Versions) {
        let (whole, rest) = self.without(written);
        whole
            .iter()
            .for_each(|span| versions.refer(&blocks_of(&span), span.value));
        rest.iter()
            .for_each(|span| versions.unrefer(&blocks_of(&span), span.value));
        for bytes in written {
            let aside = self.spans.over(bytes.clone());
            aside.for_each(|span| versions.take_back(&blocks_of(&span), span.value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: Slot, _: u64) {}

    #[test]
    fn neighbours_of_one_epoch_join() {
        let (mut references, mut versions) = (References::default(), Versions::default());
        for n in 0..10 {
            let bytes = n * 100..n * 100 + 100;
            references.set(&bytes, Some(5), &mut versions, nothing);
        }
        assert_eq!(
            (references.spans.len(), references.find(999)),
            (1, Some((1000, 5)))
        );
        assert_eq!(references.find(1000), None);
        references.set(&(300..400), Some(6), &mut versions, nothing);
        assert_eq!(
            (references.spans.len(), references.find(350)),
            (3, Some((400, 6)))
        );
        references.set(&(0..u64::MAX), None, &mut versions, nothing);
        assert_eq!(versions.weight(), 0);
    }

    #[test]
    fn a_commit_in_part_leaves_the_rest_as_it_was() {
        let (mut references, mut versions) = (References::default(), Versions::default());
        references.set(&(0..5 * BLOCK), Some(1), &mut versions, nothing);
        let written = [BLOCK..2 * BLOCK, 3 * BLOCK..4 * BLOCK];
        references.set_aside(&written, &mut versions);
        let unsaved = |versions: &Versions| {
            let must = |block: &u64| versions.next_unsaved(*block..block + 1, 1).is_some();
            (0..5).filter(must).collect::<Vec<_>>()
        };
        assert_eq!(unsaved(&versions), [0, 2, 4]);
        assert_eq!(
            references.find(BLOCK),
            Some((5 * BLOCK, 1)),
            "still readable"
        );
        references.take_back(&written, &mut versions);
        assert_eq!(unsaved(&versions), [0, 1, 2, 3, 4]);
        references.set(&(BLOCK..2 * BLOCK), Some(9), &mut versions, nothing);
        assert_eq!(references.find(3 * BLOCK), Some((5 * BLOCK, 1)));
        references.set(&(0..u64::MAX), None, &mut versions, nothing);
        assert_eq!(versions.weight(), 0);
    }
}
