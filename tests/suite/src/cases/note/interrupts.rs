//! Calls that a note interrupts.

use super::{HAD, child, count, passed};
use crate::cases::{random::Random, server};
use crate::check::{
    PG, Scratch, Verdict, Why, at_rest, equal, fails, patterned, pressed, same, snapshot,
};
use crate::liar::served;
use crate::tiny::{Fault, LEN, SEED, Tiny};
use crate::unhurried;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use rt::note;
use rt::process;
use rt::sync::Mutex;
use rt::{Errno, File, Port, Segment, Shared, mode, sys};

/// `call`, which would wait without limit, ends with `EINTR` in a process with
/// a handler.
fn ends(call: impl FnOnce() -> Result<(), Errno>) -> Verdict {
    let pid = child(|| {
        note::handle(count)?;
        fails("the call", call(), Errno::EINTR)?;
        same("notes had", HAD.load(Relaxed), 1)
    })?;
    at_rest()?;
    note::send(pid, "wake up")?;
    passed(pid)
}

pub(super) fn sleep() -> Verdict {
    ends(|| sys::sleep(u64::MAX / 2).map(drop))
}

pub(super) fn wait() -> Verdict {
    ends(|| {
        let pid = process::spawn(|| u8::from(sys::sleep(u64::MAX / 2).is_ok()))?;
        let ended = process::wait().map(drop);
        process::kill(pid, "")?;
        process::wait_for(pid)?;
        ended
    })
}

pub(super) fn read() -> Verdict {
    let (_ours, theirs) = File::pipe()?;
    ends(|| theirs.read(&mut [0; 8]).map(drop))
}

pub(super) fn send() -> Verdict {
    let (ours, _theirs) = File::pipe()?;
    ends(|| {
        loop {
            rt::send(&ours, [b"more"])?;
        }
    })
}

pub(super) fn port() -> Verdict {
    let port = Port::new()?;
    ends(|| port.receive(&mut [0; 8], u64::MAX).map(drop))
}

pub(super) fn semaphore() -> Verdict {
    let shared = Shared::new(PG)?;
    ends(|| shared.semaphore(0)?.acquire())
}

/// A read at a server that does not answer.
pub(super) fn server() -> Verdict {
    let silent = Tiny {
        snapshots: false,
        fault: Fault::Silent,
    };
    server::with(silent, |path| {
        let file = File::open(path, mode::OREAD)?;
        ends(|| file.read_at(&mut [0; 100], 0).map(drop))?;
        // The connection is as good as before.
        ends(|| file.read_at(&mut [0; 100], 0).map(drop))
    })
}

/// A steady stream of notes neither loses nor doubles messages.
pub(super) fn steady() -> Verdict {
    const ROUNDS: u32 = 500;
    note::handle(count)?;
    let (ours, theirs) = File::pipe()?;
    let (me, stop) = (sys::getpid(), Shared::new(PG)?);
    process::spawn(|| {
        let _ = note::ignore_handler();
        while stop.number(0).is_ok_and(|n| n.load(Relaxed) == 0) {
            let _ = note::send(me, "again");
            let _ = sys::sleep(100_000);
        }
        0
    })?;
    process::spawn(|| {
        let mut next = 0u32;
        let mut got = [0; 4];
        while theirs.read(&mut got) == Ok(4) && u32::from_le_bytes(got) == next {
            next += 1;
        }
        u8::from(next != ROUNDS)
    })?;
    for n in 0..ROUNDS {
        while let Err(errno) = rt::send(&ours, [&n.to_le_bytes()]) {
            same("the error", errno, Errno::EINTR)?;
        }
    }
    // The end.
    while rt::send(&ours, [b""]) == Err(Errno::EINTR) {}
    stop.number(0)?.store(1, Relaxed);
    let mut ended = 0;
    while ended < 2 {
        match process::wait() {
            Ok(child) => same("a status", child.status(), 0)?,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        ended += 1;
    }
    Ok(())
}

/// Does it again as long as a note comes first.
fn again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Files that are read, written and touched asleep under a stream of notes have
/// the right content: an interrupted call has happened or can be repeated.
pub(super) fn files() -> Verdict {
    const PAGES: usize = 8;
    // Under pressure a round waits for swap some twenty times, and each note begins a wait
    // anew.
    let rounds = if pressed()? { 15 } else { 150 };
    let scratch = Scratch::patterned("rained-on", 1, PAGES * PG)?;
    let mut model = patterned(1, 0, PAGES * PG);
    let mut segment = snapshot(PAGES)?;
    note::handle(count)?;
    let (me, stop) = (sys::getpid(), Shared::new(PG)?);
    let mut random = Random::new(7);
    process::spawn(|| {
        let _ = note::ignore_handler();
        while stop.number(0).is_ok_and(|n| n.load(Relaxed) == 0) {
            let _ = note::send(me, "drop");
            // Each time it runs again, the other has begun to wait.
            for _ in 0..random.below(20) {
                let _ = sys::sleep(0);
            }
        }
        0
    })?;
    let mut done = || -> Verdict {
        for round in 0..rounds {
            let at = random.below(PAGES * PG - 100);
            let len = 1 + random.below((PAGES * PG - at).min(3 * PG));
            let fresh = patterned(round as u8, at as u64, len);
            let mut written = 0;
            while written < len {
                let rest = &fresh[written..];
                written += again(|| scratch.file.write_at(rest, (at + written) as u64))?;
            }
            model[at..at + len].copy_from_slice(&fresh);
            let all = segment.bytes_mut();
            let n = again(|| scratch.file.read_at(all, 0))?;
            same("bytes read", n, PAGES * PG)?;
            equal("what was read", segment.bytes(), &model)?;
            // A store, and the image back.
            segment.bytes_mut()[at] ^= 1;
            model[at] ^= 1;
            let mut back = 0;
            while back < PAGES * PG {
                let rest = &segment.bytes()[back..];
                back += again(|| scratch.file.write_at(rest, back as u64))?;
            }
        }
        Ok(())
    };
    let verdict = done();
    stop.number(0)?.store(1, Relaxed);
    again(|| process::wait().map(drop))?;
    verdict?;
    note::ignore_handler()?;
    equal("the file in the end", &scratch.content()?, &model)?;
    // A few of them at least came in the middle of something.
    ensure!(
        u64::from(HAD.load(Relaxed)) > rounds as u64 / 5,
        "only {HAD:?} notes"
    );
    Ok(())
}

/// Runs `body` with four pages that are asleep at a server that takes its time, in a
/// process that gets notes all the while.
fn rained_on(body: impl Fn(&mut Segment) -> Verdict) -> Verdict {
    served(unhurried::serve, |path| {
        let file = File::open(path, mode::ORDWR)?;
        let hint = rt::abi::snapshot::RANDOM;
        let mut segment = Segment::attach_with("snapshot", 4 * PG, 0, hint)?;
        same("bytes read", file.read_at(segment.bytes_mut(), 0)?, LEN)?;
        note::handle(count)?;
        let (me, stop) = (sys::getpid(), Shared::new(PG)?);
        process::spawn(|| {
            let _ = note::ignore_handler();
            while stop.number(0).is_ok_and(|n| n.load(Relaxed) == 0) {
                let _ = note::send(me, "drop");
                let _ = sys::sleep(200_000);
            }
            0
        })?;
        let verdict = body(&mut segment);
        stop.number(0)?.store(1, Relaxed);
        again(|| process::wait().map(drop))?;
        note::ignore_handler()?;
        verdict?;
        ensure!(HAD.load(Relaxed) > 20, "only {HAD:?} notes");
        Ok(())
    })
}

/// Pages come although each takes longer than the time between two notes.
pub(super) fn touch() -> Verdict {
    rained_on(|segment| {
        let want = patterned(SEED, 0, LEN);
        equal("what was asleep", &segment.bytes()[..LEN], &want)
    })
}

/// The same in calls, which end with `EINTR` and are repeated.
pub(super) fn call() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    rained_on(|segment| {
        let want = patterned(SEED, 0, LEN);
        for at in (0..LEN).step_by(PG) {
            let part = at..LEN.min(at + PG);
            again(|| rt::send(&theirs, [&segment.bytes()[part.clone()]]))?;
            let mut got = [0; PG];
            let n = again(|| ours.read(&mut got))?;
            equal("what was sent", &got[..n], &want[part])?;
        }
        Ok(())
    })
}

/// A mutex is handed over although the page of its semaphore takes longer to come than
/// the time between two notes.
pub(super) fn release() -> Verdict {
    rained_on(|segment| {
        // The first page is there, so that no wait was in vain before.
        segment.free(0, PG)?;
        // Its count is the last word of a page, the semaphore the first one of the next.
        let at = segment.address() + PG as u64 - 4;
        // SAFETY: the words lie in the segment, and any number is a count of either kind.
        let (wanted, handed, mutex) = unsafe {
            (
                &*(at as *const AtomicU32),
                &*((at + 4) as *const AtomicU32),
                &*(at as *const Mutex<()>),
            )
        };
        let guard = mutex.lock();
        // Somebody is about to wait for it.
        same("those that want it", wanted.fetch_add(1, Relaxed), 1)?;
        drop(guard);
        let old = patterned(SEED, PG as u64, 4)
            .try_into()
            .map(u32::from_le_bytes);
        let old = old.map_err(|_| Why("four bytes".into()))?;
        same("handed over", handed.load(Relaxed), old.wrapping_add(1))?;
        let rest = 2 * PG..LEN;
        let want = patterned(SEED, rest.start as u64, rest.len());
        equal(
            "the rest, between more notes",
            &segment.bytes()[rest],
            &want,
        )
    })
}
