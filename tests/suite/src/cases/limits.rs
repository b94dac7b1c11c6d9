//! Programs that use up the kernel's resources: others go on, the parent can
//! end them, and everything comes back.

use super::Case;
use super::server::with;
use crate::check::{PG, Scratch, Verdict, Why, fails, same};
use crate::raw;
use crate::tiny::{Fault, Tiny};
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use rt::abi::{ProcessInfo, STATUS_KILLED, mode, rfork};
use rt::note::Then;
use rt::process::{self, Fork};
use rt::stats::Counters;
use rt::{Call, Errno, File, Segment, Shared, Stat64, send, sys};

pub const CASES: &[Case] = &[
    Case::new("limits.processes", processes),
    Case::new("limits.account", account),
    Case::new("limits.channels", channels),
    Case::new("limits.messages", messages),
    Case::new("limits.messages.long", long_messages),
    Case::deferred("limits.snapshots", snapshots),
    Case::new("limits.memory.touch", || memory(touch)),
    Case::new("limits.memory.calls", || memory(call)),
    Case::new("limits.memory.server", || memory(serve)),
    Case::new("limits.memory.fork", fork_when_out),
    Case::unpressed("limits.memory.handler", handler),
    Case::unpressed("limits.memory.random", || waits(random)),
    Case::unpressed("limits.memory.bundle", || waits(bundle)),
    Case::unpressed("limits.memory.message", || waits(message)),
    Case::deferred("limits.memory.asleep", asleep),
    Case::new("limits.everything", everything),
];

/// Semaphores in shared memory.
const READY: usize = 0;
const GO: usize = 4;

fn status_of(pid: u64) -> Result<u8, Why> {
    Ok(process::wait_for(pid)?.status())
}

/// A child that runs `body` in a note group, and so an account, of its own.
pub(super) fn apart(body: impl FnOnce()) -> Result<u64, Why> {
    match process::fork_with(rfork::NOTES)? {
        Fork::Parent(pid) => Ok(pid),
        Fork::Child => {
            body();
            process::exit(0, "")
        }
    }
}

/// The resources that a user needs to end something: another process, a pipe, a
/// file, a program.
pub fn others_go_on() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let pid = match process::fork_with(rfork::NOTES)? {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            drop(ours);
            let moved = theirs.dup_to(1).map(File::into_fd);
            if moved.is_ok() {
                process::exec("/bin/echo", &["echo", "here"]);
            }
            process::exit_now(9, "")
        }
    };
    drop(theirs);
    let said = ours.read_to_end()?;
    same("a program's status", status_of(pid)?, 0)?;
    same("its output", &said[..], &b"here\n"[..])?;
    let scratch = Scratch::patterned("limits", 1, PG)?;
    let copy = scratch.again()?;
    let mut page = crate::check::snapshot(1)?;
    same("bytes read", copy.read_at(page.bytes_mut(), 0)?, PG)
}

/// A tree of processes, each the first of a new note group, takes every place
/// there is and every one that gets free.
fn processes() -> Verdict {
    let shared = Shared::new(PG)?;
    let (ours, theirs) = File::pipe()?;
    let bomb = apart(|| {
        // Its own copy.
        drop(File::from_fd(ours.fd()));
        let mut told = false;
        loop {
            match process::fork_with(rfork::NOTES) {
                Ok(Fork::Child) => {
                    let _ = theirs.read(&mut [0; 1]);
                    process::exit_now(0, "")
                }
                Ok(Fork::Parent(_)) => {}
                Err(_) if !told => {
                    told = true;
                    let _ = shared.semaphore(READY).map(|s| s.release(1));
                }
                Err(_) => {
                    let _ = sys::sleep(0);
                }
            }
        }
    })?;
    drop(theirs);
    shared.semaphore(READY)?.acquire()?;
    let taken = Counters::now()?.get(Stat64::Processes);
    let mut verdict = Ok(());
    for _ in 0..50 {
        let child = process::spawn(|| 0).map_err(Why::from);
        verdict = verdict.and_then(|()| same("a status", status_of(child?)?, 0));
    }
    let verdict = verdict.and_then(|()| others_go_on());
    process::kill(bomb, "enough")?;
    process::wait_for(bomb)?;
    drop(ours);
    ensure!(taken > 200, "only {taken} processes");
    verdict
}

/// Each process makes two others, each in a note group of its own, and ends: nobody
/// can end them one by one. One call ends all of them, also once the first is gone.
fn account() -> Verdict {
    let bomb = apart(|| {
        let mut made = 0;
        while made < 2 {
            match process::fork_with(rfork::NOTES) {
                Ok(Fork::Child) => made = 0,
                Ok(Fork::Parent(_)) => made += 1,
                Err(_) => drop(sys::sleep(0)),
            }
        }
    })?;
    same("the first one's status", status_of(bomb)?, 0)?;
    let me = sys::getpid();
    let left = || {
        let alive = |info: &ProcessInfo| info.state != ProcessInfo::ENDED;
        let of_bomb = |info: &ProcessInfo| info.pid > bomb && info.parent != me;
        process::list().filter(move |info| alive(info) && of_bomb(info))
    };
    while left().count() < 100 {
        sys::sleep(0)?;
    }
    let verdict = others_go_on();
    fails(
        "ending the tree that the caller is in",
        process::kill_all(me, "all"),
        Errno::EPERM,
    )?;
    // The one that is named may have ended meanwhile.
    let end = |info: ProcessInfo| process::kill_all(info.pid, "enough").ok();
    let ended = core::iter::repeat_with(|| left().find_map(end)).find_map(|ended| ended);
    ensure!(ended.is_some_and(|count| count > 50), "{ended:?} ended");
    // Each obeys when its turn comes.
    for _ in 0..5000 {
        if left().next().is_none() {
            return verdict;
        }
        sys::sleep(1_000_000)?;
    }
    Err(Why(format!("{} processes are left", left().count())))
}

/// Runs `count` children, each in an account of its own, that do `body` and
/// stay until `look` has been called.
pub fn crowd(count: usize, body: impl Fn(), look: impl FnOnce() -> Verdict) -> Verdict {
    let shared = Shared::new(PG)?;
    let mut children = Vec::new();
    for _ in 0..count {
        let child = apart(|| {
            body();
            let _ = shared.semaphore(READY).map(|s| s.release(1));
            let _ = shared.semaphore(GO).map(|s| s.acquire());
        });
        let Ok(pid) = child else { break };
        children.push(pid);
        shared.semaphore(READY)?.acquire()?;
    }
    let verdict = look();
    shared.semaphore(GO)?.release(children.len() as u32)?;
    for pid in &children {
        process::wait_for(*pid)?;
    }
    ensure!(!children.is_empty(), "no children");
    verdict
}

/// As many channels as a process can have.
fn pipes() -> Vec<(File, File)> {
    core::iter::from_fn(|| File::pipe().ok()).collect()
}

/// Channels of many processes take no memory that others need.
fn channels() -> Verdict {
    crowd(40, || core::mem::forget(pipes()), others_go_on)
}

/// Fills the queues of all channels with messages of `len` bytes.
fn fill(len: usize) {
    let channels = pipes();
    queue(&channels, &alloc::vec![7; len], 64);
    core::mem::forget(channels);
}

/// Sends `count` times on each side of each channel, as long as that works.
fn queue(channels: &[(File, File)], message: &[u8], count: usize) {
    for (one, other) in channels {
        for end in [one, other] {
            for _ in 0..count {
                if send(end, [message]).is_err() {
                    break;
                }
            }
        }
    }
}

/// Unread messages: their memory is available for other uses afterwards.
fn messages() -> Verdict {
    let children = || {
        let mut count = 0;
        crowd(
            100,
            || {},
            || {
                count = Counters::now()?.get(Stat64::Processes);
                Ok(())
            },
        )?;
        Ok::<u64, Why>(count)
    };
    let before = children()?;
    // What each begins with counts as the parent's, which has a part of memory.
    let many = (Counters::now()?.get(Stat64::FramesTotal) / 2048).min(12);
    crowd(many as usize, || fill(2048), others_go_on)?;
    same("processes possible afterwards", children()?, before)
}

fn long_messages() -> Verdict {
    crowd(4, || fill(300_000), others_go_on)
}

/// Snapshots of some processes take no place that another's needs.
fn snapshots() -> Verdict {
    let server = Tiny {
        snapshots: true,
        fault: Fault::Boasts,
    };
    with(server, |path| {
        let many = || {
            let file = File::open(path, mode::OREAD);
            let pages = crate::check::snapshot(EACH);
            if let (Ok(file), Ok(mut pages)) = (file, pages) {
                take_snapshots(&file, &mut pages);
                core::mem::forget(pages);
            }
        };
        let before = Counters::now()?;
        crowd(10, many, || {
            let taken = Counters::now()?.since(&before, Stat64::Snapshots);
            ensure!(taken > 16_384, "only {taken} snapshots");
            others_go_on()
        })
    })
}

/// Snapshots of one process in that case.
pub const EACH: usize = 2_000;

/// A snapshot for each page.
pub fn take_snapshots(file: &File, pages: &mut Segment) {
    for (index, page) in pages.bytes_mut().chunks_mut(PG).enumerate() {
        // Descending, so that no two are one.
        let offset = ((EACH - index) * 2 * PG) as u64;
        if file.read_at(page, offset) != Ok(PG) {
            return;
        }
    }
}

pub(super) const GIB: usize = 1 << 30;

/// Takes memory by stores, until it is ended.
fn touch(memory: &mut Segment) {
    for page in memory.bytes_mut().chunks_mut(PG) {
        page[0] = 1;
    }
}

/// Takes memory in calls, which only return an error when there is none.
fn call(memory: &mut Segment) {
    for at in (memory.address()..).step_by(PG).take(memory.len() / PG) {
        // SAFETY: writes 8 bytes of a segment that is used for nothing else.
        let _ = unsafe { raw::call(Call::KStat, [at, 1, 0, 0, 0, 0]) };
    }
}

/// Takes memory as a file server, which others may depend on.
fn serve(memory: &mut Segment) {
    let Ok((ours, theirs)) = File::pipe() else {
        return;
    };
    if let Ok(Fork::Child) = process::fork() {
        drop(File::from_fd(theirs.fd()));
        let _ = ours.mount("/mnt");
        process::exit_now(0, "");
    }
    // Any answer makes a server.
    let _ = theirs.read(&mut [0; 128]);
    let _ = send(&theirs, [&[0; 7][..]]);
    touch(memory);
}

/// One process takes all frames: it alone is ended, with the reason, while
/// others that need some go on, including servers.
fn memory(take: fn(&mut Segment)) -> Verdict {
    let shared = Shared::new(PG)?;
    let bystander = apart(|| {
        let _ = shared.semaphore(GO).map(|s| s.acquire());
        let mut own = Segment::attach("memory", 64 * PG);
        if let Ok(own) = &mut own {
            touch(own);
        }
        process::exit_now(3, "")
    })?;
    let hog = apart(|| {
        let mut memory = Segment::attach("memory", 64 * GIB);
        let _ = shared.semaphore(GO).map(|s| s.release(1));
        if let Ok(memory) = &mut memory {
            take(memory);
        }
    })?;
    // Meanwhile, and when there is hardly any left.
    let mut verdict = Ok(());
    while is_alive(hog) && verdict.is_ok() {
        verdict = others_go_on().and_then(|()| tmp());
    }
    let _ = process::kill(hog, "too late");
    let ended = process::wait_for(hog)?;
    let bystander = status_of(bystander)?;
    verdict?;
    same("the other's status", bystander, 3)?;
    let (status, text) = (u32::from(ended.status()), ended.text());
    ensure!(
        status == STATUS_KILLED && text.contains("out of memory"),
        "status {status}: {text}"
    );
    others_go_on().and_then(|()| tmp())
}

fn is_alive(pid: u64) -> bool {
    process::list().any(|p| p.pid == pid && p.state != ProcessInfo::ENDED)
}

/// Files in memory are written and read.
fn tmp() -> Verdict {
    let path = format!("/tmp/limits-{}", sys::getpid());
    let file = File::create(&path, mode::ORDWR, 0o600)?;
    let written = file.write_all_at(&[1; 100], 0);
    sys::remove(&path)?;
    written?;
    Ok(())
}

/// Memory taken by a process that has ended since counts for its child; a fork
/// that finds none waits until it is given back.
fn fork_when_out() -> Verdict {
    let shared = Shared::new(PG)?;
    let heir = shared.number(GO)?;
    let parent = apart(|| {
        let Ok(mut memory) = Segment::attach("memory", 64 * GIB) else {
            return;
        };
        let free = Counters::now().map_or(0, |now| now.get(Stat64::FramesFree)) as usize;
        touch_pages(&mut memory, free * 3 / 4);
        if let Ok(Fork::Child) = process::fork() {
            heir.store(sys::getpid() as u32, Relaxed);
            let _ = shared.semaphore(READY).map(|s| s.release(1));
            touch(&mut memory);
        }
    })?;
    shared.semaphore(READY)?.acquire()?;
    process::wait_for(parent)?;
    let mut rounds = 0;
    let heir = u64::from(heir.load(Relaxed));
    while is_alive(heir) {
        others_go_on()?;
        rounds += 1;
        ensure!(rounds < 1000, "the process with most memory is still there");
    }
    others_go_on()
}

pub(super) fn touch_pages(memory: &mut Segment, pages: usize) {
    for page in memory.bytes_mut().chunks_mut(PG).take(pages) {
        page[0] = 1;
    }
}

/// Handles notes and gives nothing back. The note of a fault ends the program: where a page
/// of its own cannot come back it would touch that for ever.
fn ignore_notes() -> Result<(), Errno> {
    rt::note::handle(|_, text| match text.starts_with("sys: trap") {
        true => Then::End,
        false => Then::Resume,
    })
}

/// A child that takes all memory there is in calls, handles the note and gives
/// nothing back. It has ended already where a page that it needs could not come back.
fn hog(shared: &Shared) -> Result<u64, Why> {
    let hog = apart(|| {
        let ignored = ignore_notes();
        let memory = Segment::attach("memory", 64 * GIB);
        if let (Ok(()), Ok(mut memory)) = (ignored, memory) {
            call_until_out(&mut memory);
            stay(shared)
        }
    })?;
    ready_or_ended(shared, hog)?;
    Ok(hog)
}

/// Tells that it is ready, where memory may be out for this call too, and stays.
fn stay(shared: &Shared) -> ! {
    while shared.semaphore(READY).and_then(|s| s.release(1)).is_err() {
        let _ = sys::sleep(1_000_000);
    }
    loop {
        let _ = sys::sleep(u64::MAX / 2);
    }
}

/// Returns when that process is ready, or has ended.
fn ready_or_ended(shared: &Shared, pid: u64) -> Verdict {
    while is_alive(pid) && !shared.semaphore(READY)?.try_acquire()? {
        sys::sleep(10_000_000)?;
    }
    Ok(())
}

/// It was ended for what it had.
fn hog_ended(hog: u64) -> Verdict {
    let _ = process::kill(hog, "too late");
    let ended = process::wait_for(hog)?;
    let text = ended.text();
    ensure!(text.contains("out of memory"), "it ended by {text}");
    Ok(())
}

/// A program that handles the note and gives nothing back is ended when others
/// need memory.
fn handler() -> Verdict {
    let shared = Shared::new(PG)?;
    let hog = hog(&shared)?;
    let needs = apart(|| {
        if let Ok(mut memory) = Segment::attach("memory", 2000 * PG) {
            touch(&mut memory);
        }
        process::exit_now(4, "")
    })?;
    let needed = status_of(needs)?;
    let ended = hog_ended(hog);
    same("the one who needed memory", needed, 4)?;
    ended
}

/// Something that a call needs frames for, and the bytes that the call moves.
struct Needs {
    file: File,
    memory: Segment,
    len: usize,
}

/// Random bytes for pages that have no frames yet.
fn random() -> Result<Needs, Why> {
    Ok(Needs {
        file: File::open("/dev/random", mode::OREAD)?,
        memory: Segment::attach("memory", 4 * PG)?,
        len: 4 * PG,
    })
}

/// A file of the bundle for such pages.
fn bundle() -> Result<Needs, Why> {
    Ok(Needs {
        file: File::open("/bin/init", mode::OREAD)?,
        memory: Segment::attach("memory", 4 * PG)?,
        len: 4 * PG,
    })
}

/// A message for such pages.
fn message() -> Result<Needs, Why> {
    let (one, other) = File::pipe()?;
    send(&one, [&[7; 4 * PG][..]])?;
    core::mem::forget(one);
    Ok(Needs {
        file: other,
        memory: Segment::attach("memory", 4 * PG)?,
        len: 4 * PG,
    })
}

/// Bytes of a server without snapshots for pages that are asleep.
fn asleep() -> Verdict {
    let server = Tiny {
        snapshots: false,
        fault: Fault::None,
    };
    with(server, |path| {
        waits(|| {
            let scratch = Scratch::patterned("limits", 1, 3 * PG)?;
            Ok(Needs {
                file: File::open(path, mode::OREAD)?,
                memory: scratch.asleep(3)?,
                len: 3 * PG,
            })
        })
    })
}

/// A call that finds no frame waits as a touch does until others have given some
/// back, and has lost nothing then.
fn waits(prepare: impl Fn() -> Result<Needs, Why>) -> Verdict {
    let shared = Shared::new(PG)?;
    let needs = apart(|| {
        let prepared = prepare();
        let _ = shared.semaphore(READY).map(|s| s.release(1));
        let _ = shared.semaphore(GO).map(|s| s.acquire());
        let status = match prepared {
            Ok(mut n) => match n.file.read_at(&mut n.memory.bytes_mut()[..n.len], 0) {
                Ok(done) if done == n.len => 4,
                Ok(_) => 5,
                Err(Errno::ENOMEM) => 6,
                Err(_) => 7,
            },
            Err(_) => 8,
        };
        process::exit_now(status, "")
    })?;
    shared.semaphore(READY)?.acquire()?;
    let hog = hog(&shared)?;
    shared.semaphore(GO)?.release(1)?;
    let needed = status_of(needs)?;
    let ended = hog_ended(hog);
    same("the one who needed memory", needed, 4)?;
    ended
}

/// Some processes use up their kernel memory, then all frames, then the reserve
/// for kernel objects; calls that need a little of that fail or succeed
/// cleanly.
fn everything() -> Verdict {
    crowd(
        4,
        || fill(2048),
        || {
            let shared = Shared::new(PG)?;
            let hog = apart(|| {
                let ignored = ignore_notes();
                let memory = Segment::attach("memory", 64 * GIB);
                // All that is needed of its own memory, before there is none.
                let (mut channels, message) = (pipes(), alloc::vec![7; 2048]);
                channels.pop();
                if let (Ok(()), Ok(mut memory)) = (ignored, memory) {
                    call_until_out(&mut memory);
                    for len in [2048, 512, 128, 16] {
                        queue(&channels, &message[..len], 16);
                        drop(File::open("/a/name/that/leads/nowhere", mode::OREAD));
                        sys::errstr(&mut [0; 400]);
                        let _ = process::list().count();
                        let _ = File::pipe();
                    }
                    stay(&shared)
                }
            })?;
            ready_or_ended(&shared, hog)?;
            let verdict = others_go_on();
            let _ = process::kill(hog, "enough");
            process::wait_for(hog)?;
            verdict
        },
    )
}

/// Takes memory in calls until one fails.
fn call_until_out(memory: &mut Segment) {
    for at in (memory.address()..).step_by(PG).take(memory.len() / PG) {
        // SAFETY: writes 8 bytes of a segment that is used for nothing else.
        let done = unsafe { raw::call(Call::KStat, [at, 1, 0, 0, 0, 0]) };
        if done == Err(Errno::ENOMEM) {
            return;
        }
    }
}
