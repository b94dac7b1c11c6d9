//! Semaphores of programs: a `u32` in a shared segment, and the processes that
//! wait while it is zero, in order of arrival.
//!
//! The value is in the program's memory, so that programs can read it; only the
//! calls change it. The waiters are here, by frame and offset. A release
//! decrements the value at once for each waiter that it wakes, so that no other
//! process overtakes.
use super::Process;
use crate::chan::FrameRef;
use crate::sched::{self, Reason, Wait, WaitQueue};
use crate::seg::{Kind, user};
use abi::{Errno, PAGE};
use hw::frames;
use hw::lock::{Lock, Rank};
use hw::task::NPROC;
use vm::{Access, Frame};

/// A semaphore: where its value is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    frame: Frame,
    at: usize,
}

struct Waiters {
    /// The semaphore that the process in a slot waits for; `None` once it has it.
    wanted: [Option<Place>; NPROC],
    queue: WaitQueue,
}

static WAITERS: Lock<Waiters> = Lock::new(
    Rank::Process,
    Waiters {
        wanted: [None; NPROC],
        queue: WaitQueue::new(),
    },
);

/// The semaphore at `va`; its frame is held meanwhile.
fn place(process: &Process, va: u64) -> Result<(Place, FrameRef), Errno> {
    if !va.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    user::check(va, 4)?;
    {
        let space = process.space.lock();
        let segment = space.find(va).ok_or(Errno::EFAULT)?;
        if segment.kind != Kind::Shared {
            return Err(Errno::EINVAL);
        }
    }
    let (frame, _) = user::resolve(&process.space, va, Access::Store)?;
    let at = (va % PAGE) as usize;
    Ok((Place { frame, at }, FrameRef::retained(frame)))
}

fn value(place: Place) -> u32 {
    let mut bytes = [0; 4];
    frames::copy_from(place.frame, place.at, &mut bytes);
    u32::from_le_bytes(bytes)
}

fn set_value(place: Place, value: u32) {
    frames::copy_to(place.frame, place.at, &value.to_le_bytes());
}

/// Takes one from the semaphore at `va` if it is not zero.
pub fn try_acquire(process: &Process, va: u64) -> Result<Option<()>, Errno> {
    let (place, _held) = place(process, va)?;
    Ok(try_take(place))
}

fn try_take(place: Place) -> Option<()> {
    let left = value(place).checked_sub(1)?;
    set_value(place, left);
    Some(())
}

/// Takes one from the semaphore at `va`; waits while it is zero.
pub fn acquire(process: &Process, va: u64) -> Result<(), Errno> {
    let (place, _held) = place(process, va)?;
    if try_take(place).is_some() {
        return Ok(());
    }
    let me = usize::from(process.slot);
    WAITERS.lock().wanted[me] = Some(place);
    let waited = WAITERS.wait(
        |waiters| &mut waiters.queue,
        Reason::Semaphore,
        |waiters| waiters.wanted[me].is_none().then_some(()),
    );
    match WAITERS.lock().wanted[me].take() {
        Some(_) => waited,
        // It was granted: a note or the end comes after the call.
        None => Ok(()),
    }
}

/// Adds `count` to the semaphore at `va`; its value after that. `ERANGE`: more
/// than it can count.
pub fn release(process: &Process, va: u64, count: u64) -> Result<u64, Errno> {
    let (place, _held) = place(process, va)?;
    let sum = u64::from(value(place))
        .checked_add(count)
        .and_then(|sum| u32::try_from(sum).ok());
    let mut now = sum.ok_or(Errno::ERANGE)?;
    let Waiters { wanted, queue } = &mut *WAITERS.lock();
    while now > 0
        && let Some(first) = queue.first(|slot| wanted[usize::from(slot)] == Some(place))
    {
        wanted[usize::from(first)] = None;
        sched::unpark(first);
        now -= 1;
    }
    set_value(place, now);
    Ok(u64::from(now))
}
