//! Which pages of a file changed when, as far as servers have said.

use core::ops::Range;

use ranges::{RangeMap, Span};

use crate::{NoMemory, PAGE};

/// Most ranges of one step. Beyond that, neighbours are merged with the gap
/// between them: a page outside the ranges has certainly not changed.
const STEP_RANGES: usize = 8;
/// Most ranges remembered of one file. Neighbours become one as of the later
/// change.
const RANGES: usize = 64;

/// Pages that may have changed in one step.
#[derive(Clone, Debug, Default)]
pub struct Changes(RangeMap<()>);

/// The pages that `bytes` touch.
pub(super) fn pages(bytes: &Range<u64>) -> Range<u64> {
    bytes.start / PAGE..bytes.end.div_ceil(PAGE)
}

impl Changes {
    /// Nothing.
    pub const NONE: Changes = Changes(RangeMap::new());

    /// Adds the pages that `bytes` touch.
    ///
    /// # Errors
    /// No memory: anything may have changed then.
    pub fn add(&mut self, bytes: Range<u64>) -> Result<(), NoMemory> {
        self.0.set(pages(&bytes), ()).map_err(|_| NoMemory)?;
        let gap = |a: &Span<()>, b: &Span<()>| b.start - a.end;
        self.0.coarsen(STEP_RANGES, gap, |(), ()| ());
        Ok(())
    }
}

/// The changes of one file.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Default, Debug)]
pub(super) struct History {
    /// Nothing is known about earlier epochs.
    base: u64,
    /// The newest reported epoch, 0 if none.
    known: u64,
    /// The last change of pages since `base`, or a later epoch; none for those that
    /// have not changed.
    changed: RangeMap<u64>,
}

impl History {
    /// The newest reported epoch, 0 if none.
    pub const fn known(&self) -> u64 {
        self.known
    }

    /// A server said: the file is at `epoch`, and since `asked` no pages but
    /// `changes` have changed (`None`: any may have).
    pub fn note(&mut self, asked: u64, epoch: u64, changes: Option<&Changes>) {
        if epoch <= self.known {
            // An answer that others have overtaken says nothing new.
            return;
        }
        // The changes since an older epoch include those since ours.
        let reaches = self.known != 0 && asked != 0 && asked <= self.known;
        let changes = changes.filter(|_| reaches);
        self.known = epoch;
        if changes.is_none_or(|changes| self.change(changes).is_err()) {
            self.base = epoch;
            self.changed.clear();
        }
    }

    /// These have changed since the epoch before the newest.
    fn change(&mut self, changes: &Changes) -> Result<(), NoMemory> {
        for span in changes.0.iter() {
            let set = self.changed.set(span.range(), self.known);
            set.map_err(|_| NoMemory)?;
        }
        self.changed.coarsen_changes(RANGES);
        Ok(())
    }

    /// Returns true if `pages` are known to have the same content at both
    /// epochs.
    pub fn same(&self, a: u64, b: u64, pages: &Range<u64>) -> bool {
        let (from, to) = (a.min(b), a.max(b));
        let reaches = self.base <= from && to <= self.known;
        let unchanged = |span: Span<u64>| span.value <= from;
        from == to || reaches && self.changed.over(pages.clone()).all(unchanged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(list: &[u64]) -> Changes {
        let mut changes = Changes::NONE;
        for page in list {
            changes.add(page * PAGE + 1..page * PAGE + 2).unwrap();
        }
        changes
    }

    #[test]
    fn a_page_left_out_of_all_changes_is_the_same() {
        let mut h = History::default();
        h.note(0, 5, None);
        h.note(5, 8, Some(&changes(&[1])));
        h.note(8, 9, Some(&changes(&[3])));
        assert!(h.same(5, 9, &(2..3)) && h.same(9, 5, &(0..1)));
        assert!(!h.same(5, 9, &(1..2)) && h.same(8, 9, &(1..2)));
        assert!(!h.same(8, 9, &(2..4)));
        // Inside of a step it is not known when.
        assert!(!h.same(6, 7, &(1..2)) && h.same(6, 7, &(2..3)));
    }

    #[test]
    fn nothing_is_known_of_epochs_out_of_reach() {
        let mut h = History::default();
        assert!(!h.same(1, 2, &(0..1)));
        h.note(0, 5, Some(&Changes::NONE));
        assert!(!h.same(4, 5, &(0..1)) && !h.same(5, 6, &(0..1)));
        h.note(5, 7, None);
        assert!(!h.same(5, 7, &(0..1)), "anything may have changed");
        h.note(9, 10, Some(&Changes::NONE));
        assert!(!h.same(7, 10, &(0..1)), "between 7 and 9 we do not know");
        h.note(7, 12, Some(&changes(&[1])));
        assert!(h.same(10, 12, &(0..1)), "since 7 includes since 10");
        h.note(5, 11, Some(&changes(&[0])));
        assert!(h.same(10, 12, &(0..1)), "an overtaken answer");
    }

    #[test]
    fn many_changes_are_forgotten_towards_more() {
        // A set of pages is the model.
        let mut seed = 1u64;
        let mut next = |n: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            (seed >> 33) % n
        };
        for _ in 0..200 {
            let mut h = History::default();
            h.note(0, 1, None);
            let mut content = alloc::vec![[0u64; 40]];
            for epoch in 2..60 {
                let mut now = content[content.len() - 1];
                let mut told = Changes::NONE;
                for _ in 0..next(12) {
                    let (page, len) = (next(38), 1 + next(3));
                    told.add(page * PAGE..(page + len) * PAGE - 5).unwrap();
                    let end = (page + len).min(40);
                    now[page as usize..end as usize].fill(epoch);
                }
                content.push(now);
                h.note(epoch - 1, epoch, Some(&told));
                for page in 0..40 {
                    let (a, b) = (1 + next(epoch), 1 + next(epoch));
                    let at = |e: u64| content[e as usize - 1][page as usize];
                    assert!(!h.same(a, b, &(page..page + 1)) || at(a) == at(b));
                }
            }
        }
    }

    #[test]
    fn few_changes_are_not_widened() {
        let list = |changes: &Changes| {
            let spans = changes.0.iter().map(|span| (span.start, span.end));
            spans.collect::<alloc::vec::Vec<_>>()
        };
        let one = changes(&[50, 10, 30, 10, 11, 90]);
        assert_eq!(list(&one), [(10, 12), (30, 31), (50, 51), (90, 91)]);
        let one = changes(&[50, 10, 30, 10, 11, 90, 29, 12, 49]);
        assert_eq!(list(&one), [(10, 13), (29, 31), (49, 51), (90, 91)]);
        let nine = changes(&[0, 10, 20, 30, 40, 50, 60, 70, 73]);
        assert_eq!(list(&nine).len(), STEP_RANGES);
        let touch = |pages| nine.0.first(pages).is_some();
        assert!(touch(71..72) && !touch(61..70));
    }
}
