//! Processes that must not be ended, and those that share memory with them. Needs the boot
//! option `drivers=1`.

use super::Case;
use super::limits::{GIB, apart, touch_pages};
use crate::check::{PG, Verdict, Why, fails, same};
use alloc::format;
use rt::abi::{ProcessInfo, STATUS_KILLED};
use rt::note;
use rt::process;
use rt::stats::Counters;
use rt::sync::channel;
use rt::{Errno, File, Segment, Stat64, sys, thread};

pub const CASES: &[Case] = &[
    Case::driver("drivers.protected.thread", || {
        protected(Plain::Thread, from_outside)
    }),
    Case::driver("drivers.protected.first", || {
        protected(Plain::First, from_outside)
    }),
    Case::driver("drivers.protected.memory", || {
        protected(Plain::Hog, by_want_of_memory)
    }),
];

/// The one of a driver's two threads that has no privileges.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plain {
    /// The second.
    Thread,
    /// The first.
    First,
    /// The second, which takes nearly all memory.
    Hog,
}

/// A part of all frames that is less than the one from which on a program that asks for
/// more answers for it.
const PART: u64 = 20;
const INIT: u64 = 1;

/// Calls `harm` with the pids of a driver's two threads, neither of which may end by it.
fn protected(plain: Plain, harm: fn([u64; 2]) -> Verdict) -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let first = apart(|| {
        let status = drive(plain, &theirs).is_err();
        process::exit(u8::from(status), "")
    })?;
    drop(theirs);
    let mut pid = [0; 8];
    let came = ours.read(&mut pid)?;
    let threads = [first, u64::from_le_bytes(pid)];
    let verdict = same("a pid", came, 8).and_then(|()| harm(threads));
    let alive = threads.map(is_alive);
    // A driver may.
    let _ = process::kill(threads[1], "enough");
    let ended = process::wait_for(first)?;
    verdict?;
    same("alive", alive, [true; 2])?;
    same("status", u32::from(ended.status()), STATUS_KILLED)?;
    same("text", ended.text(), "enough")
}

fn is_alive(pid: u64) -> bool {
    process::list().any(|p| p.pid == pid && p.state != ProcessInfo::ENDED)
}

/// Two threads, one of which gives up its privileges; says the pid of the second.
fn drive(plain: Plain, parent: &File) -> Result<(), Errno> {
    let (to, ready) = channel();
    thread::spawn(move || {
        if plain != Plain::First {
            sys::privilege(0)?;
        }
        if plain == Plain::Hog {
            take_nearly_all()?;
        }
        let _ = to.send(sys::getpid());
        sys::sleep(u64::MAX >> 1)
    });
    let pid = ready.recv().map_err(|_| Errno::EIO)?;
    if plain == Plain::First {
        sys::privilege(0)?;
    }
    parent.write(&pid.to_le_bytes())?;
    sys::sleep(u64::MAX >> 1)
}

fn figure(what: Stat64) -> Result<u64, Errno> {
    Ok(Counters::now()?.get(what))
}

fn take_nearly_all() -> Result<(), Errno> {
    let mut memory = Segment::attach("memory", 64 * GIB)?;
    let (free, all) = (figure(Stat64::FramesFree)?, figure(Stat64::FramesTotal)?);
    touch_pages(&mut memory, free.saturating_sub(all / PART) as usize);
    core::mem::forget(memory);
    Ok(())
}

/// A program without privileges ends neither of them, in any of the ways there are.
fn from_outside(threads: [u64; 2]) -> Verdict {
    let attacks = || {
        sys::privilege(0)?;
        let [first, second] = threads;
        for pid in [INIT, first, second] {
            fails("Kill", process::kill(pid, "by force"), Errno::EPERM)?;
            fails("KillAll", process::kill_all(pid, "by force"), Errno::EPERM)?;
            fails("Note", note::send(pid, "by force"), Errno::EPERM)?;
        }
        let group = process::kill_group(first, "by force");
        fails("Kill of the group", group, Errno::ESRCH)
    };
    let attacker = apart(|| match attacks() {
        Ok(()) => {}
        Err(Why(why)) => process::exit(1, &why),
    })?;
    let ended = process::wait_for(attacker)?;
    ensure!(ended.status() == 0, "{}", ended.text());
    Ok(())
}

/// A program that asks for the memory that is left, and has little, is ended itself: the
/// others of the driver must not be.
fn by_want_of_memory(_: [u64; 2]) -> Verdict {
    let wants = apart(|| {
        let _ = sys::privilege(0);
        if let Ok(mut memory) = Segment::attach("memory", 64 * GIB) {
            touch_pages(&mut memory, GIB / PG);
        }
    })?;
    let ended = process::wait_for(wants)?;
    let (status, text) = (u32::from(ended.status()), ended.text());
    match status == STATUS_KILLED && text.contains("out of memory") {
        true => Ok(()),
        false => Err(Why(format!("status {status}: {text}"))),
    }
}
