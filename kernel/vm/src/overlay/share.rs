//! Nodes that several overlays share after a fork.
//!
//! A fork shares the root, so its cost does not follow the pages. A node with several
//! references is not changed, and neither is anything below it: the first change below
//! copies the nodes on the way down to it ([`Overlay::open`]), one reference each to
//! what they name. Once only one reference is left, nothing is copied.
//!
//! A page with a ticket belongs to one segment, so no node with such a page is shared
//! ([`Overlay::is_busy`]).

use core::ops::Range;

use crate::{Frame, Memory, NoMemory, Owner, PageState};

use super::node::{Child, FAN, FAN_BITS, Pages};
use super::walk::{indices, page_at};
use super::{Leaf, Overlay, index};

/// One reference to a node less, which `owner` had.
pub(super) fn let_go<M: Memory>(m: &mut M, node: Frame, owner: Owner) {
    m.disown(node, owner);
    m.free_node(node);
}

/// The owner of what entry `at` of a node at that level names.
#[inline]
pub(super) const fn owner_at(node: Frame, shift: u32, at: usize) -> Owner {
    match shift {
        0 => Owner::page(node, at),
        _ => Owner::entry(node, at),
    }
}

/// One reference more to what a word of a node at that level names, for `owner`.
#[inline]
fn refer<M: Memory>(m: &mut M, word: u64, shift: u32, owner: Owner) {
    let named = match shift {
        0 => PageState::decode(word).frame(),
        _ => Child::decode(word).map(|below| below.node),
    };
    let Some(named) = named else {
        return;
    };
    match shift {
        0 => m.retain(named),
        _ => m.share_node(named),
    }
    m.own(named, owner);
}

/// A copy of a shared node, for `owner` in place of that one.
fn copy<M: Memory>(m: &mut M, shared: Child, shift: u32, owner: Owner) -> Result<Child, NoMemory> {
    let node = m.alloc_node().ok_or(NoMemory)?;
    for mut entries in shared.groups(Pages::Present, 0..FAN) {
        while let Some((at, word)) = shared.next(m, shift, Pages::Present, entries.clone()) {
            entries.start = at + 1;
            m.set_entry(node, at, word);
            refer(m, word, shift, owner_at(node, shift, at));
        }
    }
    let_go(m, shared.node, owner);
    m.own(node, owner);
    Ok(shared.at(node))
}

impl Overlay {
    /// Returns true if some page has a ticket, or changes are under way that must not
    /// need memory: the nodes are not to be shared now.
    pub const fn is_busy(&self) -> bool {
        self.busy > 0
    }

    /// Returns true if nodes may be shared: there was a fork.
    pub const fn has_forked(&self) -> bool {
        self.forked
    }

    /// What is open stays so until [`Overlay::end_changes`].
    pub const fn begin_changes(&mut self) {
        self.busy += 1;
    }

    /// The changes are complete.
    pub const fn end_changes(&mut self) {
        self.busy -= 1;
    }

    /// Gives an empty overlay all pages of this one, which is not busy.
    pub fn share<M: Memory>(&mut self, m: &mut M, other: &mut Overlay) {
        debug_assert!(!self.is_busy() && other.root.is_none(), "not to be shared");
        self.last.set(Leaf::NONE);
        if let Some(root) = self.root {
            m.share_node(root.node);
            m.own(root.node, Owner::segment(other.number));
        }
        other.root = self.root;
        (self.forked, other.forked) = (true, true);
    }

    /// Makes the nodes private that `range` covers in part, so that [`Overlay::clear`] of it
    /// needs no memory. A range up to `u64::MAX` has all pages from its start on.
    pub fn open<M: Memory>(&mut self, m: &mut M, range: Range<u64>) -> Result<(), NoMemory> {
        if range.is_empty() {
            return Ok(());
        }
        self.open_at(m, range.start, &range)?;
        match range.end {
            u64::MAX => Ok(()),
            end => self.open_at(m, end - 1, &range),
        }
    }

    /// Makes the leaf of a page private, so that changes of its entries need no memory.
    #[inline]
    pub fn open_page<M: Memory>(&mut self, m: &mut M, page: u64) -> Result<(), NoMemory> {
        match self.last.get().has(page) {
            true => Ok(()),
            false => self.open_at(m, page, &(page..page + 1)),
        }
    }

    /// Makes the nodes on the way to a page private that `range` covers in part. After
    /// each copy the tree is whole.
    fn open_at<M: Memory>(
        &mut self,
        m: &mut M,
        page: u64,
        range: &Range<u64>,
    ) -> Result<(), NoMemory> {
        let (mut shift, mut above) = (self.top_shift(), None);
        let mut next = self.root;
        while let Some(child) = next {
            let base = page >> shift >> FAN_BITS << FAN_BITS << shift;
            let end = base.saturating_add((FAN as u64) << shift);
            if range.start <= base && end <= range.end {
                break;
            }
            let mut node = child.node;
            if m.is_shared_node(node) {
                let owner = match above {
                    Some((above, at)) => Owner::entry(above, at),
                    None => Owner::segment(self.number),
                };
                self.last.set(Leaf::NONE);
                let private = copy(m, child, shift, owner)?;
                node = private.node;
                match above {
                    Some((above, at)) => m.set_entry(above, at, private.encode()),
                    None => self.root = Some(private),
                }
            }
            if shift == 0 {
                break;
            }
            let at = index(page, shift);
            above = Some((node, at));
            next = Child::decode(m.entry(node, at));
            shift -= FAN_BITS;
        }
        Ok(())
    }

    /// Calls `f` for all of `pages` in `range`, in order, as long as it says yes.
    pub fn visit<M: Memory>(
        &self,
        m: &mut M,
        pages: Pages,
        range: Range<u64>,
        mut f: impl FnMut(&mut M, u64, PageState) -> bool,
    ) {
        if let Some(root) = self.root {
            visit_below(m, pages, root, self.top_shift(), 0, &range, &mut f);
        }
    }

    /// Calls `f` for each node, and each page's frame, with the owner that it has here;
    /// for tests.
    pub fn owners<M: Memory>(&self, m: &M, mut f: impl FnMut(Frame, Owner)) {
        if let Some(root) = self.root {
            f(root.node, Owner::segment(self.number));
            owners_below(m, root.node, self.top_shift(), &mut f);
        }
    }
}

/// Visits the pages below a node; `false` if it was enough.
fn visit_below<M: Memory>(
    m: &mut M,
    pages: Pages,
    child: Child,
    shift: u32,
    base: u64,
    range: &Range<u64>,
    f: &mut impl FnMut(&mut M, u64, PageState) -> bool,
) -> bool {
    for mut entries in child.groups(pages, indices(base, shift, range)) {
        while let Some((at, word)) = child.next(m, shift, pages, entries.clone()) {
            entries.start = at + 1;
            let page = page_at(base, at, shift);
            let more = match (shift, Child::decode(word)) {
                (0, _) => f(m, page, PageState::decode(word)),
                (_, Some(below)) => visit_below(m, pages, below, shift - FAN_BITS, page, range, f),
                (_, None) => true,
            };
            if !more {
                return false;
            }
        }
    }
    true
}

fn owners_below<M: Memory>(m: &M, node: Frame, shift: u32, f: &mut impl FnMut(Frame, Owner)) {
    for at in 0..FAN {
        let word = m.entry(node, at);
        let owner = owner_at(node, shift, at);
        match (shift, Child::decode(word)) {
            (0, _) => {
                if let Some(frame) = PageState::decode(word).frame() {
                    f(frame, owner);
                }
            }
            (_, Some(below)) => {
                f(below.node, owner);
                owners_below(m, below.node, shift - FAN_BITS, f);
            }
            (_, None) => {}
        }
    }
}
