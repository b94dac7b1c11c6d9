//! Semaphores of programs: a `u32` in memory, and the processes that wait while it is
//! zero, in order of arrival.
//!
//! The value is in the program's memory, so that programs can read it; the calls change
//! it, and a program may take from it where it is not zero. The waiters are here. A
//! release decrements the value at once for each waiter that it wakes, so that no other
//! process overtakes. Nothing else runs between a look at the value and the wait, so no
//! release is missed.
use super::Running;
use crate::sched::{self, Reason, Wait, WaitQueue};
use crate::seg::{SegmentKind, spaces, user};
use abi::{Errno, PAGE};
use core::ops::Range;
use hw::frames::FrameRef;
use hw::lock::{Lock, Rank};
use hw::task::NPROC;
use hw::time;
use vm::{Access, Frame};

/// A semaphore: where its value is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    /// In shared memory, whose frames stay: processes that have it at other addresses
    /// mean the same one.
    Shared(Frame, usize),
    /// At an address of one space. Its page may leave memory, and come back elsewhere.
    Own(spaces::Number, u64),
}

/// What a process in a wait has come to.
#[derive(Clone, Copy)]
enum Waiter {
    /// It does not wait, or was granted what it waited for.
    No,
    /// It waits for that semaphore, which it has at that address of that space.
    For(Word, spaces::Number, u64),
    /// The memory was detached.
    Gone,
}

impl Waiter {
    fn word(self) -> Option<Word> {
        match self {
            Waiter::For(word, ..) => Some(word),
            Waiter::No | Waiter::Gone => None,
        }
    }
}

struct Waiters {
    /// The waits of the process in each slot.
    of: [Waiter; NPROC],
    queue: WaitQueue,
}

static WAITERS: Lock<Waiters> = Lock::new(
    Rank::Process,
    Waiters {
        of: [Waiter::No; NPROC],
        queue: WaitQueue::new(),
    },
);

/// A semaphore whose frame is held.
struct Semaphore {
    word: Word,
    frame: FrameRef,
    at: usize,
}

impl Semaphore {
    /// The one at `va`.
    fn at(process: &Running, va: u64) -> Result<Semaphore, Errno> {
        if !va.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        user::check(va, 4)?;
        let frame = user::hold(&process.space, va, Access::Store)?;
        // Nothing has run since; before, another segment may have been there.
        let kind = process.space.lock().find(va).ok_or(Errno::EFAULT)?.kind;
        let at = (va % PAGE) as usize;
        let word = match kind {
            SegmentKind::Shared => Word::Shared(frame.frame(), at),
            SegmentKind::Device | SegmentKind::Dma => return Err(Errno::EINVAL),
            SegmentKind::Program
            | SegmentKind::Stack
            | SegmentKind::Stacks
            | SegmentKind::Memory
            | SegmentKind::Snapshot => Word::Own(process.space.lock().number(), va),
        };
        Ok(Semaphore { word, frame, at })
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

/// Takes one from the semaphore at `va`; waits while it is zero, for `timeout_ns` at most
/// unless that is the largest number. `false`: the time is up.
///
/// # Errors
/// `EINTR`, and `EFAULT`: the memory was detached.
pub fn acquire(process: &Running, va: u64, timeout_ns: u64) -> Result<bool, Errno> {
    let semaphore = Semaphore::at(process, va)?;
    if semaphore.try_take().is_some() {
        return Ok(true);
    }
    if timeout_ns == 0 {
        return Ok(false);
    }
    let deadline = (timeout_ns != u64::MAX).then(|| time::now_ns().saturating_add(timeout_ns));
    let me = usize::from(process.slot());
    let number = process.space.lock().number();
    WAITERS.lock().of[me] = Waiter::For(semaphore.word, number, va);
    // The frame may leave memory meanwhile.
    drop(semaphore);
    let waited = WAITERS.wait_until(
        deadline,
        |waiters| &mut waiters.queue,
        Reason::Semaphore,
        |waiters| waiters.of[me].word().is_none().then_some(()),
    );
    match core::mem::replace(&mut WAITERS.lock().of[me], Waiter::No) {
        Waiter::Gone => Err(Errno::EFAULT),
        // It was granted: a note or the end comes after the call.
        Waiter::No => Ok(true),
        Waiter::For(..) => match waited {
            Err(Errno::ETIMEDOUT) => Ok(false),
            waited => waited.map(|()| true),
        },
    }
}

/// Adds `count` to the semaphore at `va`; its value after that. `ERANGE`: more
/// than it can count.
pub fn release(process: &Running, va: u64, count: u64) -> Result<u64, Errno> {
    let semaphore = Semaphore::at(process, va)?;
    let sum = u64::from(semaphore.value())
        .checked_add(count)
        .and_then(|sum| u32::try_from(sum).ok());
    let mut now = sum.ok_or(Errno::ERANGE)?;
    let Waiters { of, queue } = &mut *WAITERS.lock();
    while now > 0
        && let Some(first) =
            queue.first(|slot| of[usize::from(slot)].word() == Some(semaphore.word))
    {
        of[usize::from(first)] = Waiter::No;
        sched::unpark(first);
        now -= 1;
    }
    semaphore.set_value(now);
    Ok(u64::from(now))
}

/// Memory of the process was detached: those that wait there for a semaphore give up.
pub fn detached(process: &Running, addresses: &Range<u64>) {
    let number = process.space.lock().number();
    let is_there = |waiter| match waiter {
        Waiter::For(_, space, va) => space == number && addresses.contains(&va),
        Waiter::No | Waiter::Gone => false,
    };
    let Waiters { of, queue } = &mut *WAITERS.lock();
    while let Some(first) = queue.first(|slot| is_there(of[usize::from(slot)])) {
        of[usize::from(first)] = Waiter::Gone;
        sched::unpark(first);
    }
}
