//! Walks over ranges of pages.

use core::ops::Range;

use crate::{Memory, Owner, PageState, SegmentNumber};

use super::node::{Child, FAN, FAN_BITS, Pages, Walked};
use super::{keep, pass_on};

/// The work that may be done before other processes must have a chance to run:
/// some hundred thousand instructions at most.
pub(super) struct Step {
    pub pages: u32,
    pub nodes: u32,
}

impl Step {
    /// A page that changes hands costs some hundred instructions, and looking
    /// through a node as many as some tens of pages. Nodes count too: without that
    /// limit, a few pages spread over a large range would be one very long step.
    pub const ONE: Step = Step {
        pages: 1024,
        nodes: 32,
    };

    /// One entry more; `None` if that is beyond the step.
    #[inline]
    fn entry(&mut self, shift: u32) -> Option<()> {
        let unit = match shift {
            0 => &mut self.pages,
            _ => &mut self.nodes,
        };
        *unit = unit.checked_sub(1)?;
        Some(())
    }
}

/// The entries of a node that a range of pages touches; `base` is the node's
/// first page.
fn indices(base: u64, shift: u32, range: &Range<u64>) -> Range<usize> {
    let span = FAN as u64;
    let first = range.start.saturating_sub(base) >> shift;
    let end = match range.end.checked_sub(base) {
        Some(len) => (len >> shift) + u64::from(len & ((1 << shift) - 1) != 0),
        None => 0,
    };
    let (first, end) = (first.min(span), end.min(span));
    first as usize..end as usize
}

/// The first page of an entry.
#[inline]
const fn page_at(base: u64, at: usize, shift: u32) -> u64 {
    base + ((at as u64) << shift)
}

/// The first page below `child` in `range` that is one of `pages`. Marks are exact,
/// so at each level only the nodes at the ends of the range are entered in vain.
pub(super) fn next_below<M: Memory>(
    m: &M,
    pages: Pages,
    child: Child,
    shift: u32,
    base: u64,
    range: &Range<u64>,
) -> Option<(u64, PageState)> {
    for mut entries in child.groups(pages, indices(base, shift, range)) {
        while let Some((at, word)) = child.next(m, shift, pages, entries.clone()) {
            entries.start = at + 1;
            let page = page_at(base, at, shift);
            if shift == 0 {
                return Some((page, PageState::decode(word)));
            }
            let found = Child::decode(word)
                .and_then(|below| next_below(m, pages, below, shift - FAN_BITS, page, range));
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

/// The first present page, or page of a node, that is beyond the step.
pub(super) fn step_below<M: Memory>(
    m: &M,
    child: Child,
    shift: u32,
    base: u64,
    range: &Range<u64>,
    left: &mut Step,
) -> Option<u64> {
    for mut entries in child.groups(Pages::Present, indices(base, shift, range)) {
        while let Some((at, word)) = child.next(m, shift, Pages::Present, entries.clone()) {
            entries.start = at + 1;
            let page = page_at(base, at, shift);
            if left.entry(shift).is_none() {
                return Some(page);
            }
            if let Some(below) = Child::decode(word).filter(|_| shift > 0) {
                let stop = step_below(m, below, shift - FAN_BITS, page, range, left);
                if stop.is_some() {
                    return stop;
                }
            }
        }
    }
    None
}

/// One step of changes in a range.
pub(super) struct Walk<'a, M, F> {
    m: &'a mut M,
    number: SegmentNumber,
    pages: Pages,
    range: Range<u64>,
    f: F,
    left: Step,
    /// The page that is beyond the step.
    stop: Option<u64>,
    /// Pages that became absent.
    pub removed: u64,
}

impl<'a, M: Memory, F: FnMut(&mut M, u64, PageState) -> PageState> Walk<'a, M, F> {
    pub const fn new(
        m: &'a mut M,
        (number, pages): (SegmentNumber, Pages),
        range: Range<u64>,
        f: F,
    ) -> Walk<'a, M, F> {
        Walk {
            m,
            number,
            pages,
            range,
            f,
            left: Step::ONE,
            stop: None,
            removed: 0,
        }
    }

    /// Where in `range` it ended.
    pub fn end(&self, range: Range<u64>) -> u64 {
        self.stop
            .map_or(range.end, |page| page.clamp(range.start, range.end))
    }

    /// Changes the pages below `child`; the child as it then is.
    pub fn update(&mut self, mut child: Child, shift: u32, base: u64) -> Option<Child> {
        let entries = indices(base, shift, &self.range);
        for entries in child.groups(self.pages, entries) {
            self.group(&mut child, shift, base, entries);
            if self.stop.is_some() {
                break;
            }
        }
        keep(self.m, child)
    }

    /// Changes the entries of one group.
    #[inline]
    fn group(&mut self, child: &mut Child, shift: u32, base: u64, mut entries: Range<usize>) {
        let first = entries.start;
        let mut walked = Walked::new(self.pages, &entries);
        while let Some((at, old)) = child.next(self.m, shift, self.pages, entries.clone()) {
            entries.start = at + 1;
            let page = page_at(base, at, shift);
            if self.left.entry(shift).is_none() {
                self.stop = Some(page);
                walked.stop();
                break;
            }
            let new = match shift {
                0 => self.leaf(page, old),
                _ => self.below(old, shift, page),
            };
            if new != old {
                self.m.set_entry(child.node, at, new);
            }
            walked.changed(shift, old, new);
            if self.stop.is_some() {
                walked.stop();
                break;
            }
        }
        child.walked(self.m, shift, first, walked);
    }

    #[inline]
    fn leaf(&mut self, page: u64, old: u64) -> u64 {
        let word = (self.f)(self.m, page, PageState::decode(old)).encode();
        pass_on(self.m, Owner::new(self.number, page), old, word);
        self.removed += u64::from(word == 0);
        word
    }

    fn below(&mut self, old: u64, shift: u32, base: u64) -> u64 {
        let below = Child::decode(old);
        let below = below.and_then(|below| self.update(below, shift - FAN_BITS, base));
        below.map_or(0, Child::encode)
    }
}
