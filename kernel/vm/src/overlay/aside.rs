//! A node that was taken out of an overlay, with all pages below it, while another
//! overlay has it too.
//!
//! The pages are gone from the segment at that moment, and it may take many steps to count
//! which of them were in swap. The node stays as it is meanwhile: whoever else has it must
//! copy it for a change, and if nobody else has it any more, nobody finds it.

use crate::{Memory, Owner, PageState, SegmentNumber};

use super::node::{Child, FAN_BITS, Pages};
use super::{Leaf, Overlay};

/// Pages that are counted in one step.
const PAGES: u32 = 512;

/// Such a node.
pub(crate) struct Aside {
    /// The node as a root.
    overlay: Overlay,
    /// Its first page where it was.
    base: u64,
    /// The pages before this one, from that one on, are counted; `None`: all.
    next: Option<u64>,
}

impl Aside {
    /// A shared node, which `owner` had in the segment of that number. Whoever goes up from
    /// a frame below it to that segment finds another page there, or none.
    pub(super) fn new<M: Memory>(
        m: &mut M,
        (child, shift, base): (Child, u32, u64),
        (owner, number): (Owner, SegmentNumber),
    ) -> Aside {
        m.disown(child.node, owner);
        m.own(child.node, Owner::segment(number));
        let overlay = Overlay {
            root: Some(child),
            levels: shift / FAN_BITS + 1,
            number,
            busy: 0,
            forked: true,
            aside: true,
            last: core::cell::Cell::new(Leaf::NONE),
        };
        Aside {
            overlay,
            base,
            next: Some(0),
        }
    }

    /// The node as a root; for tests.
    #[cfg(test)]
    pub const fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// Lets go of the pages, as many as one step may; `false` if it is over. Calls `f` once
    /// for each page with the segment's own content, without its frame.
    pub fn let_go_some<M: Memory>(
        &mut self,
        m: &mut M,
        mut f: impl FnMut(&mut M, u64, PageState),
    ) -> bool {
        let (base, mut left) = (self.base, PAGES);
        if let Some(from) = self.next.take() {
            let next = &mut self.next;
            self.overlay
                .visit(m, Pages::Own, from..u64::MAX, |m, page, state| {
                    if left == 0 {
                        *next = Some(page);
                        return false;
                    }
                    left -= 1;
                    f(m, base + page, state.without_frame());
                    true
                });
            return true;
        }
        // The frames go with the node, unless nobody else has that any more.
        self.overlay.clear(m, 0..u64::MAX, |m, _, state| {
            state.frame().into_iter().for_each(|frame| m.release(frame));
        });
        !self.overlay.is_empty()
    }
}
