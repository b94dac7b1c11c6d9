//! All spaces, by number, for work on the memory of others, and the processes that
//! have each.
//!
//! Processes that share memory have one space. It stays until the last of them has left
//! it ([`super::leave`]).
use super::{Space, SpaceLock};
use crate::sched::Slots;
use abi::{Errno, PROCESSES_MAX};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU16, Ordering::Relaxed};
use hw::heap::new_arc;
use hw::lock::{Lock, Rank};
use hw::task::{NPROC, Slot};

/// The number of a space: its place in the table.
pub type Number = u16;

/// Spaces at most: one for each process, and a second one while it begins a program.
pub const SPACES_MAX: usize = 2 * PROCESSES_MAX;

struct Table {
    spaces: [Option<Arc<SpaceLock>>; SPACES_MAX],
    /// Where the search for a free place begins.
    next: usize,
}

impl Table {
    /// Gives the space a place; `None`: there is none.
    fn enter(&mut self, space: &Arc<SpaceLock>) -> Option<Number> {
        let (before, after) = self.spaces.split_at(self.next);
        let free = after.iter().chain(before).position(Option::is_none)?;
        let at = (self.next + free) % SPACES_MAX;
        self.spaces[at] = Some(space.clone());
        self.next = (at + 1) % SPACES_MAX;
        Some(at as Number)
    }
}

static TABLE: Lock<Table> = Lock::new(
    Rank::Processes,
    Table {
        spaces: [const { None }; SPACES_MAX],
        next: 0,
    },
);

/// The number of the space that the process in each slot has.
static OF: [AtomicU16; NPROC] = [const { AtomicU16::new(0) }; NPROC];

/// A space without segments, which the process in that slot has, or will.
///
/// # Errors
/// `ENOMEM`, and `EAGAIN`: there are too many.
pub fn create(slot: Slot) -> Result<Arc<SpaceLock>, Errno> {
    let space = Space::new(Slots::only(slot.into()))?;
    let space = new_arc(Lock::new(Rank::Space, space))?;
    let number = TABLE.lock().enter(&space).ok_or(Errno::EAGAIN)?;
    let mut locked = space.lock();
    locked.number = number;
    locked.view.space = number;
    drop(locked);
    Ok(space)
}

/// The process in that slot has the space from now on, perhaps with others.
pub fn join(space: &SpaceLock, slot: Slot) {
    let mut space = space.lock();
    space.members.insert(slot.into());
    space.protection = None;
    OF[usize::from(slot)].store(space.number, Relaxed);
}

/// The process in that slot has the space no more; returns true if none has.
pub(super) fn part(space: &SpaceLock, slot: Slot) -> bool {
    let mut space = space.lock();
    space.members.remove(slot.into());
    space.protection = None;
    space.members.is_empty()
}

/// Nothing of the space is left, and no process has it.
pub(super) fn forget(space: &SpaceLock) {
    let number = space.lock().number;
    let forgotten = TABLE.lock().spaces[usize::from(number)].take();
    drop(forgotten);
}

/// Calls `f` with the space of that number. Nothing in `f` waits: it may be gone
/// afterwards.
pub fn with<R>(number: Number, f: impl FnOnce(&SpaceLock) -> R) -> Option<R> {
    let space = TABLE.lock().spaces.get(usize::from(number))?.clone();
    space.map(|space| f(&space))
}

/// The number of the space that the process in that slot has. `None`: no process has run
/// yet.
pub fn of(slot: Slot) -> Option<Number> {
    let number = OF.get(usize::from(slot))?;
    Some(number.load(Relaxed))
}
