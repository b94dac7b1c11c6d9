//! A comparison, for tests, of the records of which page has which frame.
use super::view::View;
use super::{Content, Space, spaces};
use abi::{Errno, NSEG, PROCESSES_MAX};
use hw::owners;
use hw::task::Slot;
use vm::{Owner, Tally};

/// Compares the overlays of all processes with the table of owners, and with what
/// programs are told of their memory ([`super::info`]); returns the number of pages
/// that have frames with known owners. All at one moment, so it takes long
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
        let told = tally(content, view);
        let (mut from, mut in_frames) = (0, 0);
        while let Some((page, state)) = content.next_populated(view, from..content.pages()) {
            from = page + 1;
            in_frames += u64::from(state.frame().is_some());
            let Some(frame) = state.frame().filter(|frame| !owners::is_unlisted(*frame)) else {
                continue;
            };
            let owner = Owner::new(content.number(), page);
            if !owners::of(frame).is_some_and(|owners| owners.pages().contains(&owner)) {
                return Err(Errno::EIO);
            }
            pages += 1;
        }
        let in_swap = told.backed + told.swapped;
        if told.in_frames() != in_frames || content.in_swap() != in_swap {
            return Err(Errno::EIO);
        }
    }
    Ok(pages)
}

fn tally(content: &vm::Segment, view: &View) -> Tally {
    let (mut tally, mut at) = (Tally::default(), 0);
    while at < content.pages() {
        at = content.tally(view, at, &mut tally);
    }
    tally
}
