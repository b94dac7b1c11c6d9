//! The table of all processes.
use super::Process;
use crate::options;
use crate::sched::{self, Slot, Slots};
use abi::Errno;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use hw::lock::{Lock, Rank};
use hw::pending::{self, Work};
use hw::task::NPROC;
use ranges::Family;

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
    /// The entries that are not free.
    used: Slots,
    /// The children of each process that waits for them.
    family: Family<NPROC>,
}

static TABLE: Lock<Table> = Lock::new(
    Rank::Processes,
    Table {
        entries: [const { Entry::Free }; NPROC],
        used: Slots::NONE,
        family: Family::NONE,
    },
);

impl Table {
    /// Sets an entry; the one that was there before.
    fn set(&mut self, slot: Slot, entry: Entry) -> Entry {
        match entry {
            Entry::Free => self.used.remove(slot.into()),
            Entry::Reserved(_) | Entry::Taken(_) => self.used.insert(slot.into()),
        }
        core::mem::replace(&mut self.entries[usize::from(slot)], entry)
    }

    /// The entries that are not free.
    fn used(&self) -> impl Iterator<Item = &Entry> {
        let slots = self.used.iter();
        slots.filter_map(|slot| self.entries.get(slot))
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
        if matches!(table.entries[usize::from(self.0)], Entry::Reserved(_)) {
            table.set(self.0, Entry::Free);
        }
    }
}

/// Reserves a slot for a process of that note group. No group gets all slots,
/// so that a fork bomb can be ended.
pub fn vacancy(group: Option<u64>) -> Result<Vacancy, Errno> {
    let mut table = TABLE.lock();
    let most = options::processes_max() - abi::OTHERS;
    // Members are counted only where there may be so many.
    if table.used.len() as usize >= most {
        let members = |group| table.used().filter(|entry| entry.is_of(group)).count();
        if group.map_or(0, members) >= most {
            return Err(Errno::EAGAIN);
        }
    }
    let slot = table.used.first_free().ok_or(Errno::EAGAIN)? as Slot;
    table.set(slot, Entry::Reserved(group.unwrap_or(0)));
    Ok(Vacancy(slot))
}

/// Makes a process known, a child of the one in the slot `parent`.
pub fn insert(process: Arc<Process>, parent: Option<Slot>) {
    let slot = process.slot();
    let mut table = TABLE.lock();
    table.set(slot, Entry::Taken(process));
    if let Some(parent) = parent {
        table.family.add(slot, parent);
    }
}

/// Removes a process that ended and was waited for.
pub fn remove(slot: Slot) {
    let mut table = TABLE.lock();
    table.family.remove(slot);
    let entry = table.set(slot, Entry::Free);
    drop(table);
    sched::retire(slot);
    drop(entry);
}

/// Processes that nobody waits for and that end.
static DEAD: Lock<Slots> = Lock::new(Rank::Interrupts, Slots::NONE);

/// The running process ends, and nobody waits for it: the next one whose program goes on
/// removes it.
pub fn bury(slot: Slot) {
    DEAD.lock().insert(slot.into());
    pending::set(Work::Dead, true);
}

/// Removes the processes that have ended and that nobody waits for.
pub fn remove_dead() {
    if !pending::is(Work::Dead) {
        return;
    }
    pending::set(Work::Dead, false);
    let dead = core::mem::take(&mut *DEAD.lock());
    for slot in dead.iter().map(|slot| slot as Slot) {
        match sched::has_ended(slot) {
            true => {
                remove(slot);
                // Its name space may hold many mounts.
                sched::breathe();
            }
            // It is still leaving the processor.
            false => bury(slot),
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
        while let Some(slot) = table.used.next(from) {
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

/// Calls `f` with the processes in those slots.
pub fn each(slots: &Slots, f: impl FnMut(&Process)) {
    let table = TABLE.lock();
    let entries = slots.iter().filter_map(|slot| table.entries.get(slot));
    entries
        .filter_map(Entry::process)
        .map(|process| &**process)
        .for_each(f);
}

/// Of the children of a process one that has ended; `None`: there are none.
pub fn ended_child(parent: Slot) -> Option<Option<Arc<Process>>> {
    let table = TABLE.lock();
    if !table.family.has_children(parent) {
        return None;
    }
    let first = table.family.first_ended(parent);
    // It may still be leaving the processor.
    let ended = first.filter(|slot| sched::has_ended(*slot));
    Some(ended.and_then(|slot| table.entries.get(usize::from(slot))?.process().cloned()))
}

/// The running process has ended, as far as its parent is concerned; the parent.
pub fn end(slot: Slot) -> Option<Arc<Process>> {
    let mut table = TABLE.lock();
    table.family.end(slot);
    let parent = table.family.parent(slot)?;
    table.entries.get(usize::from(parent))?.process().cloned()
}

/// Gives the children of a process to another; returns true if there are any.
pub fn adopt(slot: Slot, heir: &Process) -> bool {
    let table = &mut *TABLE.lock();
    let mut any = false;
    table.family.adopt(slot, heir.slot(), |child| {
        any = true;
        let entry = table.entries.get(usize::from(child));
        if let Some(child) = entry.and_then(Entry::process) {
            child.parent.store(heir.pid, Relaxed);
        }
    });
    any
}

/// Processes alive or not yet waited for.
pub fn count() -> usize {
    TABLE.lock().used().filter_map(Entry::process).count()
}
