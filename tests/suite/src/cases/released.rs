//! Unreferenced snapshots are released at the server, and lost bytes are kept
//! while they are in memory.

use super::Case;
use super::server::with;
use crate::check::{
    PG, Scratch, Verdict, Why, at_most, equal, fails, other, patterned, same, snapshot,
};
use crate::liar::close_all_but;
use crate::tiny::{Fault, LEN, SEED, Tiny};
use alloc::format;
use rt::abi::{bind, mode, snapshot as argument};
use rt::process;
use rt::stats::Counters;
use rt::{Errno, File, Segment, Stat64, sys};

pub const CASES: &[Case] = &[
    Case::deferred("released.segfree", segfree),
    Case::deferred("released.read-over", read_over),
    Case::deferred("released.zero", zero_device),
    Case::deferred("released.fork", fork),
    Case::deferred("server.loses", loses),
    Case::new("released.killed.writers", killed_writers),
    Case::new("eager.segment", eager_segment),
    Case::new("eager.mount", eager_mount),
];

/// Pages in a file whose half is worth telling the server about.
const PAGES: usize = 512;
const HALF: usize = PAGES / 2;

/// Bytes that went to the medium while another process overwrote half a file:
/// more than the half if old content was saved.
fn written_for(scratch: &Scratch, first: usize) -> Result<u64, Why> {
    // The trims are sent without waiting for an answer.
    sys::sleep(5_000_000)?;
    let before = Counters::now()?;
    let at = (first * PG) as u64;
    other(|| {
        let file = scratch.again()?;
        file.write_all_at(&patterned(7, at, HALF * PG), at)?;
        Ok(())
    })?;
    Ok(Counters::now()?.since(&before, Stat64::DeviceOut))
}

/// A file, all of it asleep in a segment; `release` lets go of the first half.
fn released(name: &str, release: impl FnOnce(&mut Segment) -> Verdict) -> Verdict {
    let scratch = Scratch::patterned(name, 1, PAGES * PG)?;
    let mut segment = scratch.asleep(PAGES)?;
    let before = Counters::now()?;
    release(&mut segment)?;
    let half = (HALF * PG) as u64;
    let out = written_for(&scratch, 0)?;
    ensure!(out < half + half / 2, "{out} bytes written for {half}");
    let sent = Counters::now()?.since(&before, Stat64::Messages);
    at_most("messages", sent, 59)?;
    let out = written_for(&scratch, HALF)?;
    ensure!(out >= 2 * half, "{out} bytes written: nothing was saved");
    let kept = &segment.bytes()[HALF * PG..];
    equal("what was kept", kept, &patterned(1, half, HALF * PG))
}

fn segfree() -> Verdict {
    released("released-free", |segment| {
        segment.free(0, HALF * PG)?;
        let byte = segment.bytes()[PG];
        same("a freed byte", byte, 0)
    })
}

fn read_over() -> Verdict {
    let new = Scratch::patterned("released-new", 2, HALF * PG)?;
    released("released-over", |segment| {
        let n = new.file.read_at(&mut segment.bytes_mut()[..HALF * PG], 0)?;
        same("bytes read", n, HALF * PG)
    })
}

fn zero_device() -> Verdict {
    let zero = File::open("/dev/zero", mode::OREAD)?;
    released("released-zero", |segment| {
        let n = zero.read_full_at(&mut segment.bytes_mut()[..HALF * PG], 0)?;
        same("bytes read", n, HALF * PG)
    })
}

/// While a child has the snapshot too, nothing is given up; the one that is
/// left makes up for it.
fn fork() -> Verdict {
    released("released-fork", |segment| {
        let (ours, theirs) = File::pipe()?;
        let pid = process::spawn(|| {
            let mut go = [0];
            let _ = theirs.read(&mut go);
            u8::from(segment.bytes()[PG] != crate::check::pattern(1, PG as u64))
        })?;
        segment.free(0, HALF * PG)?;
        sys::sleep(5_000_000)?;
        ours.write_all(b"x")?;
        let ended = process::wait_for(pid)?;
        same("the child's byte", ended.status(), 0)?;
        // Any further operation tells the server.
        Ok(segment.free(0, PG)?)
    })
}

/// A server that loses everything after it was asked for three pages: those
/// are kept and written, the rest is an error.
fn loses() -> Verdict {
    let fault = Fault::Loses(3);
    let server = Tiny {
        snapshots: true,
        fault,
    };
    with(server, |path| {
        let file = File::open(path, mode::ORDWR)?;
        // Each page is asked for alone.
        let hint = rt::abi::snapshot::RANDOM;
        let mut segment = Segment::attach_with("snapshot", 4 * PG, 0, hint)?;
        same("bytes read", file.read_at(segment.bytes_mut(), 0)?, LEN)?;
        let whole = 3 * PG;
        let want = patterned(SEED, 0, LEN);
        equal("in memory", &segment.bytes()[..whole], &want[..whole])?;
        // The rest is nowhere any more.
        let pid = process::spawn(|| {
            core::hint::black_box(segment.bytes()[whole]);
            0
        })?;
        let ended = process::wait_for(pid)?;
        same("status", u32::from(ended.status()), rt::abi::STATUS_KILLED)?;
        for part in ["snapshot lost", path, "0x3000", "ESTALE", "addr="] {
            let text = ended.text();
            ensure!(text.contains(part), "\"{text}\" lacks \"{part}\"");
        }
        let (_ours, theirs) = File::pipe()?;
        let lost = &segment.bytes()[whole..LEN];
        fails("a call on lost bytes", theirs.write(lost), Errno::EIO)?;
        let lost = file.write_at(&segment.bytes()[whole..LEN], whole as u64);
        fails("a write of lost bytes", lost, Errno::EIO)?;
        // Resident bytes can be written, whatever the file contains now.
        file.write_all_at(&[0xee; 3 * PG], 0)?;
        let n = file.write_at(&segment.bytes()[..LEN], 0)?;
        same("bytes written", n, whole)?;
        let got = File::open(path, mode::OREAD)?.read_to_end();
        match got {
            Ok(got) => equal("the file", &got[..whole], &want[..whole]),
            Err(errno) => Err(Why(format!("reading it again: {errno}"))),
        }
    })
}

/// Everything is read at once, and nothing is held at the server afterwards.
fn all_at_once(segment: &mut Segment, file: &File, len: usize) -> Verdict {
    let before = Counters::now()?;
    same("bytes read", file.read_at(segment.bytes_mut(), 0)?, len)?;
    let after = Counters::now()?;
    let came = after.since(&before, Stat64::BytesIn);
    ensure!(came >= len as u64, "{came} bytes came");
    let held = after.since(&before, Stat64::Snapshots);
    same("snapshots held", held, 0)
}

fn eager_segment() -> Verdict {
    let scratch = Scratch::patterned("eager-segment", 1, 20 * PG + 5)?;
    let mut segment = Segment::attach_with("snapshot", 21 * PG, 0, argument::EAGER)?;
    all_at_once(&mut segment, &scratch.file, 20 * PG + 5)?;
    scratch.overwrite_by_other(2, 20 * PG)?;
    let want = patterned(1, 0, 20 * PG + 5);
    equal("the buffer", &segment.bytes()[..want.len()], &want)?;
    // So are a child's reads into its copy.
    other(|| all_at_once(&mut segment, &scratch.file, 20 * PG + 5))?;
    let other = Segment::attach_with("snapshot", PG, 0, 4);
    fails("another argument", other.map(drop), Errno::EINVAL)
}

fn eager_mount() -> Verdict {
    let place = Scratch::empty("eager-mounted")?;
    let (ours, theirs) = File::pipe()?;
    let server = Tiny {
        snapshots: true,
        fault: Fault::None,
    };
    let pid = process::spawn(|| {
        close_all_but(&[&theirs]);
        server.serve(&theirs)
    })?;
    drop(theirs);
    ours.mount_with(&place.path, bind::REPLACE | bind::EAGER)?;
    let file = File::open(&place.path, mode::ORDWR)?;
    let mut segment = snapshot(4)?;
    all_at_once(&mut segment, &file, LEN)?;
    // It is not needed any more.
    process::kill(pid, "not needed")?;
    process::wait_for(pid)?;
    sys::unmount(&place.path)?;
    let want = patterned(SEED, 0, LEN);
    equal("the buffer", &segment.bytes()[..LEN], &want)?;
    let bound = sys::bind("/dev", "/mnt", bind::EAGER);
    fails("binding so", bound, Errno::EINVAL)
}

/// Writers that are killed, many of them while a commit is under way, leave no
/// snapshot at the server: it would count as kept after the case.
fn killed_writers() -> Verdict {
    let scratch = Scratch::empty("killed-writers")?;
    for round in 0..60 {
        let pid = process::spawn(|| {
            let write = || -> Verdict {
                let mut segment = snapshot(8)?;
                let file = scratch.again()?;
                loop {
                    segment.bytes_mut()[round * PG / 8] += 1;
                    file.write_all_at(segment.bytes(), 0)?;
                }
            };
            u8::from(write().is_err())
        })?;
        sys::sleep(1_000_000 + round as u64 * 40_000)?;
        process::kill(pid, "enough")?;
        process::wait_for(pid)?;
    }
    Ok(())
}
