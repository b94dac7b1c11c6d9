//! Memory that processes share for good: the content of a `shared` segment.
//!
//! Frames come when they are first touched and stay until the last process
//! that has the segment is gone. Which page is in which frame is kept in
//! frames, two levels of 512 entries, so that sharing needs none of the
//! kernel's heap. All tables read and change it under their own locks; one
//! CPU runs the kernel and nothing here waits, so it needs no lock.
use crate::sched;
use abi::{Errno, PAGE};
use alloc::sync::Arc;
use core::ops::Range;
use hw::heap::new_arc;
use hw::named;
use vm::Frame;

const ENTRIES: u64 = 512;
/// Most pages of one such segment: 1 GiB.
const PAGES_MAX: u64 = ENTRIES * ENTRIES;

/// The frames behind a shared segment.
pub struct Shared {
    /// Frames of tables; 0: none yet.
    top: Frame,
}

impl Shared {
    /// Zeros. `EINVAL`: more than 1 GiB.
    pub fn new(pages: u64) -> Result<Arc<Shared>, Errno> {
        if pages > PAGES_MAX {
            return Err(Errno::EINVAL);
        }
        let top = named::alloc_node().ok_or(Errno::ENOMEM)?;
        Ok(new_arc(Shared { top })?)
    }

    /// The frame of a page, made if need be.
    pub fn frame(&self, page: u64) -> Result<Frame, Errno> {
        let table = entry(self.top, page / ENTRIES, named::alloc_node)?;
        entry(table, page % ENTRIES, named::alloc_shared)
    }
}

/// What an entry of a table names; made by `alloc` if need be.
fn entry(table: Frame, index: u64, alloc: fn() -> Option<Frame>) -> Result<Frame, Errno> {
    if let Some(frame) = existing(table, index) {
        return Ok(frame);
    }
    let frame = alloc().ok_or(Errno::ENOMEM)?;
    named::set_node_entry(table, index as usize, u64::from(frame.0));
    Ok(frame)
}

/// Frame 0 is never handed out: it means none.
fn existing(table: Frame, index: u64) -> Option<Frame> {
    let number = named::node_entry(table, index as usize) as u32;
    (number != 0).then_some(Frame(number))
}

impl Shared {
    /// Zeroes the existing frames of `pages`, as many as one step permits;
    /// returns where it stopped. Absent pages read as zeros without a frame.
    pub fn zero_some(&self, pages: Range<u64>) -> u64 {
        let (mut page, mut left) = (pages.start, STEP_ZEROED);
        while page < pages.end && left > 0 {
            let Some(table) = existing(self.top, page / ENTRIES) else {
                page = (page / ENTRIES + 1) * ENTRIES;
                continue;
            };
            if let Some(frame) = existing(table, page % ENTRIES) {
                named::zero_range(frame, 0, PAGE as usize);
                left -= 1;
            }
            page += 1;
        }
        page.min(pages.end)
    }

    /// Gives back the frames of one table, and the table.
    fn release_table(&self, index: u64) {
        let Some(table) = existing(self.top, index) else {
            return;
        };
        for index in 0..ENTRIES {
            if let Some(frame) = existing(table, index) {
                named::release(frame);
                named::set_node_entry(table, index as usize, 0);
            }
        }
        named::set_node_entry(self.top, index as usize, 0);
        named::free_node(table);
    }

    /// Lets go of it; the last one gives all frames back, with others running
    /// in between.
    pub fn let_go(self: Arc<Self>) {
        let Some(last) = Arc::into_inner(self) else {
            return;
        };
        for index in 0..ENTRIES {
            last.release_table(index);
            sched::breathe();
        }
    }
}

/// Pages zeroed in one step.
const STEP_ZEROED: u32 = 256;
impl Drop for Shared {
    fn drop(&mut self) {
        (0..ENTRIES).for_each(|index| self.release_table(index));
        named::free_node(self.top);
    }
}
