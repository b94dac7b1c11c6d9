//! A program that watches others: the records of its children, and of theirs, wait in a
//! ring until it takes them. One program at a time.
use abi::trace::{Event, Words, head};
use abi::{Errno, PROCESSES_MAX};
use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use hw::lock::{Lock, Rank};
use hw::task::Slot;
use hw::time;

/// Records that can wait.
const RING: usize = 2048;

struct Watch {
    watcher: Slot,
    /// Watched processes that have not ended.
    left: u32,
    ring: VecDeque<Words>,
    /// Records behind the last in the ring for which there was no room.
    lost: u64,
}

impl Watch {
    /// Returns true if there is room for that many records, and for one that says how many
    /// are missing before them, which is written then. Else they count as lost.
    fn make_room(&mut self, records: usize) -> bool {
        if self.ring.len() + records + 1 > RING {
            self.lost += records as u64;
            return false;
        }
        self.note_lost();
        true
    }

    fn note_lost(&mut self) {
        if self.lost > 0 {
            let lost = core::mem::take(&mut self.lost);
            let head = head(Event::Lost, 0, 0);
            self.ring.push_back([time::ticks(), head, lost, 0, 0]);
        }
    }
}

// Records come from wherever other locks are held.
static WATCH: Lock<Option<Watch>> = Lock::new(Rank::Trace, None);
/// Whether the process in each slot is watched.
static WATCHED: [AtomicBool; PROCESSES_MAX] = [const { AtomicBool::new(false) }; PROCESSES_MAX];

/// Returns true if the process in the slot is watched.
pub fn is_watched(slot: Slot) -> bool {
    let flag = WATCHED.get(usize::from(slot));
    flag.is_some_and(|flag| flag.load(Relaxed))
}

/// The children that the process in the slot makes from now on are watched.
///
/// # Errors
/// `EBUSY`: another process watches; `ENOMEM`.
pub fn begin(watcher: Slot) -> Result<(), Errno> {
    if WATCH.lock().is_some() {
        return Err(Errno::EBUSY);
    }
    let mut ring = VecDeque::new();
    ring.try_reserve_exact(RING).map_err(|_| Errno::ENOMEM)?;
    // Nothing has run meanwhile.
    *WATCH.lock() = Some(Watch {
        watcher,
        left: 0,
        ring,
        lost: 0,
    });
    Ok(())
}

/// The process in `parent` has made the one in `child`.
pub fn fork(parent: Slot, child: Slot) {
    let mut watch = WATCH.lock();
    let Some(watch) = watch.as_mut() else {
        return;
    };
    if (watch.watcher == parent || is_watched(parent))
        && let Some(flag) = WATCHED.get(usize::from(child))
        && !flag.swap(true, Relaxed)
    {
        watch.left += 1;
    }
}

/// The watch after the end of a process.
pub enum After {
    /// It goes on, or there is none.
    Same,
    /// None is left of those that this process watches.
    Alone(Slot),
    /// It has ended with the process.
    Over,
}

/// The process in the slot has ended.
pub fn end(slot: Slot) -> After {
    let mut watch = WATCH.lock();
    let over = watch.take_if(|watch| watch.watcher == slot);
    let flag = WATCHED.get(usize::from(slot));
    let was_watched = flag.is_some_and(|flag| flag.swap(false, Relaxed));
    let alone = watch.as_mut().filter(|_| was_watched).and_then(|watch| {
        watch.left -= 1;
        (watch.left == 0).then_some(watch.watcher)
    });
    drop(watch);
    if over.is_some() {
        WATCHED.iter().for_each(|flag| flag.store(false, Relaxed));
        return After::Over;
    }
    alone.map_or(After::Same, After::Alone)
}

/// Puts records of a watched process into the ring: all of them, or none where there is no
/// room.
pub fn put(records: impl ExactSizeIterator<Item = Words>) {
    if let Some(watch) = WATCH.lock().as_mut()
        && watch.make_room(records.len())
    {
        watch.ring.extend(records);
    }
}

/// The oldest record; `None` if there is none. `EPERM`: the process in the slot does not
/// watch.
pub fn take(slot: Slot) -> Result<Option<Words>, Errno> {
    let mut watch = WATCH.lock();
    let watch = watch.as_mut().filter(|watch| watch.watcher == slot);
    let watch = watch.ok_or(Errno::EPERM)?;
    if watch.ring.is_empty() {
        watch.note_lost();
    }
    Ok(watch.ring.pop_front())
}

/// Puts a record back that was taken and had nowhere to go.
pub fn put_back(record: Words) {
    if let Some(watch) = WATCH.lock().as_mut() {
        match watch.ring.len() < RING {
            true => watch.ring.push_front(record),
            false => watch.lost += 1,
        }
    }
}

/// Returns true if there is none left to watch.
pub fn is_over() -> bool {
    WATCH.lock().as_ref().is_none_or(|watch| watch.left == 0)
}

/// The process that should take records before more come: the ring is half full.
pub fn hurried() -> Option<Slot> {
    let watch = WATCH.lock();
    let watch = watch.as_ref().filter(|watch| watch.ring.len() >= RING / 2);
    watch.map(|watch| watch.watcher)
}
