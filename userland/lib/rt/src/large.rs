//! Large blocks of the heap. They are in a snapshot segment of their own: a `read` into
//! an ordinary `Vec` of that size is deferred, and its pages are filled when they are
//! touched. A block that is freed gives its frames back.
//!
//! The segment is one for all blocks, because a process has few, and is so large that
//! each block has room to grow where it is (crate `blocks`).

use crate::single::Single;
use crate::sys;
use abi::{Call, Errno, PAGE};
use blocks::{Room, Rooms};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The smallest block that is a large one.
pub(crate) const LEAST: usize = 256 << 10;
/// Bytes in front of the rooms, for the table of the rooms.
const TABLE_LEN: u64 = (blocks::TABLE as u64 * 4).next_multiple_of(PAGE);

/// The state of the segment.
pub(crate) struct State {
    /// It is not to be attached, or could not be.
    off: bool,
    /// It is attached.
    rooms: Option<Rooms<'static>>,
}

pub(crate) static STATE: Single<State> = Single::new(State {
    off: false,
    rooms: None,
});
/// The address of the first room; 0 before the first large block.
static BASE: AtomicU64 = AtomicU64::new(0);

/// Leaves large blocks to the rest of the heap.
pub(crate) fn turn_off() {
    STATE.with(|state| state.off = true);
}

/// The offset among the rooms of the block at `address`, if it is a large one.
#[inline]
pub(crate) fn offset(address: u64) -> Option<u64> {
    let base = BASE.load(Relaxed);
    let offset = address.wrapping_sub(base);
    (base != 0 && offset < blocks::LEN).then_some(offset)
}

fn attach() -> Result<Rooms<'static>, Errno> {
    let (kind, kind_len) = sys::of(b"snapshot");
    let len = TABLE_LEN + blocks::LEN;
    // SAFETY: the kernel attaches the new segment where no other memory is.
    let table = unsafe { sys::call5(Call::SegAttach, kind, kind_len, 0, len, 0) }?;
    BASE.store(table + TABLE_LEN, Relaxed);
    // SAFETY: (1) the segment stays attached for ever, and its first `TABLE_LEN` bytes
    // are zeros, thus numbers; (2) rooms begin behind them, and nothing else refers to
    // them.
    let table = unsafe { core::slice::from_raw_parts_mut(table as *mut u32, blocks::TABLE) };
    Ok(Rooms::new(table))
}

/// The address of `len` bytes that are zeros, on a page boundary. `None` if addresses or
/// segments are out, or the heap is in use further up the stack.
#[cold]
pub(crate) fn take(len: u64) -> Option<u64> {
    clean();
    let room = STATE.with(|state| {
        if state.rooms.is_none() && !state.off {
            state.rooms = attach().ok();
            // A full table of segments will not have room later either.
            state.off = state.rooms.is_none();
        }
        state.rooms.as_mut()?.take(len)
    })??;
    Some(BASE.load(Relaxed) + room.start)
}

/// Gives back the block whose room begins at `offset`.
#[cold]
pub(crate) fn give(offset: u64) {
    // Nobody uses the room any more, and nobody else gets it yet: a note handler that
    // runs in between may use the heap.
    let Some(room) = room(offset) else { return };
    release(room);
}

/// Empties a room that nobody uses, and lets it be used again. If that fails, because
/// memory is out for the moment, it is tried again when the next block is taken.
fn release(room: Room) {
    let emptied = empty(BASE.load(Relaxed) + room.start, room.len);
    with_rooms(|rooms| match emptied {
        Ok(()) => rooms.give(room.start),
        Err(_) => rooms.set_aside(room.start),
    });
}

/// Tries once more to empty a room.
fn clean() {
    if let Some(room) = with_rooms(Rooms::take_aside).flatten() {
        release(room);
    }
}

/// Makes the pages of a range zeros that hold nothing.
fn empty(address: u64, len: u64) -> Result<(), Errno> {
    // SAFETY: the range belongs to a room of which the caller says that nobody uses that
    // part.
    unsafe { sys::call2(Call::SegFree, address, len) }.map(drop)
}

/// Makes the block at `offset`, of `old` bytes, one of `new` bytes where it is. False if
/// its room is too small.
pub(crate) fn resize(offset: u64, old: u64, new: u64) -> bool {
    let Some(room) = room(offset).filter(|room| new <= room.len) else {
        return false;
    };
    let (kept, was) = (new.next_multiple_of(PAGE), old.next_multiple_of(PAGE));
    if kept < was {
        // What stays by mistake goes with the block.
        let _ = empty(BASE.load(Relaxed) + room.start + kept, was - kept);
    }
    true
}

/// The room of the block at `offset`.
fn room(offset: u64) -> Option<Room> {
    with_rooms(|rooms| rooms.room(offset)).flatten()
}

fn with_rooms<T>(f: impl FnOnce(&mut Rooms<'static>) -> T) -> Option<T> {
    STATE.with(|state| state.rooms.as_mut().map(f)).flatten()
}

/// Bytes that are moved at a time.
pub(crate) const PIECE: usize = 1 << 20;

/// Gives back the pages of a large block that were moved elsewhere.
///
/// # Safety
/// `address` is on a page boundary in a large block, and the content of the block's pages
/// over `len` bytes from there is not needed.
pub(crate) unsafe fn forget(address: u64, len: usize) {
    // What stays by mistake goes with the block.
    let _ = empty(address, (len as u64).next_multiple_of(PAGE));
}
