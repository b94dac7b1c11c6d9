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
use abi::{Errno, NSEG};
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
            match vm::fault(&mut Caller::new(space, segment), page, Access::Load) {
                Err(error @ (Errno::ENOMEM | Errno::EINTR)) => return Err(error),
                // Lost already: nobody waits for that.
                Ok(()) | Err(_) => from = page + 1,
            }
        }
    }
    space.lock().serving = true;
    Ok(())
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
