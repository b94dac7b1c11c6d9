//! The table of all processes.
use super::Process;
use crate::sched::{self, Slot};
use abi::Errno;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use hw::lock::{Lock, Rank};
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

static TABLE: Lock<[Entry; NPROC]> = Lock::new(Rank::Processes, [const { Entry::Free }; NPROC]);

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
        let entry = &mut TABLE.lock()[self.0 as usize];
        if matches!(entry, Entry::Reserved(_)) {
            *entry = Entry::Free;
        }
    }
}

/// Reserves a slot for a process of that note group. No group gets all slots,
/// so that a fork bomb can be ended.
pub fn vacancy(group: Option<u64>) -> Result<Vacancy, Errno> {
    let table = &mut *TABLE.lock();
    let members = |group| table.iter().filter(|entry| entry.is_of(group)).count();
    if group.map_or(0, members) >= abi::GROUP_MAX {
        return Err(Errno::EAGAIN);
    }
    let free = table.iter().position(|entry| matches!(entry, Entry::Free));
    let slot = free.ok_or(Errno::EAGAIN)?;
    table[slot] = Entry::Reserved(group.unwrap_or(0));
    Ok(Vacancy(slot as Slot))
}

/// Makes a process known.
pub fn insert(process: Arc<Process>) {
    let slot = process.slot() as usize;
    TABLE.lock()[slot] = Entry::Taken(process);
}

/// Removes a process that ended and was waited for.
pub fn remove(slot: Slot) {
    let entry = core::mem::replace(&mut TABLE.lock()[slot as usize], Entry::Free);
    sched::retire(slot);
    drop(entry);
}

/// The process in that slot. Not to be held over a wait: its parent may reap it
/// meanwhile, and the slot is given to another.
pub fn at(slot: usize) -> Option<Arc<Process>> {
    TABLE.lock().get(slot)?.process().cloned()
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
    let mut processes = table.iter().filter_map(Entry::process);
    processes.find(|process| process.pid == pid).cloned()
}

/// All processes that are wanted, one after the other, with the table unlocked in
/// between.
fn matching(wanted: impl Fn(&Process) -> bool) -> impl Iterator<Item = Arc<Process>> {
    let mut slots = 0..NPROC;
    core::iter::from_fn(move || {
        let table = TABLE.lock();
        let at = |slot: usize| table[slot].process().filter(|process| wanted(process));
        slots.find_map(|slot| at(slot).cloned())
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
    TABLE.lock().iter().filter_map(Entry::process).count()
}
