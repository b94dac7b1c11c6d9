//! `snapfs ramfs`: snapshots of files in memory, by two processes, with a store
//! for old bytes that is full when the files are; and snapfs over servers that
//! are wrong or dead.

use super::{Case, together::all};
use crate::check::{
    PG, Scratch, Verdict, Why, at_rest, counts, equal, fails, other, patterned, same, snapshot,
};
use crate::tiny::{LEN, SEED};
use alloc::format;
use alloc::vec;
use rt::abi::{STATUS_KILLED, bind, mode};
use rt::process::{self, Ended};
use rt::stats::Counters;
use rt::{Errno, File, Segment, Stat64, service, sys};

pub const CASES: &[Case] = &[
    Case::new("stacked.overwritten", || overwritten("")),
    Case::new("stacked.overwritten.looked", || {
        overwritten("?check=always")
    }),
    Case::new("stacked.together", together),
    Case::deferred("stacked.costs", costs),
    Case::deferred("stacked.full.refuses", refuses),
    Case::deferred("stacked.full.breaks", breaks),
    Case::new("stacked.killed", killed),
    Case::new("stacked.amid-a-write", amid_a_write),
    Case::new("stacked.wrong", wrong),
    Case::new("stacked.wrong.tag", || beyond_belief("tag")),
    Case::new("stacked.wrong.huge", || beyond_belief("huge")),
    Case::new("stacked.wrong.version", wrong_version),
    Case::new("stacked.hangup", hangup),
    Case::new("stacked.mute", mute),
];

/// Where it is mounted, and the file in it.
const PLACE: &str = "/mnt";
const PATH: &str = "/mnt/file";

/// Runs `body` with the tree of `snapfs SERVER` at `place`, asked for under
/// `name`; how snapfs ended. `body` is given its process.
fn with(
    server: &[&str],
    (place, name): (&str, &str),
    body: impl FnOnce(u64) -> Verdict,
) -> Result<Ended, Why> {
    let argv = [&["snapfs"], server].concat();
    let started = service::start("/bin/snapfs", &argv, 0)?;
    let mounted = started.channel.mount_as(place, bind::REPLACE, name);
    let verdict = match mounted {
        Ok(()) => {
            let verdict = body(started.pid);
            sys::unmount(place)?;
            verdict
        }
        Err(errno) => Err(Why(format!("mounting: {errno}"))),
    };
    let ended = process::wait_for(started.pid)?;
    verdict.map(|()| ended)
}

/// Runs `body` with a file system in memory of at most `limit` bytes.
fn in_memory(limit: &str, name: &str, body: impl FnOnce() -> Verdict) -> Verdict {
    let ended = with(&["ramfs", "-l", limit], (PLACE, name), |_| body())?;
    same("status of snapfs", ended.status(), 0)
}

/// The file, with that many pages of pattern 1. It is written from blocks too small for a
/// segment of their own, so that nothing of them is kept for who reads it.
fn make(pages: usize) -> Result<File, Why> {
    const BLOCK: usize = 16 * PG;
    let file = File::create(PATH, mode::ORDWR, 0o644)?;
    for at in (0..pages * PG).step_by(BLOCK) {
        let (len, at) = (BLOCK.min(pages * PG - at), at as u64);
        file.write_all_at(&patterned(1, at, len), at)?;
    }
    Ok(file)
}

/// All of the file, in a new segment.
fn asleep(file: &File, pages: usize) -> Result<Segment, Why> {
    let mut segment = snapshot(pages)?;
    let n = file.read_full_at(segment.bytes_mut(), 0)?;
    same("bytes read", n, pages * PG)?;
    Ok(segment)
}

/// Overwrites pages with pattern 2, from another process.
fn overwrite(first: usize, pages: usize) -> Result<(), Errno> {
    let at = (first * PG) as u64;
    let bytes = patterned(2, at, pages * PG);
    File::open(PATH, mode::OWRITE)?.write_all_at(&bytes, at)
}

fn overwrite_by_other(first: usize, pages: usize) -> Verdict {
    other(|| Ok(overwrite(first, pages)?))
}

/// A buffer keeps the bytes of its read, whatever happens to the file; snapfs
/// detects no external writer.
fn overwritten(name: &str) -> Verdict {
    const PAGES: usize = 80;
    in_memory("2000000", name, || {
        let file = make(PAGES)?;
        let old = patterned(1, 0, PAGES * PG);
        let (first, second) = (asleep(&file, PAGES)?, asleep(&file, PAGES)?);
        overwrite_by_other(10, 40)?;
        let mut new = old.clone();
        new[10 * PG..50 * PG].copy_from_slice(&patterned(2, 10 * PG as u64, 40 * PG));
        let third = asleep(&file, PAGES)?;
        equal("after it was overwritten", first.bytes(), &old)?;
        other(|| Ok(File::open(PATH, mode::OWRITE | mode::OTRUNC).map(drop)?))?;
        same("its size", file.stat()?.size, 0)?;
        sys::remove(PATH)?;
        equal("after it was removed", second.bytes(), &old)?;
        equal("what came later", third.bytes(), &new)?;
        // The hidden directory is invisible.
        let names = File::open(PLACE, mode::OREAD)?.read_dir().count();
        same("names", names, 0)
    })
}

/// Many at once, with more requests than the lower server accepts at a time.
fn together() -> Verdict {
    const PAGES: usize = 40;
    in_memory("4000000", "", || {
        all(10, |index| {
            let (path, seed) = (format!("/mnt/{index}"), index as u8);
            let file = File::create(&path, mode::ORDWR, 0o644)?;
            for round in 0..3 {
                let (old, new) = (seed + 10 * round, seed + 10 * (round + 1));
                file.write_all_at(&patterned(old, 0, PAGES * PG), 0)?;
                let segment = asleep(&file, PAGES)?;
                file.write_all_at(&patterned(new, 0, PAGES * PG), 0)?;
                equal(&path, segment.bytes(), &patterned(old, 0, PAGES * PG))?;
            }
            Ok(sys::remove(&path)?)
        })
    })
}

/// A read moves nothing, a touch its page, a copy nothing.
fn costs() -> Verdict {
    const PAGES: usize = 100;
    in_memory("2000000", "", || {
        let file = make(PAGES)?;
        let before = Counters::now()?;
        let mut segment = asleep(&file, PAGES)?;
        let read = Counters::now()?;
        counts("bytes of a read", read.since(&before, Stat64::BytesIn), 0)?;
        counts("messages", read.since(&before, Stat64::Messages), 1)?;
        core::hint::black_box(segment.bytes()[7 * PG]);
        let touched = Counters::now()?;
        let came = touched.since(&read, Stat64::BytesIn);
        counts("bytes of a touch", came, PG as u64)?;
        segment.bytes_mut()[8 * PG] = 0;
        let copy = File::create("/mnt/copy", mode::ORDWR, 0o644)?;
        overwrite_by_other(0, 30)?;
        let before = Counters::now()?;
        copy.write_all_at(segment.bytes(), 0)?;
        let sent = Counters::now()?.since(&before, Stat64::BytesOut);
        counts("bytes of a copy with one page changed", sent, PG as u64)?;
        let mut want = patterned(1, 0, PAGES * PG);
        want[8 * PG] = 0;
        let copied = File::open("/mnt/copy", mode::OREAD)?.read_to_end()?;
        equal("the copy", &copied, &want)
    })
}

/// Pages in the file that nearly fills its server, and the server: room for 20
/// more, the directory and the file that they go to.
const FILLS: usize = 100;
const ROOM: usize = 20;
const NEARLY_FULL: &str = "496000";
/// First page of a write that needs more before-images than there is space for.
const FROM: usize = 30;
const TOO_MANY: usize = 50;

/// A server that cannot save before-images refuses the write.
fn refuses() -> Verdict {
    in_memory(NEARLY_FULL, "", || {
        let file = make(FILLS)?;
        let mut want = patterned(1, 0, FILLS * PG);
        let old = want.clone();
        let segment = asleep(&file, FILLS)?;
        let some = ROOM / 2;
        overwrite_by_other(0, some)?;
        want[..some * PG].copy_from_slice(&patterned(2, 0, some * PG));
        for _ in 0..2 {
            other(|| fails("too much", overwrite(FROM, TOO_MANY), Errno::ENOSPC))?;
        }
        let cut = other(|| Ok(File::open(PATH, mode::ORDWR)?.set_size(PG as u64)?));
        ensure!(cut.is_err(), "what has no room was cut off");
        // Before-images that exist already need no more space.
        overwrite_by_other(0, some)?;
        equal("the snapshot", segment.bytes(), &old)?;
        equal(
            "the file",
            &File::open(PATH, mode::OREAD)?.read_to_end()?,
            &want,
        )?;
        drop(segment);
        overwrite_by_other(FROM, TOO_MANY)?;
        let (at, len) = (FROM * PG, TOO_MANY * PG);
        want[at..at + len].copy_from_slice(&patterned(2, at as u64, len));
        equal(
            "in the end",
            &File::open(PATH, mode::OREAD)?.read_to_end()?,
            &want,
        )
    })
}

/// With the option `break` writes proceed, and the snapshot loses the blocks
/// without space: a note says so, and all other bytes are unchanged.
fn breaks() -> Verdict {
    in_memory(NEARLY_FULL, "?break", || {
        let file = make(FILLS)?;
        let old = patterned(1, 0, FILLS * PG);
        let segment = asleep(&file, FILLS)?;
        overwrite_by_other(0, 3)?;
        overwrite_by_other(FROM, TOO_MANY)?;
        let mut want = old.clone();
        for (from, pages) in [(0, 3), (FROM, TOO_MANY)] {
            let (at, len) = (from * PG, pages * PG);
            want[at..at + len].copy_from_slice(&patterned(2, at as u64, len));
        }
        equal(
            "the file",
            &File::open(PATH, mode::OREAD)?.read_to_end()?,
            &want,
        )?;
        let mut lost = 0;
        let (ours, theirs) = File::pipe()?;
        for page in 0..FILLS {
            let (bytes, at) = (&segment.bytes()[page * PG..][..PG], page * PG);
            // A call that is given lost bytes says so, and is not ended.
            match rt::send(&ours, [bytes]) {
                Ok(()) => {
                    let mut got = vec![0; PG];
                    same("bytes", theirs.read(&mut got)?, PG)?;
                    equal(&format!("page {page}"), &got, &old[at..at + PG])?;
                    continue;
                }
                Err(errno) => same("a lost page", errno, Errno::EIO)?,
            }
            let may = (FROM..FROM + TOO_MANY).contains(&page);
            ensure!(may, "page {page} is lost and was not overwritten");
            lost += 1;
            if lost == 1 {
                let ended = touch(&segment, at)?;
                let said = format!("snapshot lost: {PATH} at {at:#x}: server answered ESTALE");
                let text = ended.text();
                ensure!(text.contains(&said), "\"{text}\" instead of \"{said}\"");
                same("status", u32::from(ended.status()), STATUS_KILLED)?;
            }
        }
        // All the room there was is used.
        same("pages lost", lost, TOO_MANY - (ROOM - 3))
    })
}

/// Looks at a byte in another process; how that ended.
fn touch(segment: &Segment, at: usize) -> Result<Ended, Why> {
    let pid = process::spawn(|| {
        core::hint::black_box(segment.bytes()[at]);
        0
    })?;
    Ok(process::wait_for(pid)?)
}

/// The child of a process, by name.
fn child(parent: u64, name: &str) -> Result<u64, Why> {
    let mut all = process::list();
    let child = all.find(|process| process.parent == parent && process.name().ends_with(name));
    let none = || Why(format!("no {name} below process {parent}"));
    child.map(|process| process.pid).ok_or_else(none)
}

/// The lower server is gone: an error for all clients, without waiting.
fn killed() -> Verdict {
    const PAGES: usize = 20;
    let ended = with(&["ramfs"], (PLACE, ""), |snapfs| {
        let file = make(PAGES)?;
        let segment = asleep(&file, PAGES)?;
        same("a byte", segment.bytes()[0], patterned(1, 0, 1)[0])?;
        process::kill(child(snapfs, "ramfs")?, "needed no more")?;
        let dies = || (0..5000).any(|_| file.stat().is_err() || sys::sleep(1_000_000).is_err());
        ensure!(dies(), "it goes on");
        fails("reading", file.read_at(&mut [0; 9], 0), Errno::EIO)?;
        fails("writing", file.write_at(b"x", 0), Errno::EIO)?;
        fails("a size", file.set_size(0), Errno::EIO)?;
        fails("opening", File::open(PATH, mode::OREAD), Errno::EIO)?;
        fails("removing", sys::remove(PATH), Errno::EIO)?;
        // Resident bytes stay; all others are lost.
        same("a byte", segment.bytes()[1], patterned(1, 1, 1)[0])?;
        let ended = touch(&segment, 9 * PG)?;
        let lost = ended.text().contains("snapshot lost");
        // Unless it was loaded at once.
        ensure!(lost || ended.status() == 0, "{}", ended.text());
        Ok(())
    })?;
    let said = "/bin/ramfs ended with status 128: needed no more";
    same("what it said", ended.text(), said)
}

/// Runs `body` with the path at which snapfs over such a server is mounted.
fn over(fault: &str, body: impl FnOnce(&str) -> Verdict) -> Result<Ended, Why> {
    let place = Scratch::empty("mounted")?;
    let server = ["/bin/suite", "serve", fault];
    with(&server, (&place.path, ""), |_| body(&place.path))
}

/// The client disappears while a write is under way: the write is ended first,
/// then everything is given back.
fn amid_a_write() -> Verdict {
    let ended = over("slow", |path| {
        let file = File::open(path, mode::ORDWR)?;
        let writer = process::spawn(|| {
            while file.write_all_at(&[2; LEN], 0).is_ok() {}
            1
        })?;
        sys::sleep(30_000_000)?;
        Ok(process::kill(writer, "waited enough")?)
    })?;
    same("what it said", ended.text(), "")
}

/// Malformed replies are errors for their requests alone.
fn wrong() -> Verdict {
    for fault in ["much", "kind", "size", "none", "short"] {
        let right = matches!(fault, "none" | "short");
        let ended = over(fault, |path| {
            let file = File::open(path, mode::OREAD)?;
            for _ in 0..2 {
                let mut got = vec![0; LEN];
                match file.read_full_at(&mut got, 0) {
                    Ok(n) if right => {
                        same("bytes read", n, LEN)?;
                        equal("them", &got, &patterned(SEED, 0, LEN))?;
                    }
                    read => fails(fault, read, Errno::EPROTO)?,
                }
                same("the size", file.stat()?.size, LEN as u64)?;
                // Whose answer is handed on as it is.
                match fault {
                    "size" => fails(fault, file.sync(), Errno::EPROTO)?,
                    _ => file.sync()?,
                }
            }
            Ok(())
        })?;
        same("status of snapfs", ended.status(), 0)?;
    }
    Ok(())
}

/// A reply to no request, or longer than permitted: that server is not trusted
/// any more.
fn beyond_belief(fault: &str) -> Verdict {
    let ended = over(fault, |path| {
        let file = File::open(path, mode::OREAD)?;
        let mut got = [0xee; 100];
        fails("reading", file.read_at(&mut got, 0), Errno::EPROTO)?;
        same("the buffer", got, [0xee; 100])?;
        fails("then", file.read_at(&mut got, 0), Errno::EIO)?;
        fails("a name", File::open(path, mode::OREAD), Errno::EIO)
    })?;
    same("status of snapfs", ended.status(), 0)
}

/// A process that mounts a mute server can be ended, and all of its resources
/// come back.
fn mute() -> Verdict {
    let waits = process::spawn(|| {
        let server = ["/bin/suite", "serve", "mute"];
        u8::from(with(&server, (PLACE, ""), |_| Ok(())).is_err())
    })?;
    at_rest()?;
    process::kill(waits, "waited enough")?;
    let ended = process::wait_for(waits)?;
    same("what ended it", ended.text(), "waited enough")
}

fn wrong_version() -> Verdict {
    let mounted = over("version", |_| Ok(()));
    ensure!(mounted.is_err(), "a server without a version was mounted");
    Ok(())
}

/// The server is gone at each of its requests in turn: every call returns.
fn hangup() -> Verdict {
    for number in 0..60 {
        let mut whole = false;
        // A server that is gone while it is mounted is an error, too.
        let _ = over(&format!("{number}"), |path| {
            let file = File::open(path, mode::ORDWR)?;
            let mut got = vec![0; LEN];
            same("bytes read", file.read_full_at(&mut got, 0)?, LEN)?;
            equal("them", &got, &patterned(SEED, 0, LEN))?;
            file.write_all_at(b"x", 9)?;
            file.stat()?;
            whole = true;
            Ok(())
        });
        if whole {
            ensure!(number > 5, "everything worked after {number} requests");
            return Ok(());
        }
    }
    Err(Why("60 requests were not enough".into()))
}
