//! The way from a process's slot to its memory, for work on the memory of others.
//!
//! Processes are a floor above; their table gives itself to this one at start.
use super::SpaceLock;
use hw::task::Slot;
use spin::Once;

/// Calls a function with the memory of the process in a slot, if there is one.
pub type SpaceOf = fn(Slot, &mut dyn FnMut(&SpaceLock));

static SPACES: Once<SpaceOf> = Once::new();

/// Sets the function that leads from slots to memory; once, at start.
pub fn init(spaces: SpaceOf) {
    SPACES.call_once(|| spaces);
}

/// Calls `f` with the memory of the process in a slot. Nothing in `f` waits: the
/// process may be gone afterwards.
pub fn with<R>(slot: Slot, f: impl FnOnce(&SpaceLock) -> R) -> Option<R> {
    let (mut f, mut result) = (Some(f), None);
    SPACES.get()?(slot, &mut |space| {
        result = f.take().map(|f| f(space));
    });
    result
}
