//! Several processes at one file at once.

use super::Case;
use crate::check::{PG, Scratch, Verdict, Why, equal, patterned, same, snapshot};
use alloc::vec::Vec;
use rt::process;

pub const CASES: &[Case] = &[
    Case::new("together.readers", readers),
    Case::new("together.writers", writers),
    Case::new("together.family", family),
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

/// Each version of a file is one byte all over; who reads sees one version,
/// however slowly it looks at it.
fn readers() -> Verdict {
    let scratch = Scratch::empty("together")?;
    scratch.file.write_all_at(&[1; LEN], 0)?;
    all(5, |index| {
        let file = scratch.again()?;
        if index == 0 {
            let mut segment = snapshot(PAGES)?;
            for version in 2..40u8 {
                // One commit, atomic for who takes a snapshot.
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
