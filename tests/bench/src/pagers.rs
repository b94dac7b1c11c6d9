//! A page that another process computes.

use crate::Round;
use crate::jobs::{PG, count};
use pager::Computed;
use rt::abi::snapshot::RANDOM;
use rt::abi::{FDS_MAX, SERVICE_FD};
use rt::{Errno, Failure, File, Named, Segment, Stat64, mode, process, sys};

const PLACE: &str = "/mnt";
const PATH: &str = "/mnt/file";
const PAGES: usize = 256;

/// Enough to tell pages apart: the function's work is its author's.
fn compute(offset: u64, page: &mut [u8]) -> Result<(), Errno> {
    if let Some(first) = page.first_chunk_mut::<8>() {
        *first = (offset + 1).to_le_bytes();
    }
    Ok(())
}

fn serve(channel: &File) -> u8 {
    let moved = channel.dup_to(SERVICE_FD as u32);
    let others = (0..FDS_MAX as u32).filter(|fd| *fd != SERVICE_FD as u32);
    others.for_each(|fd| drop(File::from_fd(fd)));
    let file = Computed::new("file", (PAGES * PG) as u64, compute);
    u8::from(moved.is_err() || pager::serve([file]).is_err())
}

/// A touched page of a computed file.
pub fn fault() -> Result<Round, Failure> {
    let (ours, theirs) = File::pipe().about("channel")?;
    let pid = process::spawn(|| serve(&theirs)).about("process")?;
    drop(theirs);
    ours.mount(PLACE).about(PLACE)?;
    let round = touched();
    sys::unmount(PLACE).about(PLACE)?;
    process::wait_for(pid).about("waiting")?;
    round
}

fn touched() -> Result<Round, Failure> {
    let file = File::open(PATH, mode::OREAD).about(PATH)?;
    let mut segment = Segment::attach_with("snapshot", PAGES * PG, 0, RANDOM).about("segment")?;
    let n = file.read_at(segment.bytes_mut(), 0).about(PATH)?;
    let bytes = &segment.bytes()[..n];
    let touch = |turn: usize| core::hint::black_box(bytes[turn * 37 % PAGES * PG]);
    (0..32).for_each(|turn| {
        touch(turn);
    });
    let times = 200;
    let ticks = count(Stat64::Ticks, || {
        (32..32 + times).for_each(|turn| {
            touch(turn);
        });
        Ok(())
    })?;
    let times = times as u64;
    Ok(Round { times, ticks })
}
