//! `thrash [-n ACCESSES]`: what accesses cost when memory is too small: for working
//! sets of 0.5, 1, 2, 4 and 8 times the memory that is free, the faults, the pages
//! brought back and written out, and the instructions, all for 1000 accesses, in
//! random order and in ascending order. One access in four is a store.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::hint::black_box;
use rt::abi::{PAGE, Stat64};
use rt::stats::Counters;
use rt::{Args, Failure, Named, Segment, manual, println};

rt::main!(main, include_str!("thrash.rs"));

const PG: usize = PAGE as usize;
/// Halves of memory that the working sets have.
const SETS: [usize; 5] = [1, 2, 4, 8, 16];
const ACCESSES: usize = 2_000;

fn main(args: Args) -> Result<(), Failure> {
    let mut options = args.options("n:");
    let mut accesses = ACCESSES;
    while let Some((_, text)) = options.next_option()? {
        let count = text.to_str().and_then(|text| text.parse().ok());
        accesses = count.filter(|n| *n > 0).ok_or_else(manual::misused)?;
    }
    options.rest().none()?;
    let free = Counters::now().about("counters")?.get(Stat64::FramesFree) as usize;
    println!("                        for 1000 accesses");
    println!("  set  order       pages   faults     back      out  instructions");
    for halves in SETS {
        let pages = free * halves / 2;
        let mut segment = Segment::attach("memory", pages * PG).about("memory")?;
        // Pages of zeros would take no room in swap.
        for (number, page) in segment.bytes_mut().chunks_mut(PG).enumerate() {
            page[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
        }
        let mut random = Random(halves as u64);
        // Once more than fits, so that what is in memory is as it will be.
        let warm = accesses.max(pages.min(free));
        run(&mut segment, warm, |_| random.below(pages));
        measure(halves, "random", &mut segment, accesses, |_| {
            random.below(pages)
        })?;
        measure(halves, "ascending", &mut segment, accesses, |turn| {
            turn % pages
        })?;
    }
    Ok(())
}

/// Accesses pages in an order.
fn run(segment: &mut Segment, accesses: usize, mut page: impl FnMut(usize) -> usize) {
    for turn in 0..accesses {
        let at = page(turn) * PG + turn % PG;
        if turn % 4 == 0 {
            segment.bytes_mut()[at] = turn as u8 | 1;
        } else {
            black_box(segment.bytes()[at]);
        }
    }
}

/// The same, measured.
fn measure(
    halves: usize,
    order: &str,
    segment: &mut Segment,
    accesses: usize,
    page: impl FnMut(usize) -> usize,
) -> Result<(), Failure> {
    let before = Counters::now().about("counters")?;
    run(segment, accesses, page);
    let after = Counters::now().about("counters")?;
    let each = |n: u64| n * 1000 / accesses as u64;
    let since = |which| after.since(&before, which);
    println!(
        "{:3}.{}  {order:9}{:8}{:9}{:9}{:9}{:14}",
        halves / 2,
        halves % 2 * 5,
        segment.len() / PG,
        each(since(Stat64::Faults)),
        each(since(Stat64::PageIns)),
        each(since(Stat64::PageOuts)),
        each(after.busy_since(&before)),
    );
    Ok(())
}

/// Random numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }
}
