//! Large blocks of the heap: reads into them are deferred, and they give back what they
//! held.

use super::Case;
use crate::check::{PG, Scratch, Verdict, Why, at_most, equal, other, patterned, same};
use crate::tiny::{becomes_a_server, moves};
use alloc::vec::Vec;
use alloc::{format, vec};
use rt::abi::{NSEG, PAGE, Stat64, mode};
use rt::process;
use rt::stats::{Counters, Figures};
use rt::{File, Segment};

pub const CASES: &[Case] = &[
    Case::deferred("heap-cost.larger-than-memory", larger),
    Case::deferred("heap-cost.grown", grown_asleep),
    Case::deferred("heap-cost.written", written_apart),
    Case::new("heap.overwritten", overwritten),
    Case::new("heap.written", written),
    Case::new("heap.grown", grown),
    Case::new("heap.shrunk", shrunk),
    Case::new("heap.moved", moved),
    Case::new("heap.freed", freed),
    Case::new("heap.many", many),
    Case::new("heap.fork", fork),
    Case::new("heap.random", random),
    Case::new("heap.refused", refused),
    Case::new("heap.segments-full", segments_full),
    Case::new("heap.sizes-unknown", sizes_unknown),
    Case::deferred("heap.server", server),
];

const MIB: usize = 1 << 20;
const KIB: usize = 1 << 10;

/// Runs `body`; what it returns, and the traffic.
fn measure<T>(body: impl FnOnce() -> Result<T, Why>) -> Result<(T, Figures), Why> {
    let before = Counters::now()?;
    let result = body()?;
    Ok((result, Figures::between(&before, &Counters::now()?)))
}

/// Looks at some bytes of each page.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().step_by(509).all(|byte| *byte == 0)
}

fn read(path: &str) -> Result<Vec<u8>, Why> {
    Ok(File::open(path, mode::OREAD)?.read_to_end()?)
}

/// A file of ten times the memory of the guest costs a few messages and little data.
fn larger() -> Verdict {
    const SIZE: usize = 1 << 30;
    let scratch = Scratch::zeros("heap-large", SIZE as u64)?;
    scratch.file.write_all_at(b"end", SIZE as u64 - 3)?;
    let (all, figures) = measure(|| read(&scratch.path))?;
    same("bytes", all.len(), SIZE)?;
    at_most("messages", figures.messages, 9)?;
    at_most("bytes", figures.bytes_in, 16 << 10)?;
    let (_, figures) = measure(|| same("its end", &all[SIZE - 3..], &b"end"[..]))?;
    at_most("bytes of its end", figures.bytes_in, 8 * PAGE)
}

/// What was read stays, whatever happens to the file.
fn overwritten() -> Verdict {
    const SIZE: usize = 300 * KIB + 17;
    let scratch = Scratch::patterned("heap-overwritten", 1, SIZE)?;
    let all = read(&scratch.path)?;
    scratch.overwrite_by_other(2, SIZE)?;
    let after = read(&scratch.path)?;
    scratch.file.set_size(0)?;
    equal("before", &all, &patterned(1, 0, SIZE))?;
    equal("after", &after, &patterned(2, 0, SIZE))
}

/// A block that is written elsewhere arrives there.
fn written() -> Verdict {
    written_elsewhere().map(drop)
}

/// Writing a block elsewhere moves no data that was not changed.
fn written_apart() -> Verdict {
    let figures = written_elsewhere()?;
    // The first piece was read before the size was asked for.
    at_most("bytes", figures.bytes_out, 16 * KIB as u64 + PAGE)
}

fn written_elsewhere() -> Result<Figures, Why> {
    const SIZE: usize = 512 * KIB;
    let scratch = Scratch::patterned("heap-written", 1, SIZE)?;
    let copy = Scratch::empty("heap-written-copy")?;
    let mut all = read(&scratch.path)?;
    all[SIZE / 2] = 0;
    let (_, figures) = measure(|| Ok(copy.file.write_all_at(&all, 0)?))?;
    let mut expected = patterned(1, 0, SIZE);
    expected[SIZE / 2] = 0;
    equal("the copy", &copy.content()?, &expected)?;
    Ok(figures)
}

/// Blocks grow, with the content that they had and none of others.
fn grown() -> Verdict {
    let mut first = patterned(1, 0, 300 * KIB);
    let mut second = patterned(2, 0, 300 * KIB);
    for at in (300..1500u64).step_by(300) {
        first.extend_from_slice(&patterned(1, at << 10, 300 * KIB));
        second.extend_from_slice(&patterned(2, at << 10, 300 * KIB));
    }
    equal("the first", &first, &patterned(1, 0, 1500 * KIB))?;
    equal("the second", &second, &patterned(2, 0, 1500 * KIB))
}

/// A block that grows fills none of its pages, however much larger it becomes.
fn grown_asleep() -> Verdict {
    const SIZE: usize = MIB;
    let scratch = Scratch::patterned("heap-grown", 1, SIZE)?;
    let mut all = read(&scratch.path)?;
    let (_, figures) = measure(|| {
        for reserved in [SIZE, 60 * MIB, 1 << 30, 500 << 30] {
            all.try_reserve_exact(reserved)
                .map_err(|_| Why(format!("no {reserved} bytes")))?;
        }
        all.push(1);
        Ok(())
    })?;
    // Perhaps for the program's own pages.
    at_most("messages", figures.messages, 2)?;
    let mut expected = patterned(1, 0, SIZE);
    expected.push(1);
    equal("the content", &all, &expected)
}

/// A block that shrinks keeps its front, and is zeros behind it when it is used again.
fn shrunk() -> Verdict {
    const SIZE: usize = 600 * KIB;
    for kept in [500 * KIB + 1, 256 * KIB, 256 * KIB - 1, 100, 0] {
        let mut all = patterned(3, 0, SIZE);
        all.truncate(kept);
        all.shrink_to_fit();
        equal("what stays", &all, &patterned(3, 0, kept))?;
        all.reserve_exact(SIZE - kept);
        all.resize(SIZE, 7);
        equal("what stays again", &all[..kept], &patterned(3, 0, kept))?;
        drop(all);
        ensure!(is_zero(&vec![0u8; SIZE]), "after {kept}: no zeros");
    }
    Ok(())
}

/// With so many blocks that addresses are short, a block that outgrows its room is moved.
fn moved() -> Verdict {
    const MANY: usize = 17_500;
    const SIZE: usize = 400 * KIB;
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    for _ in 0..MANY {
        blocks.push(Vec::with_capacity(256 * KIB));
    }
    let scratch = Scratch::patterned("heap-moved", 1, SIZE)?;
    let mut all = read(&scratch.path)?;
    let address = all.as_ptr();
    let beside = vec![5u8; 300 * KIB];
    scratch.overwrite_by_other(2, SIZE)?;
    all.reserve_exact(8 * MIB);
    ensure!(address != all.as_ptr(), "not moved");
    equal("what was moved", &all, &patterned(1, 0, SIZE))?;
    equal("what was not", &beside, &vec![5u8; 300 * KIB])?;
    ensure!(is_zero(&vec![0u8; SIZE]), "no zeros");
    Ok(())
}

/// Memory goes back when a block does.
fn freed() -> Verdict {
    const SIZE: usize = 4 * MIB;
    let free = || Ok::<_, Why>(Counters::now()?.get(Stat64::FramesFree) as i64);
    drop(vec![1u8; SIZE]);
    let before = free()?;
    for round in 0..4 {
        let block = vec![1u8; SIZE];
        same("its end", block[SIZE - 1], 1)?;
        drop(block);
        let lost = before - free()?;
        at_most(
            &format!("frames lost in round {round}"),
            lost.max(0) as u64,
            63,
        )?;
    }
    Ok(())
}

/// Hundreds of blocks at once, each with its own content; every other one is freed and
/// taken again.
fn many() -> Verdict {
    const COUNT: usize = 300;
    let block = |n: usize| {
        let mut block = vec![0u8; 256 * KIB + n];
        (block[0], block[256 * KIB - 1]) = (n as u8, (n >> 8) as u8 | 0x80);
        block
    };
    let check = |n: usize, block: &[u8]| -> Verdict {
        let ends = (block[0], block[256 * KIB - 1]);
        same("a block", ends, (n as u8, (n >> 8) as u8 | 0x80))?;
        same("between", block[100 * KIB], 0)
    };
    let mut blocks: Vec<_> = (0..COUNT).map(block).collect();
    for n in (0..COUNT).step_by(2) {
        blocks[n] = Vec::new();
    }
    for n in (0..COUNT).step_by(2) {
        blocks[n] = block(n);
    }
    for (n, block) in blocks.iter().enumerate() {
        check(n, block)?;
    }
    Ok(())
}

/// Parent and child have blocks of their own after a fork, asleep or not.
fn fork() -> Verdict {
    const SIZE: usize = 512 * KIB;
    let scratch = Scratch::patterned("heap-fork", 1, SIZE)?;
    let mut asleep = read(&scratch.path)?;
    let mut stored = patterned(2, 0, SIZE);
    other(|| {
        asleep[500 * KIB..501 * KIB].fill(9);
        stored.fill(9);
        ensure!(stored.iter().all(|byte| *byte == 9), "the child's own");
        stored = Vec::new();
        ensure!(is_zero(&vec![0u8; SIZE]), "the child's new block");
        scratch.again()?.write_all_at(&vec![7u8; SIZE], 0)?;
        Ok(())
    })?;
    equal("what slept", &asleep, &patterned(1, 0, SIZE))?;
    equal("what was stored", &stored, &patterned(2, 0, SIZE))?;
    stored[0] = 1;
    same("the parent's", stored[0], 1)
}

/// A block and what is expected of it.
struct Expected {
    block: Vec<u8>,
    /// Bytes stored at the front; the rest of the length is zeros.
    filled: usize,
    seed: u8,
}

impl Expected {
    fn check(&self) -> Verdict {
        let front = &self.block[..self.filled];
        equal("the front", front, &patterned(self.seed, 0, self.filled))?;
        ensure!(is_zero(&self.block[self.filled..]), "the rest is not zeros");
        Ok(())
    }
}

/// Blocks of sizes around the limit taken, grown, shrunk and freed in random order.
fn random() -> Verdict {
    const STEPS: usize = 150;
    let mut state = 1u64;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
        (state >> 33) as usize % n
    };
    let mut blocks: Vec<Expected> = Vec::new();
    for step in 0..STEPS {
        let size = [255 * KIB, 256 * KIB - 1, 256 * KIB, 700 * KIB][below(4)] + below(3) * PG / 2;
        match below(4) {
            0 | 1 if blocks.len() < 20 => {
                let (filled, seed) = (below(20_000), step as u8);
                let mut block = vec![0u8; size];
                block[..filled].copy_from_slice(&patterned(seed, 0, filled));
                blocks.push(Expected {
                    block,
                    filled,
                    seed,
                });
            }
            2 if !blocks.is_empty() => {
                let at = below(blocks.len());
                let one = &mut blocks[at];
                one.block.resize(size, 0);
                one.block.shrink_to_fit();
                one.check()?;
            }
            3 if !blocks.is_empty() => {
                let one = blocks.swap_remove(below(blocks.len()));
                one.check()?;
            }
            _ => {}
        }
    }
    blocks.iter().try_for_each(Expected::check)
}

/// Sizes that cannot be had are errors, and change nothing.
fn refused() -> Verdict {
    let mut block = patterned(1, 0, MIB);
    for size in [9 << 40, 1 << 46, isize::MAX as usize - MIB] {
        ensure!(block.try_reserve_exact(size).is_err(), "{size:#x} bytes");
        let mut fresh: Vec<u8> = Vec::new();
        ensure!(
            fresh.try_reserve_exact(size).is_err(),
            "{size:#x} new bytes"
        );
    }
    equal("the block", &block, &patterned(1, 0, MIB))
}

/// A process without a segment to spare has large blocks all the same.
fn segments_full() -> Verdict {
    let all: Vec<_> = (0..NSEG)
        .map_while(|_| Segment::attach("memory", PG).ok())
        .collect();
    let scratch = Scratch::patterned("heap-full", 1, MIB)?;
    equal("the file", &read(&scratch.path)?, &patterned(1, 0, MIB))?;
    drop(all);
    equal("again", &read(&scratch.path)?, &patterned(1, 0, MIB))
}

/// Files without a size, or with the wrong one, are read to their ends.
fn sizes_unknown() -> Verdict {
    const SIZE: usize = 600 * KIB;
    let (ours, theirs) = File::pipe()?;
    let pid = process::spawn(|| {
        let text = patterned(4, 0, SIZE);
        u8::from(theirs.write_all(&text).is_err())
    })?;
    drop(theirs);
    let got = ours.read_to_end()?;
    same("status", process::wait_for(pid)?.status(), 0)?;
    equal("a channel", &got, &patterned(4, 0, SIZE))?;

    let scratch = Scratch::patterned("heap-sizes", 5, SIZE)?;
    let file = scratch.again()?;
    file.seek(SIZE as i64 - 40 * KIB as i64, rt::abi::whence::SET)?;
    let end = file.read_to_end()?;
    let from = (SIZE - 40 * KIB) as u64;
    equal("its end", &end, &patterned(5, from, 40 * KIB))?;
    same("behind it", file.read_to_end()?.len(), 0)
}

/// Bytes of the file that the server has read.
const SERVED: usize = 300 * KIB;

/// No page of a file server sleeps, whatever block it is in, and its reads come at once
/// (decision 11).
fn server() -> Verdict {
    let source = Scratch::patterned("heap-source", 1, SERVED)?;
    becomes_a_server(
        &source,
        || Ok(source.again()?.read_to_end()?),
        |asleep| {
            let want = patterned(1, 0, SERVED);
            moves(0, || equal("what was asleep", asleep, &want))?;
            let again = moves(SERVED, || Ok(source.again()?.read_to_end()?))?;
            equal("what was read", &again, &want)
        },
    )
}
