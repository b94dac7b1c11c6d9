//! Locks with ranks.
//!
//! One CPU runs the kernel and nothing preempts it, so a lock that is taken
//! twice is a bug, not contention, and a flag is enough to find it. A thread of
//! control may take a lock only while every lock it holds has a *smaller* rank, and
//! may hold none when it parks ([`assert_none_held`]), which is how "no lock is held
//! across a message or a copy to or from user memory" is enforced.
//!
//! Ranks are checked in the kernel that `cargo run` and the tests boot, and not in the
//! one of `--release` and `cargo bench`: the two differ in the profiles of the
//! workspace's `Cargo.toml`. That a lock is not taken twice is checked in both, for
//! the value behind it depends on that alone.
//!
//! Below all ranks are the mutexes of this crate, which need none: they are held
//! for moments, within one function of this crate, and in this order: the slabs of
//! the heap or its region for set-up, the places of large objects, the places of
//! stacks, the frame table; a serial port alone.
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

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
    /// The memory that is kept for messages.
    Messages,
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
    /// The records that wait for a program.
    Trace,
}

/// True in a kernel that checks ranks.
const RANKED: bool = cfg!(debug_assertions);

/// A value that one thread of control at a time may touch.
pub struct Lock<T> {
    rank: Rank,
    inner: Mutex<T>,
}

impl<T> Lock<T> {
    /// An unlocked lock.
    pub const fn new(rank: Rank, value: T) -> Self {
        Lock {
            rank,
            inner: Mutex::new(value),
        }
    }

    /// The guarded value.
    pub fn into_inner(self) -> T {
        self.inner.value.into_inner()
    }

    /// Takes the lock. Panics where it is taken already, or where the order would be
    /// broken: that is a kernel bug, which would otherwise show as a silent hang.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> Guard<'_, T> {
        if RANKED {
            let held = cpu().held.load(Relaxed);
            if held >> self.rank as u8 != 0 {
                out_of_order(self.rank, held);
            }
            cpu().held.store(held | 1 << self.rank as u8, Relaxed);
        }
        Guard {
            rank: self.rank,
            inner: self.inner.lock(),
        }
    }
}

#[cold]
#[track_caller]
fn out_of_order(rank: Rank, held: u32) -> ! {
    panic!("lock {rank:?} taken out of order, held ranks {held:#b}");
}

/// Panics if any lock is held, in a kernel that checks ranks: called where the CPU may
/// change hands.
#[inline]
#[track_caller]
pub fn assert_none_held() {
    if RANKED {
        let held = cpu().held.load(Relaxed);
        assert!(held == 0, "locks held while parking, ranks {held:#b}");
    }
}

/// Access to the value of a [`Lock`].
pub struct Guard<'a, T> {
    rank: Rank,
    inner: MutexGuard<'a, T>,
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if RANKED {
            let held = cpu().held.load(Relaxed);
            cpu().held.store(held & !(1 << self.rank as u8), Relaxed);
        }
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

/// A lock without a rank, below all that have one.
pub(crate) struct Mutex<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: a reference to the value exists only in a `MutexGuard`, of which there is one
// at a time (`lock`): there is one CPU, so nothing comes between the test of the flag
// and its setting.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// An unlocked one.
    pub const fn new(value: T) -> Self {
        Mutex {
            taken: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Takes the lock. Panics where it is taken already.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        if self.taken.load(Relaxed) {
            taken_twice();
        }
        self.taken.store(true, Relaxed);
        MutexGuard {
            lock: self,
            value: PhantomData,
        }
    }
}

#[cold]
#[track_caller]
fn taken_twice() -> ! {
    panic!("lock taken twice");
}

/// Access to the value of a [`Mutex`].
pub(crate) struct MutexGuard<'a, T> {
    lock: &'a Mutex<T>,
    /// As shareable as that.
    value: PhantomData<&'a mut T>,
}

impl<T> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.taken.store(false, Relaxed);
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this is the only guard: `lock` has found the flag clear and set it.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; the guard is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}
