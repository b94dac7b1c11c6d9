//! Semaphores in memory that is not of kind `shared`.

use super::{FOR_EVER, attach, call, detach};
use crate::check::{PG, Verdict, Why, at_rest, fails, other, same};
use alloc::vec::Vec;
use rt::note::{self, Then};
use rt::sync::channel;
use rt::thread::{self, JoinHandle};
use rt::{Call, Errno, Shared, sys};
fn acquire(address: u64, timeout_ns: u64) -> Result<u64, Errno> {
    call(Call::SemAcquire, [address, timeout_ns, 0, 0, 0, 0])
}

fn release(address: u64) -> Result<u64, Errno> {
    call(Call::SemRelease, [address, 1, 0, 0, 0, 0])
}

/// Semaphores in plain memory, also where its page leaves meanwhile.
pub(super) fn plain() -> Verdict {
    let address = attach(0, 2 * PG)?;
    for word in [address, address + PG as u64 - 4, address + PG as u64] {
        let waits: Vec<_> = (0..3)
            .map(|_| thread::spawn(move || acquire(word, u64::MAX)))
            .collect();
        at_rest()?;
        let _ = call(Call::PageOut, [address, 2 * PG as u64, 0, 0, 0, 0]);
        for _ in 0..3 {
            same("nothing is left for later", release(word)?, 0)?;
        }
        for wait in waits {
            same("taken", wait.join(), Ok(1))?;
        }
        same("released ahead", release(word)?, 1)?;
        same("taken at once", acquire(word, 0)?, 1)?;
        same("none", acquire(word, 0)?, 0)?;
    }
    fails(
        "read-only",
        release(c"text".as_ptr() as u64 & !3),
        Errno::EFAULT,
    )?;
    detach(address)?;
    fails("nowhere", release(address), Errno::EFAULT)
}

pub(super) fn note() -> Verdict {
    note::handle(|_, _| Then::Resume)?;
    let address = attach(0, PG)?;
    let (to, pids) = channel();
    let waits = thread::spawn(move || {
        let _ = to.send(sys::getpid());
        acquire(address, u64::MAX)
    });
    let pid = pids.recv().map_err(|_| Why("no pid".into()))?;
    at_rest()?;
    note::send(pid, "look")?;
    same("interrupted", waits.join(), Err(Errno::EINTR))?;
    same("nobody waits", release(address)?, 1)?;
    detach(address)?;
    Ok(())
}

/// Those that wait in memory that is detached are told.
pub(super) fn detach_memory() -> Verdict {
    let (gone, stays) = (attach(0, PG)?, attach(0, PG)?);
    let waits: Vec<_> = [gone, stays, gone + 8]
        .map(|word| thread::spawn(move || acquire(word, u64::MAX)))
        .into();
    at_rest()?;
    detach(gone)?;
    at_rest()?;
    same("elsewhere", release(stays)?, 0)?;
    let got: Vec<_> = waits.into_iter().map(JoinHandle::join).collect();
    same(
        "taken",
        got,
        alloc::vec![Err(Errno::EFAULT), Ok(1), Err(Errno::EFAULT)],
    )?;
    detach(stays)?;
    Ok(())
}

/// A child's copy of a semaphore is another one; in shared memory it is the same.
pub(super) fn fork() -> Verdict {
    let shared = Shared::new(PG)?;
    let (own, both) = (attach(0, PG)?, shared.address());
    let waits: Vec<_> = [own, both]
        .map(|word| thread::spawn(move || acquire(word, u64::MAX)))
        .into();
    at_rest()?;
    other(|| {
        same("of its own", release(own)?, 1)?;
        same("of both", release(both)?, 0)
    })?;
    at_rest()?;
    ensure!(!waits[0].is_finished(), "released by the child");
    same("released here", release(own)?, 0)?;
    for wait in waits {
        same("taken", wait.join(), Ok(1))?;
    }
    detach(own)?;
    Ok(())
}

pub(super) fn time() -> Verdict {
    let address = attach(0, PG)?;
    same("in vain", acquire(address, 3_000_000)?, 0)?;
    same("nobody waits", release(address)?, 1)?;
    same("there", acquire(address, 3_000_000)?, 1)?;
    let waits = thread::spawn(move || acquire(address, FOR_EVER));
    at_rest()?;
    same("handed over", release(address)?, 0)?;
    same("in time", waits.join(), Ok(1))?;
    detach(address)?;
    Ok(())
}

/// The same in shared memory; whoever gets its frame then is not concerned.
pub(super) fn detach_shared() -> Verdict {
    let gone = Shared::new(PG)?;
    let word = gone.address();
    core::mem::forget(gone);
    let waits = thread::spawn(move || acquire(word, u64::MAX));
    at_rest()?;
    detach(word)?;
    // The frame that was freed last comes first.
    let fresh = Shared::new(PG)?;
    same("nobody waits here", release(fresh.address())?, 1)?;
    same("told", waits.join(), Err(Errno::EFAULT))
}
