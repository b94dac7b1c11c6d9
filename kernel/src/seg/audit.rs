//! A comparison, for tests, of the records of which page has which frame.
use super::view::View;
use super::{Content, Space, spaces};
use abi::{Errno, NSEG};
use hw::owners::{self, Place};
use vm::{Frame, PageState, Tally};

/// Compares the overlays of all spaces with the table of owners, and with what
/// programs are told of their memory ([`super::info`]); returns the number of owners of
/// frames that are known. All at one moment, so it takes long where there is much
/// memory.
///
/// # Errors
/// `EIO` if they differ: also for a moment while a process is made, because the copy of
/// a segment is in no space then.
pub fn audit() -> Result<u64, Errno> {
    for number in 0..spaces::SPACES_MAX {
        let number = number as spaces::Number;
        let right = spaces::with(number, |space| check_pages(&mut space.lock()));
        right.unwrap_or(Ok(()))?;
    }
    check_owners()?;
    Ok(owners::count())
}

/// Every page of a space that has a frame is among the frame's owners.
fn check_pages(space: &mut Space) -> Result<(), Errno> {
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
            let owner = content.owner(view, page).ok_or(Errno::EIO)?;
            if !owners::of(frame).is_some_and(|owners| owners.entries().contains(&owner)) {
                return Err(Errno::EIO);
            }
        }
        let in_swap = told.backed + told.swapped;
        if told.in_frames() != in_frames || content.in_swap() != in_swap {
            return Err(Errno::EIO);
        }
    }
    Ok(())
}

/// Every owner of a frame leads to pages that have it.
fn check_owners() -> Result<(), Errno> {
    let mut from = Frame(0);
    while from < owners::end() {
        let frame = match owners::next(from, u32::MAX, |_| true) {
            Ok(frame) => frame,
            Err(end) => {
                from = end;
                continue;
            }
        };
        from = Frame(frame.0 + 1);
        let Some(all) = owners::of(frame) else {
            continue;
        };
        for owner in all.entries() {
            let mut right = true;
            // `None`: not all segments that share a node are known.
            let _ = owners::places(*owner, |place| {
                right &= has(place, frame);
                Some(())
            });
            if !right {
                return Err(Errno::EIO);
            }
        }
    }
    Ok(())
}

/// Returns true if that page has the frame.
fn has(Place { segment, page }: Place, frame: Frame) -> bool {
    let state = spaces::with(super::space_of(segment), |space| {
        let mut space = space.lock();
        let (_, view, content) = space.by_number(segment)?;
        Some(content.state(view, page))
    });
    state.flatten().and_then(PageState::frame) == Some(frame)
}

fn tally(content: &vm::Segment, view: &View) -> Tally {
    let (mut tally, mut at) = (Tally::default(), 0);
    while at < content.pages() {
        at = content.tally(view, at, &mut tally);
    }
    tally
}
