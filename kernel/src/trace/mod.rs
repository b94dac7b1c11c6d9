//! Trace points: what happens, as the records of [`abi::trace`]. They go to QEMU's debug
//! console, or to a program that watches its children ([`watch`]). While nobody listens each
//! point is one branch that is not taken.
pub mod watch;

use abi::trace::{Event, TEXT, Words, head};
use abi::{Errno, PATH_MAX, PROCESSES_MAX};
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};
use hw::task::{self, Slot};
use hw::{debug, time};
use watch::After;
use zerocopy::IntoBytes;

/// Who listens.
static ON: AtomicU8 = AtomicU8::new(0);
/// The debug console, to all.
const CONSOLE: u8 = 1;
/// A program, to its children.
const WATCH: u8 = 2;

/// The process in each slot.
static PIDS: [AtomicU32; PROCESSES_MAX] = [const { AtomicU32::new(0) }; PROCESSES_MAX];

/// Writes all records to the debug console from now on, if QEMU has one.
pub fn start() {
    if debug::is_there() {
        ON.fetch_or(CONSOLE, Relaxed);
        note(Event::Clock, 0, [time::ticks_per_second(), 0, 0]);
    }
}

/// The running process watches the children that it makes from now on, until it ends.
///
/// # Errors
/// Those of [`watch::begin`].
pub fn begin_watch() -> Result<(), Errno> {
    watch::begin(task::current())?;
    ON.fetch_or(WATCH, Relaxed);
    Ok(())
}

/// Returns true if somebody listens.
#[inline(always)]
pub fn is_on() -> bool {
    ON.load(Relaxed) != 0
}

/// Writes a record of what the running process does.
#[inline(always)]
pub fn note(event: Event, detail: u16, words: [u64; 3]) {
    if is_on() {
        write(&[], event, detail, words);
    }
}

/// The same, with a text, of which no more than a path's length is written.
#[inline(always)]
pub fn note_about(text: &[u8], event: Event, detail: u16, words: [u64; 3]) {
    if is_on() {
        write(text, event, detail, words);
    }
}

/// The same of something that the running process does to another, which is not the affair
/// of a program that watches it.
#[inline(always)]
pub fn note_foreign(event: Event, detail: u16, words: [u64; 3]) {
    if is_on() && ON.load(Relaxed) & CONSOLE != 0 {
        debug::write(record(event, detail, words).as_bytes());
    }
}

/// The running process has made one with that program in the slot.
#[cold]
pub fn begin(slot: Slot, (pid, parent): (u64, u64), program: &str, space: u16) {
    watch::fork(task::current(), slot);
    let words = [pid, parent, space.into()];
    note_about(program.as_bytes(), Event::Begin, 0, words);
}

/// The process with that number is in the slot.
pub fn name(slot: Slot, pid: u64) {
    if let Some(place) = PIDS.get(usize::from(slot)) {
        place.store(pid as u32, Relaxed);
    }
}

/// The process in the slot has ended; the process that has none left to watch, if it was
/// the last of those.
#[cold]
pub fn end(slot: Slot) -> Option<Slot> {
    match watch::end(slot) {
        After::Same => None,
        After::Alone(watcher) => Some(watcher),
        After::Over => {
            ON.fetch_and(!WATCH, Relaxed);
            None
        }
    }
}

/// The processor goes to the process in the slot, or to none.
#[inline(always)]
pub fn switch(slot: Slot) {
    if is_on() {
        note_foreign(Event::Switch, 0, [pid(slot).into(), 0, 0]);
    }
}

fn pid(slot: Slot) -> u32 {
    let place = PIDS.get(usize::from(slot));
    place.map_or(0, |place| place.load(Relaxed))
}

#[cold]
#[inline(never)]
fn write(text: &[u8], event: Event, detail: u16, words: [u64; 3]) {
    let on = ON.load(Relaxed);
    let watched = on & WATCH != 0 && watch::is_watched(task::current());
    if on & CONSOLE == 0 && !watched {
        return;
    }
    let text = text.get(..PATH_MAX).unwrap_or(text);
    let parts = text.len().div_ceil(TEXT);
    let nth = |at: usize| match text.chunks(TEXT).nth(at) {
        Some(part) => {
            let mut words = [0; TEXT / 8];
            words.as_mut_bytes()[..part.len()].copy_from_slice(part);
            record(Event::Text, part.len() as u16, words)
        }
        None => record(event, detail, words),
    };
    if on & CONSOLE != 0 {
        (0..parts + 1).for_each(|at| debug::write(nth(at).as_bytes()));
    }
    if watched {
        watch::put((0..parts + 1).map(nth));
    }
}

fn record(event: Event, detail: u16, [a, b, c]: [u64; 3]) -> Words {
    let head = head(event, detail, pid(task::current()));
    [time::ticks(), head, a, b, c]
}
