//! A file larger than memory is changed while a snapshot of all of it sleeps: the
//! file server saves the before-images, or refuses the change.

use super::Case;
use crate::check::{PG, Scratch, Verdict, equal, patterned, same};
use rt::{Errno, Segment};

pub const CASES: &[Case] = &[
    Case::deferred("large.cut", || cut(128 << 20)),
    Case::deferred("large.rescued", || rescued(48 << 20)),
    Case::deferred("large.cut.full", || cut_full(48 << 20)),
    // The first file is sparse and stays so; the second is filled with data.
    Case::asked("large.cut.long", || cut(64 << 30)),
    Case::asked("large.rescued.long", || rescued(2 << 30)),
    Case::asked("large.cut.full.long", || cut_full(2 << 30)),
];

/// Number of places in the file that hold data; all else is zeros.
const MARKS: u64 = 16;
/// Length of each in bytes.
const MARK: usize = 2 * PG;
const SEED: u8 = 5;

/// A file of mostly zeros, all of it asleep.
struct Large {
    scratch: Scratch,
    segment: Segment,
    len: u64,
}

impl Large {
    fn new(len: u64) -> Result<Large, crate::check::Why> {
        let scratch = Scratch::zeros("large", len)?;
        let mut segment = Segment::attach("snapshot", len as usize)?;
        let marks = (0..MARKS).map(|mark| mark * (len / MARKS) + PG as u64);
        for at in marks {
            let bytes = patterned(SEED, at, MARK);
            scratch.file.write_all_at(&bytes, at)?;
        }
        let n = scratch.file.read_full_at(segment.bytes_mut(), 0)?;
        same("bytes asleep", n as u64, len)?;
        Ok(Large {
            scratch,
            segment,
            len,
        })
    }

    /// Compares the sleeping pages at the marks and around them with the file as
    /// it was read.
    fn check(&mut self) -> Verdict {
        for mark in 0..MARKS {
            let at = (mark * (self.len / MARKS)) as usize;
            let first = at + PG;
            let after = first + MARK;
            let bytes = &self.segment.bytes()[at..after + PG];
            let zero = |part: &[u8]| part.iter().all(|byte| *byte == 0);
            ensure!(zero(&bytes[..PG]), "not zero before {first:#x}");
            equal(
                "a mark",
                &bytes[PG..PG + MARK],
                &patterned(SEED, first as u64, MARK),
            )?;
            ensure!(zero(&bytes[PG + MARK..]), "not zero after {after:#x}");
            self.segment.free(at, MARK + 2 * PG)?;
        }
        Ok(())
    }
}

/// Returns true if the change was made, false if it was refused for want of room.
fn made_or_refused(made: Result<(), Errno>) -> Result<bool, Errno> {
    match made {
        Ok(()) => Ok(true),
        Err(Errno::ENOMEM | Errno::ENOSPC) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn cut(len: u64) -> Verdict {
    let mut large = Large::new(len)?;
    let made = made_or_refused(large.scratch.file.set_size(0))?;
    let size = large.scratch.file.stat()?.size;
    same("bytes in the file", size, if made { 0 } else { len })?;
    large.check()
}

/// The bytes written at once.
const PART: usize = 1 << 20;
const NEW: u8 = 0xa5;

/// A part of new bytes.
fn new_bytes() -> Result<Segment, crate::check::Why> {
    let mut new = Segment::attach("memory", PART)?;
    new.bytes_mut().fill(NEW);
    Ok(new)
}

fn rescued(len: u64) -> Verdict {
    let beside = Scratch::patterned("beside", 9, 3 * PG)?;
    let other = beside.asleep(3)?;
    let mut large = Large::new(len)?;
    let mut new = new_bytes()?;
    let mut written = 0;
    while written < len {
        let write = large.scratch.file.write_all_at(new.bytes(), written);
        if !made_or_refused(write)? {
            break;
        }
        written += PART as u64;
    }
    if written > 0 {
        let n = large
            .scratch
            .file
            .read_at(new.bytes_mut(), written - PART as u64)?;
        same("bytes read", n, PART)?;
        ensure!(new.bytes().iter().all(|byte| *byte == NEW), "the new bytes");
    }
    large.check()?;
    // Nobody else is harmed.
    beside.overwrite_by_other(8, 3 * PG)?;
    equal("a file beside it", other.bytes(), &patterned(9, 0, 3 * PG))
}

/// A file of nothing but data is cut while all of it sleeps.
fn cut_full(len: u64) -> Verdict {
    let scratch = Scratch::empty("full")?;
    let new = new_bytes()?;
    for at in (0..len).step_by(PART) {
        scratch.file.write_all_at(new.bytes(), at)?;
    }
    let mut segment = Segment::attach("snapshot", len as usize)?;
    let n = scratch.file.read_full_at(segment.bytes_mut(), 0)?;
    same("bytes asleep", n as u64, len)?;
    let made = made_or_refused(scratch.file.set_size(0))?;
    let size = scratch.file.stat()?.size;
    same("bytes in the file", size, if made { 0 } else { len })?;
    for at in (0..len as usize).step_by(len as usize / MARKS as usize) {
        let page = &segment.bytes()[at..at + PG];
        ensure!(page.iter().all(|byte| *byte == NEW), "page at {at:#x}");
        segment.free(at, PG)?;
    }
    Ok(())
}
