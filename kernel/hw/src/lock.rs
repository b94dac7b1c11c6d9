//! Spin locks with ranks.
//!
//! One CPU runs the kernel and nothing preempts it, so a lock that is taken
//! twice is a bug, not contention. A thread of control may take a lock only
//! while every lock it holds has a *smaller* rank, and may hold none when it
//! parks ([`assert_none_held`]), which is how "no lock is held across a message
//! or a copy to or from user memory" is enforced.
//!
//! Below all ranks are the mutexes of this crate, which need none: they are held
//! for moments, within one function of this crate, and in this order: the slabs of
//! the heap or its region for set-up, the places of large objects, the places of
//! stacks, the frame table; a serial port alone.
use core::ops::{Deref, DerefMut};
use core::sync::atomic::Ordering::Relaxed;

use crate::cpu::cpu;

/// The order in which locks may be taken, first to last, by the data they
/// guard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Rank {
    /// The hand of the clock that evicts pages.
    Clock,
    /// A name space, a working directory.
    Names,
    /// A process's descriptor table.
    Descriptors,
    /// The offset of an open file.
    File,
    /// A process's segments and page tables.
    Space,
    /// The table of snapshots held at servers.
    Snapshots,
    /// A 9P client's tags and fids.
    Mount,
    /// A receive port.
    Port,
    /// Both queues of a channel.
    Channel,
    /// The end of a process, its name and notes; waiters of semaphores.
    Process,
    /// The process table.
    Processes,
    /// Which port an interrupt goes to.
    Interrupts,
    /// Which frames hold which pages of files.
    Cache,
    /// Which pages have the frames that several have.
    Owners,
}

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

    /// The guarded value.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }

    /// Takes the lock. Panics where the order would be broken: that is a
    /// kernel bug, which would otherwise show as a silent hang.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> Guard<'_, T> {
        let held = cpu().held.load(Relaxed);
        if held >> self.rank as u8 != 0 {
            out_of_order(self.rank, held);
        }
        let Some(inner) = self.inner.try_lock() else {
            out_of_order(self.rank, held);
        };
        cpu().held.store(held | 1 << self.rank as u8, Relaxed);
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
    let held = cpu().held.load(Relaxed);
    assert!(held == 0, "locks held while parking, ranks {held:#b}");
}

/// Access to the value of a [`Lock`].
pub struct Guard<'a, T> {
    rank: Rank,
    inner: spin::MutexGuard<'a, T>,
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        cpu()
            .held
            .store(cpu().held.load(Relaxed) & !(1 << self.rank as u8), Relaxed);
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
