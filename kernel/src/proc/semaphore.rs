//! Semaphores of programs: a `u32` in a shared segment, and the processes that
//! wait while it is zero, in order of arrival.
//!
//! The value is in the program's memory, so that programs can read it; only the
//! calls change it. The waiters are here, by frame and offset. A release
//! decrements the value at once for each waiter that it wakes, so that no other
//! process overtakes.
use super::Process;
use crate::chan::FrameRef;
use crate::sched::{self, Reason, Slot, Wait, WaitQueue};
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

#[derive(Clone, Copy)]
struct Waiter {
    place: Place,
    /// Smaller for earlier arrivals.
    turn: u64,
    granted: bool,
}

struct Waiters {
    by_slot: [Option<Waiter>; NPROC],
    next_turn: u64,
    queue: WaitQueue,
}

static WAITERS: Lock<Waiters> = Lock::new(
    Rank::Process,
    Waiters {
        by_slot: [None; NPROC],
        next_turn: 0,
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
    let me = process.slot;
    {
        let mut waiters = WAITERS.lock();
        let turn = waiters.next_turn;
        waiters.next_turn += 1;
        if let Some(entry) = waiters.by_slot.get_mut(me as usize) {
            *entry = Some(Waiter {
                place,
                turn,
                granted: false,
            });
        }
    }
    let waited = WAITERS.wait(
        |waiters| &mut waiters.queue,
        Reason::Semaphore,
        |waiters| waiters.is_granted(me).then_some(()),
    );
    let waiters = &mut *WAITERS.lock();
    let granted = waiters.is_granted(me);
    if let Some(entry) = waiters.by_slot.get_mut(me as usize) {
        *entry = None;
    }
    match waited {
        // A note or the end comes after the call.
        Err(_) if granted => Ok(()),
        waited => waited,
    }
}

impl Waiters {
    fn is_granted(&self, slot: Slot) -> bool {
        let entry = self.by_slot.get(slot as usize);
        entry.is_some_and(|w| w.is_some_and(|w| w.granted))
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
    while now > 0 && grant_first(place) {
        now -= 1;
    }
    set_value(place, now);
    Ok(u64::from(now))
}

/// Grants the semaphore to the first waiter; `false` if there is none.
fn grant_first(place: Place) -> bool {
    let mut waiters = WAITERS.lock();
    let mut first: Option<(usize, u64)> = None;
    for (slot, entry) in waiters.by_slot.iter().enumerate() {
        if let Some(w) = entry
            && w.place == place
            && !w.granted
            && first.is_none_or(|(_, turn)| w.turn < turn)
        {
            first = Some((slot, w.turn));
        }
    }
    let Some((slot, _)) = first else { return false };
    if let Some(Some(w)) = waiters.by_slot.get_mut(slot) {
        w.granted = true;
    }
    drop(waiters);
    sched::unpark(slot as Slot);
    true
}
