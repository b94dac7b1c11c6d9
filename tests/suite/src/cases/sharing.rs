//! Processes that read the same pages of a file, each on its own, have them in
//! the same frames.

use super::Case;
use crate::check::{
    PG, Scratch, Verdict, Why, at_most, counts, equal, other, patterned, same, snapshot,
};
use alloc::string::String;
use rt::process::{self, Fork};
use rt::stats::Counters;
use rt::{File, Segment, Stat64};

pub const CASES: &[Case] = &[
    Case::deferred("sharing.readers", readers),
    Case::deferred("sharing.store", store),
    Case::deferred("sharing.write", write),
    Case::deferred("sharing.foreign", foreign),
    Case::deferred("sharing.last", last),
    Case::deferred("sharing.changed", changed),
    Case::unpressed("sharing.first", first),
];

const PAGES: usize = 128;
const LEN: usize = PAGES * PG;

/// A process that exists before the first read; it acts when it is told to.
struct Stranger {
    tell: File,
    pid: u64,
}

impl Stranger {
    fn new(part: impl FnOnce() -> Verdict) -> Result<Stranger, Why> {
        let (tell, told) = File::pipe()?;
        match process::fork()? {
            Fork::Parent(pid) => Ok(Stranger { tell, pid }),
            Fork::Child => {
                drop(tell);
                let done = match told.read(&mut [0]) {
                    Ok(1) => part(),
                    _ => Err(Why(String::from("nobody told the stranger"))),
                };
                match done {
                    Ok(()) => process::exit(0, ""),
                    Err(Why(text)) => process::exit(1, &text),
                }
            }
        }
    }

    /// Its part, and how it went.
    fn go(self) -> Verdict {
        self.tell.write_all(b"x")?;
        let ended = process::wait_for(self.pid)?;
        let (status, text) = (ended.status(), ended.text());
        ensure!(status == 0, "the stranger: status {status}: {text}");
        Ok(())
    }
}

/// The counters of a touch of all pages of a segment.
struct Touched {
    messages: u64,
    fills: u64,
    cached: u64,
    frames: u64,
}

fn touch(segment: &Segment) -> Result<Touched, Why> {
    let before = Counters::now()?;
    for page in segment.bytes().chunks(PG) {
        core::hint::black_box(page[0]);
    }
    let after = Counters::now()?;
    let free = |now: &Counters| now.get(Stat64::FramesFree);
    Ok(Touched {
        messages: after.since(&before, Stat64::Messages),
        fills: after.since(&before, Stat64::Fills),
        cached: after.since(&before, Stat64::Cached),
        frames: free(&before).saturating_sub(free(&after)),
    })
}

/// Reads the file through a new descriptor and touches all of it; expects that
/// `filled` pages are filled by messages and all others are in the cache.
fn finds_all_but(scratch: &Scratch, filled: u64, want: &[u8]) -> Verdict {
    let file = scratch.again()?;
    let mut segment = snapshot(PAGES)?;
    same("bytes read", file.read_at(segment.bytes_mut(), 0)?, LEN)?;
    let touched = touch(&segment)?;
    counts("pages filled", touched.fills, filled)?;
    counts("pages found", touched.cached, PAGES as u64 - filled)?;
    at_most("messages", touched.messages, 2 * filled)?;
    // Tables for the pages, and the activity of other processes.
    let most = filled + 24;
    at_most("frames used", touched.frames, most)?;
    equal("what was found", segment.bytes(), want)
}

/// The second of two readers moves nothing and needs no frames.
fn readers() -> Verdict {
    let scratch = Scratch::patterned("sharing-readers", 1, LEN)?;
    let want = patterned(1, 0, LEN);
    let stranger = Stranger::new(|| finds_all_but(&scratch, 0, &want))?;
    let segment = scratch.asleep(PAGES)?;
    touch(&segment)?;
    stranger.go()?;
    equal("the first reader's", segment.bytes(), &want)
}

/// Neither process sees stores of the other.
fn store() -> Verdict {
    let scratch = Scratch::patterned("sharing-store", 1, LEN)?;
    let want = patterned(1, 0, LEN);
    let stranger = Stranger::new(|| {
        let mut segment = scratch.asleep(PAGES)?;
        // A store to a sleeping page, and to one that is shared already.
        segment.bytes_mut()[3 * PG] = 0;
        touch(&segment)?;
        segment.bytes_mut()[5 * PG + 1] = 0;
        let mut mine = want.clone();
        (mine[3 * PG], mine[5 * PG + 1]) = (0, 0);
        equal("the stranger's", segment.bytes(), &mine)
    })?;
    let mut segment = scratch.asleep(PAGES)?;
    touch(&segment)?;
    stranger.go()?;
    equal("after the stranger's stores", segment.bytes(), &want)?;
    // The page is private now: no copy is made, and the cache does not have it.
    let before = Counters::now()?;
    segment.bytes_mut()[7 * PG] = 0;
    let copies = Counters::now()?.since(&before, Stat64::Copies);
    counts("pages copied", copies, 0)?;
    other(|| finds_all_but(&scratch, 1, &want))
}

/// After one process writes back, the changed pages are no longer shared and
/// all others are; a later reader shares the new pages with the writer.
fn write() -> Verdict {
    let scratch = Scratch::patterned("sharing-write", 1, LEN)?;
    let old = patterned(1, 0, LEN);
    let mut new = old.clone();
    new[9 * PG..9 * PG + 100].fill(0);
    let writer = Stranger::new(|| {
        let mut segment = scratch.asleep(PAGES)?;
        counts("pages found", touch(&segment)?.cached, PAGES as u64)?;
        segment.bytes_mut()[9 * PG..9 * PG + 100].fill(0);
        scratch.file.write_all_at(segment.bytes(), 0)?;
        other(|| finds_all_but(&scratch, 0, &new))
    })?;
    let segment = scratch.asleep(PAGES)?;
    touch(&segment)?;
    writer.go()?;
    equal("after the write", segment.bytes(), &old)?;
    // The writer is gone, and its page is found.
    other(|| finds_all_but(&scratch, 0, &new))
}

/// A write by a process that never read the file invalidates the written pages
/// alone.
fn foreign() -> Verdict {
    let scratch = Scratch::patterned("sharing-foreign", 1, LEN)?;
    let old = patterned(1, 0, LEN);
    let segment = scratch.asleep(PAGES)?;
    touch(&segment)?;
    let (at, len) = (20 * PG - 1, 2 * PG + 2);
    let mut new = old.clone();
    new[at..at + len].fill(0);
    other(|| {
        let file = scratch.again()?;
        Ok(file.write_all_at(&new[at..at + len], at as u64)?)
    })?;
    other(|| finds_all_but(&scratch, 4, &new))?;
    equal("the first reader's", segment.bytes(), &old)
}

/// What the last reader leaves is free, and the next one finds it.
fn last() -> Verdict {
    let scratch = Scratch::patterned("sharing-last", 1, LEN)?;
    let want = patterned(1, 0, LEN);
    for turn in 0..3 {
        let before = Counters::now()?;
        let segment = scratch.asleep(PAGES)?;
        let touched = touch(&segment)?;
        if turn > 0 {
            counts("pages found", touched.cached, PAGES as u64)?;
            counts("pages filled", touched.fills, 0)?;
        }
        equal("what was found", segment.bytes(), &want)?;
        drop(segment);
        let after = Counters::now()?;
        let [was, is] = [&before, &after].map(|now| now.get(Stat64::FramesFree));
        // The first turn takes pages of the program itself, which are more or fewer.
        if turn > 0 {
            at_most("frames kept", was.saturating_sub(is), 8)?;
        }
        let kept = after.get(Stat64::FramesIdle);
        counts("frames are kept", kept >= PAGES as u64, true)?;
    }
    Ok(())
}

/// What changed while nobody had it is read anew.
fn changed() -> Verdict {
    let scratch = Scratch::patterned("sharing-changed", 1, LEN)?;
    for seed in [1, 2, 3] {
        let segment = scratch.asleep(PAGES)?;
        equal("what is read", segment.bytes(), &patterned(seed, 0, LEN))?;
        drop(segment);
        scratch.overwrite_by_other(seed + 1, LEN)?;
    }
    Ok(())
}

/// Frames that nobody has go before any page leaves that somebody has, and before anybody
/// is refused one.
fn first() -> Verdict {
    const MANY: usize = 16 * PAGES;
    let scratch = Scratch::patterned("sharing-first", 1, MANY * PG)?;
    let used = scratch.asleep(MANY)?;
    for page in used.bytes().chunks(PG) {
        core::hint::black_box(page[0]);
    }
    drop(used);
    let before = Counters::now()?;
    let [free, idle] = [Stat64::FramesFree, Stat64::FramesIdle].map(|what| before.get(what));
    let all = before.get(Stat64::Eager) == 1 || idle >= MANY as u64;
    ensure!(all, "{idle} frames are idle of {MANY}");
    // All but what ordinary processes must leave, and pages must not leave for.
    let some = (free as usize).saturating_sub(before.get(Stat64::FramesTotal) as usize / 20);
    let mut memory = Segment::attach("memory", some * PG)?;
    for page in memory.bytes_mut().chunks_mut(PG) {
        page[0] = 1;
    }
    let after = Counters::now()?;
    counts(
        "pages that left",
        after.since(&before, Stat64::Evictions),
        0,
    )?;
    let left = after.get(Stat64::FramesIdle);
    ensure!(
        left < idle / 2 || idle < 500,
        "{left} frames are idle of {idle}"
    );
    Ok(())
}
