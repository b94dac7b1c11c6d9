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
//!
//! After a fork two overlays share their nodes until one of them changes something
//! below ([`share`]).

mod aside;
mod leaf;
mod node;
mod quick;
mod share;
#[cfg(test)]
mod tests;
mod walk;

use core::cell::Cell;
use core::ops::Range;

use crate::ahead::Near;
use crate::{Frame, Memory, NoMemory, Owner, PageState, SegmentNumber};

pub(crate) use aside::Aside;
pub(crate) use node::Pages;
use node::{Child, FAN, FAN_BITS};
use share::owner_at;
use walk::{Shared, Step, Walk};

/// Four levels address 2^36 pages, more than a process has.
const LEVELS_MAX: u32 = 4;

/// The pages of one segment that have a state of their own.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
pub struct Overlay {
    root: Option<Child>,
    /// Levels of nodes, 1 to 4.
    levels: u32,
    /// The segment, as the owner of the root.
    number: SegmentNumber,
    /// Pages with a ticket, and changes under way ([`Overlay::begin_changes`]).
    busy: u64,
    /// Nodes were shared once.
    forked: bool,
    /// It is a part of a segment that was taken out of it ([`Aside`]).
    aside: bool,
    /// The leaf that was found last, as it is now: private, as all above it.
    last: Cell<Leaf>,
}

/// Tells the owners' table of entry `at` of a leaf, whose word changes from `old` to
/// `new`.
#[inline]
fn pass_on<M: Memory>(m: &mut M, (leaf, at): (Frame, usize), old: u64, new: u64) {
    let owner = Owner::page(leaf, at);
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
            number: SegmentNumber::new(0),
            busy: 0,
            forked: false,
            aside: false,
            last: Cell::new(Leaf::NONE),
        }
    }

    /// The number by which the segment owns frames.
    pub const fn number(&self) -> SegmentNumber {
        self.number
    }

    /// Sets that number, while there are no nodes.
    pub fn set_number(&mut self, number: SegmentNumber) {
        debug_assert!(self.root.is_none(), "the root has an owner already");
        self.number = number;
    }

    /// Pages that are not absent.
    #[cfg(test)]
    pub fn populated<M: Memory>(&self, m: &M) -> u64 {
        let (mut count, mut from) = (0, 0);
        while let Some((page, _)) = self.next(m, Pages::Present, from..u64::MAX) {
            (count, from) = (count + 1, page + 1);
        }
        count
    }

    /// Returns true if all pages are absent.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.root.is_none()
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
        let leaf = leaf.filter(|leaf| !leaf.shared);
        Entry { leaf, word }
    }

    /// The leaf that has the page. Neighbouring look-ups find the same one.
    #[inline]
    fn leaf<M: Memory>(&self, m: &M, page: u64) -> Option<Leaf> {
        let last = self.last.get();
        match last.has(page) {
            true => Some(last),
            false => self.walk_to_leaf(m, page),
        }
    }

    /// The same if it may be changed.
    #[inline]
    fn private_leaf<M: Memory>(&self, m: &M, page: u64) -> Option<Leaf> {
        self.leaf(m, page).filter(|leaf| !leaf.shared)
    }

    fn walk_to_leaf<M: Memory>(&self, m: &M, page: u64) -> Option<Leaf> {
        let root = self.root?;
        let mut leaf = Leaf {
            number: page >> FAN_BITS,
            child: root,
            above: Frame(0),
            shared: m.is_shared_node(root.node),
        };
        let mut shift = self.top_shift();
        while shift > 0 {
            leaf.above = leaf.child.node;
            leaf.child = Child::decode(m.entry(leaf.above, index(page, shift)))?;
            leaf.shared |= m.is_shared_node(leaf.child.node);
            shift -= FAN_BITS;
        }
        if !leaf.shared {
            self.last.set(leaf);
        }
        Some(leaf)
    }

    /// The page, as the owner of a frame, if it has a leaf.
    pub fn owner_of<M: Memory>(&self, m: &M, page: u64) -> Option<Owner> {
        let leaf = self.leaf(m, page)?;
        Some(Owner::page(leaf.child.node, index(page, 0)))
    }

    /// Returns true if another overlay has the page's leaf too.
    pub fn is_shared<M: Memory>(&self, m: &M, page: u64) -> bool {
        self.leaf(m, page).is_some_and(|leaf| leaf.shared)
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
        pass_on(m, (leaf.child.node, at), old, word);
        m.enters(self.number, page, state);
        self.count_tickets(old, word);
        if leaf.child.gain(at, word) {
            self.put(m, page, leaf);
        }
        Ok(())
    }

    /// A page's word changes from `old` to `new`.
    #[inline(always)]
    const fn count_tickets(&mut self, old: u64, new: u64) {
        self.busy += PageState::has_ticket(new) as u64;
        self.busy -= PageState::has_ticket(old) as u64;
    }

    /// The leaf of `page` has other marks.
    fn put<M: Memory>(&mut self, m: &mut M, page: u64, leaf: Leaf) {
        self.last.set(leaf);
        match self.levels {
            1 => self.root = Some(leaf.child),
            _ => m.set_entry(leaf.above, index(page, FAN_BITS), leaf.child.encode()),
        }
    }

    /// Sets the state of a page, and whatever that needs on the way from the root.
    #[cold]
    fn set_from_root<M: Memory>(
        &mut self,
        m: &mut M,
        page: u64,
        word: u64,
    ) -> Result<(), NoMemory> {
        let old = self.find(m, page).word;
        if old == word {
            return Ok(());
        }
        self.open_page(m, page)?;
        self.last.set(Leaf::NONE);
        let owner = Owner::segment(self.number);
        self.root = set_below(m, self.root, self.top_shift(), (owner, page), word)?;
        m.enters(self.number, page, PageState::decode(word));
        self.count_tickets(old, word);
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
    /// empty are given back. Pages of shared nodes are left out: none of them has a
    /// ticket.
    pub fn update<M: Memory>(
        &mut self,
        m: &mut M,
        pages: Pages,
        range: Range<u64>,
        f: impl FnMut(&mut M, u64, PageState) -> PageState,
    ) -> u64 {
        self.walk(m, (pages, Shared::Stay), range, f).0
    }

    /// Makes all pages in `range` absent, as many as one step permits; where that ended.
    /// `f` gives back what a page has; the pages of a shared node go with it. Cannot fail
    /// after [`Overlay::open`], without which pages of shared nodes may stay.
    pub fn clear<M: Memory>(
        &mut self,
        m: &mut M,
        range: Range<u64>,
        f: impl FnMut(&mut M, u64, PageState),
    ) -> u64 {
        self.clear_with(m, range, Shared::Gone, f).0
    }

    /// The same, for a segment that counts its pages: ends behind the first shared node,
    /// which is the caller's then.
    pub fn clear_counted<M: Memory>(
        &mut self,
        m: &mut M,
        range: Range<u64>,
        f: impl FnMut(&mut M, u64, PageState),
    ) -> (u64, Option<Aside>) {
        self.clear_with(m, range, Shared::Taken, f)
    }

    fn clear_with<M: Memory>(
        &mut self,
        m: &mut M,
        range: Range<u64>,
        shared: Shared,
        mut f: impl FnMut(&mut M, u64, PageState),
    ) -> (u64, Option<Aside>) {
        self.walk(m, (Pages::Present, shared), range, |m, page, state| {
            f(m, page, state);
            PageState::Absent
        })
    }

    fn walk<M: Memory>(
        &mut self,
        m: &mut M,
        (pages, shared): (Pages, Shared),
        range: Range<u64>,
        f: impl FnMut(&mut M, u64, PageState) -> PageState,
    ) -> (u64, Option<Aside>) {
        let Some(root) = self.root else {
            return (range.end, None);
        };
        self.last.set(Leaf::NONE);
        let mut walk = Walk::new(m, self.number, (pages, shared), range.clone(), f);
        walk.told = !self.aside;
        self.root = walk.update(root, self.top_shift(), 0, Owner::segment(self.number));
        self.busy = self.busy.wrapping_add_signed(walk.tickets);
        (walk.end(range), walk.aside)
    }

    /// Where the part of `range` ends that is one step's work: few pages that
    /// are not absent, and few nodes to look for them in.
    pub fn step<M: Memory>(&self, m: &M, range: Range<u64>) -> u64 {
        self.step_in(m, range, Shared::Stay)
    }

    /// The same for [`Overlay::clear`], or for [`Overlay::clear_counted`].
    pub fn step_to_clear<M: Memory>(&self, m: &M, range: Range<u64>, counted: bool) -> u64 {
        let shared = match counted {
            true => Shared::Taken,
            false => Shared::Gone,
        };
        self.step_in(m, range, shared)
    }

    /// Returns true if there are so few leaves that all pages are one step.
    fn is_one_step<M: Memory>(&self, m: &M, root: Child) -> bool {
        const LEAVES: usize = walk::Step::ONE.pages as usize / FAN;
        let leaf = |entries: &mut Range<usize>| {
            let (at, _) = root.next(m, FAN_BITS, Pages::Present, entries.clone())?;
            entries.start = at + 1;
            Some(())
        };
        let entries = || root.groups(Pages::Present, 0..FAN);
        let each = entries().flat_map(|mut group| core::iter::from_fn(move || leaf(&mut group)));
        self.levels == 1 || self.levels == 2 && each.take(LEAVES + 1).count() <= LEAVES
    }

    fn step_in<M: Memory>(&self, m: &M, range: Range<u64>, shared: Shared) -> u64 {
        let looked_into = |root: &Child| shared == Shared::Stay || !m.is_shared_node(root.node);
        let Some(root) = self.root.filter(looked_into) else {
            return range.end;
        };
        if self.is_one_step(m, root) {
            return range.end;
        }
        let (mut left, shift) = (Step::ONE, self.top_shift());
        let stop = walk::step_below(m, (root, shift, 0), &range, &mut left, shared);
        stop.map_or(range.end, |page| page.clamp(range.start, range.end))
    }

    /// Gives `copy` the pages in `range` that are not absent, their states
    /// changed by `f`, as many as one step permits. Where that ended, and whether it
    /// has all of them.
    pub fn copy_to<M: Memory>(
        &self,
        m: &mut M,
        range: Range<u64>,
        copy: &mut Overlay,
        mut f: impl FnMut(&mut M, PageState) -> PageState,
        mut undo: impl FnMut(&mut M, u64, PageState),
    ) -> (u64, Result<(), NoMemory>) {
        let mut result = Ok(());
        let end = self.step(m, range.clone());
        self.visit(m, Pages::Present, range.start..end, |m, page, state| {
            let copied = f(m, state);
            result = copy.set(m, page, copied);
            if result.is_err() {
                undo(m, page, copied);
            }
            result.is_ok()
        });
        (end, result)
    }
}

/// The entry of a page as it was found: its leaf, if there is one that may be changed,
/// and its word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    leaf: Option<Leaf>,
    word: u64,
}

impl Entry {
    /// Returns true if the page has a leaf that may be changed.
    #[inline]
    pub const fn is_private(self) -> bool {
        self.leaf.is_some()
    }

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
    /// Another overlay has it too, or a node above it.
    shared: bool,
}

impl Leaf {
    /// Of no page.
    const NONE: Leaf = Leaf {
        number: u64::MAX,
        child: Child::new(Frame(0)),
        above: Frame(0),
        shared: true,
    };

    #[inline(always)]
    const fn has(&self, page: u64) -> bool {
        self.number == page >> FAN_BITS
    }
}

/// Sets a page's word under `child`, which `owner` has, and is private; the child as it
/// then is. New nodes enter their parent on the way back only, so that a failed
/// allocation below leaves the tree as it was.
fn set_below<M: Memory>(
    m: &mut M,
    child: Option<Child>,
    shift: u32,
    (owner, page): (Owner, u64),
    word: u64,
) -> Result<Option<Child>, NoMemory> {
    let mut node = match child {
        Some(child) => child,
        None if word == 0 => return Ok(None),
        None => {
            let node = m.alloc_node().ok_or(NoMemory)?;
            m.own(node, owner);
            Child::new(node)
        }
    };
    let at = index(page, shift);
    let old = m.entry(node.node, at);
    let new = if shift == 0 {
        pass_on(m, (node.node, at), old, word);
        word
    } else {
        let at_below = (owner_at(node.node, shift, at), page);
        match set_below(m, Child::decode(old), shift - FAN_BITS, at_below, word) {
            Ok(below) => below.map_or(0, Child::encode),
            Err(error) => {
                if child.is_none() {
                    share::let_go(m, node.node, owner);
                }
                return Err(error);
            }
        }
    };
    if new != old {
        node.set(m, shift, at, new);
    }
    Ok(keep(m, node, owner))
}

/// Gives the node back if it is empty: an overlay never keeps memory for pages that
/// sleep again.
fn keep<M: Memory>(m: &mut M, child: Child, owner: Owner) -> Option<Child> {
    if child.is_empty() {
        share::let_go(m, child.node, owner);
        return None;
    }
    Some(child)
}
