//! Changed pages leave memory for swap and come back as they were. Here a program
//! asks for it, so that each case knows which pages are where.

use super::larger::store_words;
use super::{Case, Expect, When};
use crate::check::{
    PG, Scratch, Verdict, Why, at_most, counts, equal, fails, other, pattern, patterned, same,
};
use alloc::format;
use alloc::vec;
use rt::abi::{SegmentInfo, mode, rfork};
use rt::process::{self, Fork};
use rt::stats::Counters;
use rt::{Errno, File, Segment, Stat64};

pub const CASES: &[Case] = &[
    // With swap.
    Case::asked("swap.back", back),
    Case::asked("swap.stores", stores),
    Case::asked("swap.zeros", zeros),
    Case::asked("swap.fork", fork),
    Case::asked("swap.grandchildren", grandchildren),
    Case::asked("swap.write", write),
    Case::asked("swap.read-over", read_over),
    Case::asked("swap.free", free),
    Case::asked("swap.far", far),
    Case::asked("swap.scattered", scattered),
    Case::asked("swap.calls", calls),
    Case::asked("swap.told", told),
    Case::asked("swap.killed-owner", killed_owner),
    // With a guest of their own each.
    Case::asked("swap-place.none", none),
    Case::asked("swap-place.full", full),
    Case::asked("swap-place.part", part),
    Case::asked("swap-place.shrinks", shrinks),
    Case {
        expect: Expect::Dies(&["swap damaged: page at"]),
        when: When::Asked,
        ..Case::new("swap-place.damaged", damaged)
    },
    Case::driver("swap-place.lost", lost),
];

pub(super) const PAGES: usize = 100;
pub(super) const LEN: usize = PAGES * PG;

/// Memory with a pattern in all its pages.
pub(super) fn dirty(seed: u8, pages: usize) -> Result<Segment, Why> {
    let mut segment = Segment::attach("memory", pages * PG)?;
    let bytes = patterned(seed, 0, pages * PG);
    segment.bytes_mut().copy_from_slice(&bytes);
    Ok(segment)
}

/// Moves all of a segment to swap.
pub(super) fn out(segment: &Segment) -> Result<u64, Why> {
    Ok(segment.page_out(0, segment.len())?)
}

fn back() -> Verdict {
    let segment = dirty(1, PAGES)?;
    for _ in 0..3 {
        counts("pages moved", out(&segment)?, PAGES as u64)?;
        counts("pages moved again", out(&segment)?, 0)?;
        // Backwards, so that each is a fault of its own.
        for page in segment.bytes().chunks(PG).rev() {
            core::hint::black_box(page[PG - 1]);
        }
        equal("the pages", segment.bytes(), &patterned(1, 0, LEN))?;
    }
    Ok(())
}

fn stores() -> Verdict {
    let mut segment = dirty(1, PAGES)?;
    let mut expected = patterned(1, 0, LEN);
    for round in 0..4 {
        out(&segment)?;
        for page in (round..PAGES).step_by(7) {
            segment.bytes_mut()[page * PG + round] = 0xa0 + round as u8;
            expected[page * PG + round] = 0xa0 + round as u8;
        }
        let part = segment.page_out(20 * PG, 30 * PG)?;
        counts("pages that came back and left again", part > 0, true)?;
    }
    equal("the pages", segment.bytes(), &expected)
}

fn zeros() -> Verdict {
    let mut segment = dirty(1, PAGES)?;
    let mut expected = patterned(1, 0, LEN);
    out(&segment)?;
    segment.bytes_mut()[10 * PG..20 * PG].fill(0);
    expected[10 * PG..20 * PG].fill(0);
    out(&segment)?;
    equal("the pages", segment.bytes(), &expected)
}

fn fork() -> Verdict {
    let mut segment = dirty(1, PAGES)?;
    out(&segment)?;
    segment.bytes_mut()[3 * PG] = 0xee;
    let mut expected = patterned(1, 0, LEN);
    expected[3 * PG] = 0xee;
    other(|| {
        let mut expected = expected.clone();
        for page in (0..PAGES).step_by(3) {
            segment.bytes_mut()[page * PG] = 0x11;
            expected[page * PG] = 0x11;
        }
        out(&segment)?;
        equal("the pages of the child", segment.bytes(), &expected)?;
        out(&segment)?;
        equal("once more", segment.bytes(), &expected)
    })?;
    equal("the pages of the parent", segment.bytes(), &expected)?;
    for page in (1..PAGES).step_by(3) {
        segment.bytes_mut()[page * PG] = 0x22;
        expected[page * PG] = 0x22;
    }
    out(&segment)?;
    equal("after the child", segment.bytes(), &expected)
}

/// Each generation has pages in the files of all before.
fn grandchildren() -> Verdict {
    let mut segment = dirty(1, PAGES)?;
    let mut expected = patterned(1, 0, LEN);
    generation(&mut segment, &mut expected, 0)
}

fn generation(segment: &mut Segment, expected: &mut [u8], depth: usize) -> Verdict {
    if depth == 6 {
        return Ok(());
    }
    segment.bytes_mut()[depth * PG] = 0x30 + depth as u8;
    expected[depth * PG] = 0x30 + depth as u8;
    out(segment)?;
    let kept = expected.to_vec();
    other(|| generation(segment, expected, depth + 1))?;
    out(segment)?;
    equal(&format!("generation {depth}"), segment.bytes(), &kept)
}

fn write() -> Verdict {
    let segment = dirty(1, PAGES)?;
    let scratch = Scratch::empty("swap.write")?;
    out(&segment)?;
    scratch.file.write_all_at(segment.bytes(), 0)?;
    equal("the file", &scratch.content()?, &patterned(1, 0, LEN))?;
    equal("the pages", segment.bytes(), &patterned(1, 0, LEN))?;
    // A path, and a part of a page.
    let mut name = dirty(1, 1)?;
    name.bytes_mut()[..scratch.path.len()].copy_from_slice(scratch.path.as_bytes());
    out(&name)?;
    let opened = File::open(&name.bytes()[..scratch.path.len()], mode::OREAD)?;
    same("bytes", opened.stat()?.size, LEN as u64)
}

fn read_over() -> Verdict {
    let mut segment = dirty(1, PAGES)?;
    let scratch = Scratch::patterned("swap.read-over", 2, LEN)?;
    out(&segment)?;
    let (from, len) = (5 * PG + 100, 20 * PG);
    let part = &mut segment.bytes_mut()[from..from + len];
    same("bytes read", scratch.file.read_at(part, 0)?, len)?;
    let mut expected = patterned(1, 0, LEN);
    expected[from..from + len].copy_from_slice(&patterned(2, 0, len));
    equal("the pages", segment.bytes(), &expected)?;
    // The same in memory where reads are deferred.
    let mut asleep = scratch.asleep(PAGES)?;
    asleep.bytes_mut()[7 * PG] = 0x77;
    let changed = match Counters::now()?.get(Stat64::Eager) {
        0 => 1,
        _ => PAGES as u64,
    };
    counts("changed pages", out(&asleep)?, changed)?;
    same("the store", asleep.bytes()[7 * PG], 0x77)?;
    same(
        "the byte after it",
        asleep.bytes()[7 * PG + 1],
        pattern(2, 7 * PG as u64 + 1),
    )
}

fn free() -> Verdict {
    let mut segment = dirty(1, PAGES)?;
    out(&segment)?;
    segment.free(10 * PG, 50 * PG)?;
    let mut expected = patterned(1, 0, LEN);
    expected[10 * PG..60 * PG].fill(0);
    equal("the pages", segment.bytes(), &expected)?;
    out(&segment)?;
    drop(segment);
    Ok(())
}

/// A thousand pages, scattered over 16 TiB.
fn far() -> Verdict {
    const SPAN: usize = 16 << 40;
    const COUNT: usize = 1000;
    let mut segment = Segment::attach("memory", SPAN)?;
    let place = |n: usize| n * (SPAN / COUNT) / PG * PG + n % PG;
    for n in 0..COUNT {
        segment.bytes_mut()[place(n)] = pattern(1, n as u64);
        if n % 100 == 99 {
            counts("pages moved", out(&segment)?, 100)?;
        }
    }
    for n in 0..COUNT {
        same("a byte", segment.bytes()[place(n)], pattern(1, n as u64))?;
        same("the byte after it", segment.bytes()[place(n) + 1], 0)?;
    }
    Ok(())
}

/// What a program may ask for.
fn calls() -> Verdict {
    let segment = dirty(1, 4)?;
    fails("beyond", segment.page_out(0, 5 * PG), Errno::EINVAL)?;
    same("nothing", segment.page_out(0, 0)?, 0)?;
    counts("a byte", segment.page_out(PG + 5, 1)?, 1)?;
    let text = Segment::attach("shared", PG)?;
    same("shared memory", text.page_out(0, PG)?, 0)?;
    equal("the pages", segment.bytes(), &patterned(1, 0, 4 * PG))
}

/// What the kernel says of the memory of a process.
fn info(segment: &Segment) -> Result<SegmentInfo, Why> {
    let base = segment.bytes().as_ptr() as u64;
    let mut all = process::segments(rt::sys::getpid());
    let found = all.find(|info| info.base == base);
    found.ok_or_else(|| Why("no such segment".into()))
}

/// A program learns where its pages are.
fn told() -> Verdict {
    let (all, mut segment) = (PAGES as u64, dirty(1, PAGES)?);
    let is = |what: &str, info: SegmentInfo, want: (u64, u64, u64)| {
        let (dirty, backed, swapped) = (info.dirty, info.backed, info.swapped);
        same("all pages", dirty + backed + swapped, all)?;
        counts(what, (dirty, backed, swapped), want)
    };
    is("stored", info(&segment)?, (all, 0, 0))?;
    out(&segment)?;
    is("out", info(&segment)?, (0, 0, all))?;
    for page in segment.bytes().chunks(PG).take(10) {
        core::hint::black_box(page[0]);
    }
    let now = info(&segment)?;
    let came = now.page_ins;
    ensure!(came >= 10, "{now:?}");
    counts("some came ahead", now.ahead > 0, true)?;
    is("loaded", now, (0, came, all - came.min(all)))?;
    segment.bytes_mut()[0] = 9;
    let now = info(&segment)?;
    is("stored to", now, (1, came - 1, all - came.min(all)))?;
    counts("left again", out(&segment)?, came)?;
    let now = info(&segment)?;
    counts("written", now.page_outs, all + 1)?;
    counts("not written", now.evictions, came - 1)?;
    let scratch = Scratch::patterned("swap.told", 2, LEN)?;
    let mut asleep = scratch.asleep(PAGES)?;
    core::hint::black_box(asleep.bytes()[5 * PG]);
    asleep.bytes_mut()[50 * PG] = 1;
    let now = info(&asleep)?;
    let in_swap = now.backed + now.swapped;
    same("pages", now.asleep + now.clean + now.dirty + in_swap, all)?;
    counts("pages in swap", in_swap, 0)?;
    let eager = Counters::now()?.get(Stat64::Eager) != 0;
    counts(
        "one is changed",
        eager || now.dirty == 1 && now.clean >= 1,
        true,
    )?;
    let total: u64 = process::segments(1).map(|info| info.size).sum();
    ensure!(total > 0, "init has no memory");
    same("nobody's", process::segments(99_999).count(), 0)
}

/// A process ends at any moment of its page-outs; nothing is left of it.
fn killed_owner() -> Verdict {
    for round in 0..10 {
        let pid = match process::fork()? {
            Fork::Parent(pid) => pid,
            Fork::Child => {
                let churn = || -> Verdict {
                    let segment = dirty(1, PAGES)?;
                    loop {
                        out(&segment)?;
                        core::hint::black_box(segment.bytes().iter().step_by(PG).max());
                    }
                };
                let _ = churn();
                process::exit_now(0, "")
            }
        };
        rt::sys::sleep(3_000_000 * (round + 1))?;
        process::kill(pid, "enough")?;
        process::wait_for(pid)?;
    }
    back()
}

fn none() -> Verdict {
    let segment = dirty(1, PAGES)?;
    fails("without swap", segment.page_out(0, LEN), Errno::ENOSPC)?;
    equal("the pages", segment.bytes(), &patterned(1, 0, LEN))
}

/// Swap has 2048 pages.
fn full() -> Verdict {
    const MANY: usize = 3000;
    let segment = dirty(1, MANY)?;
    fails("too much", segment.page_out(0, MANY * PG), Errno::ENOSPC)?;
    equal("the pages", segment.bytes(), &patterned(1, 0, MANY * PG))?;
    fails("again", segment.page_out(0, MANY * PG), Errno::ENOSPC)?;
    drop(segment);
    // Its room is free again; the server hears of it without anybody waiting.
    let segment = dirty(2, 1500)?;
    same("pages moved", out(&segment)?, 1500)?;
    equal("the pages", segment.bytes(), &patterned(2, 0, 1500 * PG))
}

/// Runs `body` in a process of another account; returns its number when it has called
/// the function that it is given.
pub(super) fn in_another_account(body: impl FnOnce(&dyn Fn()) -> Verdict) -> Result<u64, Why> {
    let (tell, told) = File::pipe()?;
    match process::fork_with(rfork::NOTES)? {
        Fork::Parent(pid) => {
            drop(told);
            match tell.read(&mut [0])? {
                0 => Err(Why(process::wait_for(pid)?.text().into())),
                _ => Ok(pid),
            }
        }
        Fork::Child => {
            drop(tell);
            let ready = || {
                let _ = told.write_all(b"x");
            };
            match body(&ready) {
                Ok(()) => process::exit_now(0, ""),
                Err(Why(text)) => process::exit_now(1, &text),
            }
        }
    }
}

/// Swap has 8192 pages. A program that takes all that it may leaves some to others.
fn part() -> Verdict {
    let segment = dirty(3, PAGES)?;
    let greedy = in_another_account(|ready| {
        const PART: usize = 500;
        let much = dirty(4, 20 * PART)?;
        for part in 0..20 {
            let result = much.page_out(part * PART * PG, PART * PG);
            if result.is_err() {
                fails("its part", result, Errno::ENOSPC)?;
                ensure!(part > 8, "only {} pages", part * PART);
                ready();
                rt::sys::sleep(u64::MAX / 4)?;
            }
        }
        Err(Why("it could take everything".into()))
    })?;
    same("pages moved", out(&segment)?, PAGES as u64)?;
    equal("the pages", segment.bytes(), &patterned(3, 0, LEN))?;
    process::kill(greedy, "enough")?;
    process::wait_for(greedy)?;
    // Its room is free again.
    let segment = dirty(5, 5000)?;
    same("pages moved", out(&segment)?, 5000)?;
    equal("the pages", segment.bytes(), &patterned(5, 0, 5000 * PG))
}

/// The file by which the host is told to change the image, and that by which it
/// answers.
const READY: &str = "/n/host/ready";
const GO: &str = "/n/host/go";

/// Tells the host, and waits for its answer.
fn host_answers() -> Verdict {
    File::create(READY, mode::OWRITE, 0o644)?;
    while File::open(GO, mode::OREAD).is_err() {
        rt::sys::sleep(10_000_000)?;
    }
    // The case may run again.
    rt::sys::remove(READY)?;
    Ok(rt::sys::remove(GO)?)
}

/// The host looks at the size of the image while it is in use, and afterwards.
fn shrinks() -> Verdict {
    let mut segment = dirty(1, 4000)?;
    same("pages moved", out(&segment)?, 4000)?;
    host_answers()?;
    // Pages that are stored to again, and pages that are given up, one of four each.
    segment.free(0, 1000 * PG)?;
    store_words(&mut segment, 2, 1000..2000);
    out(&segment)?;
    host_answers()?;
    drop(segment);
    host_answers()
}

fn damaged() -> Verdict {
    let segment = dirty(1, PAGES)?;
    out(&segment)?;
    host_answers()?;
    // A system call fails, and the process goes on.
    let file = File::create("/tmp/damaged", mode::OWRITE, 0o644)?;
    let written = file.write_all_at(segment.bytes(), 0);
    rt::sys::remove("/tmp/damaged")?;
    fails("a write of damaged pages", written, Errno::EIO)?;
    equal("the pages", segment.bytes(), &patterned(1, 0, LEN))
}

fn lost() -> Verdict {
    let survivor = dirty(2, PAGES)?;
    let (tell, told) = File::pipe()?;
    let child = match process::fork()? {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            drop(survivor);
            let touch = || -> Verdict {
                let segment = dirty(1, PAGES)?;
                out(&segment)?;
                told.write_all(b"x")?;
                told.read(&mut [0])?;
                equal("the pages", segment.bytes(), &patterned(1, 0, LEN))
            };
            let _ = touch();
            process::exit_now(0, "")
        }
    };
    tell.read(&mut [0])?;
    let server = process::list().find(|p| p.name[..p.name_len as usize] == *b"swapfs");
    let server = server.ok_or_else(|| Why("no swapfs".into()))?;
    process::kill(server.pid, "killed for a test")?;
    tell.write_all(b"x")?;
    let ended = process::wait_for(child)?;
    let text = ended.text();
    ensure!(text.contains("swap lost: page at"), "{text}");
    equal(
        "the pages of others",
        survivor.bytes(),
        &patterned(2, 0, LEN),
    )?;
    // The server is started again.
    let mut tries = vec![(); 500].into_iter();
    while survivor.page_out(0, LEN) != Ok(PAGES as u64) && tries.next().is_some() {
        rt::sys::sleep(10_000_000)?;
    }
    equal("after the restart", survivor.bytes(), &patterned(2, 0, LEN))
}

/// Pages far apart are given up in swap, at the cost of these alone.
fn scattered() -> Verdict {
    const APART: usize = 3 << 30;
    const COUNT: usize = 600;
    let mut segment = Segment::attach("memory", APART * (COUNT + 1))?;
    for n in 0..=COUNT {
        segment.bytes_mut()[n * APART] = n as u8 | 1;
        segment.page_out(n * APART, PG)?;
    }
    let before = Counters::now()?;
    segment.free(0, COUNT * APART)?;
    let sent = Counters::now()?.since(&before, Stat64::Messages);
    at_most("messages", sent, 2 * COUNT as u64)?;
    same("a page that was freed", segment.bytes()[APART], 0)?;
    same(
        "the one that stays",
        segment.bytes()[COUNT * APART],
        COUNT as u8 | 1,
    )
}
