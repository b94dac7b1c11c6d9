//! Frames that are left unwritten on purpose. The kernel must stop: run with
//! `poison=1`, one case a guest.

use super::Case;
use super::failing::{self, CONTENT};
use crate::check::{PG, Verdict, Why};
use alloc::vec;
use rt::{File, Segment};

pub const CASES: &[Case] = &[
    Case::asked("poison.mapped", mapped),
    Case::asked("poison.copied", copied),
];

/// A page that a program touches.
fn mapped() -> Verdict {
    let mut segment = Segment::attach("memory", PG)?;
    failing::fail(CONTENT, 1)?;
    segment.bytes_mut()[0] = 1;
    Err(Why("an unwritten page was mapped".into()))
}

/// A message too long to be kept as bytes.
fn copied() -> Verdict {
    let (from, to) = File::pipe()?;
    from.write(&vec![1; 2 * PG])?;
    let mut buffer = vec![0; 2 * PG];
    failing::fail(CONTENT, 1)?;
    to.read(&mut buffer)?;
    Err(Why("unwritten bytes were copied to a program".into()))
}
