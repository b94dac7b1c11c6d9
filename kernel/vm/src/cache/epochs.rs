//! At which epoch the bytes of a snapshot are.

use alloc::collections::TryReserveError;
use core::ops::Range;

use ranges::RangeMap;

use super::FileId;
use super::blocks::PAGES;
use super::history::{History, pages};
use crate::PAGE;

/// Ranges remembered of one snapshot. Where there would be more the shortest is
/// forgotten: its pages are not shared.
const RANGES: usize = 6;

/// Which bytes of a snapshot's file are known to be at which epoch. Parts of a
/// snapshot may be at different epochs, because it can grow and be written into;
/// the ranges are by bytes, because a small read may end within a page.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Default, Debug)]
pub struct Epochs {
    pub(super) file: Option<FileId>,
    bytes: RangeMap<u64>,
}

impl Epochs {
    pub(super) const fn of(file: Option<FileId>) -> Epochs {
        Epochs {
            file,
            bytes: RangeMap::new(),
        }
    }

    /// The epoch of all bytes of a page of the file, if they are at one.
    #[inline]
    pub fn at(&self, page: u64) -> Option<u64> {
        self.from(page).map(|(_, epoch)| epoch)
    }

    /// The same, and the first page after it that may be at another.
    #[inline]
    pub(super) fn from(&self, page: u64) -> Option<(u64, u64)> {
        let start = page.checked_mul(PAGE)?;
        let end = start.checked_add(PAGE)?;
        let span = self.bytes.at(start)?;
        (end <= span.end).then_some((span.end / PAGE, span.value))
    }

    /// As `from`, but not beyond the block of the page.
    #[inline]
    pub(super) fn part(&self, page: u64) -> Option<(u64, u64)> {
        let (end, epoch) = self.from(page)?;
        Some((end.min((page | (PAGES - 1)) + 1), epoch))
    }

    /// Sets the epoch of the bytes in `range`, 0 if unknown. Other bytes keep
    /// theirs, and move to this epoch where `history` shows no change.
    pub(super) fn set(&mut self, range: Range<u64>, epoch: u64, history: &History) {
        if self.try_set(range, epoch, history).is_err() {
            self.bytes.clear();
        }
    }

    fn try_set(
        &mut self,
        range: Range<u64>,
        epoch: u64,
        history: &History,
    ) -> Result<(), TryReserveError> {
        let known = (epoch != 0).then_some(epoch);
        self.bytes.reserve()?;
        self.bytes.replace(range, known);
        if known.is_some() {
            self.advance(epoch, history)?;
        }
        while self.bytes.len() > RANGES
            && let Some(shortest) = self.bytes.shortest()
        {
            self.bytes.replace(shortest.range(), None);
        }
        Ok(())
    }

    /// Moves ranges on to `epoch` where nothing has changed since their own. A
    /// fragment of a page may stand beside bytes that changed, and says nothing
    /// about the rest.
    fn advance(&mut self, epoch: u64, history: &History) -> Result<(), TryReserveError> {
        let mut at = 0;
        while let Some(span) = self.bytes.first(at..u64::MAX) {
            at = span.end;
            if span.value == epoch {
                continue;
            }
            let first = span.start.div_ceil(PAGE) * PAGE;
            let first = first.min(span.end);
            let last = (span.end / PAGE * PAGE).max(first);
            for part in [span.start..first, first..last, last..span.end] {
                if !part.is_empty() && history.same(span.value, epoch, &pages(&part)) {
                    self.bytes.set(part, epoch)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::Changes;
    use super::*;

    const P: u64 = PAGE;

    fn history(steps: &[(u64, Range<u64>)]) -> History {
        let mut history = History::default();
        history.note(0, 1, None);
        for (epoch, changed) in steps {
            let mut changes = Changes::NONE;
            changes.add(changed.clone()).unwrap();
            history.note(history.known(), *epoch, Some(&changes));
        }
        history
    }

    #[test]
    fn small_reads_at_one_epoch_make_whole_pages() {
        let (h, mut e) = (history(&[]), Epochs::default());
        for at in 0..9 {
            e.set(at * 1000..(at + 1) * 1000, 1, &h);
        }
        assert_eq!((e.at(0), e.at(1), e.at(2)), (Some(1), Some(1), None));
    }

    #[test]
    fn a_write_in_the_middle_moves_the_rest_on() {
        let mut e = Epochs::default();
        e.set(0..100 * P, 1, &history(&[]));
        e.set(10 * P..11 * P, 2, &history(&[(2, 10 * P..11 * P)]));
        assert!((0..100).all(|page| e.at(page) == Some(2)));
        assert_eq!(e.bytes.len(), 1);
    }

    #[test]
    fn pages_of_a_part_are_at_one_epoch() {
        let mut e = Epochs::of(Some(FileId(7)));
        e.set(100..40 * P + 100, 1, &history(&[]));
        e.set(3 * P + 100..5 * P - 100, 2, &history(&[(2, 3 * P..5 * P)]));
        for page in 0..50 {
            let Some((end, epoch)) = e.part(page) else {
                assert_eq!(e.at(page), None, "page {page}");
                continue;
            };
            assert!((page..end).all(|page| e.at(page) == Some(epoch)));
            assert!(page < end && page / PAGES == (end - 1) / PAGES);
        }
    }

    #[test]
    fn a_page_of_two_epochs_is_at_none() {
        let mut e = Epochs::default();
        e.set(0..9 * P, 1, &history(&[]));
        let h = history(&[(2, 3 * P..5 * P)]);
        e.set(3 * P + 100..5 * P - 100, 2, &h);
        assert_eq!((e.at(3), e.at(4)), (None, None));
        assert_eq!((e.at(2), e.at(5), e.at(8)), (Some(2), Some(2), Some(2)));
        // Unless nothing has changed there.
        let mut e = Epochs::default();
        e.set(0..9 * P, 1, &history(&[]));
        e.set(3 * P + 100..3 * P + 200, 2, &history(&[(2, 8 * P..9 * P)]));
        assert_eq!((e.at(3), e.at(8)), (Some(2), Some(1)));
    }

    #[test]
    fn an_answer_without_an_epoch_says_nothing() {
        let (h, mut e) = (history(&[]), Epochs::default());
        e.set(0..9 * P, 0, &h);
        assert_eq!(e.at(3), None);
        e.set(0..9 * P, 1, &h);
        e.set(2 * P..3 * P, 0, &h);
        assert_eq!((e.at(1), e.at(2), e.at(3)), (Some(1), None, Some(1)));
    }

    #[test]
    fn what_is_said_of_a_page_is_what_was_last_set() {
        // An array of epochs by byte is the model; every change changes all.
        let mut seed = 3u64;
        let mut next = |n: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            (seed >> 33) % n
        };
        for _ in 0..60 {
            let (mut e, mut model) = (Epochs::default(), alloc::vec![0; 20 * P as usize]);
            for epoch in 1..30 {
                let h = history(&[(epoch + 1, 0..u64::MAX)]);
                let (a, b) = (next(20 * P), next(20 * P));
                let range = a.min(b)..a.max(b);
                e.set(range.clone(), epoch, &h);
                model[range.start as usize..range.end as usize].fill(epoch);
                for page in 0..20 {
                    let bytes = &model[(page * P) as usize..][..P as usize];
                    let said = e.at(page);
                    assert!(said.is_none_or(|said| bytes.iter().all(|at| *at == said)));
                }
                assert!(e.at(20).is_none() && e.at(u64::MAX).is_none());
            }
        }
    }
}
