//! A process that serves files sleeps on nothing.
//!
//! A fault waits for a file server. If that server's own memory were asleep on
//! something that needs the server itself, both would wait for ever. So a
//! process is *serving* from its first answer to the kernel's client on, before
//! anything of it is mounted: what was asleep in it is woken then, and what it
//! reads from then on is there when `read` returns (invariant 7, kept more
//! strictly than by ranks: nothing of a server sleeps, whatever it is tied to).
use super::host::Caller;
use super::{Content, SpaceLock};
use crate::client::snapshots;
use crate::sched;
use abi::{Errno, NSEG, PAGE};
use vm::Access;

/// The process is about to answer as a file server.
///
/// # Errors
/// `ENOMEM` if what is asleep does not fit in memory, `EINTR` if the process
/// is to end; it is not serving then. `true`: it has begun just now.
#[inline]
pub fn begin(space: &SpaceLock) -> Result<bool, Errno> {
    let serving = space.lock().serving;
    if serving {
        return Ok(false);
    }
    wake_all(space).map(|()| true)
}

#[cold]
fn wake_all(space: &SpaceLock) -> Result<(), Errno> {
    for index in 0..NSEG {
        let mut from = 0;
        while let Some((segment, page)) = next_asleep(space, index, from) {
            if sched::called() {
                return Err(Errno::EINTR);
            }
            from = match vm::fault(&mut Caller::new(space, segment), page, Access::Load) {
                Err(error @ (Errno::ENOMEM | Errno::EINTR)) => return Err(error),
                Ok(()) => page + 1,
                // Lost already: nobody waits for that.
                Err(_) => after_lost(space, segment, page),
            };
            sched::give_way();
        }
    }
    space.lock().serving = true;
    Ok(())
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
                    Content::Physical(_) | Content::Shared(_) => None,
                }
            }
            None => None,
        }
    };
    let gone = extent.filter(|e| snapshots::path(e.source.snap).is_some_and(|(_, down)| down));
    gone.map_or(page + 1, |e| e.end.div_ceil(PAGE).max(page + 1))
}

/// The first sleeping page at or after `from` of a segment by its place in the
/// table, and the segment's id.
fn next_asleep(space: &SpaceLock, index: usize, from: u64) -> Option<(u64, u64)> {
    let mut space = space.lock();
    let id = space.table.get(index)?.as_ref()?.id;
    let (view, segment) = space.by_id(id)?;
    match &segment.content {
        Content::Virtual(content) => content.next_asleep(view, from).map(|page| (id, page)),
        Content::Physical(_) | Content::Shared(_) => None,
    }
}
