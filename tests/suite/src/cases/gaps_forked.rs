//! As [`super::gaps`], for memory of which a fork shares what describes it: very many
//! associations under one node, and very many pages in swap.

use super::Case;
use crate::beat::Beat;
use crate::check::{PG, Scratch, Verdict, Why, snapshot};
use crate::raw;
use alloc::vec::Vec;
use rt::process::{self, Fork};
use rt::{Call, Segment, sys};

pub const CASES: &[Case] = &[
    Case::asked("gaps.forked", forked),
    Case::asked("gaps-swap.forked", swapped),
    Case::asked("gaps-swap.again", again),
    Case::asked("gaps-swap.crowd", crowd),
];

/// Pages of a segment that has one leaf.
const PAGES: usize = 512;
/// Associations over each of its pages.
const PIECES: usize = 24;
const LEN: usize = PAGES * PG;

/// A child that does nothing and has its share of all memory.
struct Sleeper(u64);

impl Sleeper {
    fn new() -> Result<Sleeper, Why> {
        match process::fork_with(rt::abi::rfork::NOTES)? {
            Fork::Child => process::exit_now(u8::from(sys::sleep(1 << 50).is_ok()), ""),
            Fork::Parent(pid) => Ok(Sleeper(pid)),
        }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        if process::kill(self.0, "enough").is_ok() {
            let _ = process::wait_for(self.0);
        }
    }
}

/// What is done to a segment of very many associations by a child that has it too.
fn forked() -> Verdict {
    let scratch = Scratch::zeros("forked", LEN as u64)?;
    let other = Scratch::empty("forked-copy")?;
    let mut segment = scratch.asleep(PAGES)?;
    for at in (0..LEN).step_by(PG / PIECES) {
        segment.free(at, 1)?;
    }
    // A node, which a fork shares.
    segment.bytes_mut()[LEN / 2] = 1;
    let beat = Beat::start()?;
    drop(beat.measure("rfork, associations", Sleeper::new)??);
    let (address, all) = (segment.address(), segment.bytes_mut());
    let file = &scratch.file;
    child(&beat, "reading over them", || {
        Ok(file.read_at(all, 0).map(drop)?)
    })?;
    let byte = &mut all[PG + 1..PG + 2];
    child(&beat, "reading a byte", || {
        Ok(file.read_at(byte, 0).map(drop)?)
    })?;
    child(&beat, "segfree of them", || free(address, LEN))?;
    child(&beat, "segdetach of them", || detach(address))?;
    child(&beat, "writing them elsewhere", || {
        Ok(other.file.write_at(all, 0).map(drop)?)
    })?;
    child(&beat, "writing them back", || {
        Ok(file.write_at(all, 0).map(drop)?)
    })?;
    beat.measure("segdetach", || drop(segment))
}

fn free(address: u64, len: usize) -> Verdict {
    // SAFETY: nothing refers to the memory while it is freed.
    let freed = unsafe { raw::call(Call::SegFree, [address, len as u64, 0, 0, 0, 0]) };
    Ok(freed.map(drop)?)
}

fn detach(address: u64) -> Verdict {
    // SAFETY: the child, whose end comes next, does not refer to the memory any more.
    let gone = unsafe { raw::call(Call::SegDetach, [address, 0, 0, 0, 0, 0]) };
    Ok(gone.map(drop)?)
}

/// Has a child do something that is measured, its end too.
fn child(beat: &Beat, what: &str, work: impl FnOnce() -> Verdict) -> Verdict {
    let end = |()| {
        if let Err(Why(why)) = work() {
            process::exit(1, &why);
        }
    };
    beat.child(what, || Ok(()), end)
}

/// Pages that do not fit in memory.
const SWAPPED: usize = 30_000;

/// What is done to a segment with very many pages in swap, every other one of it, by a child
/// that has it too.
fn swapped() -> Verdict {
    let (len, beat) = (2 * SWAPPED * PG, Beat::start_server()?);
    let scratch = Scratch::zeros("swapped", len as u64)?;
    let mut segment = snapshot(2 * SWAPPED)?;
    for page in segment.bytes_mut().chunks_mut(2 * PG) {
        page[0] = 1;
    }
    drop(beat.measure("rfork, pages in swap", Sleeper::new)??);
    let (address, all) = (segment.address(), segment.bytes_mut());
    child(&beat, "reading over them, in swap", || {
        Ok(scratch.file.read_at(&mut all[1..], 0).map(drop)?)
    })?;
    child(&beat, "segfree of them, in swap", || free(address, len))?;
    child(&beat, "segdetach of them, in swap", || detach(address))?;
    beat.measure("segfree, in swap", || free(address, len / 2))??;
    beat.measure("segdetach, in swap", || drop(segment))
}

/// Pages that came back, were changed, and left again, at the next call that gives room
/// back.
fn again() -> Verdict {
    let beat = Beat::start_server()?;
    let mut segment = Segment::attach("memory", SWAPPED * PG)?;
    for turn in 0..3 {
        for page in segment.bytes_mut().chunks_mut(PG) {
            page[0] = turn;
        }
    }
    for at in [0, SWAPPED - 1] {
        beat.measure("segfree of a page", || segment.free(at * PG, PG))??;
    }
    beat.measure("segfree, none of it shared", || {
        segment.free(0, SWAPPED * PG)
    })??;
    Ok(())
}

/// Clean pages that a crowd has together leave memory.
fn crowd() -> Verdict {
    const CROWD: usize = 60;
    let beat = Beat::start_server()?;
    let scratch = Scratch::zeros("crowd", LEN as u64)?;
    let mut segment = scratch.asleep(PAGES)?;
    for page in segment.bytes_mut().chunks_mut(PG) {
        core::hint::black_box(page[0]);
    }
    let crowd: Result<Vec<Sleeper>, Why> = (0..CROWD).map(|_| Sleeper::new()).collect();
    let crowd = crowd?;
    let mut memory = Segment::attach("memory", SWAPPED * PG)?;
    beat.measure("touching memory beside a crowd", || {
        for page in memory.bytes_mut().chunks_mut(PG) {
            page[0] = 1;
        }
    })?;
    drop(crowd);
    beat.check("the end of the crowd")
}
