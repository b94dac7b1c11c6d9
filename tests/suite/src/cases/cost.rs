//! The savings of deferral, counted.

use super::Case;
use crate::check::{PG, Scratch, Verdict, at_most, counts, patterned, same, snapshot};
use rt::abi::PAGE;
use rt::stats::{Counters, Figures};

pub const CASES: &[Case] = &[
    Case::deferred("cost.read.1gib", || read(1 << 30)),
    Case::deferred("cost.read.1tib", || read(1 << 40)),
    Case::deferred("cost.page", page),
    Case::deferred("cost.write", write),
];

fn measure<T>(body: impl FnOnce() -> Result<T, rt::Errno>) -> Result<(T, Figures), rt::Errno> {
    let before = Counters::now()?;
    let result = body()?;
    let after = Counters::now()?;
    Ok((result, Figures::between(&before, &after)))
}

/// A read costs the same however large it is: no data, 4 messages at most.
fn read(size: usize) -> Verdict {
    let scratch = Scratch::zeros("large", size as u64)?;
    let mut segment = snapshot(size / PG)?;
    let (n, figures) = measure(|| scratch.file.read_at(segment.bytes_mut(), 0))?;
    same("bytes read", n, size)?;
    at_most("messages", figures.messages, 4)?;
    counts("bytes from the server", figures.bytes_in, 0)?;
    counts("bytes from the device", figures.device_in, 0)?;
    same("the last byte", segment.bytes()[size - 1], 0)
}

/// One sleeping page: one request, one page of data, at both places.
fn page() -> Verdict {
    let scratch = Scratch::patterned("page", 1, 16 * PG)?;
    let segment = scratch.asleep(16)?;
    // The first fill may also open fids.
    core::hint::black_box(segment.bytes()[0]);
    let (byte, figures) = measure(|| Ok(core::hint::black_box(segment.bytes()[9 * PG])))?;
    same("the byte", byte, patterned(1, 9 * PAGE, 1)[0])?;
    counts("messages", figures.messages, 1)?;
    counts("bytes from the server", figures.bytes_in, PAGE)?;
    counts("bytes from the device", figures.device_in, PAGE)
}

/// Writing back: the dirty bytes at both places, few messages.
fn write() -> Verdict {
    let pages = 256;
    let scratch = Scratch::patterned("write-cost", 1, pages * PG)?;
    let mut segment = scratch.asleep(pages)?;
    let runs = [(3, 1), (20, 5), (100, 70)];
    for (page, count) in runs {
        segment.bytes_mut()[page * PG..(page + count) * PG].fill(1);
    }
    let (_, figures) = measure(|| scratch.file.write_all_at(segment.bytes(), 0))?;
    let dirty = 76 * PAGE;
    counts("bytes to the server", figures.bytes_out, dirty)?;
    counts("bytes to the device", figures.device_out, dirty)?;
    // One message for each run and iounit of 128 KiB, and 3.
    let most = 1 + 1 + 3 + 3;
    at_most("messages", figures.messages, most)
}
