//! The end of a space: what its segments hold is given back.
use super::{Content, SpaceLock, attach, spaces};
use crate::chan::kept::{self, Memory};
use abi::{NSEG, USER_END};
use hw::task::Slot;

/// The process in that slot has the space no more. The last one removes all of it.
pub fn leave(space: &SpaceLock, slot: Slot) {
    if spaces::part(space, slot) {
        clear(space);
        spaces::forget(space);
    }
}

/// Removes every segment of a space that no process has. The devices of its driver may
/// still be at work.
fn clear(space: &SpaceLock) {
    let registers = attach::registers(space);
    let driver = space.lock().driver.take();
    let has_device = registers.iter().any(|pa| *pa != 0);
    {
        // In one walk, unless that would be long; then a segment at a time.
        let mut space = space.lock();
        if space.view.pages.mapped() <= vm::UNMAPPED {
            space.view.pages.unmap(0..USER_END);
        }
    }
    for _ in 0..NSEG {
        let id = space.lock().table.iter().flatten().map(|s| s.id).next();
        let Some(id) = id else { break };
        match attach::empty(space, id) {
            Some(Content::Dma(run)) if has_device => {
                kept::keep(Memory::Dma(run), driver.clone());
            }
            Some(content) => attach::let_go(content),
            None => {}
        }
    }
    if let Some(driver) = driver {
        driver.end(registers);
    }
}
