//! What two do in one memory at once: fills, detaching, copies, reads, writes.

use super::{FOR_EVER, at, attach, call, detach};
use crate::check::{
    PG, Scratch, Verdict, Why, at_rest, counts, fails, other, pattern, same, snapshot,
};
use crate::judge::counters;
use crate::liar::{Liar, Next, served};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use ninep::Request;
use rt::abi::OFFSET_CURRENT;
use rt::process;
use rt::thread::{self, JoinHandle};
use rt::{Call, Errno, File, Named, Segment, Shared, Stat64, mode, sys};

/// A server whose reads wait until a semaphore, the second of `gate`, is released; the
/// first one is released when a read is there.
pub(super) fn gated(gate: &Shared, body: impl FnOnce(&File) -> Verdict) -> Verdict {
    let liar = Liar {
        snapshots: true,
        ..Liar::default()
    };
    served(
        |channel| {
            liar.serve(channel, |turn| match turn.request {
                Request::Read { .. } | Request::Put { .. } => pass(gate),
                _ => Next::Honest,
            })
        },
        |path| body(&File::open(path, mode::ORDWR).about(path)?),
    )
}

fn pass(gate: &Shared) -> Next {
    let passed = gate
        .semaphore(0)
        .and_then(|there| there.release(1))
        .and_then(|()| gate.semaphore(4)?.acquire());
    match passed {
        Ok(()) => Next::Honest,
        Err(_) => Next::End(3),
    }
}

pub(super) fn wait_at(gate: &Shared) -> Verdict {
    Ok(gate.semaphore(0)?.acquire()?)
}

pub(super) fn open(gate: &Shared, times: u32) -> Verdict {
    Ok(gate.semaphore(4)?.release(times)?)
}

/// Two that touch one sleeping page: it comes once, and both have it.
pub(super) fn fill_two() -> Verdict {
    let gate = Shared::new(PG)?;
    gated(&gate, |file| {
        let mut segment = snapshot(4)?;
        file.read_at(segment.bytes_mut(), 0)?;
        let address = segment.address();
        let before = counters()?.get(Stat64::Fills);
        let touch: Vec<_> = (0..3)
            .map(|_| thread::spawn(move || at(address + 8).load(Relaxed)))
            .collect();
        wait_at(&gate)?;
        at_rest()?;
        open(&gate, 1)?;
        let want = u64::from_le_bytes(core::array::from_fn(|i| pattern(9, 8 + i as u64)));
        for touch in touch {
            same("the bytes", touch.join(), want)?;
        }
        let fills = counters()?.get(Stat64::Fills) - before;
        counts("fills", fills, 1)
    })
}

/// A page that is filled in two messages, and tied to another snapshot by a write in
/// between: the number of the former one is another file's then.
pub(super) fn fill_retied() -> Verdict {
    let secret = Scratch::patterned("secret", 3, 4 * PG)?;
    let gate = Shared::new(PG)?;
    let serve = |channel: &File| {
        let (mut held, mut told) = (None, false);
        Liar::WITH_SNAPSHOTS.serve(channel, |turn| match turn.request {
            Request::Read { .. } if held.is_none() => {
                held = Some(turn.tag);
                match gate.semaphore(0).and_then(|there| there.release(1)) {
                    Ok(()) => Next::Done,
                    Err(_) => Next::End(3),
                }
            }
            Request::Put { off, ops, .. } => {
                let count = ops.iter().map(|op| op.off + op.len).max().unwrap_or(0);
                let reply = ninep::Reply::Put {
                    off: *off,
                    count,
                    epoch: 2,
                    assoc: true,
                    changes: ninep::Changes::NONE,
                };
                let _ = turn.reply(turn.tag, &reply);
                Next::Done
            }
            Request::Getattr { .. } => {
                if let (Some(tag), false) = (held, told) {
                    told = true;
                    let data: [u8; 8] = core::array::from_fn(|i| pattern(9, i as u64));
                    let _ = turn.reply(tag, &ninep::Reply::Read { data: &data });
                }
                Next::Honest
            }
            _ => Next::Honest,
        })
    };
    served(serve, |path| {
        let file = File::open(path, mode::ORDWR).about(path)?;
        let mut segment = snapshot(4)?;
        file.read_at(segment.bytes_mut(), 0)?;
        let (address, fd) = (segment.address(), u64::from(file.fd()));
        let touch = thread::spawn(move || at(address + 16).load(Relaxed));
        wait_at(&gate)?;
        at_rest()?;
        let len = 4 * PG as u64;
        let written = call(Call::PWrite, [fd, address, len, PG as u64, 0, 0]);
        same("written", written, Ok(len))?;
        at_rest()?;
        let mut other = snapshot(4)?;
        secret.file.read_at(other.bytes_mut(), 0)?;
        file.stat()?;
        let want = u64::from_le_bytes(core::array::from_fn(|i| pattern(9, 16 + i as u64)));
        let got = touch.join();
        let leak = u64::from_le_bytes(core::array::from_fn(|i| pattern(3, 16 + i as u64)));
        ensure!(got != leak, "bytes of the other file: {got:#x}");
        same("the bytes", got, want)
    })
}

/// A program of which one is ended in the middle of a fill ends; nothing is left behind.
pub(super) fn fill_killed() -> Verdict {
    let gate = Shared::new(PG)?;
    gated(&gate, |file| {
        let mut segment = snapshot(4)?;
        file.read_at(segment.bytes_mut(), 0)?;
        let address = segment.address();
        let pid = process::spawn(|| {
            for _ in 0..2 {
                drop(thread::spawn(move || at(address).load(Relaxed)));
            }
            let _ = sys::sleep(FOR_EVER);
            0
        })?;
        wait_at(&gate)?;
        at_rest()?;
        process::kill(pid, "enough")?;
        same("text", process::wait_for(pid)?.text(), "enough")?;
        // An answer that nobody waits for, and one that this process does.
        open(&gate, 2)?;
        let byte = (at(address).load(Relaxed) & 0xff) as u8;
        same("the page", byte, pattern(9, 0))
    })
}

/// A segment that is detached while another fills a page of it: the fill's end is not seen
/// where a new segment is, and the touch is of that.
pub(super) fn detach_fill() -> Verdict {
    let gate = Shared::new(PG)?;
    gated(&gate, |file| {
        let mut segment = snapshot(4)?;
        file.read_at(segment.bytes_mut(), 0)?;
        let address = segment.address();
        core::mem::forget(segment);
        let touch = thread::spawn(move || at(address).load(Relaxed));
        wait_at(&gate)?;
        detach(address)?;
        fails("again", detach(address), Errno::EINVAL)?;
        same("a new one there", attach(address, 4 * PG)?, address)?;
        at(address + 16).store(77, Relaxed);
        open(&gate, 1)?;
        same("what was touched", touch.join(), 0)?;
        let all = [0, 16, PG as u64].map(|offset| at(address + offset).load(Relaxed));
        same("the new segment", all, [0, 77, 0])?;
        detach(address)?;
        Ok(())
    })
}

/// The same in the middle of a read and of a write.
pub(super) fn detach_read() -> Verdict {
    let gate = Shared::new(PG)?;
    gated(&gate, |file| {
        let address = snapshot(4)?.leak().as_ptr() as u64;
        at(address).store(1, Relaxed);
        at(address + 3 * PG as u64).store(1, Relaxed);
        let fd = u64::from(file.fd());
        // Both edges are fetched at once.
        let read =
            thread::spawn(move || call(Call::PRead, [fd, address + 8, 3 * PG as u64, 0, 0, 0]));
        wait_at(&gate)?;
        detach(address)?;
        same("a new one there", attach(address, 4 * PG)?, address)?;
        open(&gate, 2)?;
        same("bytes read", read.join(), Ok(3 * PG as u64))?;
        let sum: u64 = (0..4 * PG as u64)
            .step_by(8)
            .map(|o| at(address + o).load(Relaxed))
            .sum();
        same("the new segment", sum, 0)?;
        detach(address)?;
        Ok(())
    })
}

/// The same in the middle of an eager read, of which an edge is on an untouched page.
pub(super) fn detach_eager() -> Verdict {
    let gate = Shared::new(PG)?;
    gated(&gate, |file| {
        let segment = Segment::attach_with("snapshot", 8 * PG, 0, rt::abi::snapshot::EAGER)?;
        let address = segment.address();
        core::mem::forget(segment);
        at(address + 5 * PG as u64).store(1, Relaxed);
        let fd = u64::from(file.fd());
        let read = thread::spawn(move || call(Call::PRead, [fd, address + 8, 100, 0, 0, 0]));
        wait_at(&gate)?;
        detach(address)?;
        // The first page of all addresses has its table, which is found last.
        let low = attach(0x1_0000, 400 * PG)?;
        let stop = AtomicU32::new(0);
        thread::scope(|scope| {
            let stop = &stop;
            scope.spawn(move || {
                while stop.load(Relaxed) == 0 {
                    for page in 0..400 {
                        at(low + page * PG as u64).store(1, Relaxed);
                        for _ in 0..1000 {
                            core::hint::spin_loop();
                        }
                    }
                    let _ = call(Call::SegFree, [low, 400 * PG as u64, 0, 0, 0, 0]);
                }
            });
            sys::sleep(5_000_000)?;
            open(&gate, 2)?;
            let verdict = same("bytes read", read.join(), Ok(100));
            stop.store(1, Relaxed);
            verdict
        })?;
        detach(low)?;
        Ok(())
    })
}

pub(super) fn detach_write() -> Verdict {
    let file = Scratch::empty("written")?;
    let copy = Scratch::empty("copied")?;
    let fd = u64::from(copy.file.fd());
    for turn in 0..6_u8 {
        let mut segment = snapshot(64)?;
        segment.bytes_mut().fill(turn + 1);
        let address = segment.address();
        core::mem::forget(segment);
        let len = 64 * PG as u64;
        let write = thread::spawn(move || call(Call::PWrite, [fd, address, len, 0, 0, 0]));
        for _ in 0..turn {
            thread::yield_now();
        }
        detach(address)?;
        match write.join() {
            Ok(n) => {
                let content = copy.content()?;
                let all = content[..n as usize].iter().all(|byte| *byte == turn + 1);
                ensure!(all && n > 0, "{n} bytes, others than were there");
            }
            Err(errno) => same("the error", errno, Errno::EFAULT)?,
        }
    }
    drop(file);
    Ok(())
}

/// The same while a call copies, from and to plain memory.
pub(super) fn detach_copy() -> Verdict {
    let zero = u64::from(File::open("/dev/zero", mode::OREAD)?.into_fd());
    for turn in 0..20 {
        let address = attach(0, 256 * PG)?;
        let len = 256 * PG as u64;
        let read =
            thread::spawn(move || call(Call::PRead, [zero, address, len, OFFSET_CURRENT, 0, 0]));
        for _ in 0..turn % 4 {
            thread::yield_now();
        }
        detach(address)?;
        let read = read.join();
        ensure!(read == Ok(len) || read == Err(Errno::EFAULT), "{read:?}");
    }
    drop(File::from_fd(zero as u32));
    Ok(())
}

/// Freed while it is filled: zeros from then on, for the one that filled as well or the old
/// bytes.
pub(super) fn free_fill() -> Verdict {
    let gate = Shared::new(PG)?;
    gated(&gate, |file| {
        let mut segment = snapshot(4)?;
        file.read_at(segment.bytes_mut(), 0)?;
        let address = segment.address();
        let touch = thread::spawn(move || at(address).load(Relaxed));
        wait_at(&gate)?;
        call(Call::SegFree, [address, 4 * PG as u64, 0, 0, 0, 0])?;
        same("freed", at(address).load(Relaxed), 0)?;
        open(&gate, 1)?;
        let old = u64::from_le_bytes(core::array::from_fn(|i| pattern(9, i as u64)));
        let seen = touch.join();
        ensure!(seen == 0 || seen == old, "{seen:#x}");
        same("afterwards", at(address).load(Relaxed), 0)
    })
}

/// Several read, write, free, store and load in one segment at once, each its own part of
/// it; whatever the others do, each finds what it has put there.
pub(super) fn storm() -> Verdict {
    const PART: usize = 6 * PG;
    let file = Scratch::patterned("storm", 3, 8 * PART)?;
    let segment = snapshot(4 * PART / PG)?;
    let (address, fd) = (segment.address(), u64::from(file.file.fd()));
    let all: Vec<_> = (0..4_u64)
        .map(|me| thread::spawn(move || part(me, address + me * PART as u64, fd, PART as u64)))
        .collect();
    all.into_iter()
        .try_for_each(|one| one.join().map_err(|why| Why(why.into())))
}

fn part(me: u64, start: u64, fd: u64, len: u64) -> Result<(), &'static str> {
    let byte = |offset: u64| u64::from(pattern(3, offset));
    let load = |offset: u64| at(start + offset).load(Relaxed) & 0xff;
    for turn in 0..30_u64 {
        let from = me * len;
        let read = call(Call::PRead, [fd, start, len, from, 0, 0]);
        if read != Ok(len) {
            return Err("a read");
        }
        let offset = (turn * 1000 + 8) % (len - 8) / 8 * 8;
        if load(offset) != byte(from + offset) {
            return Err("bytes of the file");
        }
        at(start + offset).store(turn, Relaxed);
        let write = call(Call::PWrite, [fd, start, len, (4 + me) * len, 0, 0]);
        if write != Ok(len) {
            return Err("a write");
        }
        if at(start + offset).load(Relaxed) != turn {
            return Err("a store");
        }
        if turn % 3 == 0 {
            let freed = call(Call::SegFree, [start, len, 0, 0, 0, 0]);
            if freed.is_err() || load(offset) != 0 {
                return Err("zeros");
            }
        }
    }
    Ok(())
}

/// A copy for a child while others store: each page is as it was at one moment, and stays.
pub(super) fn fork() -> Verdict {
    const PAGES: u64 = 40;
    let segment = Segment::attach("memory", PAGES as usize * PG)?;
    let address = segment.address();
    let stop = AtomicU32::new(0);
    // A page's two numbers are equal, or the first is one ahead.
    let sound = |page: u64| {
        let (a, b) = (
            at(address + page * PG as u64),
            at(address + page * PG as u64 + 8),
        );
        let (b, a) = (b.load(Relaxed), a.load(Relaxed));
        a == b || a == b + 1
    };
    thread::scope(|scope| {
        for half in 0..2 {
            let stop = &stop;
            scope.spawn(move || {
                for n in 1_u64.. {
                    for page in (half * PAGES / 2)..((half + 1) * PAGES / 2) {
                        at(address + page * PG as u64).store(n, Relaxed);
                        at(address + page * PG as u64 + 8).store(n, Relaxed);
                    }
                    if stop.load(Relaxed) != 0 {
                        return;
                    }
                }
            });
        }
        let verdict = (0..10).try_for_each(|_| {
            sys::sleep(1_000_000)?;
            other(|| {
                let sums = || (0..PAGES).map(|page| at(address + page * PG as u64).load(Relaxed));
                let before: Vec<u64> = sums().collect();
                ensure!((0..PAGES).all(sound), "a page of two moments");
                sys::sleep(2_000_000)?;
                ensure!(sums().eq(before), "changed by the parent");
                Ok(())
            })
        });
        stop.store(1, Relaxed);
        verdict
    })
}

/// Does something while a copy of this process lives.
fn beside_a_copy(body: impl FnOnce() -> Verdict) -> Verdict {
    let copy = process::spawn(|| {
        let _ = sys::sleep(FOR_EVER);
        0
    })?;
    let verdict = body();
    process::kill(copy, "done")?;
    process::wait_for(copy)?;
    verdict
}

/// Bytes that are on their way to memory while another forks, and a third stores beside
/// them, arrive.
pub(super) fn fork_read() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let address = attach(0, 2 * PG)?;
    let fd = u64::from(ours.fd());
    for turn in 1..8_u64 {
        let read =
            thread::spawn(move || call(Call::PRead, [fd, address + 64, 8, OFFSET_CURRENT, 0, 0]));
        at_rest()?;
        beside_a_copy(|| {
            at(address).store(turn, Relaxed);
            theirs.write_all(&turn.to_le_bytes())?;
            same("bytes read", read.join(), Ok(8))?;
            let found = [0, 64].map(|offset| at(address + offset).load(Relaxed));
            same("stored and read", found, [turn, turn])
        })?;
    }
    detach(address)?;
    Ok(())
}

/// The same for bytes that a file server sends.
pub(super) fn fork_remote() -> Verdict {
    let gate = Shared::new(PG)?;
    let serve = |channel: &File| {
        Liar::default().serve(channel, |turn| match turn.request {
            Request::Read { .. } => pass(&gate),
            _ => Next::Honest,
        })
    };
    served(serve, |path| {
        let file = File::open(path, mode::OREAD).about(path)?;
        let (fd, address) = (u64::from(file.fd()), attach(0, 2 * PG)?);
        at(address).store(1, Relaxed);
        let read = thread::spawn(move || call(Call::PRead, [fd, address + 64, 512, 0, 0, 0]));
        wait_at(&gate)?;
        beside_a_copy(|| {
            at(address).store(7, Relaxed);
            open(&gate, 1)?;
            same("bytes read", read.join(), Ok(512))?;
            let want = u64::from_le_bytes(core::array::from_fn(|i| pattern(9, i as u64)));
            let found = [0, 64].map(|offset| at(address + offset).load(Relaxed));
            same("stored and read", found, [7, want])
        })?;
        detach(address)?;
        Ok(())
    })
}

/// Copies while others read, write and free in the same segment.
pub(super) fn fork_storm() -> Verdict {
    const PART: usize = 6 * PG;
    let file = Scratch::patterned("storm", 3, 8 * PART)?;
    let segment = snapshot(4 * PART / PG)?;
    let (address, fd) = (segment.address(), u64::from(file.file.fd()));
    let all: Vec<_> = (0..2_u64)
        .map(|me| thread::spawn(move || part(me, address + me * PART as u64, fd, PART as u64)))
        .collect();
    while !all.iter().all(JoinHandle::is_finished) {
        other(|| {
            // Of the file, of a store, or zeros: never a mixture in what is read again.
            let sum = || {
                (0..2 * PART as u64).step_by(8).fold(0_u64, |sum, offset| {
                    sum.rotate_left(5) ^ at(address + offset).load(Relaxed)
                })
            };
            let before = sum();
            sys::sleep(1_000_000)?;
            same("the copy", sum(), before)
        })?;
    }
    all.into_iter()
        .try_for_each(|one| one.join().map_err(|why| Why(why.into())))
}

/// Pages go to swap while another stores there.
pub(super) fn page_out() -> Verdict {
    const PAGES: u64 = 32;
    let segment = Segment::attach("memory", PAGES as usize * PG)?;
    let address = segment.address();
    let stop = AtomicU32::new(0);
    thread::scope(|scope| {
        let counts = scope.spawn(|| {
            let mut n = 0_u64;
            while stop.load(Relaxed) == 0 {
                n += 1;
                for page in 0..PAGES {
                    let word = at(address + page * PG as u64);
                    if word.load(Relaxed) != n - 1 {
                        return Err(n);
                    }
                    word.store(n, Relaxed);
                }
            }
            Ok(n)
        });
        for _ in 0..40 {
            match segment.page_out(0, segment.len()) {
                // Without swap, or while another goes out.
                Ok(_) | Err(Errno::ENOSPC) => {}
                Err(errno) => return Err(errno.into()),
            }
            sys::sleep(500_000)?;
        }
        stop.store(1, Relaxed);
        let n = counts
            .join()
            .map_err(|n| Why(alloc::format!("lost in round {n}")))?;
        let last = at(address).load(Relaxed);
        same("the last store", last, n)
    })
}
