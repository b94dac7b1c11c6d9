//! Writing and sharing as the contract has it: rules 2 and 9 to 12, with other
//! writers, other places and long histories.

use super::{Case, together};
use crate::check::{
    PG, Scratch, Verdict, Why, at_most, counts, equal, fails, other, patterned, same, snapshot,
};
use alloc::vec::Vec;
use alloc::{format, vec};
use rt::abi::{PAGE, StatChange, mode, whence};
use rt::process;
use rt::stats::{Counters, Figures};
use rt::{Errno, File, Stat64, service, sys};

pub const CASES: &[Case] = &[
    Case::new("contract.foreign", foreign),
    Case::new("contract.shifted", shifted),
    Case::new("contract.created-over", created_over),
    Case::new("contract.removed", removed),
    Case::new("contract.swapped", swapped),
    Case::deferred("contract.image", image),
    Case::new("contract.full", full),
    Case::new("contract.one-moment.plain", || one_moment(Buffer::Plain)),
    Case::new("contract.one-moment.asleep", || one_moment(Buffer::Asleep)),
    Case::new("contract.offset", offset),
    Case::new("contract.append", append),
    Case::new("contract.times", times),
    Case::new("contract.directories", directories),
];

const PAGES: usize = 64;
const LEN: usize = PAGES * PG;

/// A change by another client to a file that was read.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// Other bytes at an offset.
    Write(usize, usize),
    /// Other bytes, and then those that were there.
    AndBack(usize, usize),
    /// Truncation.
    Truncate(usize),
    /// Cut off and made longer again.
    CutAndGrow(usize, usize),
    /// Its bytes from elsewhere in the same file.
    Move(usize, usize),
}

impl Change {
    fn happen(self, scratch: &Scratch) -> Verdict {
        other(|| {
            let file = scratch.again()?;
            match self {
                Change::Write(at, len) => file.write_all_at(&patterned(2, 0, len), at as u64)?,
                Change::AndBack(at, len) => {
                    file.write_all_at(&patterned(2, 0, len), at as u64)?;
                    file.write_all_at(&patterned(1, at as u64, len), at as u64)?;
                }
                Change::Truncate(size) => file.set_size(size as u64)?,
                Change::CutAndGrow(size, again) => {
                    file.set_size(size as u64)?;
                    file.set_size(again as u64)?;
                }
                Change::Move(from, to) => {
                    let mut segment = snapshot(4)?;
                    file.read_full_at(segment.bytes_mut(), from as u64)?;
                    file.write_all_at(segment.bytes(), to as u64)?;
                }
            }
            Ok(())
        })
    }
}

/// Rule 9: after any change by others, writing our buffer leaves the same file
/// as an ordinary write of the same bytes.
fn foreign() -> Verdict {
    let changes: &[&[Change]] = &[
        &[Change::Write(0, LEN)],
        &[Change::Write(5 * PG, PG)],
        &[Change::Write(5 * PG + 100, 3)],
        &[Change::Write(7 * PG - 1, 2)],
        &[Change::Write(3 * PG, PG), Change::Write(50 * PG, 9 * PG)],
        &[Change::AndBack(20 * PG, 4 * PG)],
        &[Change::AndBack(0, LEN), Change::Write(PG, 1)],
        &[Change::Truncate(0)],
        &[Change::Truncate(10 * PG + 5)],
        &[Change::CutAndGrow(10 * PG + 5, LEN)],
        &[Change::CutAndGrow(0, LEN + 3 * PG)],
        &[Change::Write(LEN, 2 * PG + 7)],
        &[Change::Write(LEN - 10, 20)],
        &[Change::Move(8 * PG, 30 * PG), Change::Move(30 * PG, 9 * PG)],
    ];
    for changes in changes {
        // Where our own change is: not near theirs, beside it, and on it.
        for dirty in [40 * PG, 4 * PG, 5 * PG + 50] {
            let scratch = Scratch::patterned("foreign", 1, LEN)?;
            let mut segment = scratch.asleep(PAGES)?;
            segment.bytes_mut()[dirty..dirty + 10].fill(0);
            changes.iter().try_for_each(|c| c.happen(&scratch))?;
            let mut want = scratch.content()?;
            let mut buffer = patterned(1, 0, LEN);
            buffer[dirty..dirty + 10].fill(0);
            want.resize(want.len().max(LEN), 0);
            want[..LEN].copy_from_slice(&buffer);
            same(
                "bytes written",
                scratch.file.write_at(segment.bytes(), 0)?,
                LEN,
            )?;
            let what = format!("{changes:?}, ours at {dirty:#x}");
            equal(&what, &scratch.content()?, &want)?;
            // Once more: nothing is new, and it is still so.
            scratch.file.write_all_at(segment.bytes(), 0)?;
            equal(&what, &scratch.content()?, &want)?;
            scratch.overwrite_by_other(3, LEN)?;
            equal(&what, segment.bytes(), &buffer)?;
        }
    }
    Ok(())
}

/// A sleeping buffer is written over the bytes it was read from, shifted by
/// less than its length.
fn shifted() -> Verdict {
    const BASE: usize = 8 * PG;
    for shift in [
        -(8 * PG as isize),
        -(PG as isize + 3),
        -(PG as isize),
        -1,
        1,
        100,
        PG as isize,
        3 * PG as isize + 5,
        40 * PG as isize,
    ] {
        let scratch = Scratch::patterned("shifted", 1, LEN + 2 * BASE)?;
        let mut segment = snapshot(PAGES)?;
        let n = scratch.file.read_at(segment.bytes_mut(), BASE as u64)?;
        same("bytes read", n, LEN)?;
        let to = BASE.strict_add_signed(shift);
        let before = Counters::now()?;
        let n = scratch.file.write_at(segment.bytes(), to as u64)?;
        let figures = Figures::between(&before, &Counters::now()?);
        same("bytes written", n, LEN)?;
        if before.get(Stat64::Eager) == 0 {
            let moved = (figures.bytes_in, figures.bytes_out);
            counts("bytes moved", moved, (0, 0))?;
        }
        let mut want = patterned(1, 0, LEN + 2 * BASE);
        let bytes = patterned(1, BASE as u64, LEN);
        want.resize(want.len().max(to + LEN), 0);
        want[to..to + LEN].copy_from_slice(&bytes);
        equal(&format!("moved by {shift}"), &scratch.content()?, &want)?;
        equal(&format!("buffer of {shift}"), segment.bytes(), &bytes)?;
    }
    Ok(())
}

/// The file a buffer was read from is removed, and its name used again.
fn removed() -> Verdict {
    let from = Scratch::patterned("removed", 1, LEN)?;
    let segment = from.asleep(PAGES)?;
    sys::remove(&from.path)?;
    let new = Scratch::patterned("removed", 2, 3 * PG)?;
    new.file.write_all_at(segment.bytes(), 5)?;
    let mut want = patterned(2, 0, 5);
    want.extend_from_slice(&patterned(1, 0, LEN));
    equal("the new file", &new.content()?, &want)?;
    // The old one is still open.
    from.file.write_all_at(&segment.bytes()[..PG], PAGE)?;
    let mut old = vec![0; LEN];
    same("bytes read", from.file.read_full_at(&mut old, 0)?, LEN)?;
    want = patterned(1, 0, LEN);
    want.copy_within(..PG, PG);
    equal("the old file", &old, &want)?;
    equal("the buffer", segment.bytes(), &patterned(1, 0, LEN))
}

/// Another process creates the file anew, opens it to append, or opens it in that way
/// without changing anything, as shells do: it is the same file, with its rights, and what
/// was read stays.
fn created_over() -> Verdict {
    let scratch = Scratch::patterned("created", 1, LEN)?;
    let rights = StatChange {
        valid: StatChange::MODE,
        mode: 0o740,
        ..StatChange::default()
    };
    File::change_path(&scratch.path, &rights)?;
    let number = scratch.file.stat()?.qid_path;
    let mut want = patterned(1, 0, LEN);
    for (flags, add) in [
        (mode::OWRITE | mode::OKEEP, 0),
        (mode::OWRITE | mode::OKEEP | mode::OAPPEND, PG + 5),
        (mode::OREAD | mode::OKEEP, 0),
        (mode::OWRITE, 3 * PG),
        (mode::ORDWR | mode::OTRUNC, 0),
    ] {
        let mut segment = snapshot(LEN / PG + 2)?;
        let n = scratch
            .file
            .read_full_at(&mut segment.bytes_mut()[..want.len()], 0)?;
        same("bytes read", n, want.len())?;
        let before = want.clone();
        other(|| {
            let file = File::create(&scratch.path, flags, 0o666)?;
            Ok(file.write_all(&patterned(3, 0, add))?)
        })?;
        if flags & mode::OKEEP == 0 {
            want.clear();
        }
        want.extend_from_slice(&patterned(3, 0, add));
        equal("what was read", &segment.bytes()[..n], &before)?;
        equal("the file", &scratch.content()?, &want)?;
        let stat = scratch.file.stat()?;
        same("its rights", stat.mode & 0o777, 0o740)?;
        same("its number", stat.qid_path, number)?;
    }
    let exclusive = File::create(&scratch.path, mode::OWRITE | mode::OEXCL, 0o666);
    fails("a new one", exclusive.map(drop), Errno::EEXIST)?;
    same("its rights", scratch.file.stat()?.mode & 0o777, 0o740)
}

/// Invariant 1: pages of a buffer swap places in the file, and swap back, and
/// the buffer does not change.
fn swapped() -> Verdict {
    let scratch = Scratch::patterned("swapped", 1, LEN)?;
    let mut segment = snapshot(PAGES)?;
    let mut buffer = Vec::new();
    for page in 0..PAGES {
        let from = (page ^ 1) * PG;
        let bytes = &mut segment.bytes_mut()[page * PG..(page + 1) * PG];
        same("bytes read", scratch.file.read_at(bytes, from as u64)?, PG)?;
        buffer.extend_from_slice(&patterned(1, from as u64, PG));
    }
    for round in 0..3 {
        scratch.file.write_all_at(segment.bytes(), 0)?;
        let what = format!("the file, round {round}");
        equal(&what, &scratch.content()?, &buffer)?;
        // Back again, by another process that reads our result.
        other(|| {
            let mut segment = snapshot(PAGES)?;
            for page in 0..PAGES {
                let bytes = &mut segment.bytes_mut()[page * PG..(page + 1) * PG];
                scratch.file.read_at(bytes, ((page ^ 1) * PG) as u64)?;
            }
            Ok(scratch.file.write_all_at(segment.bytes(), 0)?)
        })?;
        let what = format!("swapped back, round {round}");
        equal(&what, &scratch.content()?, &patterned(1, 0, LEN))?;
    }
    equal("the buffer", segment.bytes(), &buffer)
}

/// Rules 10 and 11: an image of 1 GiB, changed a little and written as a whole
/// again and again: each write sends the changes since the last one, saves no
/// before-images, and leaves nothing behind.
fn image() -> Verdict {
    const IMAGE: usize = 1 << 30;
    const ROUNDS: usize = 50;
    let scratch = Scratch::zeros("image", IMAGE as u64)?;
    let mut segment = scratch.asleep(IMAGE / PG)?;
    let start = Counters::now()?;
    let mut changed: Vec<(usize, u8)> = Vec::new();
    for round in 0..ROUNDS {
        let mut pages = 0;
        for index in 0..1 + round % 5 {
            let page = (round * 50021 + index * 70001) % (IMAGE / PG);
            let at = page * PG + (round * 37 + index) % PG;
            let byte = (round * 5 + index) as u8 | 1;
            segment.bytes_mut()[at] = byte;
            changed.retain(|(old, _)| *old != at);
            changed.push((at, byte));
            pages += 1;
        }
        let before = Counters::now()?;
        let n = scratch.file.write_at(segment.bytes(), 0)?;
        let after = Counters::now()?;
        let figures = Figures::between(&before, &after);
        same("bytes written", n, IMAGE)?;
        counts("bytes sent", figures.bytes_out, pages * PAGE)?;
        counts("bytes to the device", figures.device_out, pages * PAGE)?;
        let most = 2 * pages + 3;
        at_most("messages", figures.messages, most)?;
        let saved = after.since(&start, Stat64::ServerRescued);
        same("blocks saved", saved, 0)?;
        for which in [Stat64::Snapshots, Stat64::ServerSnapshots] {
            let (was, is) = (start.get(which), after.get(which));
            ensure!(
                is <= was + 1,
                "{which:?}: {is} in round {round}, {was} at first"
            );
        }
    }
    for (at, byte) in changed {
        let mut got = [0];
        scratch.file.read_at(&mut got, at as u64)?;
        same(&format!("the file at {at:#x}"), got, [byte])?;
        same(&format!("the buffer at {at:#x}"), segment.bytes()[at], byte)?;
    }
    Ok(())
}

/// Rule 12: no space. The write itself says so, asleep or not alike.
fn full() -> Verdict {
    const ROOM: usize = 100_000;
    let place = Scratch::empty("full")?;
    let source = Scratch::patterned("full-source", 1, LEN)?;
    let outcome = |bytes: &[u8]| {
        let server = service::start("/bin/ramfs", &["ramfs", "-l", "100000"], 0);
        let server = server.map_err(Why::from)?;
        let folder = format!("{}.d", place.path);
        File::create(&folder, mode::OREAD, mode::DMDIR | 0o755)?;
        server.channel.mount(&folder)?;
        let written = (|| {
            let file = File::create(&format!("{folder}/file"), mode::ORDWR, 0o644)?;
            let first = file.write_at(bytes, 0);
            let size = file.stat()?.size;
            let mut got = vec![0; size as usize];
            file.read_full_at(&mut got, 0)?;
            let second = file.write_at(bytes, size);
            Ok::<_, Errno>((first, size, got, second))
        })();
        sys::unmount(&folder)?;
        process::wait_for(server.pid)?;
        sys::remove(&folder)?;
        Ok::<_, Why>(written?)
    };
    let awake = outcome(&patterned(1, 0, LEN))?;
    let asleep = outcome(source.asleep(PAGES)?.bytes())?;
    let (first, size, got, second) = &asleep;
    let n = first.map_err(Why::from)?;
    ensure!(n <= ROOM, "{n} bytes written where {ROOM} fit");
    same("the size", *size, n as u64)?;
    equal("what was written", got, &patterned(1, 0, n))?;
    same("the next write", *second, Err(Errno::ENOSPC))?;
    same("asleep and awake", &asleep, &awake)
}

/// The kind of buffer for the reads and writes.
#[derive(Clone, Copy)]
enum Buffer {
    Plain,
    Asleep,
}

/// All-A and all-B over 1 MiB, or what the server commits at once: each read sees one of
/// them.
fn one_moment(buffer: Buffer) -> Verdict {
    let frames = Counters::now()?.get(Stat64::FramesTotal) as usize;
    // What the server commits at once is a 64th of memory.
    let size = (frames / 64 * PG).min(1 << 20);
    let scratch = Scratch::empty("one-moment")?;
    scratch.file.write_all_at(&vec![b'A'; size], 0)?;
    let writer = process::spawn(|| {
        let write = || {
            let file = scratch.again()?;
            let (mut plain, mut segment) = (vec![0; size], snapshot(size / PG)?);
            for round in 0..40 {
                let bytes = match buffer {
                    Buffer::Plain => &mut plain[..],
                    Buffer::Asleep => segment.bytes_mut(),
                };
                bytes.fill(if round % 2 == 0 { b'B' } else { b'A' });
                same("bytes written", file.write_at(bytes, 0)?, size)?;
            }
            Ok::<(), Why>(())
        };
        u8::from(write().is_err())
    })?;
    let (mut plain, mut segment) = (vec![0; size], snapshot(size / PG)?);
    for round in 0..30 {
        let bytes = match buffer {
            Buffer::Plain => &mut plain[..],
            Buffer::Asleep => segment.bytes_mut(),
        };
        same("bytes read", scratch.file.read_at(bytes, 0)?, size)?;
        // From the end, so that the writer gets in between.
        let mixed = (0..size)
            .rev()
            .step_by(997)
            .find(|at| bytes[*at] != bytes[0]);
        let first = char::from(bytes[0]);
        ensure!(mixed.is_none(), "round {round}: {mixed:x?} is not {first}");
        sys::sleep(1_000_000)?;
    }
    same("the writer", process::wait_for(writer)?.status(), 0)
}

/// Parent and child share the offset of a descriptor, asleep or not.
fn offset() -> Verdict {
    let scratch = Scratch::patterned("offset", 1, LEN)?;
    let file = scratch.again()?;
    let mut segment = snapshot(PAGES)?;
    let mut at = 0;
    for (turn, len) in [100, PG, 3 * PG + 1, 7, 5 * PG, LEN]
        .into_iter()
        .enumerate()
    {
        let want = len.min(LEN - at);
        let mut step = || {
            let n = file.read(&mut segment.bytes_mut()[..len])?;
            same("bytes read", n, want)?;
            equal("them", &segment.bytes()[..n], &patterned(1, at as u64, n))
        };
        match turn % 2 {
            0 => step()?,
            _ => other(step)?,
        }
        at += want;
        same("the offset", file.seek(0, whence::CURRENT)?, at as u64)?;
    }
    file.seek(-(3 * PG as i64), whence::END)?;
    other(|| Ok(file.write_all(&segment.bytes()[..PG])?))?;
    same(
        "the offset",
        file.seek(0, whence::CURRENT)?,
        (LEN - 2 * PG) as u64,
    )
}

/// Several processes append sleeping buffers to the file they were read from.
fn append() -> Verdict {
    const PIECE: usize = 3 * PG + 77;
    let scratch = Scratch::patterned("append", 1, PIECE)?;
    together::all(4, |_| {
        let segment = scratch.asleep(4)?;
        let file = File::open(&scratch.path, mode::ORDWR | mode::OAPPEND)?;
        for _ in 0..5 {
            same("written", file.write(&segment.bytes()[..PIECE])?, PIECE)?;
        }
        Ok(())
    })?;
    let content = scratch.content()?;
    same("the size", content.len(), 21 * PIECE)?;
    let want = patterned(1, 0, PIECE);
    let pieces = content.chunks(PIECE);
    pieces
        .enumerate()
        .try_for_each(|(index, piece)| equal(&format!("piece {index}"), piece, &want))
}

/// Times and sizes after each kind of write are those of an ordinary one: a read
/// or a touch is no change, a write of anything is.
fn times() -> Verdict {
    let scratch = Scratch::patterned("times", 1, LEN)?;
    let mut segment = scratch.asleep(PAGES)?;
    let mut last = scratch.file.stat()?.mtime_ns;
    let mut changes = |what: &str, want: bool| {
        let now = scratch.file.stat()?.mtime_ns;
        let changed = now > last;
        ensure!(now >= last, "{what}: time went back");
        same(&format!("{what}: a change"), changed, want)?;
        last = now;
        sys::sleep(20_000_000)?;
        Ok::<(), Why>(())
    };
    sys::sleep(20_000_000)?;
    scratch.file.read_at(segment.bytes_mut(), 0)?;
    changes("a read", false)?;
    core::hint::black_box(segment.bytes()[PG]);
    segment.bytes_mut()[5 * PG] = 0;
    changes("touches", false)?;
    scratch.file.write_at(&segment.bytes()[..0], 0)?;
    changes("a write of nothing", false)?;
    for range in [0..LEN, 0..LEN, 7 * PG..8 * PG, 9 * PG + 1..9 * PG + 2] {
        let bytes = &segment.bytes()[range.clone()];
        scratch.file.write_at(bytes, range.start as u64)?;
        changes(&format!("a write of {range:x?}"), true)?;
        same("the size", scratch.file.stat()?.size, LEN as u64)?;
    }
    Ok(())
}

/// Before-images show in no directory: not in its times, links or names.
fn directories() -> Verdict {
    let keeper = Scratch::patterned("directories", 1, LEN)?;
    let folder = format!("{}.d", keeper.path);
    File::create(&folder, mode::OREAD, mode::DMDIR | 0o755)?;
    let file = format!("{folder}/file");
    File::create(&file, mode::OWRITE, 0o644)?.write_all(&patterned(2, 0, LEN))?;
    let look = || {
        let mut facts = Vec::new();
        for path in [
            "/n/host",
            &folder,
            keeper.path.trim_end_matches("/directories"),
        ] {
            let stat = File::stat_path(path)?;
            let names = File::open(path, mode::OREAD)?.read_dir().count();
            facts.push((path, stat.mtime_ns, stat.links, names));
        }
        Ok::<_, Errno>(facts)
    };
    let before = look()?;
    sys::sleep(20_000_000)?;
    let segment = keeper.asleep(PAGES)?;
    let mut other = snapshot(PAGES)?;
    File::open(&file, mode::OREAD)?.read_full_at(other.bytes_mut(), 0)?;
    keeper.overwrite_by_other(3, LEN)?;
    same("overwritten", look()?, before.clone())?;
    equal("one buffer", segment.bytes(), &patterned(1, 0, LEN))?;
    drop(segment);
    same("looked at", look()?, before.clone())?;
    // After its removal the file is needed until no page of it is asleep.
    sys::remove(&file)?;
    let removed = look()?;
    same("the root", removed[0], before[0])?;
    same("the parent", removed[2], before[2])?;
    same("names left", removed[1].3, before[1].3 - 1)?;
    sys::sleep(20_000_000)?;
    equal("the other", other.bytes(), &patterned(2, 0, LEN))?;
    drop(other);
    sys::sleep(20_000_000)?;
    same("given up", look()?, removed)?;
    Ok(sys::remove(&folder)?)
}
