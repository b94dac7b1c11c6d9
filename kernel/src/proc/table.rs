//! The table of all processes.
use super::Process;
use crate::sched::{self, Slot};
use abi::Errno;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use hw::lock::{Lock, Rank};
use hw::pending::{self, Work};
use hw::task::NPROC;

/// One slot.
enum Entry {
    Free,
    /// Reserved for a process of that note group; 0: a new one.
    Reserved(u64),
    Taken(Arc<Process>),
}

impl Entry {
    fn process(&self) -> Option<&Arc<Process>> {
        match self {
            Entry::Taken(process) => Some(process),
            Entry::Free | Entry::Reserved(_) => None,
        }
    }

    fn is_of(&self, group: u64) -> bool {
        match self {
            Entry::Free => false,
            Entry::Reserved(of) => *of == group,
            Entry::Taken(process) => process.group.load(Relaxed) == group,
        }
    }
}

/// The processes. Every pass follows their number, not that of the slots.
struct Table {
    entries: [Entry; NPROC],
    /// A bit for each entry that is not free.
    used: [u64; NPROC / 64],
}

static TABLE: Lock<Table> = Lock::new(
    Rank::Processes,
    Table {
        entries: [const { Entry::Free }; NPROC],
        used: [0; NPROC / 64],
    },
);

impl Table {
    /// The first slot that is free.
    fn free(&self) -> Option<usize> {
        let word = self.used.iter().position(|word| *word != u64::MAX)?;
        Some(word * 64 + self.used[word].trailing_ones() as usize)
    }

    /// Sets an entry; the one that was there before.
    fn set(&mut self, slot: usize, entry: Entry) -> Entry {
        let bit = 1 << (slot % 64);
        match entry {
            Entry::Free => self.used[slot / 64] &= !bit,
            Entry::Reserved(_) | Entry::Taken(_) => self.used[slot / 64] |= bit,
        }
        core::mem::replace(&mut self.entries[slot], entry)
    }

    /// The first slot from that one on that is not free.
    fn next(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut left = *self.used.get(word)? & u64::MAX << (from % 64);
        while left == 0 {
            word += 1;
            left = *self.used.get(word)?;
        }
        Some(word * 64 + left.trailing_zeros() as usize)
    }

    /// The entries that are not free.
    fn used(&self) -> impl Iterator<Item = &Entry> {
        let mut from = 0;
        core::iter::from_fn(move || {
            let slot = self.next(from)?;
            from = slot + 1;
            self.entries.get(slot)
        })
    }
}

/// A reserved slot. No other process gets it until this is dropped, after
/// [`insert`].
pub struct Vacancy(Slot);

impl Vacancy {
    /// The slot.
    pub fn slot(&self) -> Slot {
        self.0
    }
}

impl Drop for Vacancy {
    fn drop(&mut self) {
        let mut table = TABLE.lock();
        if matches!(table.entries[self.0 as usize], Entry::Reserved(_)) {
            table.set(self.0 as usize, Entry::Free);
        }
    }
}

/// Reserves a slot for a process of that note group. No group gets all slots,
/// so that a fork bomb can be ended.
pub fn vacancy(group: Option<u64>) -> Result<Vacancy, Errno> {
    let mut table = TABLE.lock();
    let members = |group| table.used().filter(|entry| entry.is_of(group)).count();
    if group.map_or(0, members) >= abi::GROUP_MAX {
        return Err(Errno::EAGAIN);
    }
    let slot = table.free().ok_or(Errno::EAGAIN)?;
    table.set(slot, Entry::Reserved(group.unwrap_or(0)));
    Ok(Vacancy(slot as Slot))
}

/// Makes a process known.
pub fn insert(process: Arc<Process>) {
    let slot = process.slot() as usize;
    TABLE.lock().set(slot, Entry::Taken(process));
}

/// Removes a process that ended and was waited for.
pub fn remove(slot: Slot) {
    let entry = TABLE.lock().set(slot as usize, Entry::Free);
    sched::retire(slot);
    drop(entry);
}

/// Processes that nobody waits for and that end, a bit for each slot.
static DEAD: Lock<[u64; NPROC / 64]> = Lock::new(Rank::Interrupts, [0; NPROC / 64]);

/// The running process ends, and nobody waits for it: the next one whose program goes on
/// removes it.
pub fn bury(slot: Slot) {
    DEAD.lock()[usize::from(slot) / 64] |= 1 << (slot % 64);
    pending::set(Work::Dead, true);
}

/// Removes the processes that have ended and that nobody waits for.
pub fn remove_dead() {
    if !pending::is(Work::Dead) {
        return;
    }
    pending::set(Work::Dead, false);
    let dead = core::mem::take(&mut *DEAD.lock());
    for (word, mut left) in dead.into_iter().enumerate() {
        while left != 0 {
            let slot = word as Slot * 64 + left.trailing_zeros() as Slot;
            left &= left - 1;
            match sched::has_ended(slot) {
                true => remove(slot),
                // It is still leaving the processor.
                false => bury(slot),
            }
        }
    }
}

/// The process in that slot. Not to be held over a wait: its parent may reap it
/// meanwhile, and the slot is given to another.
pub fn at(slot: usize) -> Option<Arc<Process>> {
    TABLE.lock().entries.get(slot)?.process().cloned()
}

/// The process that runs.
pub fn current() -> Arc<Process> {
    match at(usize::from(sched::current_slot())) {
        Some(process) => process,
        None => unreachable!("no process runs"),
    }
}

/// The process with that pid, for as long as [`at`] allows.
pub fn find(pid: u64) -> Option<Arc<Process>> {
    let table = TABLE.lock();
    let mut processes = table.used().filter_map(Entry::process);
    processes.find(|process| process.pid == pid).cloned()
}

/// All processes that are wanted, one after the other, with the table unlocked in
/// between.
fn matching(wanted: impl Fn(&Process) -> bool) -> impl Iterator<Item = Arc<Process>> {
    let mut from = 0;
    core::iter::from_fn(move || {
        let table = TABLE.lock();
        while let Some(slot) = table.next(from) {
            from = slot + 1;
            let process = table.entries[slot].process();
            if let Some(process) = process.filter(|process| wanted(process)) {
                return Some(process.clone());
            }
        }
        None
    })
}

/// All processes, in this way.
pub fn all() -> impl Iterator<Item = Arc<Process>> {
    matching(|_| true)
}

/// The children of a process, in this way.
pub fn children(pid: u64) -> impl Iterator<Item = Arc<Process>> {
    matching(move |process| process.parent.load(Relaxed) == pid)
}

/// Processes alive or not yet waited for.
pub fn count() -> usize {
    TABLE.lock().used().filter_map(Entry::process).count()
}
