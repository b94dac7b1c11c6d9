//! A copy of a segment for a new process, and a segment's end.

use abi::Errno;

use crate::{Host, Memory, NoMemory, Segment, Slot, trim};

impl Segment {
    /// A segment with the same content that shares every frame until somebody
    /// stores. The cost follows the pages that have frames.
    ///
    /// A page on its way in stays asleep in the copy; one on its way out is
    /// dirty there: neither ticket is the copy's.
    fn try_clone<M: Memory>(&mut self, m: &mut M) -> Result<Segment, NoMemory> {
        let extents = self.extents.try_clone()?;
        // From here on every store in the original is seen.
        m.protect(0..self.pages());
        let share = |m: &mut M, slot| match slot {
            Slot::Absent | Slot::Filling(_) => Slot::Absent,
            Slot::Resident(frame) => {
                m.retain(frame);
                Slot::Resident(frame)
            }
            Slot::Dirty(frame) | Slot::Sending(frame, _) => {
                m.retain(frame);
                Slot::Dirty(frame)
            }
        };
        let undo = |m: &mut M, slot: Slot| {
            if let Some(frame) = slot.frame() {
                m.release(frame);
            }
        };
        let overlay = self.overlay.try_clone(m, share, undo)?;
        let mut copy = Segment::new(self.pages());
        (copy.extents, copy.overlay) = (extents, overlay);
        Ok(copy)
    }
}

/// A copy of the segment for another address space, with references of its own
/// to frames and snapshots, and nothing mapped.
///
/// # Errors
/// `ENOMEM`; nothing has changed then.
pub fn fork<H: Host>(h: &mut H) -> Result<Segment, Errno> {
    let copy = h.with(|segment, m| segment.try_clone(m))?;
    // Nothing waits between the copy and its references.
    for snap in copy.extents.snapshots() {
        h.retain_snap(snap);
    }
    Ok(copy)
}

/// Gives back all frames, nodes, translations and snapshots. What remains is a
/// segment of zeros.
pub fn destroy<H: Host>(h: &mut H) {
    h.with(|segment, m| {
        segment.drop_pages(m, 0..segment.pages());
        // One extent less for each round, so no memory is needed.
        while let Some(last) = segment.extents.list().last().copied() {
            segment.extents.replace(last.start..last.end, None);
        }
    });
    release_unused(h);
}

/// The end of a verb that may have dropped associations: releases what nothing
/// in the segment refers to any more.
pub(crate) fn release_unused<H: Host>(h: &mut H) {
    while let Some(snap) = h.with(|segment, _| segment.take_unused()) {
        h.release_snap(snap);
    }
    trim::tell(h);
}
