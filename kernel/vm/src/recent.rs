//! The last pages that were resolved for a segment's process.
//!
//! They are not to be evicted: one instruction may need several pages at once (its
//! own bytes, operands and stack, each over a page boundary), and each fault
//! brings one. If the others were taken away meanwhile, the instruction would
//! never end.

/// More pages than one instruction needs of one segment: two of each operand, and
/// two of its own bytes. A page that is loaded and then stored to counts twice
/// at most.
const RECENT: usize = 8;

const NONE: u64 = u64::MAX;

/// The last pages, by number.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
pub(crate) struct Recent {
    pages: [u64; RECENT],
    last: usize,
}

impl Recent {
    pub(crate) const fn new() -> Recent {
        Recent {
            pages: [NONE; RECENT],
            last: 0,
        }
    }

    /// Notes a page; the one that was noted before all others is forgotten.
    #[inline]
    pub(crate) fn note(&mut self, page: u64) {
        if self.pages.get(self.last % RECENT) != Some(&page) {
            self.add(page);
        }
    }

    /// Notes a page that is not the last one.
    #[inline(always)]
    pub(crate) fn add(&mut self, page: u64) {
        self.last = (self.last + 1) % RECENT;
        if let Some(entry) = self.pages.get_mut(self.last) {
            *entry = page;
        }
    }

    /// Returns true if the page is one of the last.
    pub(crate) fn has(&self, page: u64) -> bool {
        self.pages.contains(&page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_eight_pages_are_known() {
        let mut recent = Recent::new();
        for page in 0..20 {
            recent.note(page);
            recent.note(page);
        }
        assert!((12..20).all(|page| recent.has(page)));
        assert!((0..12).all(|page| !recent.has(page)));
    }

    #[test]
    fn an_instruction_ends_whatever_is_evicted() {
        // Four pages, each loaded and then stored to; all but the last are evicted
        // after each fault.
        let (mut recent, mut mapped) = (Recent::new(), [0; 4]);
        let wanted = |mapped: &[u64; 4]| mapped.iter().position(|access| *access < 2);
        for fault in 0.. {
            let Some(page) = wanted(&mapped) else { break };
            mapped[page] += 1;
            recent.note(page as u64);
            for (page, access) in mapped.iter_mut().enumerate() {
                if !recent.has(page as u64) {
                    *access = 0;
                }
            }
            assert!(fault < 20, "no end");
        }
    }
}
