//! The sparse table of the pages that have a state other than asleep: a radix
//! tree of 512-way nodes, each in one frame from [`Memory::alloc_node`].
//!
//! An entry of a leaf is a page's [`PageState`]. An entry of an inner node is a
//! child: its frame, and for each sixteenth of the child two marks, whether it has
//! pages that are present, and pages that are the segment's own. So an empty
//! node is freed at once, and walks skip what they do not look for: the cost of a
//! walk follows the pages that it is about.
//!
//! A tree in frames instead of a map on the heap, for three reasons: a look-up on
//! the fault path is one load per level and never searches; a segment of many
//! terabytes takes memory for its present pages only; and every allocation is one
//! frame, so that it can be charged to the process and cannot fail halfway through
//! the growth of a table. Nodes are recursive, but the depth is at most four.

mod node;
#[cfg(test)]
mod tests;
mod walk;

use core::cell::Cell;
use core::ops::Range;

use crate::ahead::Near;
use crate::{Frame, Memory, NoMemory, Owner, PageState, SegmentNumber};

pub(crate) use node::Pages;
use node::{Child, FAN, FAN_BITS};
use walk::{Step, Walk};

/// Four levels address 2^36 pages, more than a process has.
const LEVELS_MAX: u32 = 4;

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
    /// The leaf that was found last, as it is now.
    last: Cell<Leaf>,
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
            last: Cell::new(Leaf::NONE),
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
    #[inline]
    pub const fn populated(&self) -> u64 {
        self.populated
    }

    #[inline]
    const fn top_shift(&self) -> u32 {
        (self.levels - 1) * FAN_BITS
    }

    /// The state of a page.
    #[inline]
    pub fn get<M: Memory>(&self, m: &M, page: u64) -> PageState {
        self.find(m, page).state()
    }

    /// The entry of a page, for a look at it and the change that follows.
    #[inline]
    pub fn find<M: Memory>(&self, m: &M, page: u64) -> Entry {
        let leaf = self.leaf(m, page);
        let word = leaf.map_or(0, |leaf| m.entry(leaf.child.node, index(page, 0)));
        Entry { leaf, word }
    }

    /// The leaf that has the page. Neighbouring look-ups find the same one.
    #[inline]
    fn leaf<M: Memory>(&self, m: &M, page: u64) -> Option<Leaf> {
        let last = self.last.get();
        match last.number == page >> FAN_BITS {
            true => Some(last),
            false => self.walk_to_leaf(m, page),
        }
    }

    fn walk_to_leaf<M: Memory>(&self, m: &M, page: u64) -> Option<Leaf> {
        let mut leaf = Leaf {
            number: page >> FAN_BITS,
            child: self.root?,
            above: Frame(0),
        };
        let mut shift = self.top_shift();
        while shift > 0 {
            leaf.above = leaf.child.node;
            leaf.child = Child::decode(m.entry(leaf.above, index(page, shift)))?;
            shift -= FAN_BITS;
        }
        self.last.set(leaf);
        Some(leaf)
    }

    /// What is present around a page.
    pub fn near<M: Memory>(&self, m: &M, page: u64) -> Near {
        let none = Near {
            blocks: 0,
            block: 0,
        };
        let leaf = self.leaf(m, page);
        leaf.map_or(none, |leaf| leaf.child.near(m, index(page, 0)))
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
        let entry = self.find(m, page);
        self.set_found(m, page, entry, state)
    }

    /// The same for a page whose entry was found, with no change of the overlay in
    /// between. Every fault calls this.
    #[inline]
    pub fn set_found<M: Memory>(
        &mut self,
        m: &mut M,
        page: u64,
        entry: Entry,
        state: PageState,
    ) -> Result<(), NoMemory> {
        let (word, at) = (state.encode(), index(page, 0));
        let Some(mut leaf) = entry.leaf.filter(|_| word != 0) else {
            return self.set_from_root(m, page, word);
        };
        let old = entry.word;
        // Marks further up stay as they are if the leaf has own pages before and after.
        let quick = match state.is_own() {
            true => leaf.child.has_own(),
            false => !PageState::decode(old).is_own(),
        };
        if !quick {
            return self.set_from_root(m, page, word);
        }
        m.set_entry(leaf.child.node, at, word);
        pass_on(m, Owner::new(self.number, page), old, word);
        self.populated += u64::from(old == 0);
        if leaf.child.gain(at, word) {
            self.put(m, page, leaf);
        }
        Ok(())
    }

    /// Returns true if the page's leaf was found last and has pages of the segment's own:
    /// then one more changes no marks further up.
    #[inline(always)]
    pub fn is_beside_own(&self, page: u64) -> bool {
        let last = self.last.get();
        last.number == page >> FAN_BITS && last.child.has_own()
    }

    /// Returns true if a page in the leaf that was found last is absent.
    #[inline(always)]
    pub fn is_absent<M: Memory>(&self, m: &M, page: u64) -> bool {
        m.entry(self.last.get().child.node, index(page, 0)) == 0
    }

    /// The page, as the owner of a frame.
    #[inline(always)]
    pub const fn owner(&self, page: u64) -> Owner {
        Owner::new(self.number, page)
    }

    /// An absent page beside own ones is the segment's own from now on, with a frame that
    /// it owns already.
    #[inline(always)]
    pub fn begin_own<M: Memory>(&mut self, m: &mut M, page: u64, frame: Frame) {
        self.make_own(m, page, frame);
        self.populated += 1;
    }

    /// A page beside own ones is the segment's own from now on, with that frame.
    #[inline(always)]
    pub fn make_own<M: Memory>(&mut self, m: &mut M, page: u64, frame: Frame) {
        let (child, at) = (self.last.get().child, index(page, 0));
        m.set_entry(child.node, at, PageState::Dirty(frame).encode());
        if !child.is_marked_own(at) {
            self.mark_own(m, page);
        }
    }

    /// The leaf that was found last has got such a page where it had none.
    #[cold]
    fn mark_own<M: Memory>(&mut self, m: &mut M, page: u64) {
        let mut leaf = self.last.get();
        leaf.child.gain_own(index(page, 0));
        self.put(m, page, leaf);
    }

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
        let Some(mut leaf) = self.leaf(m, first) else {
            debug_assert!(false, "no leaf");
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
            let (word, at) = (PageState::Resident(frame).encode(), index(page, 0));
            m.set_entry(leaf.child.node, at, word);
            m.own(frame, Owner::new(self.number, page));
            self.populated += 1;
            leaf.child.gain(at, word);
        }
        self.put(m, first, leaf);
    }

    /// The leaf of `page` has other marks.
    fn put<M: Memory>(&mut self, m: &mut M, page: u64, leaf: Leaf) {
        self.last.set(leaf);
        match self.levels {
            1 => self.root = Some(leaf.child),
            _ => m.set_entry(leaf.above, index(page, FAN_BITS), leaf.child.encode()),
        }
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
        let (word, mut count) = (state.encode(), 0);
        let mut pages = pages.peekable();
        let Some(first) = pages.peek().copied() else {
            return 0;
        };
        let Some(mut leaf) = self.leaf(m, first) else {
            return 0;
        };
        for page in pages {
            let at = index(page, 0);
            if m.entry(leaf.child.node, at) != 0 || !f(m, page) {
                break;
            }
            m.set_entry(leaf.child.node, at, word);
            leaf.child.gain(at, word);
            count += 1;
        }
        self.populated += count;
        self.put(m, first, leaf);
        count
    }

    /// Gives pages of one leaf that are in the state `from` the state that `f` says, if it
    /// says one. Both are states of clean pages, so that no mark changes.
    pub fn turn<M: Memory>(
        &mut self,
        m: &mut M,
        pages: Range<u64>,
        from: PageState,
        mut f: impl FnMut(u64) -> Option<PageState>,
    ) {
        let Some(leaf) = self.leaf(m, pages.start) else {
            return;
        };
        let old = from.encode();
        debug_assert!(old != 0 && !from.is_own(), "marks stay as they are");
        for page in pages {
            let at = index(page, 0);
            if m.entry(leaf.child.node, at) != old {
                continue;
            }
            if let Some(state) = f(page) {
                debug_assert!(!state.is_own(), "marks stay as they are");
                let new = state.encode();
                m.set_entry(leaf.child.node, at, new);
                pass_on(m, Owner::new(self.number, page), old, new);
            }
        }
    }

    /// The pages that share the leaf of a page.
    pub const fn leaf_of(page: u64) -> Range<u64> {
        let first = page >> FAN_BITS << FAN_BITS;
        first..first + FAN as u64
    }

    /// Sets the state of a page, and whatever that needs on the way from the root.
    #[cold]
    fn set_from_root<M: Memory>(
        &mut self,
        m: &mut M,
        page: u64,
        word: u64,
    ) -> Result<(), NoMemory> {
        self.last.set(Leaf::NONE);
        let shift = self.top_shift();
        let (root, change) = set_below(m, self.root, shift, (self.number, page), word)?;
        self.root = root;
        self.populated = self.populated.wrapping_add_signed(change);
        Ok(())
    }

    /// The first page in `range` that is one of `pages`. The cost does not follow
    /// the number of other pages.
    pub fn next<M: Memory>(
        &self,
        m: &M,
        pages: Pages,
        range: Range<u64>,
    ) -> Option<(u64, PageState)> {
        walk::next_below(m, pages, self.root?, self.top_shift(), 0, &range)
    }

    /// Gives each page in `range` that is one of `pages` the state `f` says, as many
    /// as one step permits; where that ended. Cannot fail; nodes that become
    /// empty are given back.
    pub fn update<M: Memory>(
        &mut self,
        m: &mut M,
        pages: Pages,
        range: Range<u64>,
        f: impl FnMut(&mut M, u64, PageState) -> PageState,
    ) -> u64 {
        let Some(root) = self.root else {
            return range.end;
        };
        self.last.set(Leaf::NONE);
        let mut walk = Walk::new(m, (self.number, pages), range.clone(), f);
        self.root = walk.update(root, self.top_shift(), 0);
        self.populated -= walk.removed;
        walk.end(range)
    }

    /// Where the part of `range` ends that is one step's work: few pages that
    /// are not absent, and few nodes to look for them in. [`Overlay::update`] of
    /// all present pages ends there too.
    pub fn step<M: Memory>(&self, m: &M, range: Range<u64>) -> u64 {
        let Some(root) = self.root else {
            return range.end;
        };
        let mut left = Step::ONE;
        let stop = walk::step_below(m, root, self.top_shift(), 0, &range, &mut left);
        stop.map_or(range.end, |page| page.clamp(range.start, range.end))
    }

    /// Gives `copy` the pages in `range` that are not absent, their states
    /// changed by `f`, as many as one step permits. Where that ended, and whether it
    /// has all of them.
    pub fn copy_to<M: Memory>(
        &mut self,
        m: &mut M,
        range: Range<u64>,
        copy: &mut Overlay,
        mut f: impl FnMut(&mut M, PageState) -> PageState,
        mut undo: impl FnMut(&mut M, u64, PageState),
    ) -> (u64, Result<(), NoMemory>) {
        let mut result = Ok(());
        let end = self.update(m, Pages::Present, range, |m, page, state| {
            if result.is_ok() {
                let copied = f(m, state);
                result = copy.set(m, page, copied);
                if result.is_err() {
                    undo(m, page, copied);
                }
            }
            state
        });
        (end, result)
    }
}

/// The entry of a page as it was found: its leaf, if there is one, and its word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    leaf: Option<Leaf>,
    word: u64,
}

impl Entry {
    /// The state of the page.
    #[inline]
    pub const fn state(self) -> PageState {
        PageState::decode(self.word)
    }
}

/// A leaf, and the node that names it, unless it is the root.
#[derive(Clone, Copy, Debug)]
struct Leaf {
    /// The number of its first page, divided by the pages of a leaf.
    number: u64,
    child: Child,
    above: Frame,
}

impl Leaf {
    /// Of no page.
    const NONE: Leaf = Leaf {
        number: u64::MAX,
        child: Child::new(Frame(0)),
        above: Frame(0),
    };
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
        None => Child::new(m.alloc_node().ok_or(NoMemory)?),
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
        node.set(m, shift, at, new);
    }
    Ok((keep(m, node), change))
}

/// Gives the node back if it is empty: an overlay never keeps memory for pages that
/// sleep again.
fn keep<M: Memory>(m: &mut M, child: Child) -> Option<Child> {
    if child.is_empty() {
        m.free_node(child.node);
        return None;
    }
    Some(child)
}
