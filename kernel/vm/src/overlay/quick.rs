//! Stores beside pages of the segment's own, in the leaf that was found last: no mark
//! further up changes by them, and nothing is looked for.

use crate::{Frame, Memory, Owner, PageState};

use super::{Overlay, index};

impl Overlay {
    /// Returns true if the page's leaf was found last and has pages of the segment's own:
    /// then one more changes no marks further up.
    #[inline(always)]
    pub fn is_beside_own(&self, page: u64) -> bool {
        let last = self.last.get();
        last.has(page) && last.child.has_own()
    }

    /// Returns true if a page in the leaf that was found last is absent.
    #[inline(always)]
    pub fn is_absent<M: Memory>(&self, m: &M, page: u64) -> bool {
        m.entry(self.last.get().child.node, index(page, 0)) == 0
    }

    /// A page in the leaf that was found last, as the owner of a frame.
    #[inline(always)]
    pub fn owner(&self, page: u64) -> Owner {
        Owner::page(self.last.get().child.node, index(page, 0))
    }

    /// An absent or clean page beside own ones is the segment's own from now on, with a
    /// frame that it owns already. The caller tells who listens.
    #[inline(always)]
    pub fn make_own<M: Memory>(&mut self, m: &mut M, page: u64, frame: Frame) {
        let (child, at) = (self.last.get().child, index(page, 0));
        m.set_entry(child.node, at, PageState::Dirty(frame).encode());
        if !child.is_marked_own(at) {
            self.mark_own(m, page);
        }
    }

    /// A page of the segment's own beside others has another frame from now on.
    pub fn replace_own<M: Memory>(&mut self, m: &mut M, page: u64, (old, new): (Frame, Frame)) {
        let (leaf, at) = (self.last.get().child.node, index(page, 0));
        let owner = Owner::page(leaf, at);
        m.set_entry(leaf, at, PageState::Dirty(new).encode());
        m.disown(old, owner);
        m.own(new, owner);
    }

    /// The leaf that was found last has got such a page where it had none.
    #[cold]
    fn mark_own<M: Memory>(&mut self, m: &mut M, page: u64) {
        let mut leaf = self.last.get();
        leaf.child.gain_own(index(page, 0));
        self.put(m, page, leaf);
    }
}
