//! Waiting for frames that others give back.
//!
//! A process that finds no frame, by a touch or in a system call, waits here
//! while a [`Policy`] of the floor of processes has another one give memory back.
use super::{Reason, Wake, park};
use abi::Errno;
use hw::{frames, time};
use spin::Once;

/// How often a waiting process looks again, nanoseconds.
const LOOK_NS: u64 = 1_000_000;
/// How long it waits at most.
const WAIT_NS: u64 = 30_000_000_000;

/// Decides which process gives memory back.
pub trait Policy: Sync {
    /// Has another process than the running one give memory back. `false`: there
    /// is none that is to.
    fn demand(&self) -> bool;

    /// Called when a system call of the running process found no frame and no
    /// other process can give memory back.
    fn denied(&self);
}

static POLICY: Once<&'static dyn Policy> = Once::new();

/// Sets the policy; once, at start.
pub fn set_policy(policy: &'static dyn Policy) {
    POLICY.call_once(|| policy);
}

/// The running process found no frame. `true`: there are some now, try again.
///
/// # Errors
/// `EINTR`: a note came, or the process is to end.
pub fn relieve() -> Result<bool, Errno> {
    let deadline = time::now_ns().saturating_add(WAIT_NS);
    let mut waited = false;
    while frames::exhausted() {
        let now = time::now_ns();
        if now >= deadline || !POLICY.get().is_some_and(|policy| policy.demand()) {
            return Ok(false);
        }
        match park(Reason::Memory, Some(now.saturating_add(LOOK_NS))) {
            Wake::Woken | Wake::Timeout => waited = true,
            Wake::Ending | Wake::Noted => return Err(Errno::EINTR),
        }
    }
    // Otherwise the lack of frames was not the reason.
    Ok(waited)
}

/// Runs something that changes nothing where it fails with `ENOMEM`, again after
/// others have given memory back.
///
/// # Errors
/// As `run`, and as [`relieve`].
pub fn again<T>(mut run: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match run() {
            Err(Errno::ENOMEM) if relieve()? => {}
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
