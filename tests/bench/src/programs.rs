//! Large programs.

use crate::Round;
use crate::jobs::{LARGE, Scratch, count, run};
use crate::stepper::Stepper;
use rt::{Failure, Named, Stat64};

/// A program of 100 MiB, of which 1 % runs.
const PROGRAM: Stepper = Stepper {
    pages: 25_600,
    stride: 100,
    waits: None,
};

/// A file that nobody has run before is run.
fn run_large(which: Stat64) -> Result<Round, Failure> {
    let scratch = Scratch::new(LARGE, 0, 0)?;
    for (at, bytes) in PROGRAM.parts() {
        scratch.file.write_all_at(&bytes, at).about(scratch.path)?;
    }
    let ticks = count(which, || run(scratch.path, &["large"]))?;
    Ok(Round { times: 1, ticks })
}

/// All of that.
pub fn large() -> Result<Round, Failure> {
    run_large(Stat64::Ticks)
}

/// The bytes that it loads.
pub fn large_bytes() -> Result<Round, Failure> {
    run_large(Stat64::BytesIn)
}
