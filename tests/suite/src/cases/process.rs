//! Processes among each other: shared memory, semaphores, the environment, the
//! process list, limits.

use super::{Case, random::Random};
use crate::check::{PG, Scratch, Verdict, at_most, at_rest, counts, fails, me, other, same};
use crate::raw;
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use rt::abi::{PROCESSES_MAX, ProcessInfo, STATUS_KILLED, rfork};
use rt::process::{self, Fork};
use rt::stats::Counters;
use rt::{Call, Directory, Errno, File, Segment, Shared, Stat64, env, sys};

pub const CASES: &[Case] = &[
    Case::new("shared.children", shared_children),
    Case::new("shared.survives", shared_survives),
    Case::new("shared.limits", shared_limits),
    Case::new("shared.calls", shared_calls),
    Case::new("semaphore.order", semaphore_order),
    Case::new("semaphore.count", semaphore_count),
    Case::new("semaphore.killed", semaphore_killed),
    Case::new("semaphore.errors", semaphore_errors),
    Case::new("process.environment", environment),
    Case::new("process.list", list),
    Case::new("process.traffic", traffic),
    Case::new("process.full", full),
    Case::new("process.bomb", bomb),
    Case::new("process.joined", joined),
    Case::new("process.joining", joining),
    Case::new("process.flags", flags),
    Case::new("process.exits", exits),
    Case::new("process.heir", heir),
    Case::new("process.elf", elf),
    Case::new("process.any-order", any_order),
];

const A_WHILE_NS: u64 = 20_000_000;

/// A child that has ended before its parent does, which never asked for it, is
/// not left behind: the judge counts the processes.
fn heir() -> Verdict {
    other(|| {
        let pid = process::spawn(|| 0)?;
        let ended = |info: &ProcessInfo| info.pid == pid && info.state == ProcessInfo::ENDED;
        while !process::list().any(|info| ended(&info)) {
            sys::sleep(A_WHILE_NS)?;
        }
        Ok(())
    })
}

/// Stores of each are seen by the other, also of a grandchild.
fn shared_children() -> Verdict {
    let shared = Shared::new(3 * PG)?;
    shared.number(0)?.store(1, Relaxed);
    let pid = process::spawn(|| {
        let inner = process::spawn(|| {
            let Ok(number) = shared.number(PG) else {
                return 9;
            };
            number.store(77, Relaxed);
            u8::from(shared.number(0).map(|n| n.load(Relaxed)) != Ok(1))
        });
        let ended = inner.and_then(process::wait_for);
        shared.bytes()[3 * PG - 1].store(5, Relaxed);
        ended.map_or(9, |e| e.status())
    })?;
    same("the child", process::wait_for(pid)?.status(), 0)?;
    same("the grandchild's", shared.number(PG)?.load(Relaxed), 77)?;
    same("the child's", shared.bytes()[3 * PG - 1].load(Relaxed), 5)?;
    // A segment attached after the fork is private.
    let later = Segment::attach("shared", PG)?;
    ensure!(
        later.address() != shared.address(),
        "the same address twice"
    );
    Ok(())
}

/// The memory stays for a child when its parent has let go of it.
fn shared_survives() -> Verdict {
    let shared = Shared::new(PG)?;
    shared.number(8)?.store(8, Relaxed);
    let (ours, theirs) = File::pipe()?;
    let pid = process::spawn(|| {
        let told = theirs.read(&mut [0; 1]);
        let value = shared.number(8).map(|n| n.load(Relaxed));
        u8::from(told != Ok(1) || value != Ok(8))
    })?;
    drop(shared);
    rt::send(&ours, [b"x"])?;
    same("the child", process::wait_for(pid)?.status(), 0)
}

/// Frames come by touch; more than a GiB there is not.
fn shared_limits() -> Verdict {
    let before = Counters::now()?;
    let shared = Shared::new(1 << 30)?;
    for at in (0..1 << 30).step_by(1 << 26) {
        shared.bytes()[at].store(1, Relaxed);
    }
    let now = Counters::now()?;
    let free = |counters: &Counters| counters.get(Stat64::FramesFree);
    at_most(
        "frames for 16 pages",
        free(&before).saturating_sub(free(&now)),
        199,
    )?;
    let more = Shared::new((1 << 30) + 1).map(drop);
    fails("more than a GiB", more, Errno::EINVAL)
}

/// Calls read and write it like any memory.
fn shared_calls() -> Verdict {
    let mut shared = Segment::attach("shared", 2 * PG)?;
    let zero = File::open("/dev/zero", rt::mode::OREAD)?;
    shared.bytes_mut().fill(3);
    let n = zero.read(&mut shared.bytes_mut()[10..PG + 10])?;
    same("bytes read", n, PG)?;
    let sum: usize = shared.bytes().iter().map(|b| usize::from(*b)).sum();
    same("the sum of all bytes", sum, 3 * PG)?;
    shared.free(0, 2 * PG)?;
    ensure!(shared.bytes().iter().all(|b| *b == 0), "not zeros");
    Ok(())
}

/// Waiters are served in the order of their arrival.
fn semaphore_order() -> Verdict {
    let shared = Shared::new(PG)?;
    let gate = shared.semaphore(0)?;
    let mut pids = Vec::new();
    for _ in 0..5 {
        pids.push(process::spawn(|| u8::from(gate.acquire().is_err()))?);
        at_rest()?;
    }
    let mut left = pids.as_slice();
    for count in [1, 1, 2, 1] {
        gate.release(count as u32)?;
        same("the value while others wait", gate.value(), 0)?;
        let (first, others) = left.split_at(count);
        left = others;
        for _ in first {
            let ended = process::wait()?;
            same("a status", ended.status(), 0)?;
            let pid = ended.pid();
            ensure!(first.contains(&pid), "{pid} came before {first:?}");
        }
    }
    Ok(())
}

/// As many get through as were let.
fn semaphore_count() -> Verdict {
    let shared = Shared::new(PG)?;
    let (items, room) = (shared.semaphore(0)?, shared.semaphore(4)?);
    room.release(3)?;
    let pid = process::spawn(|| {
        let made = (0..500).all(|_| room.acquire().is_ok() && items.release(1).is_ok());
        u8::from(!made)
    })?;
    for _ in 0..500 {
        items.acquire()?;
        room.release(1)?;
    }
    same("the maker", process::wait_for(pid)?.status(), 0)?;
    same("nothing left", items.try_acquire()?, false)?;
    same("room left", room.value(), 3)
}

/// One that is killed while it waits takes nothing.
fn semaphore_killed() -> Verdict {
    let shared = Shared::new(PG)?;
    let gate = shared.semaphore(0)?;
    let first = process::spawn(|| u8::from(gate.acquire().is_err()))?;
    at_rest()?;
    let second = process::spawn(|| u8::from(gate.acquire().is_err()))?;
    at_rest()?;
    process::kill(first, "enough")?;
    process::wait_for(first)?;
    gate.release(1)?;
    same("the second", process::wait_for(second)?.status(), 0)?;
    same("the value", gate.value(), 0)
}

fn semaphore_errors() -> Verdict {
    let shared = Shared::new(PG)?;
    // SAFETY: at most the value of a semaphore changes.
    let call = |call, va, n| unsafe { crate::raw::call(call, [va, n, 0, 0, 0, 0]) };
    for what in [Call::SemAcquire, Call::SemRelease] {
        fails(
            "unaligned",
            call(what, shared.address() + 2, 0),
            Errno::EINVAL,
        )?;
        fails("nowhere", call(what, 0x1234_5000, 0), Errno::EFAULT)?;
        fails("the kernel's", call(what, !0xfff, 0), Errno::EFAULT)?;
    }
    let at = shared.address();
    same(
        "to the limit",
        call(Call::SemRelease, at, u64::from(u32::MAX)),
        Ok(u64::from(u32::MAX)),
    )?;
    fails("beyond", call(Call::SemRelease, at, 1), Errno::ERANGE)?;
    fails(
        "far beyond",
        call(Call::SemRelease, at, u64::MAX),
        Errno::ERANGE,
    )?;
    same("taken", call(Call::SemAcquire, at, 0), Ok(1))
}

/// A program gets the environment it is given, and the one of this process
/// if nothing is said.
fn environment() -> Verdict {
    fails("no name", env::set("", "x"), Errno::EINVAL)?;
    fails("a bad name", env::set("A=B", "x"), Errno::EINVAL)?;
    env::set("SUITE_A", "one")?;
    env::set("SUITE_B", "two words")?;
    env::set("SUITE_A", "three=3")?;
    env::set("SUITE_C", "gone")?;
    env::remove("SUITE_C");
    same("set twice", env::get("SUITE_A"), Some("three=3".into()))?;
    same("removed", env::get("SUITE_C"), None)?;
    let run = |given: Option<&[&str]>| -> Result<Vec<u8>, Errno> {
        let (ours, theirs) = File::pipe()?;
        let pid = process::spawn(|| {
            if theirs.dup_to(1).is_ok_and(|file| file.into_fd() == 1) {
                let argv = [super::ENVIRONMENT];
                match given {
                    None => process::exec("/bin/suite", &argv),
                    Some(texts) => process::exec_with("/bin/suite", &argv, texts),
                };
            }
            99
        })?;
        drop(theirs);
        let output = ours.read_to_end()?;
        process::wait_for(pid)?;
        Ok(output)
    };
    let inherited = run(None)?;
    let ends = inherited.ends_with(b"SUITE_A=three=3\nSUITE_B=two words\n");
    ensure!(ends, "inherited: {}", inherited.escape_ascii());
    let given = run(Some(&["X=", "Y=1"]))?;
    same("given", &given[..], &b"X=\nY=1\n"[..])?;
    same("none", &run(Some(&[]))?[..], &b""[..])?;
    let long = "v".repeat(rt::abi::ARGS_MAX);
    let text = format!("LONG={long}");
    let refused = process::exec_with("/bin/echo", &["echo"], &[&text]);
    same("too long", refused, Errno::E2BIG)
}

fn find(pid: u64) -> Option<ProcessInfo> {
    process::list().find(|info| info.pid == pid)
}

/// The list says what a process has sent to file servers and has received from them; a
/// child begins with nothing.
fn traffic() -> Verdict {
    let scratch = Scratch::empty("traffic")?;
    let before = me()?;
    scratch.file.write_all_at(&[1; 3 * PG], 0)?;
    let sent = me()?;
    let mut buffer = [0; 2 * PG];
    scratch.file.read_full_at(&mut buffer, 0)?;
    let came = me()?;
    ensure!(sent.messages > before.messages, "no message was sent");
    ensure!(came.messages > sent.messages, "none was sent to read");
    counts(
        "bytes out",
        sent.bytes_out - before.bytes_out,
        3 * PG as u64,
    )?;
    counts("bytes in", came.bytes_in - sent.bytes_in, 2 * PG as u64)?;
    // Listings are data too, with and without attributes.
    let folder = Directory::open("/n/host")?;
    let names = folder.read_dir().count() as u64;
    let listed = me()?;
    let bytes = listed.bytes_in - came.bytes_in;
    ensure!(bytes > names, "{bytes} bytes for {names} names");
    let folder = Directory::open("/n/host")?;
    same("names", folder.read_dir_stat().count() as u64, names)?;
    let bytes = me()?.bytes_in - listed.bytes_in;
    ensure!(
        bytes > names,
        "{bytes} bytes for the files of {names} names"
    );
    other(|| {
        let child = me()?;
        counts("of the child", (child.bytes_in, child.bytes_out), (0, 0))
    })
}

/// The process list.
fn list() -> Verdict {
    let me = sys::getpid();
    let Some(own) = find(me) else {
        return Err(crate::check::Why("this process is not in the list".into()));
    };
    same("own state", own.state, ProcessInfo::RUNNING)?;
    same("own name", own.name(), "suite")?;
    same("own wait", own.waits_for(), "")?;
    let (size, pages) = (own.size, own.pages);
    ensure!(
        pages > 0 && size > pages * PG as u64,
        "{pages} pages of {size} bytes"
    );
    ensure!(own.ticks > 0, "it has run for no time");
    let sleeper = process::spawn(|| u8::from(sys::sleep(u64::MAX / 2).is_ok()))?;
    let done = process::spawn(|| 0)?;
    at_rest()?;
    sys::sleep(A_WHILE_NS)?;
    let seen = find(sleeper).zip(find(done));
    let Some((sleeping, ended)) = seen else {
        return Err(crate::check::Why("a child is not in the list".into()));
    };
    same("parent", sleeping.parent, me)?;
    same("group", sleeping.group, own.group)?;
    same("state", sleeping.state, ProcessInfo::WAITING)?;
    same("what it waits for", sleeping.waits_for(), "time to pass")?;
    ensure!(
        sleeping.waiting_ns >= A_WHILE_NS / 2,
        "it waits for {} ns",
        sleeping.waiting_ns
    );
    same("state of the ended", ended.state, ProcessInfo::ENDED)?;
    same("its descriptors", ended.descriptors, 0)?;
    process::kill(sleeper, "")?;
    for _ in 0..2 {
        process::wait()?;
    }
    same("after that", find(sleeper).is_none(), true)?;
    same("as many as counted", process::list().count() as u64, {
        Counters::now()?.get(Stat64::Processes)
    })
}

/// The table of processes gets full, says so, and empty again.
fn full() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let mut children = 0;
    let errno = loop {
        match process::fork() {
            Ok(Fork::Parent(_)) => children += 1,
            Ok(Fork::Child) => {
                drop(ours);
                let _ = theirs.read(&mut [0; 1]);
                process::exit(0, "");
            }
            Err(errno) => break errno,
        }
        ensure!(children <= PROCESSES_MAX, "no limit");
    };
    let mut buffer = [0; 80];
    let text = sys::errstr(&mut buffer);
    ensure!(text.contains("processes"), "the text is \"{text}\"");
    // There is room for those of other groups.
    match process::fork_with(rfork::NOTES)? {
        Fork::Child => process::exit(0, ""),
        Fork::Parent(_) => children += 1,
    }
    drop(ours);
    drop(theirs);
    for _ in 0..children {
        same("a status", process::wait()?.status(), 0)?;
    }
    same("the error", errno, Errno::EAGAIN)?;
    ensure!(children > 100, "only {children} children");
    Ok(())
}

/// An observer can end a group of processes that fork as fast as they can.
fn bomb() -> Verdict {
    let leader = match process::fork_with(rfork::NOTES)? {
        Fork::Parent(pid) => pid,
        Fork::Child => loop {
            if process::fork().is_err() {
                let _ = sys::sleep(1_000_000);
            }
        },
    };
    sys::sleep(200_000_000)?;
    // One that is being made just now is only met the next time.
    for _ in 0..100 {
        if rt::note::send_group(leader, "enough") == Err(Errno::ESRCH) {
            break;
        }
        sys::sleep(10_000_000)?;
    }
    let gone = process::list().all(|i| i.group != leader || i.state == ProcessInfo::ENDED);
    ensure!(gone, "some are left");
    process::wait_for(leader)?;
    Ok(())
}

/// A child in the note group of another one: what is for the group reaches both, and
/// they are one account.
fn joined() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let waits = || {
        let _ = theirs.read(&mut [0; 1]);
        process::exit(7, "")
    };
    for way in ["note", "kill", "kill all"] {
        let first = match process::fork_with(rfork::NOTES)? {
            Fork::Child => waits(),
            Fork::Parent(pid) => pid,
        };
        let second = match process::fork_into_group_of(first)? {
            Fork::Child => waits(),
            Fork::Parent(pid) => pid,
        };
        same("group", find(second).map(|info| info.group), Some(first))?;
        match way {
            "note" => rt::note::send_group(first, way)?,
            "kill" => process::kill_group(first, way)?,
            _ => same("ended", process::kill_all(second, way)?, 2)?,
        }
        for pid in [first, second] {
            let ended = process::wait_for(pid)?;
            same("text", ended.text(), way)?;
            same("status", u32::from(ended.status()), STATUS_KILLED)?;
        }
        fails("empty", process::kill_group(first, way), Errno::ESRCH)?;
        fails("gone", process::fork_into_group_of(first), Errno::ECHILD)?;
    }
    drop(ours);
    Ok(())
}

/// Only children that were not waited for can be joined, also if they have ended.
fn joining() -> Verdict {
    let ended = match process::fork_with(rfork::NOTES)? {
        Fork::Child => process::exit(0, ""),
        Fork::Parent(pid) => pid,
    };
    while find(ended).is_none_or(|info| info.state != ProcessInfo::ENDED) {
        sys::sleep(1_000_000)?;
    }
    let group = || find(sys::getpid()).map(|info| info.group);
    let joins = match process::fork_into_group_of(ended)? {
        Fork::Child => process::exit(u8::from(group() != Some(ended)), ""),
        Fork::Parent(pid) => pid,
    };
    same("in its group", process::wait_for(joins)?.status(), 0)?;
    process::wait_for(ended)?;
    for (what, pid) in [
        ("nobody", 0),
        ("init", 1),
        ("itself", sys::getpid()),
        ("none", u64::MAX),
    ] {
        fails(what, process::fork_into_group_of(pid), Errno::ECHILD)?;
    }
    other(|| {
        fails(
            "a parent's",
            process::fork_into_group_of(ended),
            Errno::ECHILD,
        )
    })?;
    for flags in [rfork::JOIN, rfork::PROC | rfork::JOIN | rfork::NOTES] {
        // SAFETY: no process is made.
        let made = unsafe { raw::call(Call::RFork, [flags, ended, 0, 0, 0, 0]) };
        fails("flags", made, Errno::EINVAL)?;
    }
    Ok(())
}

fn flags() -> Verdict {
    fails("unknown", process::fork_with(1 << 40), Errno::EINVAL)?;
    fails("unknown", process::change(1 << 40), Errno::EINVAL)?;
    let me = sys::getpid();
    process::change(rfork::NOTES)?;
    same("group", find(me).map(|i| i.group), Some(me))?;
    let (_a, _b) = File::pipe()?;
    let pid = match process::fork_with(rfork::CLEAN_FDS)? {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            let open = find(sys::getpid()).map(|i| i.descriptors);
            process::exit(u8::from(open != Some(0)), "");
        }
    };
    same("no descriptors", process::wait_for(pid)?.status(), 0)?;
    process::change(rfork::CLEAN_FDS)?;
    same("none here", find(me).map(|i| i.descriptors), Some(0))
}

/// A text that is too long is cut, between characters.
fn exits() -> Verdict {
    let long = "ä€".repeat(100);
    let pid = process::spawn(|| process::exit_now(3, &long))?;
    let ended = process::wait_for(pid)?;
    same("status", ended.status(), 3)?;
    same("the text", ended.text(), &long[..240])?;
    let odd = format!("x{long}");
    let pid = process::spawn(|| process::exit_now(4, &odd))?;
    same("cut", process::wait_for(pid)?.text(), &odd[..238])
}

/// Program files with wrong headers are refused, or run into the ground.
fn elf() -> Verdict {
    let mut random = Random::new(11);
    let mut good = alloc::vec![0; 512];
    File::open("/bin/echo", rt::mode::OREAD)?.read_at(&mut good, 0)?;
    // All of the program's instructions are invalid.
    let scratch = Scratch::empty("elf")?;
    let body = [0x0f, 0x0b].repeat(4 * PG);
    scratch.file.write_all_at(&body, 0)?;
    for round in 0..150 {
        let mut head = good.clone();
        for _ in 0..1 + random.below(4) {
            // Type, places and sizes; the magic number stays.
            let at = 16 + random.below(64 + 56 * 4);
            head[at] = match random.below(4) {
                0 => 0,
                1 => 0xff,
                2 => 1 << random.below(8),
                _ => random.below(256) as u8,
            };
        }
        if round % 2 == 0 {
            // ET_DYN.
            head[16] = 3;
        }
        scratch.file.write_all_at(&head, 0)?;
        let pid = process::spawn(|| {
            process::exec(&scratch.path, &["elf"]);
            0
        })?;
        let status = process::wait_for(pid)?.status();
        ensure!(status == 0 || status == 128, "status {status}");
    }
    Ok(())
}

/// Children are waited for in an order other than that in which they end.
fn any_order() -> Verdict {
    let slow = process::spawn(|| {
        let _ = sys::sleep(30_000_000);
        1
    })?;
    let [second, third] = [2, 3].map(|status| process::spawn(move || status));
    let (second, third) = (second?, third?);
    same("the slow one", process::wait_for(slow)?.status(), 1)?;
    // A child has none of its parent's.
    other(|| fails("waiting", process::wait().map(|e| e.pid()), Errno::ECHILD))?;
    same("the third", process::wait_for(third)?.status(), 3)?;
    same("the second", process::wait()?.pid(), second)?;
    fails(
        "waiting",
        process::wait().map(|ended| ended.pid()),
        Errno::ECHILD,
    )
}
