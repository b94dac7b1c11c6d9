//! Threads that borrow: they have ended when their scope has.

use super::stacks::{self, Place};
use super::{Builder, Started};
use crate::sync::Mutex;
use abi::Errno;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The threads of one [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    places: Mutex<Places>,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// The stacks of the threads that were started.
struct Places {
    all: Vec<Place>,
    /// The end of the scope goes through them: they stay where they are.
    ending: bool,
}

impl Places {
    /// Gives back the stacks of threads that have ended and that nobody will join.
    fn sweep(&mut self) {
        if self.ending {
            return;
        }
        self.all.retain(|place| {
            let free = place.unwanted.load(Acquire) && place.left.try_take();
            if free {
                stacks::give(place);
            }
            !free
        });
    }
}

/// A thread of a scope that can be waited for earlier.
pub struct ScopedJoinHandle<'scope, T> {
    started: Started<T>,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits until the thread has ended; its value.
    pub fn join(self) -> T {
        let left = &self.started.place.left;
        left.take();
        // The end of the scope waits for it, too.
        left.give();
        self.started.value()
    }
}

impl<T> Drop for ScopedJoinHandle<'_, T> {
    fn drop(&mut self) {
        self.started.place.unwanted.store(true, Release);
    }
}

/// Runs `f`, which may start threads that borrow what lives longer than this call; returns
/// when all of them have ended.
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope {
        places: Mutex::new(Places {
            all: Vec::new(),
            ending: false,
        }),
        scope: PhantomData,
        env: PhantomData,
    };
    let result = f(&scope);
    scope.places.lock().ending = true;
    let mut ended = 0;
    // A thread that runs may still start others.
    while let Some(place) = scope.place(ended) {
        place.left.take();
        // Another thread may still join it: the permit stays until all have ended.
        place.left.give();
        ended += 1;
    }
    for place in core::mem::take(&mut scope.places.lock().all) {
        place.left.set(0);
        stacks::give(place);
    }
    result
}

impl<'scope> Scope<'scope, '_> {
    /// The stack of the thread that was started after `n` others.
    fn place(&self, n: usize) -> Option<Place> {
        self.places.lock().all.get(n).copied()
    }

    /// Starts a thread. Panics if the system allows no more.
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        match self.try_spawn(Builder::new(), f) {
            Ok(handle) => handle,
            Err(errno) => panic!("no thread: {errno}"),
        }
    }

    /// The same with a name or a stack size.
    ///
    /// # Errors
    /// As [`Builder::spawn`].
    pub fn try_spawn<F, T>(
        &'scope self,
        how: Builder<'_>,
        f: F,
    ) -> Result<ScopedJoinHandle<'scope, T>, Errno>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let mut places = self.places.lock();
        places.sweep();
        places.all.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        // SAFETY: the scope does not end before the thread has left its stack.
        let started = unsafe { how.start(f) }?;
        started.place.unwanted.store(false, Relaxed);
        places.all.push(started.place);
        Ok(ScopedJoinHandle {
            started,
            scope: PhantomData,
        })
    }
}
