//! A comparison, for tests, of the two records of which page has which frame.
use super::{Content, Space, spaces};
use abi::{Errno, NSEG, PROCESSES_MAX};
use hw::owners;
use hw::task::Slot;
use vm::Owner;

/// Compares the overlays of all processes with the table of owners; returns the number
/// of pages that have frames with known owners. All at one moment, so it takes long
/// where there is much memory.
///
/// # Errors
/// `EIO` if they differ: also for a moment while a process is made or begins another
/// program, because its memory is not reached by its slot then.
pub fn audit() -> Result<u64, Errno> {
    let mut pages = 0;
    for slot in 0..PROCESSES_MAX {
        let counted = spaces::with(slot as Slot, |space| count(&mut space.lock()));
        pages += counted.unwrap_or(Ok(0))?;
    }
    match owners::count() == pages {
        true => Ok(pages),
        false => Err(Errno::EIO),
    }
}

/// The pages of one process that have frames with known owners.
fn count(space: &mut Space) -> Result<u64, Errno> {
    let mut pages = 0;
    for index in 0..NSEG {
        let id = space
            .table
            .get(index)
            .and_then(|s| s.as_ref().map(|s| s.id));
        let Some((view, segment)) = id.and_then(|id| space.by_id(id)) else {
            continue;
        };
        let Content::Virtual(content) = &segment.content else {
            continue;
        };
        let mut from = 0;
        while let Some((page, state)) = content.next_populated(view, from..content.pages()) {
            from = page + 1;
            let Some(frame) = state.frame().filter(|frame| !owners::is_unlisted(*frame)) else {
                continue;
            };
            let owner = Owner::new(content.number(), page);
            if !owners::of(frame).is_some_and(|owners| owners.pages().contains(&owner)) {
                return Err(Errno::EIO);
            }
            pages += 1;
        }
    }
    Ok(pages)
}
