//! The bytes of a file that are known to read as zeros, so that they need not
//! be read. Bytes not in here may be zeros as well.

use core::ops::Range;
use ranges::RangeMap;

/// Most ranges kept; the shortest of more is forgotten.
const RANGES_MAX: usize = 4096;

/// Bytes that a range takes.
const RANGE: usize = 32;

/// Knowledge of this many bytes is worth a message to keep it.
const WORTH: u64 = 16 << 20;

/// A set of byte ranges.
#[derive(Default)]
#[cfg_attr(feature = "duplicate", derive(Clone))]
pub struct Zeros {
    ranges: RangeMap<()>,
    /// Bytes in all ranges.
    total: u64,
    /// Some of it is only reported by the lower server.
    doubtful: bool,
}

impl Zeros {
    /// The lower server says that a file of `size` bytes has no blocks.
    pub fn learn(&mut self, size: u64) {
        self.clear();
        self.add(0..size);
        self.doubtful = true;
    }

    /// Returns true if the reports of the lower server must be verified.
    pub fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// The lower server can be believed.
    pub fn believe(&mut self) {
        self.doubtful = false;
    }

    /// Nothing is known any more.
    pub fn clear(&mut self) {
        *self = Zeros::default();
    }

    /// Nothing is known.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Bytes of memory that it takes, about.
    pub fn weight(&self) -> usize {
        self.ranges.len() * RANGE
    }

    /// Returns true if there is enough knowledge to keep.
    pub fn is_worth_keeping(&self) -> bool {
        self.total >= WORTH
    }

    fn set(&mut self, range: Range<u64>, known: Option<()>) {
        if range.is_empty() {
            return;
        }
        let before: u64 = self.ranges.over(range.clone()).map(|span| span.len()).sum();
        if known.is_none() && before == 0 {
            return;
        }
        let after = known.map_or(0, |()| range.end.saturating_sub(range.start));
        self.total = self.total - before + after;
        self.ranges.replace(range, known);
        while self.ranges.len() > RANGES_MAX
            && let Some(least) = self.ranges.shortest()
        {
            self.total -= least.len();
            self.ranges.replace(least.range(), None);
        }
    }

    /// `range` reads as zeros from now on.
    pub fn add(&mut self, range: Range<u64>) {
        self.set(range, Some(()));
    }

    /// `range` may be anything from now on.
    pub fn remove(&mut self, range: Range<u64>) {
        self.set(range, None);
    }

    /// The first part of `range` that is known to be zeros.
    pub fn next(&self, range: Range<u64>) -> Option<Range<u64>> {
        Some(self.ranges.first(range)?.range())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn the_set_answers_as_a_list_of_bytes_does() {
        let mut random = 4242u64;
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (random >> 33) % below
        };
        let (mut zeros, mut list) = (Zeros::default(), vec![false; 300]);
        for _ in 0..3000 {
            let start = next(250);
            let range = start..start + next(50);
            let known = next(2) == 0;
            if known {
                zeros.add(range.clone());
            } else {
                zeros.remove(range.clone());
            }
            list[range.start as usize..range.end as usize].fill(known);
            let total = list.iter().filter(|known| **known).count() as u64;
            assert_eq!(zeros.total, total);
            let (from, to) = (next(300), next(300));
            let (from, to) = (from.min(to), from.max(to));
            let mut at = from;
            let mut bytes: Vec<u64> = Vec::new();
            while let Some(part) = zeros.next(at..to) {
                at = part.end;
                bytes.extend(part);
            }
            let expected: Vec<u64> = (from..to).filter(|at| list[*at as usize]).collect();
            assert_eq!(bytes, expected);
        }
    }

    #[test]
    fn it_never_grows_without_bounds_and_forgets_the_small() {
        let mut zeros = Zeros::default();
        zeros.add(0..1 << 40);
        for n in 0..20_000 {
            zeros.remove(n * 3..n * 3 + 1);
        }
        assert!(zeros.ranges.len() <= RANGES_MAX);
        assert!(zeros.next(1 << 30..1 << 31) == Some(1 << 30..1 << 31));
        zeros.clear();
        assert!(zeros.is_empty() && !zeros.is_worth_keeping());
    }
}
