//! Processes that share memory.

mod closing;
mod races;
mod semaphores;
mod serving;

use super::Case;
use crate::check::{PG, Scratch, Verdict, Why, at_rest, fails, pattern, same, snapshot};
use crate::judge::counters;
use crate::liar::{Liar, Next};
use crate::raw;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use rt::abi::{STATUS_KILLED, rfork};
use rt::note::{self, Then};
use rt::process::{self, Fork};
use rt::sync::{Mutex, channel};
use rt::thread::{self, JoinHandle};
use rt::{Call, Errno, File, Segment, Stat64, mode, sys};

pub const CASES: &[Case] = &[
    Case::new("rfmem.memory", memory),
    Case::new("rfmem.flags", flags),
    Case::new("rfmem.descriptors", descriptors),
    Case::new("rfmem.exits", exits_of_one),
    Case::new("rfmem.exits.first", exits_of_the_first),
    Case::new("rfmem.exec", exec),
    Case::new("rfmem.exec.first", exec_of_the_first),
    Case::new("rfmem.note", note_to_one),
    Case::new("rfmem.kill", kill),
    Case::new("rfmem.group", group),
    Case::new("rfmem.fault", fault),
    Case::new("rfmem.stack", stack_overflow),
    Case::new("rfmem.stacks", stacks),
    Case::new("rfmem.stacks.place", stacks_in_place),
    Case::deferred("rfmem.fill.two", races::fill_two),
    Case::deferred("rfmem.fill.retied", races::fill_retied),
    Case::deferred("rfmem.fill.killed", races::fill_killed),
    Case::deferred("rfmem.detach.fill", races::detach_fill),
    Case::deferred("rfmem.detach.read", races::detach_read),
    Case::new("rfmem.detach.eager", races::detach_eager),
    Case::new("rfmem.semaphore.shared", semaphores::detach_shared),
    Case::new("rfmem.detach.write", races::detach_write),
    Case::new("rfmem.detach.copy", races::detach_copy),
    Case::new("rfmem.detach.private", closing::private),
    Case::new("rfmem.detach.wait", closing::wait),
    Case::deferred("rfmem.free.fill", races::free_fill),
    Case::new("rfmem.storm", races::storm),
    Case::new("rfmem.fork", races::fork),
    Case::new("rfmem.fork.read", races::fork_read),
    Case::new("rfmem.fork.remote", races::fork_remote),
    Case::new("rfmem.fork.storm", races::fork_storm),
    Case::new("rfmem.page-out", races::page_out),
    Case::new("rfmem.semaphore", semaphores::plain),
    Case::new("rfmem.semaphore.note", semaphores::note),
    Case::new("rfmem.semaphore.detach", semaphores::detach_memory),
    Case::new("rfmem.semaphore.fork", semaphores::fork),
    Case::new("rfmem.semaphore.time", semaphores::time),
    Case::new("rfmem.server", server),
    Case::new("rfmem.server.reads", serving::reads),
    Case::new("rfmem.server.writes", serving::writes),
    Case::asked("rfmem.server.refused", serving::refused),
    Case::new("rfmem.accounts", accounts),
];

const A_WHILE_NS: u64 = 5_000_000;
pub(super) const FOR_EVER: u64 = u64::MAX / 2;

/// A number in memory that several use.
pub(super) fn at(address: u64) -> &'static AtomicU64 {
    // SAFETY: the cases give addresses, multiples of 8, of memory that is attached while they
    // use it, and expect faults otherwise.
    unsafe { &*(address as *const AtomicU64) }
}

/// A raw call that the cases make on memory to which no reference is in use.
pub(super) fn call(call: Call, args: [u64; 6]) -> Result<u64, Errno> {
    // SAFETY: as said.
    unsafe { raw::call(call, args) }
}

pub(super) fn detach(address: u64) -> Result<u64, Errno> {
    call(Call::SegDetach, [address, 0, 0, 0, 0, 0])
}

pub(super) fn attach(va: u64, len: usize) -> Result<u64, Errno> {
    let kind = b"memory";
    let len = len as u64;
    call(
        Call::SegAttach,
        [kind.as_ptr() as u64, kind.len() as u64, va, len, 0, 0],
    )
}

/// What one attaches, the other has, and loses when the first detaches it.
fn memory() -> Verdict {
    let (to, addresses) = channel();
    let (back, go) = channel::<()>();
    let other = thread::spawn(move || {
        let segment = Segment::attach("memory", 3 * PG)?;
        at(segment.address()).store(11, Relaxed);
        let _ = to.send(segment.address());
        let _ = go.recv();
        Ok::<u64, Errno>(at(segment.address() + 8).load(Relaxed))
    });
    let address = addresses.recv().map_err(|_| Why("no address".into()))?;
    let seen = at(address).load(Relaxed);
    at(address + 8).store(12, Relaxed);
    let _ = back.send(());
    same("what both saw", (seen, other.join()?), (11, 12))?;
    fails(
        "read when it is gone",
        File::open("/dev/zero", mode::OREAD)?.read(unmapped(address)),
        Errno::EFAULT,
    )
}

/// Memory that is not there, for the kernel to refuse.
fn unmapped(address: u64) -> &'static mut [u8] {
    // SAFETY: nobody touches it but the kernel.
    unsafe { core::slice::from_raw_parts_mut(address as *mut u8, 8) }
}

fn flags() -> Verdict {
    let make = |flags, stack, base| call(Call::RFork, [flags, 0, stack, base, 0, 0]);
    let thread = rfork::PROC | rfork::MEMORY;
    fails(
        "without a process",
        make(rfork::MEMORY, 0, 0),
        Errno::EINVAL,
    )?;
    fails(
        "without a process",
        make(rfork::NO_WAIT, 0, 0),
        Errno::EINVAL,
    )?;
    fails(
        "a stack in the kernel",
        make(thread, 1 << 63, 0),
        Errno::EINVAL,
    )?;
    fails(
        "a stack that is no address",
        make(thread, 1 << 47, 0),
        Errno::EINVAL,
    )?;
    fails(
        "a base in the kernel",
        make(thread, 0x1000, u64::MAX),
        Errno::EINVAL,
    )?;
    fails(
        "two kinds",
        make(rfork::PROC | rfork::FDS | rfork::CLEAN_FDS, 0, 0),
        Errno::EINVAL,
    )?;
    // One without a stack ends at its first use of it, and all with it.
    let pid = process::spawn(move || {
        let _ = make(thread, 0, 0);
        let _ = sys::sleep(FOR_EVER);
        0
    })?;
    same(
        "status",
        u32::from(process::wait_for(pid)?.status()),
        STATUS_KILLED,
    )?;
    // Nobody waits for it, and nothing is left.
    let child = call(
        Call::RFork,
        [rfork::PROC | rfork::FDS | rfork::NO_WAIT, 0, 0, 0, 0, 0],
    )?;
    if child == 0 {
        process::exit_now(1, "");
    }
    fails(
        "a child",
        process::wait().map(|ended| ended.pid()),
        Errno::ECHILD,
    )
}

/// Descriptors shared, copied, and none.
fn descriptors() -> Verdict {
    let fd = thread::spawn(|| File::open("/dev/zero", mode::OREAD).map(File::into_fd)).join()?;
    let file = File::from_fd(fd);
    let mut bytes = [1; 4];
    same("bytes", file.read(&mut bytes)?, 4)?;
    // A process that copies memory can share them, too.
    let child = |flags: u64| call(Call::RFork, [rfork::PROC | flags, 0, 0, 0, 0, 0]);
    for (flags, after) in [
        (0, Err(Errno::EBADF)),
        (rfork::FDS, Ok(4)),
        (rfork::CLEAN_FDS, Ok(4)),
    ] {
        let file = File::open("/dev/zero", mode::OREAD)?;
        match child(flags)? {
            0 => {
                let had = file.read(&mut bytes).is_ok();
                drop(file);
                process::exit_now(u8::from(had), "");
            }
            pid => {
                let had = u8::from(flags != rfork::CLEAN_FDS);
                same("what the child had", process::wait_for(pid)?.status(), had)?;
            }
        }
        same("after it closed its own", file.read(&mut bytes), after)?;
        // It is closed already where they are shared.
        file.into_fd();
    }
    // From now on this process has its own, and the thread's closing is its own affair.
    let file = File::open("/dev/zero", mode::OREAD)?;
    let number = u64::from(file.fd());
    let (to, go) = channel::<()>();
    let closes = thread::spawn(move || {
        let _ = go.recv();
        call(Call::Close, [number, 0, 0, 0, 0, 0])
    });
    process::change(rfork::FDS)?;
    let _ = to.send(());
    closes.join()?;
    same("mine", file.read(&mut bytes)?, 4)
}

/// Others go on when one ends by itself.
fn exits_of_one() -> Verdict {
    let count = Arc::new(AtomicU32::new(0));
    let counts = count.clone();
    let goes_on: JoinHandle<()> = thread::spawn(move || {
        for _ in 0..20 {
            counts.fetch_add(1, Relaxed);
            let _ = sys::sleep(1_000_000);
        }
    });
    for status in [0, 1, 200] {
        drop(thread::spawn(move || {
            let _ = call(Call::Exits, [status, 0, 0, 0, 0, 0]);
        }));
    }
    goes_on.join();
    same("the count", count.load(Relaxed), 20)
}

/// Also where that is the first.
fn exits_of_the_first() -> Verdict {
    let leave = || {
        let _ = call(Call::Exits, [6, 0, 0, 0, 0, 0]);
    };
    left_by_the_first(leave, 6)
}

/// Whoever is left when the first leaves with that status goes on.
fn left_by_the_first(leave: fn(), status: u8) -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let (mine, its) = (ours.fd(), theirs.fd());
    let pid = process::spawn(move || {
        drop(File::from_fd(mine));
        drop(thread::spawn(move || {
            let mut all: Vec<u64> = Vec::new();
            for turn in 0..50 {
                all.push(turn);
                let _ = sys::sleep(1_000_000);
            }
            let sum: u64 = all.iter().sum();
            let _ = File::from_fd(its).write_all(alloc::format!("{sum}").as_bytes());
            let _ = call(Call::Exits, [5, 0, 0, 0, 0, 0]);
        }));
        leave();
        9
    })?;
    drop(theirs);
    same("status", process::wait_for(pid)?.status(), status)?;
    let mut text = [0; 8];
    let n = ours.read(&mut text)?;
    same("from the one that was left", &text[..n], b"1225".as_slice())
}

/// One that begins a program gets memory of its own; the others keep theirs.
fn exec() -> Verdict {
    let pid = process::spawn(|| {
        let segment = match Segment::attach("memory", 4 * PG) {
            Ok(segment) => segment,
            Err(_) => return 1,
        };
        at(segment.address()).store(5, Relaxed);
        let refused = at(segment.address() + 16);
        let (to, pids) = channel();
        drop(thread::spawn(move || {
            let _ = to.send(sys::getpid());
            process::exec("/bin/sleep", &["sleep", "0.05"]);
            // Had it begun, it would have no memory in common with the others.
            refused.store(1, Relaxed);
        }));
        let Ok(begun) = pids.recv() else { return 2 };
        for turn in 0..200_u64 {
            at(segment.address() + 8).store(turn, Relaxed);
            if sys::sleep(1_000_000).is_err() {
                return 3;
            }
            if !process::list().any(|info| info.pid == begun) {
                let kept = at(segment.address()).load(Relaxed) == 5;
                return match (kept, refused.load(Relaxed)) {
                    (true, 0) => 0,
                    (false, _) => 4,
                    (true, _) => 6,
                };
            }
        }
        5
    })?;
    same("status", process::wait_for(pid)?.status(), 0)
}

fn exec_of_the_first() -> Verdict {
    let leave = || {
        process::exec("/bin/true", &["true"]);
    };
    left_by_the_first(leave, 0)
}

fn note_to_one() -> Verdict {
    static HAD: AtomicU64 = AtomicU64::new(0);
    note::handle(|_, _| {
        HAD.store(sys::getpid(), Relaxed);
        Then::Resume
    })?;
    let (to, pids) = channel();
    let sleeps = thread::spawn(move || {
        let _ = to.send(sys::getpid());
        sys::sleep(FOR_EVER)
    });
    let pid = pids.recv().map_err(|_| Why("no pid".into()))?;
    at_rest()?;
    note::send(pid, "wake up")?;
    same("its sleep", sleeps.join(), Err(Errno::EINTR))?;
    same("the handler ran in", HAD.load(Relaxed), pid)
}

/// A child of which one thread is ended by `end`, while others spin and sleep; all end.
fn ends_all(end: fn(u64) -> Result<(), Errno>, text: &str) -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let (mine, its) = (ours.fd(), theirs.fd());
    let pid = process::spawn(move || {
        drop(File::from_fd(mine));
        drop(thread::spawn(|| {
            loop {
                core::hint::spin_loop();
            }
        }));
        drop(thread::spawn(|| sys::sleep(FOR_EVER)));
        drop(thread::spawn(move || {
            let theirs = File::from_fd(its);
            let _ = theirs.write_all(&sys::getpid().to_le_bytes());
            let _ = sys::sleep(FOR_EVER);
        }));
        let _ = sys::sleep(FOR_EVER);
        0
    })?;
    drop(theirs);
    let mut victim = [0; 8];
    ours.read(&mut victim)?;
    end(u64::from_le_bytes(victim))?;
    let ended = process::wait_for(pid)?;
    same("status", u32::from(ended.status()), STATUS_KILLED)?;
    same("text", ended.text(), text)?;
    // The channel's other end closes with the last of them.
    same("the channel", ours.read(&mut victim)?, 0)
}

fn kill() -> Verdict {
    ends_all(|pid| process::kill(pid, "killed"), "killed")?;
    ends_all(|pid| note::send(pid, "a note"), "a note")
}

/// A note for a group goes to all, each once.
fn group() -> Verdict {
    static HAD: AtomicU32 = AtomicU32::new(0);
    let leader = match process::fork_with(rfork::NOTES)? {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            let handled = note::handle(|_, _| {
                HAD.fetch_add(1, Relaxed);
                Then::Resume
            });
            let all: Vec<_> = (0..4)
                .map(|_| thread::spawn(|| sys::sleep(FOR_EVER)))
                .collect();
            let mine = sys::sleep(FOR_EVER);
            let interrupted = all.into_iter().all(|t| t.join() == Err(Errno::EINTR));
            let good = handled.is_ok() && mine == Err(Errno::EINTR) && interrupted;
            process::exit_now(u8::from(!good || HAD.load(Relaxed) != 5), "");
        }
    };
    at_rest()?;
    note::send_group(leader, "all of you")?;
    same("status", process::wait_for(leader)?.status(), 0)
}

/// The one that faults takes the others with it, with the fault as their text.
fn fault() -> Verdict {
    let pid = process::spawn(|| {
        let _waits = thread::spawn(|| sys::sleep(FOR_EVER));
        // Two at once.
        for _ in 0..2 {
            drop(thread::spawn(|| at(0x10).load(Relaxed)));
        }
        let _ = sys::sleep(FOR_EVER);
        0
    })?;
    let ended = process::wait_for(pid)?;
    same("status", u32::from(ended.status()), STATUS_KILLED)?;
    ensure!(
        ended.text().contains("fault read addr=0x10"),
        "{}",
        ended.text()
    );
    Ok(())
}

fn stack_overflow() -> Verdict {
    #[inline(never)]
    fn deeper(n: u64) -> u64 {
        let here = core::hint::black_box([n; 64]);
        match n {
            0 => 0,
            n => deeper(n - 1) + here[(n % 64) as usize],
        }
    }
    let pid = process::spawn(|| {
        // The neighbour's stack is beyond the guard page.
        drop(thread::spawn(|| sys::sleep(FOR_EVER)));
        let sum = thread::spawn(|| deeper(1 << 20)).join();
        u8::from(sum == 1)
    })?;
    let ended = process::wait_for(pid)?;
    same("status", u32::from(ended.status()), STATUS_KILLED)?;
    ensure!(ended.text().contains("stack overflow"), "{}", ended.text());
    Ok(())
}

/// The first page of each stack of a segment is no memory, for calls neither.
fn stacks() -> Verdict {
    let page = PG as u64;
    for stride in [0, 1, page, 2 * page + 1] {
        let refused = Segment::attach_with("stacks", 16 * PG, 0, stride);
        same("such a stride", refused.err(), Some(Errno::EINVAL))?;
    }
    let segment = Segment::attach_with("stacks", 16 * PG, 0, 4 * page)?;
    let text = |to: u64| call(Call::GetWd, [to, 8, 0, 0, 0, 0]).is_ok();
    sys::chdir("/")?;
    for (number, start) in (0..16).map(|n| (n, segment.address() + n * page)) {
        let guard = number % 4 == 0;
        same("a call's text there", text(start), !guard)?;
        if guard {
            let pid = process::spawn(|| {
                at(start + page - 8).store(1, Relaxed);
                0
            })?;
            let ended = process::wait_for(pid)?;
            ensure!(ended.text().contains("stack overflow"), "{}", ended.text());
        } else {
            at(start).store(7, Relaxed);
        }
    }
    Ok(())
}

/// The same where they are in the place of a segment that was stored to.
fn stacks_in_place() -> Verdict {
    let page = PG as u64;
    let pid = process::spawn(move || {
        // Nothing else faults in the last turn.
        for turn in 0..3 {
            let Ok(before) = attach(0, 4 * PG) else {
                return 1;
            };
            at(before).store(1, Relaxed);
            if detach(before).is_err() {
                return 2;
            }
            let Ok(segment) = Segment::attach_with("stacks", 16 * PG, 0, 4 * page) else {
                return 3;
            };
            for number in 1..4 {
                at(segment.address() + number * page).store(1, Relaxed);
            }
            if turn == 2 {
                at(segment.address() + page - 8).store(1, Relaxed);
            }
        }
        0
    })?;
    let ended = process::wait_for(pid)?;
    ensure!(
        ended.text().contains("stack overflow"),
        "status {}: {}",
        ended.status(),
        ended.text()
    );
    Ok(())
}

/// A file server with threads, of which one is its own client.
fn server() -> Verdict {
    let place = Scratch::empty("served")?;
    let (ours, theirs) = File::pipe()?;
    let answers = Arc::new(Mutex::new(0_u32));
    let counter = answers.clone();
    let serves = thread::spawn(move || {
        let liar = Liar {
            snapshots: true,
            ..Liar::default()
        };
        liar.serve(&theirs, |_| {
            *counter.lock() += 1;
            Next::Honest
        })
    });
    ours.mount(&place.path)?;
    let verdict = (|| {
        let file = File::open(&place.path, mode::OREAD)?;
        let mut segment = snapshot(4)?;
        // It is the memory of a file server now: nothing of it sleeps.
        same("bytes", file.read_at(segment.bytes_mut(), 0)?, 4 * PG)?;
        for offset in [0, 5000, 4 * PG - 1] {
            same("a byte", segment.bytes()[offset], pattern(9, offset as u64))?;
        }
        Ok(())
    })();
    sys::unmount(&place.path)?;
    same("status", serves.join(), 0)?;
    let requests = *answers.lock();
    ensure!(requests > 3, "{requests} requests");
    verdict
}

/// Memory that several touch is charged to the one that touches, and all of it comes back
/// with the last, whoever that is.
fn accounts() -> Verdict {
    /// Pages that each touches: more than file servers may take for messages meanwhile.
    const TOUCHED: u64 = 256;
    let free = || counters().map(|c| c.get(Stat64::FramesFree));
    let before = free()?;
    for _ in 0..5 {
        let pid = process::spawn(|| {
            let Ok(address) = attach(0, TOUCHED as usize * PG) else {
                return 1;
            };
            drop(thread::spawn(move || {
                // An account of its own.
                let _ = process::change(rfork::NOTES);
                for page in 0..TOUCHED {
                    at(address + page * PG as u64).store(page, Relaxed);
                }
                let _ = sys::sleep(A_WHILE_NS);
            }));
            let _ = call(Call::Exits, [0, 0, 0, 0, 0, 0]);
            2
        })?;
        same("status", process::wait_for(pid)?.status(), 0)?;
    }
    for _ in 0..2000 {
        if free()? + TOUCHED > before {
            return Ok(());
        }
        sys::sleep(1_000_000)?;
    }
    Err(Why(alloc::format!("{} of {before} frames", free()?)))
}
