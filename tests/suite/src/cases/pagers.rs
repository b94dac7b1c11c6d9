//! Pagers: files that a process computes, page by page, when they are touched. A slow, dead
//! or failing pager harms those who touch its pages, and nobody else.

use super::Case;
use crate::check::{
    PG, Scratch, Verdict, Why, at_rest, counts, equal, fails, other, pattern, patterned, pressed,
    same, snapshot,
};
use crate::liar::close_all_but;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use pager::Computed;
use rt::abi::{SERVICE_FD, STATUS_KILLED, mode};
use rt::note::{self, Then};
use rt::process::{self, Ended};
use rt::stats::Counters;
use rt::{Errno, File, Segment, Stat64, service, sys};

pub const CASES: &[Case] = &[
    Case::new("pagers.sum", sum),
    Case::new("pagers.every-byte", every_byte),
    Case::new("pagers.far", far),
    Case::new("pagers.fails", page_fails),
    Case::new("pagers.fails.again", fails_again),
    Case::new("pagers.slow", slow),
    Case::new("pagers.noted", noted),
    Case::new("pagers.dies", dies),
    Case::new("pagers.read-only", read_only),
    Case::new("pagers.copied", copied),
    Case::deferred("pagers.shared", shared),
    Case::unpressed("pagers.packed", packed),
    Case::unpressed("pagers.packed.changed", packed_changes),
    Case::unpressed("pagers.packed.damaged", packed_damaged),
];

/// Where pagers are mounted.
const PLACE: &str = "/mnt";
/// The pattern of computed files.
const SEED: u8 = 21;

fn computed(offset: u64, page: &mut [u8]) -> Result<(), Errno> {
    for (at, byte) in (offset..).zip(page) {
        *byte = pattern(SEED, at);
    }
    Ok(())
}

/// Runs `body` with a pager of these files, which has the descriptors `kept` too. `body` is
/// given its process. How the pager ended.
fn paged(
    place: &str,
    files: Vec<Computed<'_>>,
    kept: &[&File],
    body: impl FnOnce(u64) -> Verdict,
) -> Result<Ended, Why> {
    let (ours, theirs) = File::pipe()?;
    let pid = process::spawn(|| {
        let moved = match theirs.fd() == SERVICE_FD as u32 {
            true => theirs.dup(),
            false => theirs.dup_to(SERVICE_FD as u32),
        };
        let service = File::borrowed(SERVICE_FD as u32);
        close_all_but(&[kept, &[&service]].concat());
        u8::from(moved.is_err() || pager::serve(files).is_err())
    })?;
    drop(theirs);
    let verdict = match ours.mount(place) {
        Ok(()) => {
            let verdict = body(pid);
            sys::unmount(place)?;
            verdict
        }
        Err(errno) => Err(Why(format!("mounting: {errno}"))),
    };
    let ended = process::wait_for(pid)?;
    verdict.map(|()| ended)
}

/// The same with a pager of one file, `/mnt/file`, that must end by itself.
fn one_file(
    size: u64,
    compute: impl FnMut(u64, &mut [u8]) -> Result<(), Errno>,
    body: impl FnOnce() -> Verdict,
) -> Verdict {
    let files = vec![Computed::new("file", size, compute)];
    let ended = paged(PLACE, files, &[], |_| body())?;
    same("the pager's status", ended.status(), 0)
}

const PATH: &str = "/mnt/file";

/// `pages` of the file from its beginning, in a new segment.
fn asleep(pages: usize) -> Result<Segment, Why> {
    let mut segment = snapshot(pages)?;
    let n = File::open(PATH, mode::OREAD)?.read_full_at(segment.bytes_mut(), 0)?;
    same("bytes read", n, pages * PG)?;
    Ok(segment)
}

/// Touches a page in another process; how that ended: with 0 if its bytes are right.
fn touch(segment: &Segment, page: usize) -> Result<Ended, Why> {
    let pid = process::spawn(|| u8::from(is_right(segment, page).is_err()))?;
    Ok(process::wait_for(pid)?)
}

fn is_right(segment: &Segment, page: usize) -> Verdict {
    let got = &segment.bytes()[page * PG..][..PG];
    equal("a page", got, &patterned(SEED, (page * PG) as u64, PG))
}

/// The same of a page that has come. Under pressure it has left again, and its pager is asked.
fn still_right(segment: &Segment, page: usize) -> Verdict {
    match pressed()? {
        true => Ok(()),
        false => is_right(segment, page),
    }
}

/// A terabyte of numbers, of which a thousand are summed: a message for each page.
fn sum() -> Verdict {
    const SIZE: usize = 1 << 40;
    const TURNS: usize = 1000;
    const STRIDE: usize = 0x9e37_79b1;
    let number = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let places = || (0..TURNS).map(|turn| turn * STRIDE % (SIZE / 8));
    let want = places().fold(0, |sum, n| number(n as u64).wrapping_add(sum));
    let pager = service::start("/bin/numbers", &["numbers"], 0)?;
    pager.channel.mount(PLACE)?;
    let eager = Counters::now()?.get(Stat64::Eager) == 1;
    let sum_up = || {
        let file = File::open("/mnt/numbers", mode::OREAD)?;
        let mut sum = 0_u64;
        let mut add = |bytes: &[u8]| {
            let bytes: [u8; 8] = bytes.try_into().unwrap_or_default();
            sum = sum.wrapping_add(u64::from_le_bytes(bytes));
        };
        if eager {
            for n in places() {
                let mut bytes = [0; 8];
                same("bytes read", file.read_at(&mut bytes, n as u64 * 8)?, 8)?;
                add(&bytes);
            }
            return Ok::<_, Why>(sum);
        }
        let mut segment = snapshot(SIZE / PG)?;
        same("bytes read", file.read_at(segment.bytes_mut(), 0)?, SIZE)?;
        let before = Counters::now()?;
        places().for_each(|n| add(&segment.bytes()[n * 8..][..8]));
        let after = Counters::now()?;
        let messages = after.since(&before, Stat64::Messages);
        counts("messages", messages, TURNS as u64)?;
        let bytes = after.since(&before, Stat64::BytesIn);
        counts("bytes", bytes, (TURNS * PG) as u64)?;
        Ok(sum)
    };
    let got = sum_up();
    sys::unmount(PLACE)?;
    let ended = process::wait_for(pager.pid)?;
    same("the sum", got?, want)?;
    same("the pager's status", ended.status(), 0)
}

/// Every byte at any alignment, up to an end within a page; nothing after it.
fn every_byte() -> Verdict {
    const SIZE: usize = 40 * PG + 100;
    one_file(SIZE as u64, computed, || {
        let want = patterned(SEED, 0, SIZE);
        let file = File::open(PATH, mode::OREAD)?;
        for from in [
            0,
            1,
            PG - 1,
            PG,
            39 * PG + 5,
            40 * PG,
            SIZE - 1,
            SIZE,
            SIZE + PG,
        ] {
            let mut segment = snapshot(42)?;
            segment.bytes_mut().fill(0xee);
            let n = file.read_full_at(&mut segment.bytes_mut()[7..], from as u64)?;
            let want = want.get(from..).unwrap_or_default();
            same("bytes read", n, want.len())?;
            equal("them", &segment.bytes()[7..][..n], want)?;
            let rest = &segment.bytes()[7 + n..];
            ensure!(rest.iter().all(|b| *b == 0xee), "bytes after the end");
        }
        same("the size", file.stat()?.size, SIZE as u64)
    })
}

/// Offsets that no other file has.
fn far() -> Verdict {
    one_file(u64::MAX, computed, || {
        let file = File::open(PATH, mode::OREAD)?;
        for from in [
            1 << 40,
            1 << 62,
            i64::MAX as u64 - 5,
            u64::MAX - 3 * PG as u64,
        ] {
            let mut segment = snapshot(2)?;
            let n = file.read_full_at(segment.bytes_mut(), from)?;
            same("bytes read", n, 2 * PG)?;
            equal("them", segment.bytes(), &patterned(SEED, from, 2 * PG))?;
        }
        // Up to the end, which is one byte before the last offset.
        let mut bytes = [0; 100];
        let got = file.read_at(&mut bytes, u64::MAX - 10)?;
        ensure!(got <= 10, "{got} bytes past the end");
        equal("them", &bytes[..got], &patterned(SEED, u64::MAX - 10, got))
    })
}

/// The page that cannot be computed.
const BAD: usize = 5;

/// An error of the function is one of its page alone, also if it comes while the page before
/// it is touched.
fn page_fails() -> Verdict {
    let compute = |offset, page: &mut [u8]| match offset == (BAD * PG) as u64 {
        true => Err(Errno::EDQUOT),
        false => computed(offset, page),
    };
    one_file(12 * PG as u64, compute, || {
        let file = File::open(PATH, mode::OREAD)?;
        let mut segment = snapshot(12)?;
        let at = (BAD * PG) as u64;
        if Counters::now()?.get(Stat64::Eager) == 1 {
            let n = file.read_at(segment.bytes_mut(), 0)?;
            same("bytes before it", n, BAD * PG)?;
            (0..BAD).try_for_each(|page| is_right(&segment, page))?;
            fails("reading it", file.read_at(&mut [0; 9], at + 3), Errno::EIO)?;
            same("after it", file.read_at(&mut [0; 9], at + PG as u64)?, 9)?;
            return Ok(());
        }
        same("bytes read", file.read_at(segment.bytes_mut(), 0)?, 12 * PG)?;
        // In order, so that neighbours come along.
        (0..BAD).try_for_each(|page| is_right(&segment, page))?;
        for _ in 0..2 {
            let ended = touch(&segment, BAD)?;
            same("status", u32::from(ended.status()), STATUS_KILLED)?;
            for part in [PATH, "0x5000", "EIO"] {
                let text = ended.text();
                ensure!(text.contains(part), "\"{text}\" lacks \"{part}\"");
            }
        }
        (BAD + 1..12).try_for_each(|page| is_right(&segment, page))?;
        let (_, theirs) = File::pipe()?;
        let bad = &segment.bytes()[BAD * PG..][..9];
        fails("a call", rt::send(&theirs, [bad]), Errno::EIO)
    })
}

/// A page that can be computed later is there then.
fn fails_again() -> Verdict {
    let turn = Cell::new(0);
    let compute = |offset, page: &mut [u8]| {
        turn.set(turn.get() + 1);
        match turn.get() {
            1 | 2 => Err(Errno::ENOMEM),
            _ => computed(offset, page),
        }
    };
    one_file(2 * PG as u64, compute, || {
        let file = File::open(PATH, mode::OREAD)?;
        let mut bytes = [0; 4];
        for _ in 0..2 {
            fails("reading", file.read_at(&mut bytes, 0), Errno::EIO)?;
        }
        let segment = asleep(2)?;
        (0..2).try_for_each(|page| is_right(&segment, page))
    })
}

/// The file of a pager that waits for a byte from `gate` before it gives the page [`BAD`] for
/// the first time.
fn gated(gate: &File) -> Vec<Computed<'_>> {
    let mut open = false;
    let compute = move |offset, page: &mut [u8]| {
        if offset == (BAD * PG) as u64 && !open {
            gate.read(&mut [0; 1])?;
            open = true;
        }
        computed(offset, page)
    };
    vec![Computed::new("file", 12 * PG as u64, compute)]
}

/// Touches or reads the page that is slow.
fn want_slow(segment: &Segment) -> Verdict {
    if Counters::now()?.get(Stat64::Eager) == 0 {
        return is_right(segment, BAD);
    }
    let mut page = vec![0; PG];
    let at = (BAD * PG) as u64;
    File::open(PATH, mode::OREAD)?.read_full_at(&mut page, at)?;
    equal("the page", &page, &patterned(SEED, at, PG))
}

/// While the pager computes, those who do not need it go on, and those who do can be ended.
fn slow() -> Verdict {
    let (ours, gate) = File::pipe()?;
    let place = Scratch::empty("paged")?;
    let ended = paged(PLACE, gated(&gate), &[&gate], |_| {
        let segment = asleep(BAD)?;
        let all = match Counters::now()?.get(Stat64::Eager) {
            0 => asleep(12)?,
            _ => snapshot(1)?,
        };
        is_right(&segment, 0)?;
        let wait = || process::spawn(|| u8::from(want_slow(&all).is_err()));
        let (killed, patient) = (wait()?, wait()?);
        at_rest()?;
        process::kill(killed, "waited enough")?;
        let text = process::wait_for(killed)?;
        ensure!(text.text().contains("waited enough"), "{}", text.text());
        // What has come, and other servers, are there.
        still_right(&segment, 0)?;
        same("the host's", place.content()?.len(), 0)?;
        ours.write_all(b"x")?;
        same("who waited", process::wait_for(patient)?.status(), 0)?;
        is_right(&segment, BAD - 1)
    })?;
    same("the pager's status", ended.status(), 0)
}

/// A note interrupts a touch that waits for a pager, which then goes on waiting.
fn noted() -> Verdict {
    let (ours, gate) = File::pipe()?;
    let ended = paged(PLACE, gated(&gate), &[&gate], |_| {
        let all = match Counters::now()?.get(Stat64::Eager) {
            0 => asleep(12)?,
            _ => snapshot(1)?,
        };
        let pid = process::spawn(|| {
            let handled = note::handle(|_, _| Then::Resume);
            let mut verdict = want_slow(&all);
            if verdict.is_err() {
                // The call was interrupted.
                verdict = want_slow(&all);
            }
            u8::from(handled.is_err() || verdict.is_err())
        })?;
        at_rest()?;
        note::send(pid, "hurry")?;
        ours.write_all(b"x")?;
        same("status", process::wait_for(pid)?.status(), 0)
    })?;
    same("the pager's status", ended.status(), 0)
}

/// A pager that is gone takes along what it has not given, and nothing else.
fn dies() -> Verdict {
    // The last page is too far away to come along with the first.
    const PAGES: usize = 100;
    let files = vec![Computed::new("file", (PAGES * PG) as u64, computed)];
    let ended = paged(PLACE, files, &[], |pid| {
        let segment = asleep(PAGES)?;
        let file = File::open(PATH, mode::OREAD)?;
        is_right(&segment, 0)?;
        process::kill(pid, "gone")?;
        at_rest()?;
        still_right(&segment, 0)?;
        fails(
            "reading",
            file.read_at(&mut [0; 9], 3 * PG as u64),
            Errno::EIO,
        )?;
        if Counters::now()?.get(Stat64::Eager) == 1 {
            return (0..PAGES).try_for_each(|page| is_right(&segment, page));
        }
        let ended = touch(&segment, PAGES - 1)?;
        same("status", u32::from(ended.status()), STATUS_KILLED)?;
        ensure!(ended.text().contains(PATH), "{}", ended.text());
        Ok(())
    })?;
    ensure!(ended.text().contains("gone"), "{}", ended.text());
    Ok(())
}

fn read_only() -> Verdict {
    one_file(PG as u64, computed, || {
        for flags in [mode::OWRITE, mode::ORDWR, mode::OREAD | mode::OTRUNC] {
            fails("opening", File::open(PATH, flags), Errno::EROFS)?;
        }
        let made = File::create("/mnt/other", mode::OREAD, 0o644);
        fails("creating", made, Errno::EROFS)?;
        fails("removing", sys::remove(PATH), Errno::EROFS)?;
        fails(
            "another name",
            File::open("/mnt/x", mode::OREAD),
            Errno::ENOENT,
        )?;
        fails(
            "below it",
            File::open("/mnt/file/x", mode::OREAD),
            Errno::ENOTDIR,
        )?;
        let names = File::open(PLACE, mode::OREAD)?;
        let names: Result<Vec<_>, _> = names.read_dir().map(|e| e.map(|e| e.name)).collect();
        let names = names?;
        ensure!(names.iter().any(|name| *name == "file"), "{names:?}");
        Ok(())
    })
}

/// What sleeps at a pager is written to a file of another server, with changes.
fn copied() -> Verdict {
    const PAGES: usize = 50;
    one_file((PAGES * PG) as u64, computed, || {
        let mut segment = asleep(PAGES)?;
        segment.bytes_mut()[7 * PG + 1] = 0;
        let to = Scratch::empty("computed")?;
        to.file.write_all_at(segment.bytes(), 0)?;
        let mut want = patterned(SEED, 0, PAGES * PG);
        want[7 * PG + 1] = 0;
        equal("the copy", &to.content()?, &want)
    })
}

/// A file that never changes is read once for all that read it.
fn shared() -> Verdict {
    one_file(8 * PG as u64, computed, || {
        let first = asleep(8)?;
        (0..8).try_for_each(|page| is_right(&first, page))?;
        other(|| {
            let second = asleep(8)?;
            let before = Counters::now()?;
            (0..8).try_for_each(|page| is_right(&second, page))?;
            let bytes = Counters::now()?.since(&before, Stat64::BytesIn);
            counts("bytes of the second reader", bytes, 0)
        })
    })
}

/// Content of the packed files: a few blocks.
const PACKED: usize = 12 * 64 * 1024 + 77;

/// A file of the pattern [`SEED`], packed by `packfs`.
fn pack() -> Result<Scratch, Why> {
    let from = Scratch::patterned("from", SEED, PACKED)?;
    let to = Scratch::empty("to.packed")?;
    let argv = ["packfs", "-c", &from.path, &to.path];
    let pid = process::spawn(|| {
        process::exec("/bin/packfs", &argv);
        1
    })?;
    let ended = process::wait_for(pid)?;
    ensure!(ended.status() == 0, "packfs: {}", ended.text());
    let size = to.file.stat()?.size;
    ensure!(size < PACKED as u64, "packed into {size} bytes");
    Ok(to)
}

/// Runs `body` with the content of a packed file at `/mnt/to`; the status of the pager.
fn unpacked(packed: &Scratch, body: impl FnOnce() -> Verdict) -> Result<u8, Why> {
    let pager = service::start("/bin/packfs", &["packfs", &packed.path], 0)?;
    let verdict = match pager.channel.mount(PLACE) {
        Ok(()) => {
            let verdict = body();
            sys::unmount(PLACE)?;
            verdict
        }
        Err(errno) => {
            let ended = process::wait_for(pager.pid)?;
            return Err(Why(format!("mounting: {errno}; {}", ended.text())));
        }
    };
    let ended = process::wait_for(pager.pid)?;
    verdict.map(|()| ended.status())
}

/// The bytes at an offset of the content, by a plain read.
fn unpacked_at(offset: usize, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    let n = File::open("/mnt/to", mode::OREAD)?.read_full_at(&mut bytes, offset as u64)?;
    bytes.truncate(n);
    Ok(bytes)
}

/// A packed file is unpacked where it is touched, a block at a time.
fn packed() -> Verdict {
    let to = pack()?;
    let status = unpacked(&to, || {
        let file = File::open("/mnt/to", mode::OREAD)?;
        same("the size", file.stat()?.size, PACKED as u64)?;
        for at in [0, 5 * 65_536 - 3, 700_001, PACKED - 10] {
            let want = patterned(SEED, at as u64, 100.min(PACKED - at));
            equal("a part", &unpacked_at(at, 100)?, &want)?;
        }
        let mut segment = snapshot(PACKED.div_ceil(PG))?;
        let before = Counters::now()?;
        same(
            "bytes read",
            file.read_full_at(&mut segment.bytes_mut()[..PACKED], 0)?,
            PACKED,
        )?;
        if before.get(Stat64::Eager) == 0 {
            is_right(&segment, 9 * 16 + 3)?;
            let came = Counters::now()?.since(&before, Stat64::BytesIn);
            // The page, and less than a block of the packed file.
            ensure!(came < (PG + 65_536) as u64 || pressed()?, "{came} bytes");
        }
        let want = patterned(SEED, 0, PACKED);
        equal("all of it", &segment.bytes()[..PACKED], &want)
    })?;
    same("the status of packfs", status, 0)
}

/// Of a packed file that somebody changes, no block of the new one is shown.
fn packed_changes() -> Verdict {
    let to = pack()?;
    let status = unpacked(&to, || {
        equal("before", &unpacked_at(3, 9)?, &patterned(SEED, 3, 9))?;
        other(|| {
            to.again()?.write_all_at(b"x", to.file.stat()?.size)?;
            Ok(())
        })?;
        fails("after", unpacked_at(200_000, 9), Errno::EIO)
    })?;
    same("the status of packfs", status, 0)
}

/// Damage is an error where it is, and what is no packed file is not mounted.
fn packed_damaged() -> Verdict {
    let to = pack()?;
    // Block 2 begins where the file ends.
    let end = to.file.stat()?.size;
    to.file.write_all_at(&end.to_le_bytes(), 16 + 2 * 8)?;
    let status = unpacked(&to, || {
        let block = 65_536;
        equal("block 0", &unpacked_at(3, 9)?, &patterned(SEED, 3, 9))?;
        fails("block 1", unpacked_at(block, 9), Errno::EIO)?;
        fails("block 2", unpacked_at(2 * block, 9), Errno::EIO)?;
        let at = 3 * block;
        equal(
            "block 3",
            &unpacked_at(at, 9)?,
            &patterned(SEED, at as u64, 9),
        )
    })?;
    same("the status of packfs", status, 0)?;
    for (at, bytes) in [(8, u64::MAX.to_le_bytes()), (0, *b"packed2\n")] {
        to.file.write_all_at(&bytes, at)?;
        let mounted = unpacked(&to, || Ok(()));
        let Err(Why(text)) = mounted else {
            return Err(Why("a file that is none was mounted".into()));
        };
        ensure!(text.contains("not a packed file"), "{text}");
    }
    Ok(())
}
