//! Writing a buffer back: only changes travel, and the result is that of an
//! ordinary write.

use super::Case;
use crate::check::{
    PG, Scratch, Verdict, at_most, counts, equal, other, patterned, same, snapshot,
};
use alloc::vec;
use rt::abi::{PAGE, mode};
use rt::stats::{Counters, Figures};
use rt::{File, Stat64, process, sys};

pub const CASES: &[Case] = &[
    Case::new("write.changed", changed),
    Case::new("write.untouched", untouched),
    Case::new("write.again", again),
    Case::new("write.restores", restores),
    Case::new("write.shifted", shifted),
    Case::new("write.elsewhere", elsewhere),
    Case::new("write.elsewhere.unaligned", elsewhere_unaligned),
    Case::new("write.part", part),
    Case::new("write.zeros", zeros),
    Case::new("write.extends", extends),
    Case::new("write.append", append),
    Case::new("write.append.offset", offset_after_append),
    Case::new("write.read-only", read_only),
    Case::new("write.truncated", truncated),
    Case::new("write.forked", forked),
    Case::new("write.rounds", rounds),
    Case::new("write.many-messages", many_messages),
    Case::new("write.shared-offset", shared_offset),
    Case::new("read.shared-offset", shared_offset_read),
];

const PAGES: usize = 64;
const LEN: usize = PAGES * PG;

/// Runs `body`; with deferral on, checks how many data bytes went to the
/// server and in at most how many messages.
fn costs(bytes: u64, messages: u64, body: impl FnOnce() -> Verdict) -> Verdict {
    let before = Counters::now()?;
    body()?;
    let after = Counters::now()?;
    let figures = Figures::between(&before, &after);
    if after.get(Stat64::Eager) == 0 {
        counts("bytes to the server", figures.bytes_out, bytes)?;
        at_most("messages", figures.messages, messages)?;
    }
    Ok(())
}

/// Four pages in three runs change; they alone are sent.
fn changed() -> Verdict {
    let scratch = Scratch::patterned("changed", 1, LEN)?;
    let mut segment = scratch.asleep(PAGES)?;
    let mut want = patterned(1, 0, LEN);
    for page in [3, 10, 11, 50] {
        segment.bytes_mut()[page * PG + 5] = 0;
        want[page * PG + 5] = 0;
    }
    costs(4 * PAGE, 3 + 3, || {
        Ok(scratch.file.write_all_at(segment.bytes(), 0)?)
    })?;
    equal("the file", &scratch.content()?, &want)?;
    equal("the buffer", segment.bytes(), &want)
}

/// A write of so many runs that its messages outnumber the tags.
fn many_messages() -> Verdict {
    const MANY: usize = 4096;
    let scratch = Scratch::patterned("many", 1, MANY * PG)?;
    let mut segment = scratch.asleep(MANY)?;
    for page in (0..MANY).step_by(2) {
        segment.bytes_mut()[page * PG] = 0xaa;
    }
    scratch.file.write_all_at(segment.bytes(), 0)?;
    let mut byte = [0];
    for page in 0..MANY {
        scratch.file.read_at(&mut byte, (page * PG) as u64)?;
        let want = match page % 2 {
            0 => 0xaa,
            _ => patterned(1, (page * PG) as u64, 1)[0],
        };
        same("a byte of the file", byte[0], want)?;
    }
    Ok(())
}

/// Nothing is sent, yet it was a write: the time says so.
fn untouched() -> Verdict {
    let scratch = Scratch::patterned("untouched", 1, LEN)?;
    let segment = scratch.asleep(PAGES)?;
    let before = scratch.file.stat()?.mtime_ns;
    rt::sys::sleep(20_000_000)?;
    costs(0, 3, || {
        Ok(scratch.file.write_all_at(segment.bytes(), 0)?)
    })?;
    let after = scratch.file.stat()?.mtime_ns;
    ensure!(after > before, "the time of last change is still {before}");
    equal("the file", &scratch.content()?, &patterned(1, 0, LEN))
}

/// Written pages are associated again: the next write sends only later changes.
fn again() -> Verdict {
    let scratch = Scratch::patterned("again", 1, LEN)?;
    let mut segment = scratch.asleep(PAGES)?;
    let mut want = patterned(1, 0, LEN);
    segment.bytes_mut()[2 * PG..5 * PG].fill(7);
    want[2 * PG..5 * PG].fill(7);
    costs(3 * PAGE, 4, || {
        Ok(scratch.file.write_all_at(segment.bytes(), 0)?)
    })?;
    costs(0, 3, || {
        Ok(scratch.file.write_all_at(segment.bytes(), 0)?)
    })?;
    segment.bytes_mut()[3 * PG] = 8;
    want[3 * PG] = 8;
    costs(PAGE, 4, || {
        Ok(scratch.file.write_all_at(segment.bytes(), 0)?)
    })?;
    equal("the file", &scratch.content()?, &want)?;
    scratch.overwrite_by_other(2, LEN)?;
    equal("the buffer", segment.bytes(), &want)
}

/// Another process overwrote the bytes that we read; writing our buffer back
/// restores them.
fn restores() -> Verdict {
    let scratch = Scratch::patterned("restores", 1, LEN)?;
    let mut segment = scratch.asleep(PAGES)?;
    let mut want = patterned(1, 0, LEN);
    segment.bytes_mut()[0] = 0;
    want[0] = 0;
    other(|| {
        let file = scratch.again()?;
        Ok(file.write_all_at(&patterned(2, 0, 9 * PG), 20 * PAGE + 100)?)
    })?;
    costs(PAGE, 4, || {
        Ok(scratch.file.write_all_at(segment.bytes(), 0)?)
    })?;
    equal("the file", &scratch.content()?, &want)?;
    equal("the buffer", segment.bytes(), &want)
}

/// The buffer goes to the same file one page further on, over itself.
fn shifted() -> Verdict {
    let scratch = Scratch::patterned("shifted", 1, LEN)?;
    let segment = scratch.asleep(PAGES)?;
    costs(0, 8, || {
        Ok(scratch.file.write_all_at(segment.bytes(), PAGE)?)
    })?;
    let mut want = patterned(1, 0, PG);
    want.extend_from_slice(&patterned(1, 0, LEN));
    equal("the file", &scratch.content()?, &want)?;
    equal("the buffer", segment.bytes(), &patterned(1, 0, LEN))
}

/// A copy to another file moves no data.
fn elsewhere() -> Verdict {
    let from = Scratch::patterned("elsewhere-from", 1, LEN)?;
    let to = Scratch::empty("elsewhere-to")?;
    let segment = from.asleep(PAGES)?;
    from.overwrite_by_other(2, LEN)?;
    costs(0, 8, || Ok(to.file.write_all_at(segment.bytes(), 0)?))?;
    equal("the copy", &to.content()?, &patterned(1, 0, LEN))
}

fn elsewhere_unaligned() -> Verdict {
    let from = Scratch::patterned("elsewhere-from", 1, LEN)?;
    let to = Scratch::patterned("elsewhere-to", 3, LEN)?;
    let mut segment = from.asleep(PAGES)?;
    segment.bytes_mut()[7 * PG] = 0;
    let range = 100..20 * PG + 200;
    to.file.write_all_at(&segment.bytes()[range.clone()], 333)?;
    let mut want = patterned(3, 0, LEN);
    let mut source = patterned(1, 0, LEN);
    source[7 * PG] = 0;
    want[333..333 + range.len()].copy_from_slice(&source[range]);
    equal("the other file", &to.content()?, &want)
}

/// A ragged part of the buffer goes back to its place.
fn part() -> Verdict {
    let scratch = Scratch::patterned("part", 1, LEN)?;
    let mut segment = scratch.asleep(PAGES)?;
    segment.bytes_mut()[..20 * PG].fill(6);
    let range = 3 * PG + 100..9 * PG + 300;
    scratch
        .file
        .write_all_at(&segment.bytes()[range.clone()], range.start as u64)?;
    let mut want = patterned(1, 0, LEN);
    want[range].fill(6);
    equal("the file", &scratch.content()?, &want)?;
    scratch.file.write_all_at(segment.bytes(), 0)?;
    want[..20 * PG].fill(6);
    equal("the file in the end", &scratch.content()?, &want)
}

/// Pages that were never anything are written as zeros.
fn zeros() -> Verdict {
    let scratch = Scratch::patterned("zeros-out", 1, LEN)?;
    let mut segment = scratch.asleep(PAGES)?;
    segment.free(4 * PG, 40 * PG)?;
    scratch.file.write_all_at(segment.bytes(), 0)?;
    let mut want = patterned(1, 0, LEN);
    want[4 * PG..44 * PG].fill(0);
    equal("the file", &scratch.content()?, &want)
}

fn extends() -> Verdict {
    let scratch = Scratch::patterned("extends", 1, 3 * PG + 9)?;
    let segment = scratch.asleep(8)?;
    scratch.file.write_all_at(segment.bytes(), 0)?;
    let mut want = patterned(1, 0, 3 * PG + 9);
    want.resize(8 * PG, 0);
    equal("the file", &scratch.content()?, &want)
}

/// After an append the descriptor's own offset is where that ended, from any
/// memory, in any length, at any server.
fn offset_after_append() -> Verdict {
    const LONG: usize = 40 * PG;
    let scratch = Scratch::patterned("offset", 1, 11)?;
    for path in [&scratch.path[..], "/tmp/offset"] {
        let mut size = File::create(path, mode::OWRITE, 0o644)?.write(&[b'x'; 11])? as u64;
        let file = File::open(path, mode::ORDWR | mode::OAPPEND)?;
        let mut asleep = snapshot(40)?;
        asleep.bytes_mut().fill(2);
        let memory = vec![3; LONG];
        for bytes in [&memory[..2], &asleep.bytes()[..2], asleep.bytes(), &memory] {
            file.seek(0, 0)?;
            let n = file.write(bytes)?;
            size += n as u64;
            same("the own offset", file.seek(0, 1)?, size)?;
            same("what is read there", file.read(&mut [0; 8])?, 0)?;
        }
        // At an offset of its own choice the own one stays.
        file.seek(5, 0)?;
        file.write_at(b"y", 0)?;
        same("the own offset", file.seek(0, 1)?, 5)?;
    }
    Ok(sys::remove("/tmp/offset")?)
}

/// Every write to a descriptor opened for appending goes to the end.
fn append() -> Verdict {
    let scratch = Scratch::patterned("append", 1, 2 * PG + 5)?;
    let segment = scratch.asleep(3)?;
    let file = File::open(&scratch.path, mode::ORDWR | mode::OAPPEND)?;
    scratch.file.write_all_at(b"more", 2 * PAGE + 5)?;
    same(
        "bytes written",
        file.write(&segment.bytes()[..2 * PG + 5])?,
        2 * PG + 5,
    )?;
    let mut want = patterned(1, 0, 2 * PG + 5);
    want.extend_from_slice(b"more");
    want.extend_from_slice(&patterned(1, 0, 2 * PG + 5));
    equal("the file", &scratch.content()?, &want)
}

/// A read-only descriptor is refused although nothing is to be sent.
fn read_only() -> Verdict {
    let scratch = Scratch::patterned("read-only", 1, LEN)?;
    let segment = scratch.asleep(PAGES)?;
    let file = File::open(&scratch.path, mode::OREAD)?;
    let before = scratch.file.stat()?.mtime_ns;
    let plain = file.write_at(b"x", 0);
    ensure!(plain.is_err(), "one byte could be written");
    same("the error", file.write_at(segment.bytes(), 0), plain)?;
    same("the time", scratch.file.stat()?.mtime_ns, before)?;
    let file = File::open(&scratch.path, mode::OWRITE)?;
    let mut segment = segment;
    ensure!(
        file.read_at(segment.bytes_mut(), 0).is_err(),
        "a write-only descriptor reads"
    );
    equal("the buffer", segment.bytes(), &patterned(1, 0, LEN))
}

/// The file was cut short meanwhile; writing the buffer makes it whole.
fn truncated() -> Verdict {
    let scratch = Scratch::patterned("truncated", 1, LEN)?;
    let segment = scratch.asleep(PAGES)?;
    other(|| Ok(scratch.again()?.set_size(10 * PAGE + 5)?))?;
    scratch.file.write_all_at(segment.bytes(), 0)?;
    equal("the file", &scratch.content()?, &patterned(1, 0, LEN))
}

/// Both copies of a buffer are written back, the child's first.
fn forked() -> Verdict {
    let scratch = Scratch::patterned("forked", 1, LEN)?;
    let mut segment = scratch.asleep(PAGES)?;
    let mut want = patterned(1, 0, LEN);
    segment.bytes_mut()[PG] = 0;
    want[PG] = 0;
    other(|| {
        let mut want = want.clone();
        segment.bytes_mut()[9 * PG..12 * PG].fill(3);
        want[9 * PG..12 * PG].fill(3);
        scratch.file.write_all_at(segment.bytes(), 0)?;
        equal("the child's file", &scratch.content()?, &want)
    })?;
    scratch.file.write_all_at(segment.bytes(), 0)?;
    equal("the parent's file", &scratch.content()?, &want)?;
    equal("the parent's buffer", segment.bytes(), &want)
}

/// Many rounds of change and write: nothing piles up.
fn rounds() -> Verdict {
    let scratch = Scratch::patterned("rounds", 1, LEN)?;
    let mut segment = scratch.asleep(PAGES)?;
    let mut want = patterned(1, 0, LEN);
    let mut snapshots = 0;
    for round in 0..60usize {
        let at = round * 7919 % LEN;
        segment.bytes_mut()[at] = round as u8;
        want[at] = round as u8;
        scratch.file.write_all_at(segment.bytes(), 0)?;
        if round == 10 {
            snapshots = Counters::now()?.get(Stat64::Snapshots);
        }
    }
    let now = Counters::now()?.get(Stat64::Snapshots);
    ensure!(
        now <= snapshots,
        "{snapshots} snapshots after 10 rounds, {now} after 60"
    );
    equal("the file", &scratch.content()?, &want)?;
    scratch.overwrite_by_other(2, LEN)?;
    equal("the buffer", segment.bytes(), &want)
}

/// Records of a file that two processes write or read in turns.
const RECORDS: usize = 50;
const RECORD: usize = 10;

/// Two processes write through one descriptor at its own offset: neither
/// overwrites the other's bytes.
fn shared_offset() -> Verdict {
    let scratch = Scratch::empty("shared-offset")?;
    let records = |mark: u8| (0..RECORDS).try_for_each(|_| scratch.file.write_all(&[mark; RECORD]));
    let pid = process::spawn(|| u8::from(records(b'c').is_err()))?;
    records(b'p')?;
    same("status", process::wait_for(pid)?.status(), 0)?;
    let content = scratch.content()?;
    same("bytes", content.len(), 2 * RECORDS * RECORD)?;
    let of_child = content.iter().filter(|byte| **byte == b'c').count();
    same("of the child", of_child, RECORDS * RECORD)
}

/// Two processes read through one descriptor: neither reads the other's bytes.
fn shared_offset_read() -> Verdict {
    let scratch = Scratch::patterned("shared-offset", 1, 2 * RECORDS * RECORD)?;
    let records = || (0..RECORDS).try_for_each(|_| scratch.file.read(&mut [0; RECORD]).map(drop));
    let pid = process::spawn(|| u8::from(records().is_err()))?;
    records()?;
    same("status", process::wait_for(pid)?.status(), 0)?;
    same("bytes left", scratch.file.read(&mut [0; RECORD])?, 0)?;
    scratch.file.write_all(b"end")?;
    let size = scratch.file.stat()?.size as usize;
    same("size", size, 2 * RECORDS * RECORD + 3)
}
