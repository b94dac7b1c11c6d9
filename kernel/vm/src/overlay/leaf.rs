//! Changes of several pages of one leaf, which is found once for all of them.

use core::ops::Range;

use crate::{Frame, Memory, Owner, PageState};

use super::node::{FAN, FAN_BITS, GROUP};
use super::{Overlay, index};

impl Overlay {
    /// Which of `pages`, at most 64 in one leaf, are absent: a bit for each.
    pub fn absent<M: Memory>(&self, m: &M, pages: Range<u64>) -> u64 {
        let all = pages.clone().fold(0, |bits, _| bits << 1 | 1);
        let Some(leaf) = self.leaf(m, pages.start) else {
            return all;
        };
        let used = |page: &u64| m.entry(leaf.child.node, index(*page, 0)) != 0;
        let used = pages.clone().filter(used);
        used.fold(all, |bits, page| bits & !(1 << (page - pages.start)))
    }

    /// Gives pages from `first` on, for each bit one, the clean frame at its place.
    /// They are absent, and lie in the leaf of a page that is present.
    pub fn fill<M: Memory>(&mut self, m: &mut M, first: u64, mut bits: u64, frames: &[Frame]) {
        let Some(mut leaf) = self.private_leaf(m, first) else {
            debug_assert!(bits == 0, "no leaf");
            return;
        };
        while bits != 0 {
            let bit = bits.trailing_zeros();
            bits &= bits - 1;
            let page = first + u64::from(bit);
            let Some(&frame) = frames.get(bit as usize) else {
                debug_assert!(false, "no frame");
                continue;
            };
            let (state, at) = (PageState::Resident(frame), index(page, 0));
            let word = state.encode();
            m.set_entry(leaf.child.node, at, word);
            m.enters(self.number, page, state);
            m.own(frame, Owner::page(leaf.child.node, at));
            leaf.child.gain(at, word);
        }
        self.put(m, first, leaf);
    }

    /// Gives absent pages a state without a frame, in this order, up to the first that is
    /// not absent or for which `f` says no; how many. All lie in the leaf of a page that
    /// is present.
    pub fn claim<M: Memory>(
        &mut self,
        m: &mut M,
        pages: impl Iterator<Item = u64>,
        state: PageState,
        mut f: impl FnMut(&mut M, u64) -> bool,
    ) -> u64 {
        debug_assert!(!state.is_own(), "marks further up stay as they are");
        debug_assert!(state.frame().is_none(), "no owner is told");
        let (word, mut count) = (state.encode(), 0);
        let mut pages = pages.peekable();
        let Some(first) = pages.peek().copied() else {
            return 0;
        };
        let Some(mut leaf) = self.private_leaf(m, first) else {
            return 0;
        };
        for page in pages {
            let at = index(page, 0);
            if m.entry(leaf.child.node, at) != 0 || !f(m, page) {
                break;
            }
            m.set_entry(leaf.child.node, at, word);
            m.enters(self.number, page, state);
            leaf.child.gain(at, word);
            count += 1;
        }
        self.busy += count * u64::from(PageState::has_ticket(word));
        self.put(m, first, leaf);
        count
    }

    /// Gives pages of one leaf that are in the state `from`, which has no frame, the state
    /// that `f` says, if it says one. Both are states of clean pages, so that no mark
    /// changes.
    pub fn turn<M: Memory>(
        &mut self,
        m: &mut M,
        pages: Range<u64>,
        from: PageState,
        mut f: impl FnMut(u64) -> Option<PageState>,
    ) {
        let Some(leaf) = self.private_leaf(m, pages.start) else {
            return;
        };
        let old = from.encode();
        debug_assert!(old != 0 && !from.is_own(), "marks stay as they are");
        debug_assert!(from.frame().is_none(), "no owner is gone");
        let (mut turned, mut tickets) = (0, 0);
        for page in pages {
            let at = index(page, 0);
            if m.entry(leaf.child.node, at) != old {
                continue;
            }
            if let Some(state) = f(page) {
                debug_assert!(!state.is_own(), "marks stay as they are");
                let new = state.encode();
                m.set_entry(leaf.child.node, at, new);
                m.enters(self.number, page, state);
                if let Some(frame) = state.frame() {
                    m.own(frame, Owner::page(leaf.child.node, at));
                }
                turned += 1;
                tickets += u64::from(PageState::has_ticket(new));
            }
        }
        self.busy += tickets;
        self.busy -= turned * u64::from(PageState::has_ticket(old));
    }

    /// Gives pages of one leaf from `pages.start` on the state that `f` says, up to the
    /// first for which it says none, or of which the leaf is shared; where that ended. A
    /// page of the segment's own stays so and keeps its frame, and any other keeps its
    /// state, so that no mark changes and no owner.
    pub fn turn_own<M: Memory>(
        &mut self,
        m: &mut M,
        pages: Range<u64>,
        mut f: impl FnMut(&mut M, u64, PageState) -> Option<PageState>,
    ) -> u64 {
        let Some(leaf) = self.private_leaf(m, pages.start) else {
            return pages.start;
        };
        let pages = pages.start..pages.end.min(Overlay::leaf_of(pages.start).end);
        for page in pages.clone() {
            let at = index(page, 0);
            let old = m.entry(leaf.child.node, at);
            let before = PageState::decode(old);
            let Some(state) = f(m, page, before) else {
                return page;
            };
            let new = state.encode();
            if new != old {
                debug_assert!(before.is_own() && state.is_own(), "marks stay as they are");
                debug_assert!(before.frame() == state.frame(), "owners stay as they are");
                m.set_entry(leaf.child.node, at, new);
                m.enters(self.number, page, state);
                self.count_tickets(old, new);
            }
        }
        pages.end
    }

    /// The pages that share the marks of a page.
    pub const fn group_of(page: u64) -> Range<u64> {
        let first = page / GROUP as u64 * GROUP as u64;
        first..first + GROUP as u64
    }

    /// The pages that share the leaf of a page.
    pub const fn leaf_of(page: u64) -> Range<u64> {
        let first = page >> FAN_BITS << FAN_BITS;
        first..first + FAN as u64
    }
}
