//! The memory of a process that serves files is resident: no page of it sleeps.
//!
//! A fault waits for a file server. If that server's own memory were asleep on
//! something that needs the server itself, both would wait for ever. So the
//! memory of a process becomes resident with its first answer to the kernel's
//! client, before anything of it is mounted, as with `mlockall`: its sleeping
//! pages are woken, and from then on the data of a `read` is there when it returns
//! (invariant 7, kept more strictly than by ranks: no page of a server sleeps,
//! whatever it is tied to).
use super::host::Operation;
use super::{Content, Residence, Space, SpaceLock};
use crate::client::snapshots;
use crate::sched::{self, Reason, Slot, Wait};
use abi::{Errno, NSEG, PAGE};
use hw::frames::Share;
use hw::task;
use vm::Access;

/// Prepares the running process, to which `space` belongs, for its first answer
/// as a file server.
///
/// # Errors
/// `ENOMEM` if its sleeping pages do not fit in memory, `EINTR` if the process
/// must end; its memory is not resident then.
#[inline]
pub fn begin(space: &SpaceLock) -> Result<(), Errno> {
    let resident = space.lock().is_resident();
    if resident {
        return Ok(());
    }
    wake_all(space)
}

#[cold]
fn wake_all(space: &SpaceLock) -> Result<(), Errno> {
    // One that has the memory too may be about to wake it.
    let woken = space.wait(
        |space| &mut space.waking,
        Reason::Page,
        |space| (space.residence != Residence::Waking).then_some(space.is_resident()),
    )?;
    if woken {
        return Ok(());
    }
    // Pages that are awake must neither leave nor fall asleep while others are woken. That
    // waits for no read or write of others: its server might wait for this very answer.
    let pinned = pin_all(space);
    let woken = wake_each(space);
    let members = {
        let mut space = space.lock();
        match woken {
            Ok(()) => space.residence = Residence::Resident,
            Err(_) => space.unpin(pinned),
        }
        space.waking.wake_all();
        space.members
    };
    woken?;
    for member in members.iter() {
        task::raise_share(member as Slot, Share::Serving);
    }
    Ok(())
}

/// Keeps the pages of all segments in memory, and awake; their ids.
fn pin_all(space: &SpaceLock) -> [u64; NSEG] {
    let mut space = space.lock();
    space.residence = Residence::Waking;
    let mut pinned = [0; NSEG];
    for (segment, id) in space.table.iter_mut().flatten().zip(&mut pinned) {
        if let Content::Virtual(content) = &mut segment.content {
            content.pin();
            *id = segment.id;
        }
    }
    pinned
}

impl Space {
    /// Lets the pages of those segments leave again that are still there. Others may have
    /// been attached meanwhile, which are not pinned.
    fn unpin(&mut self, pinned: [u64; NSEG]) {
        self.residence = Residence::Pageable;
        for id in pinned {
            if let Some((_, segment)) = self.by_id(id)
                && let Content::Virtual(content) = &mut segment.content
            {
                content.unpin();
            }
        }
    }
}

/// Wakes all pages of all segments.
fn wake_each(space: &SpaceLock) -> Result<(), Errno> {
    for index in 0..NSEG {
        let mut from = 0;
        while let Some((segment, found)) = next_asleep(space, index, from) {
            if sched::called() {
                return Err(Errno::EINTR);
            }
            from = match found {
                Ok(page) => wake(space, segment, page)?,
                Err(end) => end,
            };
            // Pages of the frame cache come without a message, thus without a wait.
            sched::breathe();
        }
    }
    Ok(())
}

/// Wakes a page; returns the page to go on at.
fn wake(space: &SpaceLock, segment: u64, page: u64) -> Result<u64, Errno> {
    // Another process may have detached it.
    let Ok(mut operation) = Operation::begin(space, segment) else {
        return Ok(page + 1);
    };
    match vm::fault(&mut operation, page, Access::Load) {
        Err(error @ (Errno::ENOMEM | Errno::EINTR)) => Err(error),
        Ok(()) => Ok(page + 1),
        // Already lost: there is no answer to wait for.
        Err(_) => Ok(after_lost(space, segment, page)),
    }
}

/// The page to go on at after one that could not be had: of a server that is gone
/// nothing else in the same extent can be had either.
fn after_lost(space: &SpaceLock, segment: u64, page: u64) -> u64 {
    let extent = {
        let mut space = space.lock();
        match space.by_id(segment) {
            Some((_, segment)) => {
                let rest = page * PAGE..segment.pages * PAGE;
                match &segment.content {
                    Content::Virtual(content) => content.extents().first(rest),
                    Content::Device(_) | Content::Dma(_) | Content::Shared(_) => None,
                }
            }
            None => None,
        }
    };
    let gone = extent.filter(|e| snapshots::path(e.source.snap).is_some_and(|(_, down)| down));
    gone.map_or(page + 1, |e| e.end.div_ceil(PAGE).max(page + 1))
}

/// The id of the segment at that place in the table, and its first sleeping page at
/// or after `from`, or where one step of the search ended. `None`: there are no more
/// pages.
fn next_asleep(space: &SpaceLock, index: usize, from: u64) -> Option<(u64, Result<u64, u64>)> {
    let mut space = space.lock();
    let id = space.table.get(index)?.as_ref()?.id;
    let (view, segment) = space.by_id(id)?;
    match &segment.content {
        Content::Virtual(content) if from < segment.pages => {
            Some((id, content.next_asleep(view, from)))
        }
        Content::Virtual(_) | Content::Device(_) | Content::Dma(_) | Content::Shared(_) => None,
    }
}
