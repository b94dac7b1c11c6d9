//! The two programs from the mailing list by which the idea stands or falls.

use super::Case;
use crate::check::{PG, Scratch, Verdict, other, patterned, same, snapshot};
use alloc::vec;
use rt::stats::Counters;
use rt::{Named, Stat64};

pub const CASES: &[Case] = &[
    Case::new("list.foo-bar.bytes", || foo_bar(0, 0, 3)),
    Case::new("list.foo-bar.page", || foo_bar(0, 0, PG)),
    Case::new("list.foo-bar.unaligned", || foo_bar(1000, 37, 3)),
    Case::new("list.foo-bar.straddle", || foo_bar(4094, 2 * PG - 1, 3)),
    Case::new("list.foo-bar.ragged", || foo_bar(4094, 100, PG + 1)),
    Case::new("list.foo-bar.other", foo_bar_other),
    Case::new("list.zeros", zeros),
];

/// pwrite foo; read; pwrite bar; print: foo.
fn foo_bar(offset: u64, at: usize, len: usize) -> Verdict {
    let scratch = Scratch::patterned("foo-bar", 1, 3 * PG)?;
    let mut segment = snapshot(4)?;
    let place = offset as usize;
    let mut want = patterned(1, 0, 3 * PG);
    want[place..place + 3].copy_from_slice(b"foo");

    scratch.file.write_all_at(b"foo", offset)?;
    let n = scratch
        .file
        .read_at(&mut segment.bytes_mut()[at..at + len], offset)?;
    same("bytes read", n, len)?;
    scratch.file.write_all_at(b"bar", offset)?;
    same(
        "what is printed",
        &segment.bytes()[at..at + len],
        &want[place..place + len],
    )?;

    let mut live = [0; 3];
    scratch.file.read_at(&mut live, offset)?;
    same("the file", &live, b"bar")
}

fn foo_bar_other() -> Verdict {
    let scratch = Scratch::patterned("foo-bar", 1, 2 * PG)?;
    let mut segment = snapshot(2)?;
    scratch.file.write_all_at(b"foo", 10)?;
    scratch.file.read_at(&mut segment.bytes_mut()[5..8], 10)?;
    other(|| Ok(scratch.again()?.write_all_at(b"bar", 10)?))?;
    same("what is printed", &segment.bytes()[5..8], b"foo")
}

/// Bytes overwritten at most: on a machine with much memory, parts of the file.
const OVERWRITTEN_MAX: u64 = 512 << 20;
const PIECE: u64 = 1 << 20;

/// A file of zeros four times larger than memory (with deferral off: a quarter
/// of it), read, overwritten with other bytes by another process before it is
/// touched, one page in a hundred touched: zeros.
fn zeros() -> Verdict {
    let counters = Counters::now()?;
    let memory = counters.get(Stat64::FramesTotal) * PG as u64;
    let size = match counters.get(Stat64::Eager) {
        1 => memory / 4,
        _ => memory * 4,
    };
    let size = size.next_multiple_of(PIECE);
    let scratch = Scratch::zeros("zeros", size)?;
    let pages = size as usize / PG;
    let segment = scratch
        .asleep(pages)
        .map_err(|why| crate::check::Why(alloc::format!("reading {size} bytes: {}", why.0)))?;

    // Every `stride`th piece; all of them if that is not too much.
    let stride = size.div_ceil(OVERWRITTEN_MAX);
    let pieces = size / PIECE;
    other(|| {
        let file = scratch.again()?;
        for piece in (0..pieces).filter(|piece| piece % stride == 0) {
            let bytes = vec![piece as u8 | 1; PIECE as usize];
            file.write_all_at(&bytes, piece * PIECE)
                .about("overwriting")?;
        }
        Ok(())
    })?;

    let per_piece = PIECE as usize / PG;
    let mut state = 7u64;
    for _ in 0..pages / 100 {
        // Knuth's multiplier; the high bits are the random ones.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let piece = (state >> 33) % pieces / stride * stride;
        let page = piece as usize * per_piece + (state >> 20) as usize % per_piece;
        let bytes = &segment.bytes()[page * PG..][..PG];
        if let Some(at) = bytes.iter().position(|byte| *byte != 0) {
            ensure!(false, "page {page}: byte {at} is {:#x}", bytes[at]);
        }
    }
    let mut live = [0];
    scratch.file.read_at(&mut live, 0)?;
    same("the file", live, [1])
}
