//! The longest time for which one call occupies the processor, for all
//! arguments: the kernel is not preempted. The figures are meaningful only
//! under `--icount`, so these cases run on request; and with a timer so quick
//! (`hz`) that the turn of a server that works for the call hardly counts.

use super::{Case, fuzz};
use crate::beat::{Beat, ticks};
use crate::check::{PG, Scratch, Verdict, Why, fails, same, snapshot};
use crate::liar::{Liar, Next, close_all_but, served};
use crate::raw;
use crate::tiny::{Fault, Tiny, becomes_a_server};
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use rt::abi::{bind, mode, rfork};
use rt::process::{self, Fork};
use rt::stats::Counters;
use rt::thread;
use rt::{Call, Errno, File, Segment, Shared, Stat64, sys};

pub const CASES: &[Case] = &[
    Case::asked("gaps.turn", turn),
    Case::asked("gaps.threads", threads),
    Case::asked("gaps.memory", memory),
    Case::asked("gaps.fork", fork),
    Case::asked("gaps.sparse", sparse),
    Case::asked("gaps.shared", shared),
    Case::asked("gaps.shared.detached", detached),
    Case::asked("gaps.program", program),
    Case::asked("gaps.exec", exec),
    Case::asked("gaps.snapshots", snapshots),
    Case::asked("gaps.holes", holes),
    Case::asked("gaps.overwrite", overwrite),
    Case::asked("gaps.write-back", write_back),
    Case::asked("gaps.channels", channels),
    Case::asked("gaps.listing", listing),
    Case::asked("gaps.union", union),
    Case::asked("gaps.any-call", any_call),
    Case::asked("gaps.described", described),
    Case::asked("gaps.serving", serving),
    Case::asked("gaps.exchange", exchanges),
    Case::asked("gaps.small-messages", small_messages),
    Case::asked("gaps-swap.accounts", swap),
    Case::driver("gaps-run.idle", run),
];

/// The longest turn of a program: 10,000 timer interrupts a second.
const TURN: u64 = 100_000;
/// A large part of the memory of the guest that measures.
const LARGE: usize = 128 << 20;

/// A program that computes is preempted at the next timer interrupt.
fn turn() -> Verdict {
    let beat = Beat::start()?;
    let end = ticks() + 100 * TURN;
    beat.measure("computing", || while ticks() < end {})?;
    let gap = u64::from(beat.gap()?);
    ensure!(gap <= 2 * TURN, "a turn of {gap} instructions");
    Ok(())
}

/// Where the threads of a program are counted, and where it tells that they are all.
const MADE: usize = 0;
const ALL: usize = 8;

/// Makes threads as long as there may be more, and waits.
fn be_many(shared: &Shared) -> Verdict {
    let sleep = || while sys::sleep(1 << 50).is_ok() {};
    while let Ok(thread) = thread::Builder::new().spawn(sleep) {
        core::mem::forget(thread);
        shared.number(MADE)?.fetch_add(1, Relaxed);
    }
    shared.semaphore(ALL)?.release(1)?;
    sleep();
    Ok(())
}

/// A program with as many threads as there may be is ended in all ways.
fn threads() -> Verdict {
    type End = fn(u64) -> Result<(), Errno>;
    let ways: [(&str, End); 4] = [
        ("a note for many threads", |pid| {
            rt::note::send_group(pid, "enough")
        }),
        ("the end of a group", |pid| {
            process::kill_group(pid, "enough")
        }),
        ("the end of all that one has started", |pid| {
            process::kill_all(pid, "enough").map(drop)
        }),
        ("the end of one of many threads", |pid| {
            process::kill(pid, "enough")
        }),
    ];
    let beat = Beat::start_whole()?;
    for (what, end) in ways {
        let shared = Shared::new(PG)?;
        let pid = match process::fork_with(rfork::NOTES)? {
            Fork::Parent(pid) => pid,
            Fork::Child => process::exit_now(u8::from(be_many(&shared).is_err()), ""),
        };
        shared.semaphore(ALL)?.acquire()?;
        let made = shared.number(MADE)?.load(Relaxed);
        ensure!(made > 200, "only {made} threads");
        beat.measure(what, || end(pid))??;
        process::wait_for(pid)?;
        beat.check("the ends of many threads")?;
    }
    Ok(())
}

/// A segment all of whose pages were stored to.
fn touched(kind: &str, len: usize) -> Result<Segment, Why> {
    let mut segment = Segment::attach(kind, len)?;
    for page in segment.bytes_mut().chunks_mut(PG) {
        page[0] = 1;
    }
    Ok(segment)
}

fn memory() -> Verdict {
    let beat = Beat::start()?;
    let mut segment = touched("memory", LARGE)?;
    beat.measure("segfree", || segment.free(0, LARGE))??;
    drop(segment);
    let mut segment = touched("memory", LARGE)?;
    let zeros = File::open("/dev/zero", mode::OREAD)?;
    beat.measure("reading zeros", || zeros.read_at(segment.bytes_mut(), 0))??;
    drop(segment);
    let segment = touched("memory", LARGE)?;
    beat.measure("segdetach", || drop(segment))?;
    beat.child("exits", || touched("memory", LARGE), core::mem::forget)?;
    let run = |segment| {
        core::mem::forget(segment);
        process::exec("/bin/true", &["true"]);
    };
    beat.child("exec", || touched("memory", LARGE), run)
}

fn fork() -> Verdict {
    let beat = Beat::start()?;
    let mut segment = touched("memory", LARGE)?;
    let pid = beat.measure("rfork", || process::spawn(|| 0))??;
    process::wait_for(pid)?;
    beat.measure("processes", || process::list().count())?;
    // All pages are shared with a child that does nothing.
    let pid = process::spawn(|| u8::from(sys::sleep(1 << 40).is_ok()))?;
    beat.measure("segfree while shared", || segment.free(0, LARGE))??;
    beat.measure("kill", || process::kill(pid, "enough"))??;
    process::wait_for(pid)?;
    beat.check("the end of a killed one")
}

/// Pages far from each other, each the last one of its tables.
fn sparse() -> Verdict {
    const FAR: u64 = 1 << 30;
    const PAGES: u64 = 10_000;
    let beat = Beat::start()?;
    let mut segment = Segment::attach("memory", (PAGES * FAR) as usize)?;
    for page in 0..PAGES {
        let at = (page * FAR + FAR - 1) as usize;
        segment.bytes_mut()[at] = 1;
    }
    let pid = beat.measure("rfork", || process::spawn(|| 0))??;
    process::wait_for(pid)?;
    beat.check("the end of a child")?;
    beat.measure("processes", || process::list().count())?;
    beat.measure("segfree", || segment.free(0, (PAGES * FAR / 2) as usize))??;
    beat.measure("segdetach", || drop(segment))?;
    Ok(())
}

fn shared() -> Verdict {
    let beat = Beat::start()?;
    let mut segment = touched("shared", LARGE)?;
    beat.measure("segfree", || segment.free(0, LARGE))??;
    let zeros = File::open("/dev/zero", mode::OREAD)?;
    let all = 1..LARGE - 1;
    beat.measure("reading zeros", || {
        zeros.read_at(&mut segment.bytes_mut()[all], 0)
    })??;
    beat.measure("segdetach", || drop(segment))?;
    // Untouched memory has no frames to free.
    let mut segment = Segment::attach("shared", 1 << 30)?;
    beat.measure("segfree, untouched", || segment.free(0, 1 << 30))??;
    Ok(())
}

/// Shared memory that is detached while another thread frees it, which then has the last of
/// it.
fn detached() -> Verdict {
    let beat = Beat::start()?;
    let segment = touched("shared", LARGE)?;
    let (address, len) = (segment.address(), segment.len() as u64);
    core::mem::forget(segment);
    let on_it = move |call: Call| {
        // SAFETY: no reference to the memory is used from now on.
        unsafe { raw::call(call, [address, len, 0, 0, 0, 0]) }
    };
    let freed = beat.measure("segdetach in the middle of segfree", || {
        let frees = thread::spawn(move || on_it(Call::SegFree));
        for _ in 0..4 {
            thread::yield_now();
        }
        on_it(Call::SegDetach).map(|_| frees.join())
    })??;
    same("freed", freed.map(drop), Ok(()))
}

fn program() -> Verdict {
    let beat = Beat::start()?;
    let file = File::open("/bin/suite", mode::OREAD)?;
    let mut memory = Segment::attach("memory", file.stat()?.size as usize)?;
    beat.measure("reading a program", || file.read_at(memory.bytes_mut(), 0))??;
    Ok(())
}

fn exec() -> Verdict {
    let beat = Beat::start()?;
    let texts = alloc::vec!["0123456789"; 512];
    let run = |()| {
        process::exec_with("/bin/true", &texts, &texts);
    };
    beat.child("512 arguments and texts", || Ok(()), run)?;
    let run = |()| {
        process::exec("/bin/suite", &["environment"]);
    };
    beat.child("a large program", || Ok(()), run)
}

/// As many snapshots in one segment as there may be.
fn snapshots() -> Verdict {
    const MOST: usize = 4000;
    let beat = Beat::start()?;
    let tiny = Tiny {
        snapshots: true,
        fault: Fault::None,
    };
    super::server::with(tiny, |path| {
        let file = File::open(path, mode::ORDWR)?;
        let mut segment = snapshot(MOST)?;
        let mut count = 0;
        for page in segment.bytes_mut().chunks_mut(PG) {
            // None continues another.
            match file.read_at(page, (count % 2 * PG) as u64) {
                Ok(_) => count += 1,
                Err(_) => break,
            }
        }
        ensure!(count > 100, "{count} snapshots");
        let byte = |segment: &Segment| file.write_at(&segment.bytes()[..1], 0);
        beat.measure("writing a byte", || byte(&segment))??;
        let pid = beat.measure("rfork", || process::spawn(|| 0))??;
        process::wait_for(pid)?;
        beat.check("the end of a child")?;
        beat.measure("segdetach", || drop(segment))?;
        Ok(())
    })
}

/// One association with thousands of holes.
fn holes() -> Verdict {
    const HOLES: usize = 5_000;
    let beat = Beat::start()?;
    let scratch = Scratch::zeros("holes", (2 * HOLES * PG) as u64)?;
    let other = Scratch::empty("holes-copy")?;
    let pages = 2 * HOLES;
    let mut segment = scratch.asleep(pages)?;
    for hole in 0..HOLES {
        segment.free(2 * hole * PG, PG)?;
    }
    let all = pages * PG;
    beat.measure("writing it elsewhere", || {
        other.file.write_at(&segment.bytes()[..all], 0)
    })??;
    for hole in 0..HOLES {
        segment.free(2 * hole * PG, PG)?;
    }
    let pid = beat.measure("rfork", || process::spawn(|| 0))??;
    process::wait_for(pid)?;
    beat.measure("reading over it", || {
        scratch.file.read_at(&mut segment.bytes_mut()[..all], 0)
    })??;
    beat.measure("segdetach", || drop(segment))?;
    Ok(())
}

/// A deferred read over dirty pages.
fn overwrite() -> Verdict {
    let beat = Beat::start()?;
    let scratch = Scratch::zeros("overwrite", LARGE as u64)?;
    let mut segment = touched("snapshot", LARGE)?;
    beat.measure("reading over it", || {
        scratch.file.read_at(&mut segment.bytes_mut()[1..], 0)
    })??;
    Ok(())
}

/// Much that is in memory and clean, or not.
fn write_back() -> Verdict {
    const LEN: usize = 4 << 20;
    let beat = Beat::start()?;
    let scratch = Scratch::zeros("write-back", LEN as u64)?;
    let mut segment = scratch.asleep(LEN / PG)?;
    for page in segment.bytes_mut().chunks_mut(PG) {
        core::hint::black_box(page[0]);
    }
    beat.measure("clean", || scratch.file.write_at(segment.bytes(), 0))??;
    for page in segment.bytes_mut().chunks_mut(PG) {
        page[0] = 1;
    }
    beat.measure("changed", || scratch.file.write_at(segment.bytes(), 0))??;
    let mut memory = Segment::attach("memory", LEN)?;
    beat.measure("reading into memory", || {
        scratch.file.read_at(memory.bytes_mut(), 0)
    })??;
    beat.measure("writing from memory", || {
        scratch.file.write_at(memory.bytes(), 0)
    })??;
    Ok(())
}

/// Messages of the largest size, many of them.
fn channels() -> Verdict {
    const MESSAGE: usize = 1 << 20;
    let beat = Beat::start()?;
    let (a, b) = File::pipe()?;
    let from = Segment::attach("memory", MESSAGE)?;
    let mut to = Segment::attach("memory", MESSAGE)?;
    beat.measure("writing a message", || a.write(from.bytes()))??;
    beat.measure("reading it", || b.read(to.bytes_mut()))??;
    let piece = &from.bytes()[..MESSAGE / 8];
    beat.measure("sending a message", || rt::send(&a, [piece; 8]))??;
    let port = rt::Port::new()?;
    port.add(&b, 1)?;
    let to = &mut to;
    to.free(0, MESSAGE)?;
    beat.measure("receiving it", || port.receive(to.bytes_mut(), 0))??;
    let fill = || {
        let (a, b) = File::pipe()?;
        for _ in 0..60 {
            a.write(from.bytes())?;
        }
        let (c, d) = File::pipe()?;
        for _ in 0..60 {
            c.write(from.bytes())?;
        }
        Ok::<_, Why>([a, b, c, d])
    };
    beat.child("the end with full channels", fill, core::mem::forget)?;
    // The only one that has the end fails to mount it.
    let [_a, b, ..] = fill()?;
    let mounted = beat.measure("a mount of a full end", || b.mount("/mnt"))?;
    fails("the mount", mounted, Errno::EBUSY)
}

/// A directory of many short names, in one large buffer.
fn listing() -> Verdict {
    const FILES: usize = 1000;
    let beat = Beat::start()?;
    let folder = "/tmp/listing";
    drop(File::create(folder, mode::OREAD, mode::DMDIR | 0o755)?);
    let paths: Vec<_> = (0..FILES).map(|i| format!("{folder}/{i:x}")).collect();
    for path in &paths {
        drop(File::create(path, mode::OREAD, 0o644)?);
    }
    let directory = File::open(folder, mode::OREAD)?;
    let mut buffer = Segment::attach("memory", 1 << 20)?;
    let (fd, at, len) = (directory.fd(), buffer.address(), buffer.len() as u64);
    buffer.bytes_mut()[0] = 0;
    let args = [u64::from(fd), at, len, 0, 0, 0];
    // SAFETY: the kernel writes within the buffer, to which there is no reference.
    beat.measure("readdir", || unsafe {
        crate::raw::call(rt::Call::ReadDir, args)
    })??;
    for path in &paths {
        sys::remove(path)?;
    }
    Ok(sys::remove(folder)?)
}

/// As many descriptors as a process can have, each of a union as large as one can be.
fn unions() -> Result<Vec<File>, Why> {
    const AT: &str = "/mnt";
    process::change(rfork::NAMES)?;
    sys::bind("/tmp", AT, bind::REPLACE)?;
    while sys::bind("/tmp", AT, bind::AFTER).is_ok() {}
    Ok(core::iter::from_fn(|| File::open(AT, mode::OREAD).ok()).collect())
}

/// The end of a process that has thousands of fids.
fn union() -> Verdict {
    let beat = Beat::start()?;
    let files = || {
        let files = unions()?;
        ensure!(files.len() > 40, "only {} are open", files.len());
        Ok(files)
    };
    beat.child("the end with unions", files, core::mem::forget)
}

/// Calls with random arguments, large ones among them.
fn any_call() -> Verdict {
    const CALLS: usize = 1500;
    let beat = Beat::start()?;
    for seed in 1..4 {
        let storm = |()| {
            let _ = fuzz::storm(seed, CALLS, fuzz::LEFT_OUT, fuzz::NOTHING);
        };
        beat.child(&format!("any calls, seed {seed}"), || Ok(()), storm)?;
    }
    Ok(())
}

/// Memory of many accounts goes to swap, for a process that touches more than there is.
fn swap() -> Verdict {
    const SLEEPERS: u64 = 120;
    const EACH: usize = 64;
    const TOUCHED: usize = 20_000;
    let beat = Beat::start_server()?;
    let mut sleepers = Vec::new();
    for _ in 0..SLEEPERS {
        match process::fork_with(rfork::NOTES)? {
            Fork::Child => {
                let status = touched("memory", EACH * PG)
                    .and_then(|_segment| Ok(sys::sleep(1 << 50)?))
                    .is_ok();
                process::exit_now(u8::from(status), "")
            }
            Fork::Parent(pid) => sleepers.push(pid),
        }
    }
    let mut segment = Segment::attach("memory", TOUCHED * PG)?;
    beat.measure("touching memory", || {
        for page in segment.bytes_mut().chunks_mut(PG) {
            page[0] = 1;
        }
    })?;
    beat.measure("touching it again", || {
        for page in segment.bytes_mut().chunks_mut(PG).take(2000) {
            page[0] = 2;
        }
    })?;
    beat.measure("segdetach", || drop(segment))?;
    for pid in sleepers {
        process::kill(pid, "enough")?;
        process::wait_for(pid)?;
    }
    beat.check("the ends of the sleepers")
}

/// What is told of segments, one that is full, one that is sparse and one with holes.
fn described() -> Verdict {
    const FAR: usize = 1 << 30;
    const PAGES: usize = 10_000;
    let beat = Beat::start()?;
    let segments = || process::segments(sys::getpid()).count();
    let segment = touched("memory", LARGE)?;
    beat.measure("segments", segments)?;
    let pid = process::spawn(|| u8::from(sys::sleep(1 << 50).is_ok()))?;
    beat.measure("segments, shared", segments)?;
    process::kill(pid, "enough")?;
    process::wait_for(pid)?;
    drop(segment);
    let mut segment = Segment::attach("memory", PAGES * FAR)?;
    for page in 0..PAGES {
        segment.bytes_mut()[page * FAR + FAR - 1] = 1;
    }
    beat.measure("segments, sparse", segments)?;
    drop(segment);
    let scratch = Scratch::zeros("described", LARGE as u64)?;
    let mut segment = scratch.asleep(LARGE / PG)?;
    for page in (0..LARGE / PG).step_by(2) {
        segment.free(page * PG, PG)?;
    }
    beat.measure("segments, holes", segments)?;
    for page in segment.bytes_mut().chunks_mut(PG) {
        page[0] = 1;
    }
    beat.measure("segments, full holes", segments)?;
    Ok(())
}

/// Whoever becomes a file server has all its pages woken.
fn serving() -> Verdict {
    let scratch = Scratch::zeros("serving", LARGE as u64)?;
    let mut awake = scratch.asleep(LARGE / PG)?;
    for page in awake.bytes_mut().chunks_mut(PG) {
        core::hint::black_box(page[0]);
    }
    let beat = Beat::start()?;
    beat.measure("becoming a server", || {
        becomes_a_server(&scratch, || scratch.asleep(LARGE / PG), |_| Ok(()))
    })?
}

fn exchanges() -> Verdict {
    const MESSAGE: usize = 1 << 20;
    let beat = Beat::start()?;
    let (ours, theirs) = File::pipe()?;
    let pid = process::spawn(|| {
        close_all_but(&[&theirs]);
        let mut message = alloc::vec![0; MESSAGE];
        while let Ok(n @ 1..) = theirs.read(&mut message) {
            if theirs.write(&message[..n]).is_err() {
                return 1;
            }
        }
        0
    })?;
    drop(theirs);
    let from = Segment::attach("memory", MESSAGE)?;
    let mut to = Segment::attach("memory", MESSAGE)?;
    beat.measure("exchange", || {
        rt::exchange(&ours, from.bytes(), to.bytes_mut())
    })??;
    drop(ours);
    same("status", process::wait_for(pid)?.status(), 0)
}

/// Eight megabytes to a server of snapshots that takes little in a message.
fn small_messages() -> Verdict {
    const LEN: usize = 8 << 20;
    let beat = Beat::start()?;
    for spare in [16, PG as u32] {
        let liar = Liar {
            msize: 4096 + spare,
            ..Liar::WITH_SNAPSHOTS
        };
        served(
            |channel| liar.serve(channel, |_| Next::Honest),
            |path| {
                let file = File::open(path, mode::ORDWR)?;
                let memory = Segment::attach("memory", LEN)?;
                let write = || file.write_at(memory.bytes(), 0);
                // The answer of this server does not matter.
                let _ = beat.measure("write in small messages", write)?;
                Ok(())
            },
        )?;
    }
    Ok(())
}

/// Frames in a row for a device where the pages of a file that nobody has lie in the way.
fn run() -> Verdict {
    const RUN: usize = 1024 * PG;
    let pages = Counters::now()?.get(Stat64::FramesTotal) as usize;
    let scratch = Scratch::zeros("run", (pages * PG) as u64)?;
    let mut awake = scratch.asleep(pages)?;
    for page in awake.bytes_mut().chunks_mut(PG) {
        core::hint::black_box(page[0]);
    }
    drop(awake);
    let idle = Counters::now()?.get(Stat64::FramesIdle) as usize;
    ensure!(idle > pages / 2, "only {idle} frames are idle");
    let beat = Beat::start()?;
    drop(beat.measure("a run of frames", || Segment::attach("dma", RUN))??);
    let left = Counters::now()?.get(Stat64::FramesIdle) as usize;
    ensure!(left < idle / 2, "{left} of {idle} frames are idle still");
    Ok(())
}
