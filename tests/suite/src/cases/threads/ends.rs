//! The end of a program of several threads, by one of them.

use crate::check::{Verdict, Why, same};
use core::cell::Cell;
use core::fmt::{self, Display};
use core::time::Duration;
use rt::thread::{self, Builder, JoinHandle};
use rt::{process, sys};

/// `exit` of any thread ends the program.
pub(super) fn exit() -> Verdict {
    let pid = process::spawn(|| {
        let _waits = thread::spawn(|| sys::sleep(u64::MAX / 2));
        thread::spawn(|| process::exit(42, "from a thread"));
        let _ = sys::sleep(u64::MAX / 2);
        0
    })?;
    let ended = process::wait_for(pid)?;
    same("status", ended.status(), 42)?;
    same("text", ended.text(), "from a thread")?;
    gone(pid)
}

/// So does the end of `main`.
pub(super) fn end_of_main() -> Verdict {
    let pid = process::spawn(|| {
        for _ in 0..5 {
            drop(thread::spawn(|| {
                loop {
                    core::hint::spin_loop();
                }
            }));
        }
        let _ = sys::sleep(5_000_000);
        3
    })?;
    same("status", process::wait_for(pid)?.status(), 3)?;
    gone(pid)
}

/// No process of the group that `pid` was in is left but this one.
fn gone(pid: u64) -> Verdict {
    let me = sys::getpid();
    let mine = || {
        process::list()
            .find(|info| info.pid == me)
            .map(|info| info.group)
    };
    for _ in 0..10_000 {
        let group = mine();
        let mut others = process::list().filter(|i| Some(i.group) == group && i.pid > me);
        if others.next().is_none() {
            return Ok(());
        }
        sys::sleep(100_000)?;
    }
    Err(Why(alloc::format!("threads of {pid} are left")))
}

pub(super) fn panics() -> Verdict {
    let pid = process::spawn(|| {
        let _waits = thread::spawn(|| sys::sleep(u64::MAX / 2));
        let _ = Builder::new().name("bad").spawn(|| panic!("on purpose"));
        let _ = sys::sleep(u64::MAX / 2);
        0
    })?;
    let ended = process::wait_for(pid)?;
    same("status", (ended.status(), ended.text()), (101, "panicked"))?;
    gone(pid)
}

/// Does that in the middle of printing.
struct While<F>(F);

impl<F: Fn()> Display for While<F> {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)();
        Ok(())
    }
}

/// The one that panics first does not wait for one that panics as it prints.
pub(super) fn two_panics() -> Verdict {
    let pid = process::spawn(|| {
        let panics = While(|| {
            drop(thread::spawn(|| panic!("on purpose")));
            thread::sleep(Duration::from_millis(5));
            panic!("on purpose, too");
        });
        rt::print!("{panics}");
        0
    })?;
    let ended = process::wait_for(pid)?;
    same("status", (ended.status(), ended.text()), (101, "panicked"))
}

/// The first thread may be started in the middle of printing, and print.
pub(super) fn print() -> Verdict {
    let started = Cell::new(None);
    let starts = While(|| {
        started.set(Some(thread::spawn(|| rt::print!(""))));
        thread::sleep(Duration::from_millis(5));
    });
    rt::print!("{starts}");
    let thread = started.take();
    thread.map(JoinHandle::join).ok_or(Why("no thread".into()))
}
