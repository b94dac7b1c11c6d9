//! The table of all processes.
use super::Process;
use crate::sched::{self, Slot};
use abi::Errno;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use hw::lock::{Lock, Rank};
use hw::task::NPROC;

static PROCESSES: Lock<[Option<Arc<Process>>; NPROC]> =
    Lock::new(Rank::Processes, [const { None }; NPROC]);

/// Slots kept for processes that are being made, by note group; 0: a new one.
static KEPT: Lock<[Option<u64>; NPROC]> = Lock::new(Rank::Kept, [None; NPROC]);

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
        KEPT.lock()[self.0 as usize] = None;
    }
}

/// Reserves a slot for a process of that note group. No group gets all slots,
/// so that a fork bomb can be ended.
pub fn vacancy(group: Option<u64>) -> Result<Vacancy, Errno> {
    let table = PROCESSES.lock();
    let mut kept = KEPT.lock();
    let of_group = |g: u64| group == Some(g);
    let groups = table.iter().flatten().map(|p| p.group.load(Relaxed));
    let makes = kept.iter().flatten().copied();
    if groups.chain(makes).filter(|g| of_group(*g)).count() >= abi::GROUP_MAX {
        return Err(Errno::EAGAIN);
    }
    let mut slots = table.iter().zip(kept.iter_mut());
    let free = slots.position(|(process, kept)| process.is_none() && kept.is_none());
    let slot = free.ok_or(Errno::EAGAIN)?;
    kept[slot] = Some(group.unwrap_or(0));
    Ok(Vacancy(slot as Slot))
}

/// Makes a process known.
pub fn insert(process: Arc<Process>) {
    let slot = process.slot as usize;
    let mut table = PROCESSES.lock();
    debug_assert!(table[slot].is_none());
    table[slot] = Some(process);
}

/// Removes a process that ended and was waited for.
pub fn remove(slot: Slot) {
    let process = PROCESSES.lock()[slot as usize].take();
    sched::retire(slot);
    drop(process);
}

/// The process with that pid.
pub fn find(pid: u64) -> Option<Arc<Process>> {
    let table = PROCESSES.lock();
    table.iter().flatten().find(|p| p.pid == pid).cloned()
}

/// Calls `f` for each process, with the table unlocked.
pub fn for_each(mut f: impl FnMut(&Arc<Process>)) {
    for slot in 0..NPROC {
        if let Some(process) = at(slot) {
            f(&process);
        }
    }
}

/// The process that runs.
pub fn current() -> Arc<Process> {
    match at(usize::from(sched::current_slot())) {
        Some(process) => process,
        None => unreachable!("no process runs"),
    }
}

/// The process in that slot.
pub fn at(slot: usize) -> Option<Arc<Process>> {
    PROCESSES.lock().get(slot).cloned().flatten()
}

/// Returns true if the process in that slot is a zombie.
pub fn has_ended(slot: Slot) -> bool {
    sched::status(slot).state == abi::ProcessInfo::ENDED
}

/// Processes alive or not yet waited for.
pub fn count() -> usize {
    PROCESSES.lock().iter().flatten().count()
}

/// Calls `f` for each child of `pid` until it says something.
pub fn with_children<T>(pid: u64, mut f: impl FnMut(&Arc<Process>) -> Option<T>) -> Option<T> {
    for slot in 0..NPROC {
        let process = PROCESSES.lock()[slot].clone();
        if let Some(process) = process
            && process.parent.load(Relaxed) == pid
            && let Some(answer) = f(&process)
        {
            return Some(answer);
        }
    }
    None
}
