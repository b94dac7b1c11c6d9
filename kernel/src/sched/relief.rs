//! Frames when there are none, or few.
//!
//! A process that finds no frame, by a touch or in a system call, comes here. A
//! [`Policy`] of a higher floor evicts pages; where none can leave, the process waits
//! while another one is made to give memory back.
use super::{Reason, Slot, Wake, breathe, current_slot, ending, park};
use abi::{Errno, PROCESSES_MAX};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use hw::task::NONE;
use hw::{frames, pending, time};
use spin::Once;

/// How often a waiting process looks again, nanoseconds.
const LOOK_NS: u64 = 1_000_000;
/// How long it waits at most.
const WAIT_NS: u64 = 30_000_000_000;

/// How often a waiting process has the policy search for pages again, in looks.
const SEARCH: u32 = 16;

/// Decides which pages leave memory, and which process gives memory back.
pub trait Policy: Sync {
    /// Evicts pages, while others run in between. `false`: none can leave.
    fn reclaim(&self) -> bool;

    /// Evicts a few pages if frames are few, in one short step.
    fn ease(&self);

    /// Has another process than the running one give memory back. `false`: there
    /// is none that is to.
    fn demand(&self) -> bool;

    /// Counts what each account has in swap, in one look at all processes.
    fn count_in_swap(&self);

    /// Returns true if pages of the process in that slot may take more room of swap, as it
    /// was counted last.
    fn may_swap(&self, slot: Slot) -> bool;

    /// How long pages that leave, and whose frames others take at once or that come back,
    /// keep a process from having memory given back, in nanoseconds.
    fn futile_after_ns(&self) -> u64;

    /// Called when a system call of the running process found no frame and no
    /// other process can give memory back.
    fn denied(&self);
}

static POLICY: Once<&'static dyn Policy> = Once::new();

/// Sets the policy; once, at start.
pub fn set_policy(policy: &'static dyn Policy) {
    POLICY.call_once(|| policy);
}

/// How often an operation was tried again although there were frames.
#[derive(Default)]
pub struct Tries(u32);

/// The running process found no frame for an operation that was tried so often. `true`:
/// there are some now, try again.
///
/// # Errors
/// `EINTR`: a note came, or the process is to end.
pub fn relieve(tries: &mut Tries) -> Result<bool, Errno> {
    let begin = time::now_ns();
    let deadline = begin.saturating_add(WAIT_NS);
    let (mut waited, mut looks) = (false, 0);
    // They count as free, but kernel objects are not made of them.
    frames::free_kept();
    while frames::exhausted() {
        let searches = looks % SEARCH == 0;
        looks += 1;
        if searches {
            let some = POLICY.get().is_some_and(|policy| policy.reclaim());
            // Others run during a search, and may have given frames back: then nobody
            // is to be told to.
            let futile = POLICY.get().is_some_and(|policy| {
                frames::exhausted() && time::now_ns() - begin >= policy.futile_after_ns()
            });
            if !futile && (some || !frames::exhausted()) {
                (waited, looks) = (true, 0);
                continue;
            }
        }
        let now = time::now_ns();
        if now >= deadline || !POLICY.get().is_some_and(|policy| policy.demand()) {
            return Ok(false);
        }
        match park(Reason::Memory, Some(now.saturating_add(LOOK_NS))) {
            Wake::Woken | Wake::Timeout => waited = true,
            Wake::Ending | Wake::Noted => return Err(Errno::EINTR),
        }
    }
    Ok(waited || frames::denied_lately() && try_again(tries)?)
}

/// How often a process tries again at once, and after how long it may again.
const RETRIES: u32 = 64;
const RETRIES_NS: u64 = 100_000_000;

/// Others have given frames back since the running process found none, by eviction or
/// by their end. `false`: it has tried too often, so more frames than there are would
/// be needed at once.
///
/// Tries are counted for one operation, which may take long, and for all within a
/// moment, of which one may be part of another. The time of the search does not count: in
/// a large memory it is longer than a moment.
fn try_again(Tries(tries): &mut Tries) -> Result<bool, Errno> {
    static TRIED: [(AtomicU64, AtomicU32); PROCESSES_MAX] =
        [const { (AtomicU64::new(0), AtomicU32::new(0)) }; PROCESSES_MAX];
    let (last, count) = &TRIED[usize::from(current_slot())];
    if time::now_ns().saturating_sub(last.load(Relaxed)) > RETRIES_NS {
        count.store(0, Relaxed);
    }
    let lately = count.fetch_add(1, Relaxed);
    *tries += 1;
    if *tries > RETRIES || lately >= RETRIES {
        return Ok(false);
    }
    if lately % SEARCH == 0
        && let Some(policy) = POLICY.get()
    {
        policy.reclaim();
    }
    let woken = park(Reason::Memory, Some(time::now_ns().saturating_add(LOOK_NS)));
    last.store(time::now_ns(), Relaxed);
    match woken {
        Wake::Woken | Wake::Timeout => Ok(true),
        Wake::Ending | Wake::Noted => Err(Errno::EINTR),
    }
}

/// Frees all that is kept for a certain use, in steps: others run in between.
pub fn free_kept() {
    while frames::free_kept() && !ending() {
        breathe();
    }
}

/// Counts what each account has in swap, for [`may_swap`].
pub fn count_in_swap() {
    if let Some(policy) = POLICY.get() {
        policy.count_in_swap();
    }
}

/// Returns true if pages of the process in that slot may take more room of swap, as it was
/// counted last.
pub fn may_swap(slot: Slot) -> bool {
    POLICY.get().is_none_or(|policy| policy.may_swap(slot))
}

/// Between two pieces of work, with nothing locked: lets a few pages leave if frames
/// are few.
#[inline]
pub fn ease() {
    if pending::evicts() {
        ease_now();
    }
}

#[cold]
fn ease_now() {
    // The pages of the first program come before there is a process.
    if current_slot() != NONE
        && let Some(policy) = POLICY.get()
    {
        policy.ease();
    }
}

/// Runs something that changes nothing where it fails with `ENOMEM`, again after
/// others have given memory back.
///
/// # Errors
/// As `run`, and as [`relieve`].
pub fn again<T>(mut run: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    let mut tries = Tries::default();
    loop {
        match run() {
            Err(Errno::ENOMEM) if relieve(&mut tries)? => {}
            result => return result,
        }
    }
}

/// The running process failed to touch memory in a system call because frames are
/// out: it hears of that as a load or store would have let it.
pub fn denied_in_call() {
    if frames::exhausted()
        && let Some(policy) = POLICY.get()
    {
        policy.denied();
    }
}
