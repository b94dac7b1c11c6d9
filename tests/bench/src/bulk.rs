//! The jobs that move or name many pages: whole jobs of a program, counted from the
//! first call to the last.

use crate::Round;
use crate::jobs::{ALL, GIB, LARGE, PG, SOLID, Scratch, count};
use rt::abi::snapshot::EAGER;
use rt::{Failure, Named, Segment, Stat64, copy, sys};

/// Copies are made here.
const COPY: &str = "/n/host/bench-copy.tmp";
/// The same on ramfs.
const COPY_IN_RAM: &str = "/tmp/bench-copy.tmp";

/// 64 MiB written with deferral off.
pub fn write_eagerly() -> Result<Round, Failure> {
    let scratch = Scratch::new(SOLID, ALL * PG, 0)?;
    let mut segment = Segment::attach_with("snapshot", ALL * PG, 0, EAGER).about("segment")?;
    segment.bytes_mut().fill(2);
    let ticks = count(Stat64::Ticks, || {
        scratch.file.write_all_at(segment.bytes(), 0).about(SOLID)
    })?;
    Ok(Round { times: 1, ticks })
}

/// 256 MiB read, 655 pages of it touched, 66 of those changed, all written back.
pub fn sparse() -> Result<Round, Failure> {
    let (size, touched, changed) = (GIB / 4, 655, 66);
    let scratch = Scratch::new(LARGE, size, 0)?;
    let stride = size / PG / touched;
    let ticks = count(Stat64::Ticks, || {
        let mut segment = Segment::attach("snapshot", size).about("segment")?;
        scratch.read_all(&mut segment)?;
        for page in segment.bytes().chunks(PG).step_by(stride).take(touched) {
            core::hint::black_box(page[0]);
        }
        let every = stride * touched.div_ceil(changed);
        for page in segment.bytes_mut().chunks_mut(PG).step_by(every) {
            page[0] = 1;
        }
        scratch.file.write_all_at(segment.bytes(), 0).about(LARGE)
    })?;
    Ok(Round { times: 1, ticks })
}

fn copied(to: &str) -> Result<Round, Failure> {
    let scratch = Scratch::new(SOLID, ALL * PG, ALL * PG)?;
    let ticks = count(Stat64::Ticks, || copy::file(scratch.path.into(), to.into()));
    sys::remove(to).about(to)?;
    Ok(Round {
        times: 1,
        ticks: ticks?,
    })
}

/// 64 MiB copied within one server.
pub fn copy_file() -> Result<Round, Failure> {
    copied(COPY)
}

/// 64 MiB copied to ramfs.
pub fn copy_to_ram() -> Result<Round, Failure> {
    copied(COPY_IN_RAM)
}
