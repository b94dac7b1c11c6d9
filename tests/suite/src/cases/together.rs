//! Several processes at one file at once.

use super::Case;
use super::server::with;
use crate::check::{PG, Scratch, Verdict, Why, equal, patterned, same, snapshot};
use crate::tiny::{Fault, Tiny};
use alloc::vec::Vec;
use core::slice;
use rt::abi::{PAGE, mode};
use rt::{File, Segment, process, sys};

pub const CASES: &[Case] = &[
    Case::new("together.readers", readers),
    Case::new("together.writers", writers),
    Case::new("together.family", family),
    Case::new("together.half-asleep", half_asleep),
    Case::new("together.staged.asleep", || staged(Buffer::Asleep)),
    Case::new("together.staged.plain", || staged(Buffer::Plain)),
];

const PAGES: usize = 64;
const LEN: usize = PAGES * PG;

/// Runs `body(index)` in `count` processes at once; the first reason, if any.
pub fn all(count: u64, body: impl Fn(u64) -> Verdict) -> Verdict {
    let mut children = Vec::new();
    for index in 0..count {
        children.push(process::fork().and_then(|side| match side {
            process::Fork::Parent(pid) => Ok(pid),
            process::Fork::Child => match body(index) {
                Ok(()) => process::exit(0, ""),
                Err(Why(text)) => process::exit(1, &text),
            },
        })?);
    }
    let mut verdict = Ok(());
    for _ in &children {
        let ended = process::wait()?;
        if ended.status() != 0 && verdict.is_ok() {
            verdict = Err(Why(ended.text().into()));
        }
    }
    verdict
}

/// Each version of a file is one repeated byte; each reader sees one version,
/// however slowly it touches the pages.
fn readers() -> Verdict {
    let scratch = Scratch::empty("together")?;
    scratch.file.write_all_at(&[1; LEN], 0)?;
    all(5, |index| {
        let file = scratch.again()?;
        if index == 0 {
            let mut segment = snapshot(PAGES)?;
            for version in 2..40u8 {
                // One commit, atomic with respect to snapshots.
                segment.bytes_mut().fill(version);
                same("bytes written", file.write_at(segment.bytes(), 0)?, LEN)?;
            }
            return Ok(());
        }
        for round in 0..6 {
            let segment = scratch.asleep(PAGES)?;
            let first = segment.bytes()[0];
            for turn in 0..PAGES {
                let page = (turn * (2 * round + 2 * index as usize + 1)) % PAGES;
                let bytes = &segment.bytes()[page * PG..][..PG];
                let odd = bytes.iter().find(|byte| **byte != first);
                ensure!(odd.is_none(), "versions {first} and {odd:?} in one read");
            }
        }
        Ok(())
    })
}

/// Each changes and writes back pages of its own through a buffer of the whole
/// file; ordinary writes of whole buffers would undo each other, so each
/// writes only its part.
fn writers() -> Verdict {
    let scratch = Scratch::patterned("together", 1, LEN)?;
    let part = LEN / 4;
    all(4, |index| {
        let file = scratch.again()?;
        let mut segment = scratch.asleep(PAGES)?;
        let start = index as usize * part;
        for round in 0..10usize {
            let at = start + round * 6151 % part;
            segment.bytes_mut()[at] = 0;
            file.write_all_at(&segment.bytes()[start..start + part], start as u64)?;
        }
        Ok(())
    })?;
    let mut want = patterned(1, 0, LEN);
    for index in 0..4 {
        (0..10).for_each(|round| want[index * part + round * 6151 % part] = 0);
    }
    equal("the file", &scratch.content()?, &want)
}

/// Children of one sleeping buffer touch the same pages at the same time.
fn family() -> Verdict {
    let scratch = Scratch::patterned("together", 1, LEN)?;
    let mut segment = scratch.asleep(PAGES)?;
    segment.bytes_mut()[PG] = 0;
    let mut want = patterned(1, 0, LEN);
    want[PG] = 0;
    scratch.file.write_all_at(&patterned(2, 0, LEN), 0)?;
    let segment = core::cell::RefCell::new(segment);
    all(6, |index| {
        let mut segment = segment.borrow_mut();
        equal("a child's buffer", segment.bytes(), &want)?;
        segment.bytes_mut().fill(index as u8);
        let odd = segment.bytes().iter().find(|byte| **byte != index as u8);
        ensure!(odd.is_none(), "{odd:?} in the buffer of child {index}");
        Ok(())
    })?;
    equal("the parent's buffer", segment.borrow().bytes(), &want)?;
    same(
        "a byte of the file",
        scratch.content()?[0],
        patterned(2, 0, 1)[0],
    )
}

/// Two processes write long buffers that end in other memory and are asleep on
/// the server written to: each has many requests under way there and needs more
/// answers from it. Neither may wait forever.
fn half_asleep() -> Verdict {
    const LONG: usize = 2048;
    let len = (LONG + 1) * PG;
    let from = Scratch::zeros("half-asleep", 2 * LONG as u64 * PAGE)?;
    let to = Scratch::empty("half-written")?;
    let mut writers = Vec::new();
    for index in 0..2 {
        let at = (index * len) as u64;
        let copy = || {
            let mut asleep = snapshot(LONG)?;
            let end = asleep.address() + LONG as u64 * PAGE;
            let _beyond = Segment::attach_with("memory", PG, end, 0)?;
            from.file
                .read_at(asleep.bytes_mut(), (index * LONG) as u64 * PAGE)?;
            // SAFETY: both segments, which adjoin.
            let all = unsafe { slice::from_raw_parts(asleep.address() as *const u8, len) };
            Ok::<_, Why>(to.file.write_all_at(all, at)?)
        };
        writers.push(process::spawn(|| u8::from(copy().is_err()))?);
    }
    let impatient = process::spawn(|| {
        let _ = sys::sleep(60_000_000_000);
        for pid in &writers {
            let _ = process::kill(*pid, "waits for ever");
        }
        0
    })?;
    let mut ended = Vec::new();
    while ended.len() < 2 {
        ended.push(process::wait()?);
    }
    let _ = process::kill(impatient, "not needed");
    process::wait()?;
    for writer in ended {
        ensure!(writer.status() == 0, "a writer: {}", writer.text());
    }
    same("bytes", to.file.stat()?.size, 2 * len as u64)
}

/// The kind of buffer for a write of many messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Buffer {
    /// Pages of another server, asleep.
    Asleep,
    /// The same, beside memory that is no snapshot segment's.
    Plain,
}

/// Six processes write much at once to a server that has room for two such
/// writes, and wait for another one meanwhile: none of them is turned away.
fn staged(buffer: Buffer) -> Verdict {
    let from = Scratch::patterned("staged", 3, LEN)?;
    let server = Tiny {
        snapshots: true,
        fault: Fault::Crowded,
    };
    with(server, |path| {
        all(6, |index| {
            let file = File::open(path, mode::ORDWR)?;
            let asleep = from.asleep(PAGES)?;
            let end = asleep.address() + LEN as u64;
            let beside = Segment::attach_with("memory", PG, end, 0)?;
            let len = match buffer {
                Buffer::Asleep => LEN,
                Buffer::Plain => LEN + beside.bytes().len(),
            };
            // SAFETY: one segment, or both, which adjoin.
            let all = unsafe { slice::from_raw_parts(asleep.address() as *const u8, len) };
            same("bytes", file.write_at(all, index * PAGE)?, len)
        })
    })
}
