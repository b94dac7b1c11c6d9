//! The sparse table of the pages that have a state other than asleep: a radix
//! tree of 512-way nodes, each in one frame from [`Memory::alloc_node`].
//!
//! An entry of a leaf is a page's [`PageState`]. An entry of an inner node is a
//! child: its frame and the number of the child's used entries, so that an
//! empty node is freed at once. Walks over a range skip absent parts: the cost
//! follows the pages that are present.
//!
//! A tree in frames instead of a map on the heap, for three reasons: a look-up on
//! the fault path is one load per level and never searches; a segment of many
//! terabytes takes memory for its present pages only; and every allocation is one
//! frame, so that it can be charged to the process and cannot fail halfway through
//! the growth of a table. Nodes are recursive, but the depth is at most four.

use core::ops::{ControlFlow, Range};

use crate::{Frame, Memory, NoMemory, Owner, PageState, SegmentNumber};

const FAN_BITS: u32 = 9;
const FAN: usize = 1 << FAN_BITS;
/// Four levels address 2^36 pages, more than a process has.
const LEVELS_MAX: u32 = 4;

/// A node and its used entries, as a word in the node above.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Child {
    node: Frame,
    used: u32,
}

impl Child {
    const fn encode(self) -> u64 {
        (self.used as u64) << 32 | self.node.0 as u64
    }

    /// A node that is referred to has used entries, so 0 is none: a fresh node is
    /// zeroed, and then has no children without any initialisation.
    const fn decode(word: u64) -> Option<Child> {
        if word == 0 {
            return None;
        }
        Some(Child {
            node: Frame(word as u32),
            used: (word >> 32) as u32,
        })
    }
}

/// The pages of one segment that have a state of their own.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
pub struct Overlay {
    root: Option<Child>,
    /// Levels of nodes, 1 to 4.
    levels: u32,
    /// Leaf entries that are not absent.
    populated: u64,
    /// The segment, as the owner of its pages' frames.
    number: SegmentNumber,
}

/// Tells the owners' table of a page whose word changes from `old` to `new`.
#[inline]
fn pass_on<M: Memory>(m: &mut M, owner: Owner, old: u64, new: u64) {
    let (old, new) = (
        PageState::decode(old).frame(),
        PageState::decode(new).frame(),
    );
    if old == new {
        return;
    }
    if let Some(frame) = old {
        m.disown(frame, owner);
    }
    if let Some(frame) = new {
        m.own(frame, owner);
    }
}

/// Index of `page` in a node whose entries span `1 << shift` pages.
#[inline]
const fn index(page: u64, shift: u32) -> usize {
    (page >> shift) as usize & (FAN - 1)
}

impl Overlay {
    /// An empty one for a segment of `pages` pages.
    pub const fn new(pages: u64) -> Overlay {
        let mut levels = 1;
        while levels < LEVELS_MAX && pages > 1 << (levels * FAN_BITS) {
            levels += 1;
        }
        Overlay {
            root: None,
            levels,
            populated: 0,
            number: SegmentNumber::new(0),
        }
    }

    /// The number by which the segment owns frames.
    pub const fn number(&self) -> SegmentNumber {
        self.number
    }

    /// Sets that number, while no page has a frame.
    pub fn set_number(&mut self, number: SegmentNumber) {
        debug_assert!(self.populated == 0, "frames have an owner already");
        self.number = number;
    }

    /// Pages that are not absent.
    pub const fn populated(&self) -> u64 {
        self.populated
    }

    const fn top_shift(&self) -> u32 {
        (self.levels - 1) * FAN_BITS
    }

    /// The state of a page.
    #[inline]
    pub fn get<M: Memory>(&self, m: &M, page: u64) -> PageState {
        let Some(root) = self.root else {
            return PageState::Absent;
        };
        let (mut node, mut shift) = (root.node, self.top_shift());
        while shift > 0 {
            match Child::decode(m.entry(node, index(page, shift))) {
                Some(child) => node = child.node,
                None => return PageState::Absent,
            }
            shift -= FAN_BITS;
        }
        PageState::decode(m.entry(node, index(page, 0)))
    }

    /// Sets the state of a page. Fails only where an absent page becomes
    /// something else, and then nothing has changed.
    #[inline]
    pub fn set<M: Memory>(
        &mut self,
        m: &mut M,
        page: u64,
        state: PageState,
    ) -> Result<(), NoMemory> {
        let word = state.encode();
        if word != 0 && self.set_in_leaf(m, page, word) {
            return Ok(());
        }
        let shift = self.top_shift();
        let (root, change) = set_below(m, self.root, shift, (self.number, page), word)?;
        self.root = root;
        self.populated = self.populated.wrapping_add_signed(change);
        Ok(())
    }

    /// Sets a word that is not 0, if the page's leaf exists. Every fault calls
    /// this.
    #[inline]
    fn set_in_leaf<M: Memory>(&mut self, m: &mut M, page: u64, word: u64) -> bool {
        let Some(root) = &mut self.root else {
            return false;
        };
        let (mut child, mut above, mut shift) = (*root, None, (self.levels - 1) * FAN_BITS);
        while shift > 0 {
            let at = index(page, shift);
            let Some(below) = Child::decode(m.entry(child.node, at)) else {
                return false;
            };
            above = Some((child.node, at));
            child = below;
            shift -= FAN_BITS;
        }
        let at = index(page, 0);
        let old = m.entry(child.node, at);
        if old == 0 {
            child.used += 1;
            self.populated += 1;
            match above {
                Some((node, at)) => m.set_entry(node, at, child.encode()),
                None => *root = child,
            }
        }
        m.set_entry(child.node, at, word);
        pass_on(m, Owner::new(self.number, page), old, word);
        true
    }

    /// Calls `f` for each page in `range` that is not absent, ascending, until
    /// it breaks.
    pub fn scan<M: Memory, B>(
        &self,
        m: &M,
        range: Range<u64>,
        mut f: impl FnMut(&M, u64, PageState) -> ControlFlow<B>,
    ) -> Option<B> {
        let root = self.root?;
        match scan_below(m, root.node, self.top_shift(), 0, &range, &mut f) {
            ControlFlow::Break(found) => Some(found),
            ControlFlow::Continue(()) => None,
        }
    }

    /// The first page in `range` that is not absent.
    pub fn next<M: Memory>(&self, m: &M, range: Range<u64>) -> Option<(u64, PageState)> {
        self.scan(m, range, |_, page, state| ControlFlow::Break((page, state)))
    }

    /// Gives each page in `range` that is not absent the state `f` says.
    /// Cannot fail; nodes that become empty are given back.
    pub fn update<M: Memory>(
        &mut self,
        m: &mut M,
        range: Range<u64>,
        mut f: impl FnMut(&mut M, u64, PageState) -> PageState,
    ) {
        let Some(root) = self.root else { return };
        let (shift, number) = (self.top_shift(), self.number);
        let mut f = |m: &mut M, page, old| {
            let new = f(m, page, PageState::decode(old)).encode();
            pass_on(m, Owner::new(number, page), old, new);
            new
        };
        let (root, removed) = update_below(m, root, shift, 0, &range, &mut f);
        self.root = root;
        self.populated -= removed;
    }

    /// Where the part of `range` ends that is one step's work: few pages that
    /// are not absent, and few nodes to look for them in.
    pub fn step<M: Memory>(&self, m: &M, range: Range<u64>) -> u64 {
        self.within(m, range, STEP)
    }

    /// The same for a step that only looks at pages.
    pub fn look<M: Memory>(&self, m: &M, range: Range<u64>) -> u64 {
        self.within(m, range, LOOK)
    }

    fn within<M: Memory>(&self, m: &M, range: Range<u64>, mut left: Step) -> u64 {
        let Some(root) = self.root else {
            return range.end;
        };
        match step_below(m, root.node, self.top_shift(), 0, &range, &mut left) {
            ControlFlow::Break(page) => page.clamp(range.start, range.end),
            ControlFlow::Continue(()) => range.end,
        }
    }

    /// Gives `copy` the pages in `range` that are not absent, their states
    /// changed by `f`. On failure it has some of them.
    pub fn copy_to<M: Memory>(
        &mut self,
        m: &mut M,
        range: Range<u64>,
        copy: &mut Overlay,
        mut f: impl FnMut(&mut M, PageState) -> PageState,
        mut undo: impl FnMut(&mut M, PageState),
    ) -> Result<(), NoMemory> {
        let mut result = Ok(());
        self.update(m, range, |m, page, state| {
            if result.is_ok() {
                let copied = f(m, state);
                result = copy.set(m, page, copied);
                if result.is_err() {
                    undo(m, copied);
                }
            }
            state
        });
        result
    }
}

/// The work that may be done before other processes must have a chance to run:
/// some hundred thousand instructions at most.
struct Step {
    pages: u32,
    nodes: u32,
}

/// A page that changes hands costs some hundred instructions, and looking
/// through a node as many as some tens of pages. Nodes count too: without that
/// limit, a few pages spread over a large range would be one very long step.
const STEP: Step = Step {
    pages: 1024,
    nodes: 32,
};
/// A look at a page costs some ten.
const LOOK: Step = Step {
    pages: 32 * 1024,
    nodes: 128,
};

/// Breaks with the first page that is beyond the step.
fn step_below<M: Memory>(
    m: &M,
    node: Frame,
    shift: u32,
    base: u64,
    range: &Range<u64>,
    left: &mut Step,
) -> ControlFlow<u64> {
    for at in indices(base, shift, range) {
        let word = m.entry(node, at);
        if word == 0 {
            continue;
        }
        let page = base + ((at as u64) << shift);
        let unit = if shift == 0 {
            &mut left.pages
        } else {
            &mut left.nodes
        };
        *unit = match unit.checked_sub(1) {
            Some(fewer) => fewer,
            None => return ControlFlow::Break(page),
        };
        if let Some(child) = Child::decode(word).filter(|_| shift > 0) {
            step_below(m, child.node, shift - FAN_BITS, page, range, left)?;
        }
    }
    ControlFlow::Continue(())
}

/// Sets a page's word under `child`; the child as it then is, and by how much
/// the number of populated pages changed. New nodes enter their parent on the way
/// back only, so that a failed allocation below leaves the tree as it was.
fn set_below<M: Memory>(
    m: &mut M,
    child: Option<Child>,
    shift: u32,
    (number, page): (SegmentNumber, u64),
    word: u64,
) -> Result<(Option<Child>, i64), NoMemory> {
    let mut node = match child {
        Some(child) => child,
        None if word == 0 => return Ok((None, 0)),
        None => Child {
            node: m.alloc_node().ok_or(NoMemory)?,
            used: 0,
        },
    };
    let at = index(page, shift);
    let old = m.entry(node.node, at);
    let (new, change) = if shift == 0 {
        pass_on(m, Owner::new(number, page), old, word);
        (word, i64::from(word != 0) - i64::from(old != 0))
    } else {
        let below = Child::decode(old);
        match set_below(m, below, shift - FAN_BITS, (number, page), word) {
            Ok((below, change)) => (below.map_or(0, Child::encode), change),
            Err(error) => {
                if child.is_none() {
                    m.free_node(node.node);
                }
                return Err(error);
            }
        }
    };
    if new != old {
        m.set_entry(node.node, at, new);
    }
    node.used = node.used + u32::from(new != 0) - u32::from(old != 0);
    Ok((keep(m, node), change))
}

/// Gives the node back if it is empty: an overlay never keeps memory for pages that
/// sleep again.
fn keep<M: Memory>(m: &mut M, child: Child) -> Option<Child> {
    if child.used == 0 {
        m.free_node(child.node);
        return None;
    }
    Some(child)
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

fn scan_below<M: Memory, B>(
    m: &M,
    node: Frame,
    shift: u32,
    base: u64,
    range: &Range<u64>,
    f: &mut impl FnMut(&M, u64, PageState) -> ControlFlow<B>,
) -> ControlFlow<B> {
    for at in indices(base, shift, range) {
        let word = m.entry(node, at);
        if word == 0 {
            continue;
        }
        let page = base + ((at as u64) << shift);
        if shift == 0 {
            f(m, page, PageState::decode(word))?;
        } else if let Some(child) = Child::decode(word) {
            scan_below(m, child.node, shift - FAN_BITS, page, range, f)?;
        }
    }
    ControlFlow::Continue(())
}

fn update_below<M: Memory>(
    m: &mut M,
    mut child: Child,
    shift: u32,
    base: u64,
    range: &Range<u64>,
    f: &mut impl FnMut(&mut M, u64, u64) -> u64,
) -> (Option<Child>, u64) {
    let mut removed = 0;
    for at in indices(base, shift, range) {
        let old = m.entry(child.node, at);
        if old == 0 {
            continue;
        }
        let page = base + ((at as u64) << shift);
        let new = if shift == 0 {
            let word = f(m, page, old);
            removed += u64::from(word == 0);
            word
        } else {
            let below = Child::decode(old).and_then(|below| {
                let (kept, gone) = update_below(m, below, shift - FAN_BITS, page, range, f);
                removed += gone;
                kept
            });
            below.map_or(0, Child::encode)
        };
        if new != old {
            m.set_entry(child.node, at, new);
            child.used -= u32::from(new == 0);
        }
    }
    (keep(m, child), removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestMemory;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    #[test]
    fn the_tree_equals_a_map_and_gives_everything_back() {
        for pages in [1, 512, 513, 1 << 20, 1 << 30] {
            let mut m = TestMemory::default();
            let (mut overlay, mut model) = (Overlay::new(pages), BTreeMap::new());
            overlay.set_number(SegmentNumber::new(5));
            let mut seed = pages;
            let mut random = |below: u64| {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
                (seed >> 33) % below
            };
            for turn in 0..2000 {
                let page = random(pages);
                match random(5) {
                    0 => {
                        overlay.set(&mut m, page, PageState::Absent).unwrap();
                        model.remove(&page);
                    }
                    1 => {
                        let range = page..(page + random(2000)).min(pages);
                        overlay.update(&mut m, range.clone(), |_, _, _| PageState::Absent);
                        model.retain(|page, _| !range.contains(page));
                    }
                    _ => {
                        let state = PageState::Dirty(Frame(turn));
                        overlay.set(&mut m, page, state).unwrap();
                        model.insert(page, state);
                    }
                }
                assert_eq!(overlay.populated(), model.len() as u64);
                assert_eq!(m.owners.len(), model.len());
                let from = random(pages);
                let next = model
                    .range(from..)
                    .next()
                    .map(|(page, state)| (*page, *state));
                assert_eq!(overlay.next(&m, from..pages), next);
            }
            let mut all = Vec::new();
            overlay.scan::<_, ()>(&m, 0..pages, |_, page, state| {
                all.push((page, state));
                ControlFlow::Continue(())
            });
            assert!(all.into_iter().eq(model.clone()));
            for (page, state) in model {
                let frame = state.frame().unwrap();
                let owner = Owner::new(SegmentNumber::new(5), page);
                assert!(m.owners.contains(&(frame, owner)));
            }
            overlay.update(&mut m, 0..u64::MAX, |_, _, _| PageState::Absent);
            assert_eq!((m.nodes_in_use(), m.owners.len()), (0, 0));
        }
    }

    #[test]
    fn without_memory_nothing_changes() {
        let mut m = TestMemory::default();
        let mut overlay = Overlay::new(1 << 20);
        for nodes in 0..3 {
            m.fail_after = Some(nodes);
            assert_eq!(
                overlay.set(&mut m, 77, PageState::Resident(Frame(1))),
                Err(NoMemory)
            );
            assert_eq!((m.nodes_in_use(), overlay.populated()), (0, 0));
        }
        m.fail_after = None;
        overlay
            .set(&mut m, 77, PageState::Resident(Frame(1)))
            .unwrap();
        m.fail_after = Some(1);
        let mut copy = Overlay::new(1 << 20);
        copy.set_number(SegmentNumber::new(1));
        let copied = overlay.copy_to(&mut m, 0..100, &mut copy, |_, state| state, |_, _| ());
        assert_eq!(copied, Err(NoMemory));
        assert_eq!((m.nodes_in_use(), copy.populated()), (3, 0));
    }

    #[test]
    fn steps_reach_the_end_with_little_work_each() {
        for (pages, stride) in [(5000u64, 1), (300, 512), (300, 1 << 18), (3000, 3)] {
            let mut m = TestMemory::default();
            let all = pages * stride;
            let mut overlay = Overlay::new(all);
            for page in 0..pages {
                let state = PageState::Dirty(Frame(page as u32));
                overlay
                    .set(&mut m, page * stride + stride - 1, state)
                    .unwrap();
            }
            let mut copy = Overlay::new(all);
            copy.set_number(SegmentNumber::new(1));
            let (mut at, mut steps) = (3, 0);
            while at < all {
                let end = overlay.step(&m, at..all);
                assert!(end > at, "no progress");
                let before = copy.populated();
                overlay
                    .copy_to(&mut m, at..end, &mut copy, |_, state| state, |_, _| ())
                    .unwrap();
                assert!(copy.populated() - before <= u64::from(STEP.pages));
                (at, steps) = (end, steps + 1);
            }
            let outside = u64::from(stride <= 3) * 3 / stride;
            assert_eq!(copy.populated(), pages - outside);
            let nodes = pages.div_ceil(512 / stride.min(512)) * 2;
            let most = pages / u64::from(STEP.pages) + nodes / u64::from(STEP.nodes) + 2;
            assert!(steps <= most, "{steps} steps of {most}");
        }
    }
}
