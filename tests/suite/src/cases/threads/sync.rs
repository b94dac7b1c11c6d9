//! Mutexes, conditions, channels.

use crate::check::{Verdict, same};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use core::time::Duration;
use rt::sync::{Condvar, Mutex, TryRecvError, channel, sync_channel};
use rt::{sys, thread};

pub(super) fn mutex() -> Verdict {
    let count = Mutex::new(0_u64);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for turn in 0..500 {
                    let mut count = count.lock();
                    let before = *count;
                    if turn % 50 == 0 {
                        thread::yield_now();
                    }
                    *count = before + 1;
                }
            });
        }
    });
    let held = count.lock();
    ensure!(count.try_lock().is_none(), "locked twice");
    let counted = *held;
    drop(held);
    ensure!(count.try_lock().is_some(), "not free again");
    same("the count", counted, 4000)
}

/// Threads take turns: no notification is lost, and none goes to the wrong one.
pub(super) fn condition() -> Verdict {
    const THREADS: u32 = 6;
    const ROUNDS: u32 = 60;
    let (turn, changed) = (Mutex::new(0), Condvar::new());
    thread::scope(|scope| {
        for me in 0..THREADS {
            let (turn, changed) = (&turn, &changed);
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let mut now = changed.wait_while(turn.lock(), |now| *now % THREADS != me);
                    *now += 1;
                    drop(now);
                    changed.notify_all();
                }
            });
        }
    });
    same("turns", *turn.lock(), THREADS * ROUNDS)?;
    // Each waits until it is let go, one for each notification.
    let (left, ready) = (Mutex::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let guard = left.lock();
                ready.fetch_add(1, Relaxed);
                let mut guard = changed.wait(guard);
                *guard += 1;
            });
        }
        while ready.load(Relaxed) < THREADS {
            thread::yield_now();
        }
        // The last one waits when its lock is free.
        drop(left.lock());
        for _ in 0..THREADS {
            changed.notify_one();
        }
    });
    same("let go", *left.lock(), THREADS)
}

pub(super) fn condition_time() -> Verdict {
    let (value, never) = (Mutex::new(()), Condvar::new());
    let (guard, notified) = never.wait_timeout(value.lock(), Duration::from_millis(2));
    drop(guard);
    same("notified", notified, false)?;
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let (_guard, notified) = never.wait_timeout(value.lock(), Duration::from_secs(600));
            notified
        });
        for _ in 0..10_000 {
            never.notify_all();
            thread::yield_now();
        }
        // It began to wait in between, or is let go now.
        sys::sleep(20_000_000)?;
        never.notify_all();
        same("notified", waits.join(), true)
    })
}

pub(super) fn channels() -> Verdict {
    let (to, from) = channel();
    for i in 0..5_u32 {
        let to = to.clone();
        thread::spawn(move || (0..100).for_each(|j| assert!(to.send(i * 100 + j).is_ok())));
    }
    drop(to);
    let mut all: Vec<u32> = from.iter().collect();
    all.sort_unstable();
    ensure!(all.iter().copied().eq(0..500), "{} values", all.len());
    same(
        "after the end",
        from.try_recv(),
        Err(TryRecvError::Disconnected),
    )?;
    let (to, from) = channel::<u32>();
    same("nothing yet", from.try_recv(), Err(TryRecvError::Empty))?;
    drop(from);
    ensure!(to.send(1).is_err(), "sent to nobody");
    Ok(())
}

pub(super) fn full_channel() -> Verdict {
    let (to, from) = sync_channel(2);
    let sent = Arc::new(AtomicU32::new(0));
    let counter = sent.clone();
    let sender = thread::spawn(move || {
        for i in 0..50_u32 {
            if to.send(i).is_err() {
                return i;
            }
            counter.fetch_add(1, Relaxed);
        }
        50
    });
    sys::sleep(20_000_000)?;
    same("sent into a channel for two", sent.load(Relaxed), 2)?;
    for i in 0..10 {
        same("in order", from.recv(), Ok(i))?;
    }
    drop(from);
    let sent = sender.join();
    ensure!((10..=12).contains(&sent), "{sent} sent");
    Ok(())
}
