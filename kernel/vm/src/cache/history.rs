//! Which pages of a file changed between which of its epochs, as far as
//! servers have said.

use alloc::vec::Vec;
use core::ops::Range;

use crate::PAGE;

/// Ranges of pages remembered for one step.
const RANGES: usize = 8;
/// Steps remembered for one file; older ones become one.
const STEPS: usize = 12;

/// Pages that may have changed: a few ranges of them, sorted and apart. When
/// there are too many, two neighbours and what is between them become one, so
/// that a page that is left out has not changed.
#[derive(Clone, Copy, Debug)]
pub struct Changes {
    ranges: [(u64, u64); RANGES + 1],
    count: usize,
}

/// The pages that `bytes` touch.
pub(super) fn pages(bytes: &Range<u64>) -> Range<u64> {
    bytes.start / PAGE..bytes.end.div_ceil(PAGE)
}

impl Changes {
    /// Nothing.
    pub const NONE: Changes = Changes {
        ranges: [(0, 0); RANGES + 1],
        count: 0,
    };

    /// Adds the pages that `bytes` touch.
    pub fn add(&mut self, bytes: Range<u64>) {
        let Range { start, end } = pages(&bytes);
        if start < end {
            self.add_pages(start, end);
        }
    }

    fn list(&self) -> &[(u64, u64)] {
        self.ranges.get(..self.count).unwrap_or_default()
    }

    fn add_pages(&mut self, mut start: u64, mut end: u64) {
        // What it meets becomes part of it.
        let mut kept = Changes::NONE;
        for &(from, to) in self.list() {
            if to < start || end < from {
                kept.push((from, to));
            } else {
                (start, end) = (start.min(from), end.max(to));
            }
        }
        kept.push((start, end));
        *self = kept;
        if let Some(ranges) = self.ranges.get_mut(..self.count) {
            ranges.sort_unstable();
        }
        if self.count > RANGES {
            self.widen();
        }
    }

    fn push(&mut self, range: (u64, u64)) {
        if let Some(place) = self.ranges.get_mut(self.count) {
            *place = range;
            self.count += 1;
        }
    }

    /// Joins the two neighbours that are closest.
    fn widen(&mut self) {
        let gap = |pair: &[(u64, u64)]| match pair {
            [a, b] => b.0 - a.1,
            _ => u64::MAX,
        };
        let pairs = self.list().windows(2).enumerate();
        let Some((closest, _)) = pairs.min_by_key(|(_, pair)| gap(pair)) else {
            return;
        };
        let mut joined = Changes::NONE;
        for (index, &range) in self.list().iter().enumerate() {
            match joined.ranges.get_mut(closest) {
                Some(first) if index == closest + 1 => first.1 = range.1,
                _ => joined.push(range),
            }
        }
        *self = joined;
    }

    fn join(&mut self, other: &Changes) {
        for &(start, end) in other.list() {
            self.add_pages(start, end);
        }
    }

    fn touch(&self, pages: &Range<u64>) -> bool {
        self.list()
            .iter()
            .any(|&(start, end)| start < pages.end && pages.start < end)
    }
}

/// From the epoch of the step before up to and including `to`.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
struct Step {
    to: u64,
    changes: Changes,
}

/// One file's past: nothing is known of what was before `base`, and of each
/// step after it, which pages changed in it.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Default, Debug)]
pub(super) struct History {
    base: u64,
    steps: Vec<Step>,
}

impl History {
    /// The newest epoch we were told of, 0 if none.
    pub fn known(&self) -> u64 {
        self.steps.last().map_or(self.base, |step| step.to)
    }

    /// A server said: the file is at `epoch`, and since `asked` no pages but
    /// `changes` have changed (`None`: any may have).
    pub fn note(&mut self, asked: u64, epoch: u64, changes: Option<&Changes>) {
        let known = self.known();
        if epoch <= known {
            // An answer that others have overtaken says nothing new.
            return;
        }
        // What changed since an older epoch includes what changed since ours.
        let changes = changes.filter(|_| known != 0 && asked != 0 && asked <= known);
        match changes {
            Some(changes)
                if self
                    .steps
                    .try_reserve_exact(STEPS - self.steps.len())
                    .is_ok() =>
            {
                let changes = *changes;
                self.steps.push(Step { to: epoch, changes });
                if self.steps.len() == STEPS {
                    let oldest = self.steps.remove(0);
                    if let Some(next) = self.steps.first_mut() {
                        next.changes.join(&oldest.changes);
                    }
                }
            }
            _ => {
                self.base = epoch;
                self.steps.clear();
            }
        }
    }

    /// Have `pages` the same content at both epochs?
    pub fn same(&self, a: u64, b: u64, pages: &Range<u64>) -> bool {
        let (from, to) = (a.min(b), a.max(b));
        if from == to {
            return true;
        }
        if from < self.base || to > self.known() {
            return false;
        }
        let mut start = self.base;
        for step in &self.steps {
            if start < to && from < step.to && step.changes.touch(pages) {
                return false;
            }
            start = step.to;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(list: &[u64]) -> Changes {
        let mut changes = Changes::NONE;
        for page in list {
            changes.add(page * PAGE + 1..page * PAGE + 2);
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
                    told.add(page * PAGE..(page + len) * PAGE - 5);
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
        let mut one = changes(&[50, 10, 30, 10, 11, 90]);
        assert_eq!(one.list(), [(10, 12), (30, 31), (50, 51), (90, 91)]);
        one.join(&changes(&[29, 12, 49]));
        assert_eq!(one.list(), [(10, 13), (29, 31), (49, 51), (90, 91)]);
        let nine = changes(&[0, 10, 20, 30, 40, 50, 60, 70, 73]);
        assert_eq!(nine.list().len(), RANGES);
        assert!(nine.touch(&(71..72)) && !nine.touch(&(61..70)));
    }
}
