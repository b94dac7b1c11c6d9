//! Semaphores of programs: a `u32` in a shared segment, and the processes that
//! wait while it is zero, in order of arrival.
//!
//! The value is in the program's memory, so that programs can read it; only the
//! calls change it. The waiters are here, by frame and offset. A release
//! decrements the value at once for each waiter that it wakes, so that no other
//! process overtakes.
use super::Process;
use crate::sched::{self, Reason, Wait, WaitQueue};
use crate::seg::{SegmentKind, user};
use abi::{Errno, PAGE};
use hw::frames::FrameRef;
use hw::lock::{Lock, Rank};
use hw::task::NPROC;
use vm::{Access, Frame};

/// A semaphore: where its value is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct SemaphoreWord {
    frame: Frame,
    at: usize,
}

struct Waiters {
    /// The semaphore that the process in a slot waits for; `None` once it has it.
    wanted: [Option<SemaphoreWord>; NPROC],
    queue: WaitQueue,
}

static WAITERS: Lock<Waiters> = Lock::new(
    Rank::Process,
    Waiters {
        wanted: [None; NPROC],
        queue: WaitQueue::new(),
    },
);

/// A semaphore whose frame is held.
struct Semaphore {
    frame: FrameRef,
    at: usize,
}

impl Semaphore {
    /// The one at `va`.
    fn at(process: &Process, va: u64) -> Result<Semaphore, Errno> {
        if !va.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        user::check(va, 4)?;
        {
            let space = process.space.lock();
            let segment = space.find(va).ok_or(Errno::EFAULT)?;
            if segment.kind != SegmentKind::Shared {
                return Err(Errno::EINVAL);
            }
        }
        let frame = user::hold(&process.space, va, Access::Store)?;
        let at = (va % PAGE) as usize;
        Ok(Semaphore { frame, at })
    }

    fn word(&self) -> SemaphoreWord {
        SemaphoreWord {
            frame: self.frame.frame(),
            at: self.at,
        }
    }

    fn value(&self) -> u32 {
        let mut bytes = [0; 4];
        self.frame.read(self.at, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn set_value(&self, value: u32) {
        self.frame.write(self.at, &value.to_le_bytes());
    }

    fn try_take(&self) -> Option<()> {
        let left = self.value().checked_sub(1)?;
        self.set_value(left);
        Some(())
    }
}

/// Takes one from the semaphore at `va` if it is not zero.
pub fn try_acquire(process: &Process, va: u64) -> Result<Option<()>, Errno> {
    Ok(Semaphore::at(process, va)?.try_take())
}

/// Takes one from the semaphore at `va`; waits while it is zero.
pub fn acquire(process: &Process, va: u64) -> Result<(), Errno> {
    let semaphore = Semaphore::at(process, va)?;
    if semaphore.try_take().is_some() {
        return Ok(());
    }
    let me = usize::from(process.slot());
    WAITERS.lock().wanted[me] = Some(semaphore.word());
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
    let semaphore = Semaphore::at(process, va)?;
    let sum = u64::from(semaphore.value())
        .checked_add(count)
        .and_then(|sum| u32::try_from(sum).ok());
    let mut now = sum.ok_or(Errno::ERANGE)?;
    let word = semaphore.word();
    let Waiters { wanted, queue } = &mut *WAITERS.lock();
    while now > 0
        && let Some(first) = queue.first(|slot| wanted[usize::from(slot)] == Some(word))
    {
        wanted[usize::from(first)] = None;
        sched::unpark(first);
        now -= 1;
    }
    semaphore.set_value(now);
    Ok(u64::from(now))
}
