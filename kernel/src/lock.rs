//! Spin locks with ranks.
//!
//! One CPU runs the kernel and nothing preempts it, so a lock that is taken
//! twice is a bug, not contention. A thread of control may take a lock only
//! while every lock it holds has a *smaller* rank, and may hold none when it
//! parks (see `sched`), which is how "no lock is held across a message
//! or a copy to or from user memory" is enforced.
//!
//! | rank | guards |
//! |---|---|
//! | `Names` | a name space, a working directory |
//! | `Descriptors` | a process's descriptor table |
//! | `File` | the offset of an open file |
//! | `Space` | a process's segments and page tables |
//! | `Snapshots` | the table of snapshots held at servers |
//! | `Mount` | a 9P client's tags and fids |
//! | `Port` | a receive port |
//! | `Channel` | both queues of a channel |
//! | `Process` | how a process ended, its name, its notes; who waits for semaphores |
//! | `Processes` | the process table |
//! | `Kept` | which of its slots are kept for processes being made |
//! | `Interrupts` | which port an interrupt goes to |
//! | `Cache` | which frames hold which pages of files |
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The order in which locks may be taken, first to last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Rank {
    Names,
    Descriptors,
    File,
    Space,
    Snapshots,
    Mount,
    Port,
    Channel,
    Process,
    Processes,
    Kept,
    Interrupts,
    Cache,
}

/// A bit for each rank held by the CPU.
static HELD: AtomicU32 = AtomicU32::new(0);

/// A value that one thread of control at a time may touch.
pub struct Lock<T> {
    rank: Rank,
    inner: spin::Mutex<T>,
}

impl<T> Lock<T> {
    /// An unlocked lock.
    pub const fn new(rank: Rank, value: T) -> Self {
        Lock {
            rank,
            inner: spin::Mutex::new(value),
        }
    }

    /// What the lock guarded.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }

    /// Takes the lock. Panics where the order would be broken: that is a
    /// kernel bug, which would otherwise show as a silent hang.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> Guard<'_, T> {
        let held = HELD.load(Relaxed);
        if held >> self.rank as u8 != 0 {
            out_of_order(self.rank, held);
        }
        let Some(inner) = self.inner.try_lock() else {
            out_of_order(self.rank, held);
        };
        HELD.store(held | 1 << self.rank as u8, Relaxed);
        Guard {
            rank: self.rank,
            inner,
        }
    }
}

#[cold]
#[track_caller]
fn out_of_order(rank: Rank, held: u32) -> ! {
    panic!("lock {rank:?} taken out of order, held ranks {held:#b}");
}

/// Panics if any lock is held: called where the CPU may change hands.
#[inline]
#[track_caller]
pub fn assert_none_held() {
    let held = HELD.load(Relaxed);
    assert!(held == 0, "locks held while parking, ranks {held:#b}");
}

/// The right to touch what a [`Lock`] guards.
pub struct Guard<'a, T> {
    rank: Rank,
    inner: spin::MutexGuard<'a, T>,
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        HELD.store(HELD.load(Relaxed) & !(1 << self.rank as u8), Relaxed);
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}
