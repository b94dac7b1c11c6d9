//! Memory that cannot be filled, and operations that do not need it:
//! overwritten bytes, messages whose copy failed, writers and servers beside a
//! server that never answers.

use super::Case;
use crate::check::{PG, Scratch, Verdict, Why, equal, fails, patterned, same, snapshot};
use crate::liar::{Liar, Next, close_all_but, served};
use crate::raw;
use crate::tiny::SEED;
use alloc::vec;
use ninep::{Changes, Qid, Reply, Request};
use rt::abi::{Received, mode};
use rt::process;
use rt::{Call, Errno, File, Named, Port, Segment, Shared, sys};

pub const CASES: &[Case] = &[
    Case::new("lost.overwritten", overwritten),
    Case::new("lost.message", message),
    Case::new("lost.event", event),
    Case::new("lost.buffer", past_the_end),
    Case::deferred("lost.reply", reply),
    Case::deferred("lost.serving", serving),
    Case::deferred("lost.writers", writers),
];

/// A server whose snapshots cannot be read.
fn unreadable(channel: &File) -> u8 {
    let liar = Liar {
        snapshots: true,
        ..Liar::default()
    };
    liar.serve(channel, |turn| match turn.request {
        Request::Read { .. } => turn.error(turn.tag, Errno::EIO),
        _ => Next::Honest,
    })
}

/// A buffer that is asleep on such a server; with deferral off, of zeros.
fn asleep(path: &str, pages: usize) -> Result<Segment, Why> {
    let mut segment = snapshot(pages)?;
    match File::open(path, mode::OREAD)?.read_at(segment.bytes_mut(), 0) {
        Ok(_) | Err(Errno::EIO) => Ok(segment),
        Err(errno) => Err(errno.into()),
    }
}

/// Rule 8: bytes that are overwritten completely need not be loaded, so it does
/// not matter whether they can be.
fn overwritten() -> Verdict {
    served(unreadable, |lost| {
        // From a server without snapshots.
        served(
            |channel| Liar::default().serve(channel, |_| Next::Honest),
            |path| {
                let file = File::open(path, mode::OREAD)?;
                let mut segment = asleep(lost, 3)?;
                same("bytes read", file.read_at(segment.bytes_mut(), 0)?, 3 * PG)?;
                equal("them", segment.bytes(), &patterned(SEED, 0, 3 * PG))
            },
        )?;
        let mut segment = asleep(lost, 3)?;
        let random = File::open("/dev/random", mode::OREAD)?;
        let n = random
            .read_at(segment.bytes_mut(), 0)
            .about("/dev/random")?;
        same("random bytes", n, 3 * PG)?;
        let zeros = segment.bytes().iter().filter(|b| **b == 0).count();
        ensure!(zeros < PG, "{zeros} of {n} random bytes are zeros");
        // One message, its pieces at no page boundary.
        let (ours, theirs) = File::pipe()?;
        let mut segment = asleep(lost, 3)?;
        ours.write_all(&patterned(3, 0, 3 * PG))?;
        same("bytes received", theirs.read(segment.bytes_mut())?, 3 * PG)?;
        equal("them", segment.bytes(), &patterned(3, 0, 3 * PG))?;
        // A short read leaves the rest as it is.
        served(
            |channel| {
                Liar {
                    len: 2 * PG,
                    ..Liar::default()
                }
                .serve(channel, |_| Next::Honest)
            },
            |path| {
                let mut segment = snapshot(3)?;
                segment.bytes_mut().fill(5);
                let source = Scratch::patterned("source", 8, 3 * PG)?;
                source.file.read_full_at(segment.bytes_mut(), 0)?;
                let n = File::open(path, mode::OREAD)?.read_at(segment.bytes_mut(), 0)?;
                same("bytes of a short read", n, 2 * PG)?;
                equal("them", &segment.bytes()[..n], &patterned(SEED, 0, n))?;
                equal(
                    "what follows",
                    &segment.bytes()[n..],
                    &patterned(8, n as u64, PG),
                )
            },
        )
    })
}

/// A message whose copy fails is received again, by a port and by a read.
fn message() -> Verdict {
    served(unreadable, |lost| {
        let (ours, theirs) = File::pipe()?;
        let port = Port::new()?;
        port.add(&theirs, 7)?;
        let text = patterned(4, 0, PG);
        for received_by_port in [true, false] {
            ours.write_all(&text)?;
            // Half of a page that cannot be had.
            let mut segment = asleep(lost, 2)?;
            let into = &mut segment.bytes_mut()[PG / 2..][..PG];
            let first = if received_by_port {
                port.receive(into, 0).map(|r| r.len as usize)
            } else {
                theirs.read(into)
            };
            let mut good = vec![0; PG];
            match first {
                Ok(n) => good.copy_from_slice(&segment.bytes()[PG / 2..][..n]),
                Err(Errno::EIO) if received_by_port => {
                    same("the message", port.receive(&mut good, 0)?.len as usize, PG)?;
                }
                Err(Errno::EIO) => same("the message", theirs.read(&mut good)?, PG)?,
                Err(errno) => return Err(errno.into()),
            }
            equal("the message", &good, &text)?;
        }
        Ok(())
    })
}

/// An event that could not be copied to its receiver is not lost either.
fn event() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let port = Port::new()?;
    port.add(&theirs, 7)?;
    let memory = Segment::attach("memory", PG)?;
    let (at, end) = (memory.address(), memory.address() + PG as u64);
    let receive = |to: u64, record: u64| {
        let args = [u64::from(port.fd()), to, 8, record, 0, 0];
        // SAFETY: `memory` holds nothing.
        unsafe { raw::call(Call::Recv, args) }
    };
    ours.write_all(b"12345678")?;
    fails("a message to nowhere", receive(end - 4, at), Errno::EFAULT)?;
    fails("told nowhere", receive(at, end - 8), Errno::EFAULT)?;
    let mut got = [0; 8];
    same("the message", port.receive(&mut got, 0)?.len, 8)?;
    equal("it", &got, b"12345678")?;
    drop(ours);
    fails(
        "a hang-up told nowhere",
        receive(at, end - 8),
        Errno::EFAULT,
    )?;
    same(
        "the hang-up",
        port.receive(&mut got, 0)?.kind,
        Received::HANGUP,
    )?;
    fails(
        "once",
        port.receive(&mut got, 0).map(drop),
        Errno::ETIMEDOUT,
    )
}

/// A transfer whose buffer runs past its segment moves nothing: not the offset,
/// not the message, not the file, not the buffer, whether it is asleep or not.
fn past_the_end() -> Verdict {
    let scratch = Scratch::patterned("bytes", 6, 2 * PG)?;
    let fd = u64::from(scratch.file.fd());
    for deferred in [true, false] {
        let mut segment = snapshot(1)?;
        if deferred {
            scratch.file.read_full_at(segment.bytes_mut(), 0)?;
        } else {
            segment.bytes_mut().copy_from_slice(&patterned(6, 0, PG));
        }
        let at = segment.address();
        let (ours, theirs) = File::pipe()?;
        theirs.write_all(b"message")?;
        scratch.file.seek(10, 0)?;
        let channel = u64::from(ours.fd());
        let calls = [
            (Call::PRead, [fd, at, 2 * PG as u64, u64::MAX, 0, 0]),
            (
                Call::PRead,
                [fd, at + PG as u64 - 2, 64, 2 * PG as u64 - 1, 0, 0],
            ),
            (Call::PWrite, [fd, at, 2 * PG as u64, u64::MAX, 0, 0]),
            (Call::PRead, [channel, at, 2 * PG as u64, u64::MAX, 0, 0]),
            (Call::PWrite, [channel, at, 2 * PG as u64, u64::MAX, 0, 0]),
        ];
        for (call, args) in calls {
            // SAFETY: at worst `segment` changes, which is looked at below.
            let got = unsafe { raw::call(call, args) };
            fails(&alloc::format!("{call:?} past the end"), got, Errno::EFAULT)?;
        }
        same("the offset", scratch.file.seek(0, 1)?, 10)?;
        equal("the buffer", segment.bytes(), &patterned(6, 0, PG))?;
        let mut text = [0; 9];
        same("the message", ours.read(&mut text)?, 7)?;
        equal("it", &text[..7], b"message")?;
        equal("the file", &scratch.content()?, &patterned(6, 0, 2 * PG))?;
        drop(ours);
        same("sent", theirs.read(&mut text)?, 0)?;
    }
    Ok(())
}

/// A server whose reply lies in memory that cannot be had gets the error, at
/// once; its client's request is as it was, and nothing of its memory changed.
fn reply() -> Verdict {
    served(unreadable, |lost| {
        let serve = |channel: &File| {
            let Ok(segment) = asleep(lost, 1) else {
                return 2;
            };
            Liar::default().serve(channel, |turn| match turn.request {
                Request::Read { .. } => match turn.data_at(turn.tag, segment.address(), PG) {
                    Err(Errno::EIO) => turn.error(turn.tag, Errno::EDQUOT),
                    _ => Next::End(3),
                },
                _ => Next::Honest,
            })
        };
        served(serve, |path| {
            let mut memory = Segment::attach("memory", PG)?;
            memory.bytes_mut().fill(9);
            let file = File::open(path, mode::OREAD)?;
            fails(
                "reading",
                file.read_at(memory.bytes_mut(), 0),
                Errno::EDQUOT,
            )?;
            equal("the buffer", memory.bytes(), &[9; PG])
        })
    })
}

/// A process with 64 TiB asleep on a server that is gone begins to serve.
fn serving() -> Verdict {
    const LEN: usize = 64 << 40;
    let place = Scratch::empty("gone")?;
    let (ours, theirs) = File::pipe()?;
    let pid = process::spawn(|| {
        close_all_but(&[&theirs]);
        let liar = Liar {
            snapshots: true,
            ..Liar::default()
        };
        liar.serve(&theirs, |turn| match *turn.request {
            Request::Snap { count, .. } => {
                let reply = Reply::Snap {
                    qid: Qid::default(),
                    epoch: 1,
                    count,
                    size: count,
                    changes: Changes::NONE,
                };
                let _ = turn.reply(turn.tag, &reply);
                Next::Done
            }
            _ => Next::Honest,
        })
    })?;
    drop(theirs);
    ours.mount(&place.path)?;
    let serve = |channel: &File| {
        let Ok(mut segment) = Segment::attach("snapshot", LEN) else {
            return 2;
        };
        let file = File::open(&place.path, mode::OREAD);
        let read = file.and_then(|file| file.read_at(segment.bytes_mut(), 0));
        if read != Ok(LEN) || process::kill(pid, "gone").is_err() {
            return 3;
        }
        Liar::default().serve(channel, |_| Next::Honest)
    };
    served(serve, |path| {
        same("the size", File::stat_path(path)?.size, 4 * PG as u64)
    })?;
    sys::unmount(&place.path)?;
    // Its end may have been seen already.
    let _ = process::wait_for(pid);
    Ok(())
}

/// Pages of the file of [`falls_silent`].
const PAGES: usize = 100;

/// A server of which the first read of a page in the middle fails; after that it
/// is silent about that page.
fn falls_silent(channel: &File) -> u8 {
    let mut reads = 0;
    let liar = Liar {
        snapshots: true,
        len: PAGES * PG,
        ..Liar::default()
    };
    liar.serve(channel, |turn| match turn.request {
        Request::Read { offset, .. } if *offset == 50 * PG as u64 => {
            reads += 1;
            if reads % 2 == 1 {
                turn.error(turn.tag, Errno::EIO)
            } else {
                Next::Done
            }
        }
        _ => Next::Honest,
    })
}

/// Writers whose bytes are at a server that does not answer any more wait for it
/// alone: others' writes to the file's server go on.
fn writers() -> Verdict {
    served(falls_silent, |silent| {
        let shared = Shared::new(PG)?;
        let started = shared.semaphore(0)?;
        let mut hostile = alloc::vec::Vec::new();
        for writer in 0..3 {
            let target = Scratch::empty(&alloc::format!("hostile{writer}"))?;
            let pid = process::spawn(|| {
                let write = || {
                    let mut segment = snapshot(PAGES)?;
                    File::open(silent, mode::OREAD)?.read_full_at(segment.bytes_mut(), 0)?;
                    started.release(1)?;
                    target.file.write_all_at(segment.bytes(), 0)?;
                    Ok::<(), Why>(())
                };
                u8::from(write().is_err())
            })?;
            hostile.push((pid, target));
        }
        for _ in 0..3 {
            started.acquire()?;
        }
        sys::sleep(100_000_000)?;
        let honest = Scratch::empty("honest")?;
        let mut segment = snapshot(PAGES)?;
        segment
            .bytes_mut()
            .copy_from_slice(&patterned(2, 0, PAGES * PG));
        honest.file.write_all_at(segment.bytes(), 0)?;
        let mut memory = Segment::attach("memory", PAGES * PG)?;
        memory.bytes_mut().fill(1);
        honest
            .file
            .write_all_at(memory.bytes(), PAGES as u64 * PG as u64)?;
        // All before one is waited for: another that has ended may come first.
        for (pid, _) in &hostile {
            process::kill(*pid, "enough")?;
        }
        for (pid, _) in &hostile {
            process::wait_for(*pid)?;
        }
        equal(
            "what others wrote",
            &honest.content()?[..PAGES * PG],
            segment.bytes(),
        )
    })
}
