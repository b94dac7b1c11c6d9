//! Walks over ranges of pages.

use core::ops::Range;

use crate::{Frame, Memory, Owner, PageState, SegmentNumber};

use super::aside::Aside;
use super::node::{Child, FAN, FAN_BITS, Pages, Walked};
use super::share::{let_go, owner_at};
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
pub(super) fn indices(base: u64, shift: u32, range: &Range<u64>) -> Range<usize> {
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
pub(super) const fn page_at(base: u64, at: usize, shift: u32) -> u64 {
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

/// The first present page, or page of a node, that is beyond the step, with that to
/// become of shared nodes.
pub(super) fn step_below<M: Memory>(
    m: &M,
    (child, shift, base): (Child, u32, u64),
    range: &Range<u64>,
    left: &mut Step,
    shared: Shared,
) -> Option<u64> {
    for mut entries in child.groups(Pages::Present, indices(base, shift, range)) {
        while let Some((at, word)) = child.next(m, shift, Pages::Present, entries.clone()) {
            entries.start = at + 1;
            let page = page_at(base, at, shift);
            if left.entry(shift).is_none() {
                return Some(page);
            }
            let Some(below) = Child::decode(word).filter(|_| shift > 0) else {
                continue;
            };
            let stop = match shared {
                Shared::Gone if m.is_shared_node(below.node) => None,
                Shared::Taken if m.is_shared_node(below.node) => Some(page_at(base, at + 1, shift)),
                _ => step_below(m, (below, shift - FAN_BITS, page), range, left, shared),
            };
            if stop.is_some() {
                return stop;
            }
        }
    }
    None
}

/// What becomes of shared nodes in a walk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shared {
    /// They stay as they are, and are looked into for a step.
    Stay,
    /// Those that lie in the range entirely are let go.
    Gone,
    /// The first of these is taken out, and ends the walk.
    Taken,
}

/// One step of changes in a range.
pub(super) struct Walk<'a, M, F> {
    m: &'a mut M,
    /// The segment's.
    number: SegmentNumber,
    pages: Pages,
    shared: Shared,
    /// Whether others hear what becomes of the pages: of the segment's own alone.
    pub told: bool,
    range: Range<u64>,
    f: F,
    left: Step,
    /// The page that is beyond the step.
    stop: Option<u64>,
    /// By how much the number of pages with tickets changed.
    pub tickets: i64,
    /// The node that was taken out.
    pub aside: Option<Aside>,
}

impl<'a, M: Memory, F: FnMut(&mut M, u64, PageState) -> PageState> Walk<'a, M, F> {
    pub const fn new(
        m: &'a mut M,
        number: SegmentNumber,
        (pages, shared): (Pages, Shared),
        range: Range<u64>,
        f: F,
    ) -> Walk<'a, M, F> {
        Walk {
            m,
            number,
            pages,
            shared,
            told: true,
            range,
            f,
            left: Step::ONE,
            stop: None,
            tickets: 0,
            aside: None,
        }
    }

    /// Where in `range` it ended.
    pub fn end(&self, range: Range<u64>) -> u64 {
        self.stop
            .map_or(range.end, |page| page.clamp(range.start, range.end))
    }

    /// Changes the pages below `child`, which `owner` has; the child as it then is.
    pub fn update(
        &mut self,
        mut child: Child,
        shift: u32,
        base: u64,
        owner: Owner,
    ) -> Option<Child> {
        if self.m.is_shared_node(child.node) {
            return self.shared(child, shift, base, owner);
        }
        let entries = indices(base, shift, &self.range);
        for entries in child.groups(self.pages, entries) {
            self.group(&mut child, shift, base, entries);
            if self.stop.is_some() {
                break;
            }
        }
        keep(self.m, child, owner)
    }

    /// The same for a shared node.
    #[cold]
    fn shared(&mut self, child: Child, shift: u32, base: u64, owner: Owner) -> Option<Child> {
        let end = base.saturating_add((FAN as u64) << shift);
        let inside = self.range.start <= base && end <= self.range.end;
        if self.shared == Shared::Stay || !inside {
            return Some(child);
        }
        if self.told {
            self.m.leave(self.number, base..end);
        }
        if self.shared == Shared::Taken {
            self.aside = Some(Aside::new(
                self.m,
                (child, shift, base),
                (owner, self.number),
            ));
            self.stop = Some(end);
        } else {
            let_go(self.m, child.node, owner);
        }
        None
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
                0 => self.leaf((child.node, at), page, old),
                _ => self.below(owner_at(child.node, shift, at), old, shift, page),
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
    fn leaf(&mut self, at: (Frame, usize), page: u64, old: u64) -> u64 {
        let state = (self.f)(self.m, page, PageState::decode(old));
        let word = state.encode();
        if word != old && self.told {
            self.m.enters(self.number, page, state);
        }
        pass_on(self.m, at, old, word);
        let tickets = |word| i64::from(PageState::has_ticket(word));
        self.tickets += tickets(word) - tickets(old);
        word
    }

    fn below(&mut self, owner: Owner, old: u64, shift: u32, base: u64) -> u64 {
        let below = Child::decode(old);
        let below = below.and_then(|below| self.update(below, shift - FAN_BITS, base, owner));
        below.map_or(0, Child::encode)
    }
}
