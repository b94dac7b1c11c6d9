//! The thread library, as programs use it.

mod ends;
mod sync;

use super::Case;
use crate::check::{Verdict, Why, other, same};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use core::time::Duration;
use rt::abi::Registers;
use rt::note::{self, Then};
use rt::sync::{Mutex, channel};
use rt::thread::{self, Builder};
use rt::{Errno, File, process, sys};

pub const CASES: &[Case] = &[
    Case::new("threads.join", join),
    Case::new("threads.many", many),
    Case::new("threads.detached", detached),
    Case::new("threads.scope", scope),
    Case::new("threads.scope.nested", nested),
    Case::new("threads.scope.reuse", reuse),
    Case::new("threads.mutex", sync::mutex),
    Case::new("threads.condition", sync::condition),
    Case::new("threads.condition.time", sync::condition_time),
    Case::new("threads.channel", sync::channels),
    Case::new("threads.channel.full", sync::full_channel),
    Case::new("threads.local", local),
    Case::new("threads.local.note", local_in_a_note),
    Case::new("threads.heap", heap),
    Case::new("threads.fork", fork),
    Case::new("threads.names", names),
    Case::new("threads.stack.large", large_stacks),
    Case::new("threads.stack.closure", large_closure),
    Case::new("threads.note", notes),
    Case::new("threads.note.later", later_handler),
    Case::new("threads.children", children),
    Case::new("threads.exit", ends::exit),
    Case::new("threads.end", ends::end_of_main),
    Case::new("threads.limit", limit),
    Case::new("threads.panic", ends::panics),
    Case::new("threads.panic.two", ends::two_panics),
    Case::new("threads.print", ends::print),
    Case::new("threads.primes", primes),
];

fn join() -> Verdict {
    let text = thread::spawn(|| String::from("a value")).join();
    same("the value", text.as_str(), "a value")?;
    let handle = thread::spawn(|| 7);
    while !handle.is_finished() {
        thread::yield_now();
    }
    same("of one that had ended", handle.join(), 7)
}

fn many() -> Verdict {
    for round in 0..20_u64 {
        let all: Vec<_> = (0..40).map(|i| thread::spawn(move || i * round)).collect();
        let sum: u64 = all.into_iter().map(thread::JoinHandle::join).sum();
        same("the sum", sum, 780 * round)?;
    }
    Ok(())
}

fn detached() -> Verdict {
    let count = Arc::new(AtomicU32::new(0));
    for _ in 0..300 {
        let counts = count.clone();
        // Stacks and processes come back, or the last would find none.
        drop(thread::spawn(move || counts.fetch_add(1, Relaxed)));
        if Arc::strong_count(&count) > 50 {
            sys::sleep(100_000)?;
        }
    }
    for _ in 0..10_000 {
        if count.load(Relaxed) == 300 {
            return Ok(());
        }
        sys::sleep(100_000)?;
    }
    Err(Why(alloc::format!("{} of 300", count.load(Relaxed))))
}

fn scope() -> Verdict {
    let mut numbers = alloc::vec![0_u32; 1000];
    let whole = thread::scope(|scope| {
        for (i, part) in numbers.chunks_mut(100).enumerate() {
            scope.spawn(move || part.fill(i as u32));
        }
        scope.spawn(|| 5).join()
    });
    same("what the scope returned", whole, 5)?;
    let sum: u32 = numbers.iter().sum();
    same("what the threads stored", sum, 4500)
}

/// A thread of a scope waits for another one, which has ended when the scope's end looks.
fn nested() -> Verdict {
    let sum = Mutex::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let other = scope.spawn(|| 7);
            thread::sleep(Duration::from_millis(20));
            *sum.lock() += other.join();
        });
        // The other one is there, then.
        thread::sleep(Duration::from_millis(5));
    });
    same("what the other one gave", *sum.lock(), 7)
}

/// More threads of a scope, one after the other, than there are stacks.
fn reuse() -> Verdict {
    const TIMES: u32 = 400;
    let count = AtomicU32::new(0);
    let joined: u32 = thread::scope(|scope| {
        let joined = (0..TIMES).map(|_| scope.spawn(|| 1).join()).sum();
        for before in 0..TIMES {
            drop(scope.spawn(|| count.fetch_add(1, Relaxed)));
            while count.load(Relaxed) == before {
                thread::yield_now();
            }
        }
        joined
    });
    same(
        "joined and dropped",
        (joined, count.load(Relaxed)),
        (TIMES, TIMES),
    )
}

rt::thread_local! {
    static DEPTH: Cell<u32> = Cell::new(100);
    static DROPPED: Counts = Counts(Cell::new(0));
}

static DROPS: AtomicU32 = AtomicU32::new(0);

struct Counts(Cell<u32>);

impl Drop for Counts {
    fn drop(&mut self) {
        DROPS.fetch_add(self.0.get(), Relaxed);
    }
}

fn local() -> Verdict {
    DEPTH.with(|depth| depth.set(1));
    let others: Vec<_> = (2..6)
        .map(|i| {
            thread::spawn(move || {
                let first = DEPTH.with(Cell::get);
                DEPTH.with(|depth| depth.set(i));
                thread::yield_now();
                DROPPED.with(|counts| counts.0.set(i));
                (first, DEPTH.with(Cell::get))
            })
        })
        .collect();
    for (i, other) in (2..6).zip(others) {
        same("at first, and later", other.join(), (100, i))?;
    }
    same("dropped", DROPS.load(Relaxed), 2 + 3 + 4 + 5)?;
    same("this thread's", DEPTH.with(Cell::get), 1)
}

rt::thread_local! {
    static NOTED: Counts = {
        let _ = note::send(sys::getpid(), "in the middle");
        Counts(Cell::new(0))
    };
}

/// The value that a note handler makes while the thread makes its own is the thread's.
fn local_in_a_note() -> Verdict {
    note::handle(|_, _| {
        NOTED.with(|counts| counts.0.set(7));
        Then::Resume
    })?;
    let before = DROPS.load(Relaxed);
    let seen = thread::spawn(|| NOTED.with(|counts| counts.0.get())).join();
    same("the value", seen, 7)?;
    same("dropped", DROPS.load(Relaxed) - before, 7)
}

/// Memory taken and given back by several at once is nobody else's.
fn heap() -> Verdict {
    let wrong = thread::scope(|scope| {
        let all: Vec<_> = (0..6_u8)
            .map(|me| {
                scope.spawn(move || {
                    let mut kept: Vec<Vec<u8>> = Vec::new();
                    let mut wrong = 0;
                    for turn in 0..400_usize {
                        let len = 1 + turn * 37 % 5000;
                        kept.push(alloc::vec![me; len]);
                        if kept.len() > 20 {
                            let old = kept.swap_remove(turn % 20);
                            wrong += old.iter().filter(|byte| **byte != me).count();
                        }
                    }
                    wrong
                })
            })
            .collect();
        all.into_iter().map(thread::ScopedJoinHandle::join).sum()
    });
    same("bytes of others", wrong, 0_usize)
}

/// A child made by a thread, while others use the heap, can use it too.
fn fork() -> Verdict {
    let stop = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while stop.load(Relaxed) == 0 {
                    drop(core::hint::black_box(alloc::vec![1_u8; 100]));
                }
            });
        }
        let forks = scope.spawn(|| {
            for _ in 0..20 {
                other(|| {
                    let sum = thread::spawn(|| alloc::vec![1_u8; 3000].len()).join();
                    same("in the child", sum, 3000)
                })?;
            }
            Ok(())
        });
        let verdict = forks.join();
        stop.store(1, Relaxed);
        verdict
    })
}

fn names() -> Verdict {
    let name = || thread::current_name(|name| String::from(name));
    same("of the first", name().as_str(), "main")?;
    let handle = Builder::new()
        .name("worker")
        .stack_size(1 << 20)
        .spawn(move || {
            // More than the usual stack has.
            let large = core::hint::black_box([1_u8; 600_000]);
            (
                name(),
                large.iter().map(|byte| u32::from(*byte)).sum::<u32>(),
            )
        })?;
    same(
        "of another",
        handle.join(),
        (String::from("worker"), 600_000),
    )?;
    same("without", thread::spawn(name).join().as_str(), "")
}

/// A large stack is kept for a thread that asks for it.
fn large_stacks() -> Verdict {
    let stop = Arc::new(Mutex::new(()));
    let _held = stop.lock();
    let size = |bytes| Builder::new().stack_size(bytes);
    // Each large one of its own would be more segments than there may be.
    for _ in 0..12 {
        size(1 << 20).spawn(|| ())?.join();
        let stop = stop.clone();
        drop(Builder::new().spawn(move || drop(stop.lock()))?);
    }
    let endless = size(usize::MAX).spawn(|| ());
    same("too large", endless.err(), Some(Errno::ENOMEM))
}

/// A closure may be nearly as large as the usual stack.
fn large_closure() -> Verdict {
    let starts = Builder::new().stack_size(4 << 20).spawn(|| {
        let large = core::hint::black_box([1_u8; 240_000]);
        thread::spawn(move || large.iter().map(|byte| u32::from(*byte)).sum::<u32>()).join()
    })?;
    same("its bytes", starts.join(), 240_000)
}

/// A note to a thread runs the handler there, and its wait goes on.
fn notes() -> Verdict {
    note::handle(note_who)?;
    noted_thread(|| Ok(()))
}

/// A handler is the program's: threads that run already have it, too.
fn later_handler() -> Verdict {
    noted_thread(|| note::handle(note_who))
}

/// The process that had the last note.
static HAD: AtomicU32 = AtomicU32::new(0);

fn note_who(_: &mut Registers, _: &str) -> Then {
    HAD.store(sys::getpid() as u32, Relaxed);
    Then::Resume
}

/// Sends notes to a thread that waits, after `prepare`.
fn noted_thread(prepare: impl FnOnce() -> Result<(), Errno>) -> Verdict {
    let (to_main, pids) = channel();
    let (to_thread, work) = channel::<u32>();
    let waits = thread::spawn(move || {
        let _ = to_main.send(sys::getpid());
        work.recv()
    });
    let Ok(pid) = pids.recv() else {
        return Err(Why("no pid".into()));
    };
    prepare()?;
    for _ in 0..5 {
        HAD.store(0, Relaxed);
        sys::sleep(2_000_000)?;
        note::send(pid, "look")?;
        sys::sleep(2_000_000)?;
        same("the handler ran in", u64::from(HAD.load(Relaxed)), pid)?;
    }
    let _ = to_thread.send(9);
    same("what the thread got", waits.join(), Ok(9))
}

/// A child that ended while its thread waited for another one is still that thread's.
fn children() -> Verdict {
    let first = process::spawn(|| 3)?;
    let second = process::spawn(|| {
        let _ = sys::sleep(20_000_000);
        4
    })?;
    same("the second", process::wait_for(second)?.status(), 4)?;
    let other = thread::spawn(|| process::wait().map(|ended| ended.pid()));
    same(
        "a thread without children",
        other.join(),
        Err(Errno::ECHILD),
    )?;
    same("the first", process::wait_for(first)?.status(), 3)
}

/// Where there are no more processes, the error says so, and nothing is lost.
fn limit() -> Verdict {
    other(|| {
        let (stop, wait) = (Arc::new(Mutex::new(())), ());
        let held = stop.lock();
        let mut all = Vec::new();
        let error = loop {
            let stop = stop.clone();
            let started = Builder::new().spawn(move || drop(stop.lock()));
            match started {
                Ok(handle) if all.len() < 300 => all.push(handle),
                Ok(_) => return Err(Why("no limit".into())),
                Err(errno) => break errno,
            }
        };
        same("the error", error, Errno::EAGAIN)?;
        ensure!(all.len() > 100, "only {}", all.len());
        drop(held);
        all.into_iter().for_each(thread::JoinHandle::join);
        let () = wait;
        same("again", thread::spawn(|| 1).join(), 1)
    })
}

/// A program of many threads and channels.
fn primes() -> Verdict {
    for (count, want) in [
        ("0", ""),
        ("1", "2\n"),
        ("10", "2\n3\n5\n7\n11\n13\n17\n19\n23\n29\n"),
    ] {
        let (ours, theirs) = File::pipe()?;
        let pid = process::spawn(|| {
            if theirs.dup_to(1).is_ok_and(|file| file.into_fd() == 1) {
                process::exec("/bin/primes", &["primes", count]);
            }
            99
        })?;
        drop(theirs);
        let output = ours.read_to_end()?;
        same("status", process::wait_for(pid)?.status(), 0)?;
        same(count, core::str::from_utf8(&output).unwrap_or("?"), want)?;
    }
    Ok(())
}
