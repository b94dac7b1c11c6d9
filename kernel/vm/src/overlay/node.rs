//! Nodes, and the words that name them.

use crate::ahead::Near;
use crate::{Frame, Memory, PageState};
use core::ops::Range;

pub(super) const FAN_BITS: u32 = 9;
pub(super) const FAN: usize = 1 << FAN_BITS;
/// Entries that one mark stands for.
pub(super) const GROUP: usize = FAN / 16;

/// A set of pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Pages {
    /// Those that are not absent.
    Present = USED,
    /// Those with the segment's own content.
    Own = OWN,
}

/// Marks of the first group: some entry of it is used, or has own pages. Those of
/// group `n` are `n` bits further up.
const USED: u32 = 1;
const OWN: u32 = 1 << 16;
const BOTH: u32 = USED | OWN;

/// A node, as a word in the node above.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Child {
    pub node: Frame,
    /// Two bits for each group of entries, exact at any time.
    marks: u32,
}

/// Returns true if a word of a node at that level stands for own pages.
#[inline]
const fn is_own(word: u64, shift: u32) -> bool {
    match shift {
        0 => PageState::is_own_word(word),
        _ => word >> 32 & !(OWN as u64 - 1) != 0,
    }
}

/// The marks that a word of a node at that level gives its group.
#[inline(always)]
const fn marks_of(word: u64, shift: u32) -> u32 {
    match (word, is_own(word, shift)) {
        (0, _) => 0,
        (_, true) => BOTH,
        (_, false) => USED,
    }
}

impl Child {
    /// An empty node.
    pub const fn new(node: Frame) -> Child {
        Child { node, marks: 0 }
    }

    #[inline]
    pub const fn encode(self) -> u64 {
        (self.marks as u64) << 32 | self.node.0 as u64
    }

    /// A node that is referred to has used entries, so 0 is none: a fresh node is
    /// zeroed, and then has no children without any initialisation.
    #[inline]
    pub const fn decode(word: u64) -> Option<Child> {
        if word == 0 {
            return None;
        }
        Some(Child {
            node: Frame(word as u32),
            marks: (word >> 32) as u32,
        })
    }

    /// The same with the marks of one more entry, for tests.
    #[cfg(test)]
    pub const fn with_marks_of(self, shift: u32, at: usize, word: u64) -> Child {
        let marks = self.marks | marks_of(word, shift) << (at / GROUP);
        Child { marks, ..self }
    }

    /// The same entries in another node.
    pub const fn at(self, node: Frame) -> Child {
        Child { node, ..self }
    }

    /// Returns true if no entry is used.
    pub const fn is_empty(self) -> bool {
        self.marks == 0
    }

    /// Returns true if some page below is the segment's own.
    #[inline(always)]
    pub const fn has_own(self) -> bool {
        self.marks >= OWN
    }

    /// What is present around entry `at` of a leaf.
    pub fn near<M: Memory>(self, m: &M, at: usize) -> Near {
        let group = at / GROUP;
        let block = match self.marks >> group & USED {
            0 => 0,
            _ => {
                let entries = group * GROUP..(group + 1) * GROUP;
                let used = |at: &usize| m.entry(self.node, *at) != 0;
                entries.filter(used).count() as u32
            }
        };
        Near {
            blocks: (self.marks & u32::from(u16::MAX)).count_ones(),
            block,
        }
    }

    /// The groups of `entries` that have some of `pages`, ascending, each as the
    /// entries of it that are in question.
    #[inline]
    pub fn groups(self, pages: Pages, entries: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let first = entries.start / GROUP;
        let marks = self.marks >> (pages as u32).trailing_zeros() & u32::from(u16::MAX);
        let mut left = marks >> first << first;
        core::iter::from_fn(move || {
            let at = left.trailing_zeros() as usize * GROUP;
            left &= left.wrapping_sub(1);
            (at < entries.end).then(|| at.max(entries.start)..(at + GROUP).min(entries.end))
        })
    }

    /// The first of `entries` with some of `pages`, and its word.
    #[inline]
    pub fn next<M: Memory>(
        self,
        m: &M,
        shift: u32,
        pages: Pages,
        entries: Range<usize>,
    ) -> Option<(usize, u64)> {
        match pages {
            Pages::Present => m.find_entry(self.node, entries, |_| true),
            Pages::Own => m.find_entry(self.node, entries, |word| is_own(word, shift)),
        }
    }

    /// Entry `at` of this leaf has that word now, and lost no mark; returns true if
    /// the marks are others.
    #[inline(always)]
    pub fn gain(&mut self, at: usize, word: u64) -> bool {
        let before = self.marks;
        self.marks |= marks_of(word, 0) << (at / GROUP);
        self.marks != before
    }

    /// Returns true if the marks of entry `at` of this leaf say that the segment's own
    /// pages are there.
    #[inline(always)]
    pub const fn is_marked_own(self, at: usize) -> bool {
        let own = BOTH << (at / GROUP);
        self.marks & own == own
    }

    /// Entry `at` of this leaf is a page of the segment's own now.
    pub const fn gain_own(&mut self, at: usize) {
        self.marks |= BOTH << (at / GROUP);
    }

    /// Sets entry `at`. The marks follow.
    #[inline]
    pub fn set<M: Memory>(&mut self, m: &mut M, shift: u32, at: usize, word: u64) {
        let had = marks_of(m.entry(self.node, at), shift);
        m.set_entry(self.node, at, word);
        let has = marks_of(word, shift);
        self.marks |= has << (at / GROUP);
        if had & !has != 0 {
            self.mark_again(m, shift, at / GROUP);
        }
    }

    /// Marks a group by its entries.
    fn mark_again<M: Memory>(&mut self, m: &M, shift: u32, group: usize) {
        let entries = group * GROUP..(group + 1) * GROUP;
        let any = |pages| self.next(m, shift, pages, entries.clone()).is_some();
        let marks = match (any(Pages::Own), any(Pages::Present)) {
            (true, _) => BOTH,
            (false, true) => USED,
            (false, false) => 0,
        };
        self.mark(group, marks);
    }

    fn mark(&mut self, group: usize, marks: u32) {
        self.marks = self.marks & !(BOTH << group) | marks << group;
    }

    /// Marks the group of entry `at` after a walk has changed entries of it.
    #[inline]
    pub fn walked<M: Memory>(&mut self, m: &M, shift: u32, at: usize, walked: Walked) {
        let Walked { lost, kept, whole } = walked;
        let group = at / GROUP;
        self.marks |= kept << group;
        match (lost & !kept != 0, whole) {
            (false, _) => {}
            (true, true) => self.mark(group, kept),
            (true, false) => self.mark_again(m, shift, group),
        }
    }
}

/// The effect of a walk on the marks of a group.
pub(super) struct Walked {
    /// Marks of the words that were replaced.
    lost: u32,
    /// Marks of the words that are there.
    kept: u32,
    /// All used entries of the group were visited.
    whole: bool,
}

impl Walked {
    pub fn new(pages: Pages, entries: &Range<usize>) -> Walked {
        Walked {
            lost: 0,
            kept: 0,
            whole: pages == Pages::Present && entries.len() == GROUP,
        }
    }

    /// An entry had the word `old` and has the word `new`.
    #[inline]
    pub fn changed(&mut self, shift: u32, old: u64, new: u64) {
        self.lost |= marks_of(old, shift);
        self.kept |= marks_of(new, shift);
    }

    /// The walk ends before the last entry.
    pub const fn stop(&mut self) {
        self.whole = false;
    }
}
