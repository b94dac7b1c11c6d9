//! Scattered pages: the same ones for the same seed and number of pages.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// A source of different page numbers.
pub struct Scattered {
    pages: u64,
    state: u64,
}

impl Scattered {
    /// Page numbers below `pages`.
    pub fn new(pages: u64, seed: u64) -> Self {
        Scattered { pages, state: seed }
    }

    /// SplitMix64: well spread for any seed, 0 included.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// `count` different ones in random order, or all pages if there are fewer.
    ///
    /// No two are neighbours as long as there are several times more pages than
    /// are asked for, so that each shows as a run of its own.
    pub fn take(mut self, count: u64) -> Vec<u64> {
        let count = count.min(self.pages);
        if count == self.pages {
            return (0..count).collect();
        }
        let sparse = self.pages / 4 > count;
        let mut seen = BTreeSet::new();
        let mut chosen = Vec::new();
        while (chosen.len() as u64) < count {
            let page = self.next() % self.pages;
            let near = page.saturating_sub(1)..=page + 1;
            let taken = match sparse {
                true => seen.range(near).next().is_some(),
                false => seen.contains(&page),
            };
            if !taken {
                seen.insert(page);
                chosen.push(page);
            }
        }
        chosen
    }
}

/// All page numbers below `pages` in random order.
pub fn shuffled(pages: u64, seed: u64) -> Vec<u64> {
    let mut random = Scattered::new(pages, seed);
    let mut all: Vec<u64> = (0..pages).collect();
    for last in (1..all.len()).rev() {
        all.swap(last, (random.next() % (last as u64 + 1)) as usize);
    }
    all
}
