//! Reads of any alignment and length, into any memory: rules 1, 4, 5, 6 and 8
//! of the contract.

use super::Case;
use crate::check::{
    self, PG, Scratch, Verdict, Why, at_most, counts, equal, fails, pattern, patterned, same,
};
use crate::liar::{Liar, Next, served};
use crate::raw;
use crate::tiny::SEED;
use alloc::format;
use alloc::vec::Vec;
use ninep::Request;
use rt::abi::{PAGE, mode, snapshot};
use rt::stats::{Counters, Figures};
use rt::{Call, Errno, File, Segment, Stat64};

pub const CASES: &[Case] = &[
    Case::new("ragged.spanning", spanning),
    Case::new("ragged.leaving", leaving),
    Case::new("ragged.leaving.long", leaving_long),
    Case::new("ragged.plus-2", || plus_two(8 << 20)),
    Case::deferred("ragged.plus-2.512mib", || plus_two(512 << 20)),
    Case::new("ragged.small-reads", || small_reads(0)),
    Case::new("ragged.small-reads.gaps", || small_reads(3)),
    Case::new("ragged.over-itself", over_itself),
    Case::deferred("ragged.emptied", emptied),
    Case::deferred("ragged.read-over", read_over),
    Case::deferred("ragged.receive.lost", receive_over_lost),
];

/// A message that does not fit before a page that cannot be had: each byte before it is
/// the message's or what was there.
fn receive_over_lost() -> Verdict {
    let refuses = |channel: &File| {
        Liar::WITH_SNAPSHOTS.serve(channel, |turn| match turn.request {
            Request::Read { offset, count, .. } if offset + u64::from(*count) > 2 * PAGE => {
                turn.error(turn.tag, Errno::EIO)
            }
            _ => Next::Honest,
        })
    };
    served(refuses, |path| {
        let file = File::open(path, mode::ORDWR)?;
        let mut segment = Segment::attach_with("snapshot", 4 * PG, 0, snapshot::RANDOM)?;
        same("bytes", file.read_at(segment.bytes_mut(), 0)?, 4 * PG)?;
        let (ours, theirs) = File::pipe()?;
        let message = alloc::vec![0xee; 2 * PG + 99];
        same("sent", ours.write(&message)?, message.len())?;
        let into = &mut segment.bytes_mut()[1..][..message.len()];
        fails("receive", theirs.read(into), Errno::EIO)?;
        for (at, byte) in segment.bytes()[..2 * PG].iter().enumerate().skip(1) {
            let was = pattern(SEED, at as u64);
            ensure!(*byte == 0xee || *byte == was, "{byte:#x} at {at}");
        }
        Ok(())
    })
}

/// `pread` or `pwrite` of any memory.
fn transfer(call: Call, file: &File, va: u64, n: usize, offset: u64) -> Result<usize, Errno> {
    let arguments = [u64::from(file.fd()), va, n as u64, offset, 0, 0];
    // SAFETY: the range is in segments of the case, behind no reference that
    // is used meanwhile, or in none.
    unsafe { raw::number(call as u64, arguments) }.map(|n| n as usize)
}

/// A second segment that begins where `first` ends.
fn behind(first: &Segment, kind: &str, pages: usize) -> Result<Segment, Why> {
    let va = first.address() + first.len() as u64;
    Ok(Segment::attach_with(kind, pages * PG, va, 0)?)
}

/// Buffers over two segments: all bytes of one moment.
fn spanning() -> Verdict {
    const START: usize = 4 * PG + 5;
    for (kinds, pages) in [
        (["snapshot", "snapshot"], 8),
        (["snapshot", "memory"], 8),
        (["memory", "snapshot"], 8),
        // More than one message takes.
        (["snapshot", "snapshot"], 80),
        (["memory", "snapshot"], 80),
    ] {
        let len = (2 * pages - 6) * PG + 77;
        let scratch = Scratch::patterned("spanning", 1, len + 333)?;
        let first = Segment::attach(kinds[0], pages * PG)?;
        let second = behind(&first, kinds[1], pages)?;
        let va = first.address() + START as u64;
        let n = transfer(Call::PRead, &scratch.file, va, len, 333)?;
        same("bytes read", n, len)?;
        scratch.overwrite_by_other(2, len + 333)?;
        let copy = Scratch::empty("spanning-copy")?;
        let n = transfer(Call::PWrite, &copy.file, va, len, 99)?;
        same("bytes written", n, len)?;
        let mut got: Vec<u8> = first.bytes()[START..].into();
        got.extend_from_slice(&second.bytes()[..len - got.len()]);
        let want = patterned(1, 333, len);
        equal(&format!("{kinds:?}"), &got, &want)?;
        equal("the copy", &copy.content()?[99..], &want)?;
    }
    Ok(())
}

/// Buffers that end where there is nothing: an error, and nothing happened.
fn leaving() -> Verdict {
    let scratch = Scratch::patterned("leaving", 1, 8 * PG)?;
    for kind in ["snapshot", "memory"] {
        let mut segment = Segment::attach(kind, 4 * PG)?;
        segment.bytes_mut().fill(0xee);
        let va = segment.address() + 2 * PAGE + 7;
        for n in [2 * PG - 6, 2 * PG, 8 * PG] {
            let read = transfer(Call::PRead, &scratch.file, va, n, 0);
            fails(&format!("{kind}: reading {n}"), read, Errno::EFAULT)?;
            let written = transfer(Call::PWrite, &scratch.file, va, n, 0);
            fails(&format!("{kind}: writing {n}"), written, Errno::EFAULT)?;
        }
        let changed = segment.bytes().iter().any(|byte| *byte != 0xee);
        ensure!(!changed, "{kind}: the buffer changed");
        let last = transfer(Call::PRead, &scratch.file, va, 2 * PG - 7, 0)?;
        same("up to the end", last, 2 * PG - 7)?;
    }
    equal("the file", &scratch.content()?, &patterned(1, 0, 8 * PG))
}

/// The same with more than one message takes: nothing has moved either.
fn leaving_long() -> Verdict {
    const PAGES: usize = 100;
    let scratch = Scratch::patterned("leaving", 1, 3 * PAGES * PG)?;
    for kind in ["snapshot", "memory"] {
        let mut segment = Segment::attach(kind, PAGES * PG)?;
        segment.bytes_mut().fill(0x77);
        let va = segment.address() + 5;
        let read = transfer(Call::PRead, &scratch.file, va, 2 * PAGES * PG, 0);
        fails(&format!("{kind}: reading"), read, Errno::EFAULT)?;
        let changed = segment.bytes().iter().any(|byte| *byte != 0x77);
        ensure!(!changed, "{kind}: the buffer changed");
        let to = Scratch::empty("leaving-to")?;
        let written = transfer(Call::PWrite, &to.file, va, 2 * PAGES * PG, 0);
        fails(&format!("{kind}: writing"), written, Errno::EFAULT)?;
        same("bytes in the file", to.content()?.len(), 0)?;
    }
    Ok(())
}

/// All of a file to 2 bytes after the beginning of a page: each page comes from
/// two blocks, and the copy of it moves nothing.
fn plus_two(size: usize) -> Verdict {
    const MIB: usize = 1 << 20;
    let scratch = Scratch::zeros("plus-2", size as u64)?;
    let places = [0, 3 * MIB - 1000, size / 2 + 4094, size - MIB];
    for (seed, place) in (1..).zip(places) {
        let bytes = patterned(seed, 0, 5000);
        scratch.file.write_all_at(&bytes, place as u64)?;
    }
    let mut segment = check::snapshot(size / PG + 1)?;
    let before = Counters::now()?;
    let n = scratch
        .file
        .read_at(&mut segment.bytes_mut()[2..2 + size], 0)?;
    let figures = Figures::between(&before, &Counters::now()?);
    same("bytes read", n, size)?;
    if before.get(Stat64::Eager) == 0 {
        at_most("messages", figures.messages, 4)?;
        counts("bytes from the server", figures.bytes_in, 0)?;
    }
    for place in places {
        scratch.file.write_all_at(&[0xff; 5000], place as u64)?;
    }
    let check = |bytes: &[u8], from: usize| {
        for (seed, place) in (1..).zip(places) {
            let what = format!("{place:#x}");
            equal(
                &what,
                &bytes[place + from..][..5000],
                &patterned(seed, 0, 5000),
            )?;
            let next = bytes[place + from + 5000..][..3000].iter();
            ensure!(next.copied().all(|b| b == 0), "bytes behind {place:#x}");
        }
        Ok::<(), Why>(())
    };
    check(segment.bytes(), 2)?;
    let (written, unread) = (3 * MIB, &segment.bytes()[2..2 + 3 * MIB]);
    let copy = Scratch::empty("plus-2-copy")?;
    copy.file.write_all_at(unread, 0)?;
    same("the copy's size", copy.file.stat()?.size, written as u64)?;
    equal("the copy", &copy.content()?, unread)
}

/// Loops of reads of `size` bytes, `gap` bytes of file and buffer left out
/// between them.
fn small_reads(gap: usize) -> Verdict {
    let len = 3 * PG;
    let scratch = Scratch::patterned("small", 1, len + 100)?;
    for size in [1, 2, 7, 100, 1023, 2048, 4093, 4095] {
        // The smallest need not go so far.
        let end = len.min(size * 1500);
        let mut segment = check::snapshot(4)?;
        let mut want = alloc::vec![0; end];
        let before = Counters::now()?.get(Stat64::Snapshots);
        let mut at = 0;
        while at + size <= end {
            let buffer = &mut segment.bytes_mut()[10 + at..10 + at + size];
            let n = scratch.file.read_at(buffer, at as u64)?;
            same("bytes read", n, size)?;
            want[at..at + size].copy_from_slice(&patterned(1, at as u64, size));
            at += size + gap;
        }
        let held = Counters::now()?.get(Stat64::Snapshots) - before;
        ensure!(gap > 0 || held <= 4, "{held} snapshots for one range");
        scratch.overwrite_by_other(2, len)?;
        let what = format!("reads of {size}");
        equal(&what, &segment.bytes()[10..10 + end], &want)?;
        same("before", &segment.bytes()[..10], &[0; 10][..])?;
        scratch.overwrite_by_other(1, len)?;
    }
    Ok(())
}

/// Each read covers a part of the one before.
fn over_itself() -> Verdict {
    let scratch = Scratch::patterned("over-itself", 1, 40 * PG)?;
    let mut segment = check::snapshot(20)?;
    let mut want = alloc::vec![0; 20 * PG];
    for round in 0..40usize {
        let at = round * 1777 % (10 * PG);
        let len = 1 + round * 3001 % (9 * PG);
        let off = round * 5003 % (30 * PG);
        let buffer = &mut segment.bytes_mut()[at..at + len];
        let n = scratch.file.read_at(buffer, off as u64)?;
        same("bytes read", n, len)?;
        want[at..at + len].copy_from_slice(&patterned(1, off as u64, len));
    }
    scratch.overwrite_by_other(2, 40 * PG)?;
    equal("the buffer", segment.bytes(), &want)
}

/// The work of the server while `body` runs: bytes sent by it, and
/// before-images saved.
fn moved(body: impl FnOnce() -> Verdict) -> Result<(u64, u64), Why> {
    let before = Counters::now()?;
    body()?;
    let after = Counters::now()?;
    let grown = |which| after.since(&before, which);
    Ok((grown(Stat64::BytesIn), grown(Stat64::ServerRescued)))
}

/// `segfree` and `/dev/zero` load nothing, and no before-images are saved for
/// freed bytes (rules 3 and 6).
fn emptied() -> Verdict {
    const PAGES: usize = 64;
    let scratch = Scratch::patterned("emptied", 1, PAGES * PG)?;
    let mut segment = scratch.asleep(PAGES)?;
    let zero = File::open("/dev/zero", mode::OREAD)?;
    let figures = moved(|| {
        segment.free(0, 16 * PG)?;
        let n = zero.read(&mut segment.bytes_mut()[16 * PG..32 * PG])?;
        same("zeros read", n, 16 * PG)
    })?;
    counts("bytes to empty half of it", figures.0, 0)?;
    same("blocks saved to empty half of it", figures.1, 0)?;
    let figures = moved(|| scratch.overwrite_by_other(2, PAGES * PG))?;
    same("blocks saved", figures.1, PAGES as u64 / 2)?;
    let mut want = patterned(1, 0, PAGES * PG);
    want[..32 * PG].fill(0);
    equal("the buffer", segment.bytes(), &want)
}

/// A read over sleeping pages loads nothing of them, and nothing is saved for
/// them any more (rules 3 and 8).
fn read_over() -> Verdict {
    const PAGES: usize = 64;
    let one = Scratch::patterned("read-over-1", 1, PAGES * PG)?;
    let two = Scratch::patterned("read-over-2", 2, PAGES * PG)?;
    let mut segment = one.asleep(PAGES)?;
    let buffer = &mut segment.bytes_mut()[..48 * PG];
    let figures = moved(|| same("bytes read", two.file.read_at(buffer, 0)?, 48 * PG))?;
    counts("bytes to read over them", figures.0, 0)?;
    same("blocks saved to read over them", figures.1, 0)?;
    let figures = moved(|| one.overwrite_by_other(3, PAGES * PG))?;
    same("blocks saved", figures.1, 16)?;
    let mut want = patterned(2, 0, 48 * PG);
    want.extend_from_slice(&patterned(1, 48 * PAGE, 16 * PG));
    equal("the buffer", segment.bytes(), &want)
}
