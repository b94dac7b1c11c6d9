//! The jobs. Each repeats its operation many times between two readings of the
//! counters.

use crate::Round;
use alloc::format;
use rt::abi::PAGE;
use rt::abi::snapshot::{EAGER, RANDOM};
use rt::process::{self, Fork};
use rt::stats::Counters;
use rt::{Failure, File, Named, Segment, Stat64, exchange, mode, sys};

/// Repetitions of a cheap operation in one round.
const TURNS: u64 = 1000;
pub const PG: usize = PAGE as usize;
pub const GIB: usize = 1 << 30;

/// The busy ticks of `body`, or its increase of another counter, without the
/// cost of reading the counters.
pub fn count(which: Stat64, body: impl FnOnce() -> Result<(), Failure>) -> Result<u64, Failure> {
    let mut looking = u64::MAX;
    for _ in 0..5 {
        looking = looking.min(moved(which, || Ok(()))?);
    }
    Ok(moved(which, body)?.saturating_sub(looking))
}

/// How far a counter has moved between two looks at it.
fn moved(which: Stat64, body: impl FnOnce() -> Result<(), Failure>) -> Result<u64, Failure> {
    let before = Counters::now().about("counters")?;
    body()?;
    let after = Counters::now().about("counters")?;
    Ok(match which {
        Stat64::Ticks => after.busy_since(&before),
        _ => after.since(&before, which),
    })
}

/// Runs `turn` a few times to warm up, then `times` times counted.
pub fn repeat(times: u64, mut turn: impl FnMut() -> Result<(), Failure>) -> Result<Round, Failure> {
    for _ in 0..times / 10 + 1 {
        turn()?;
    }
    let ticks = count(Stat64::Ticks, || {
        for _ in 0..times {
            turn()?;
        }
        Ok(())
    })?;
    Ok(Round { times, ticks })
}

/// A system call that does nothing.
pub fn null_call() -> Result<Round, Failure> {
    repeat(TURNS, || {
        core::hint::black_box(sys::getpid());
        Ok(())
    })
}

/// One byte to another process and one byte back.
pub fn round_trip() -> Result<Round, Failure> {
    let (ours, theirs) = File::pipe().about("channel")?;
    let pid = match process::fork().about("process")? {
        Fork::Child => {
            drop(ours);
            let mut byte = [0];
            let mut got = theirs.read(&mut byte);
            while let Ok(1) = got {
                let answer = byte;
                got = exchange(&theirs, &answer, &mut byte);
            }
            process::exit_now(0, "")
        }
        Fork::Parent(pid) => pid,
    };
    drop(theirs);
    let round = repeat(TURNS, || {
        let answer = exchange(&ours, &[1], &mut [0]);
        answer.about("exchanging messages").map(drop)
    });
    drop(ours);
    process::wait_for(pid).about("waiting")?;
    round
}

/// The first store to a page of plain memory.
pub fn zero_fault() -> Result<Round, Failure> {
    let warm = TURNS as usize / 10;
    let mut segment = Segment::attach("memory", (TURNS as usize + warm) * PG).about("segment")?;
    let mut pages = segment.bytes_mut().chunks_mut(PG);
    repeat(TURNS - 1, || {
        if let Some(page) = pages.next() {
            page[0] = 1;
        }
        Ok(())
    })
}

/// The first store to a page that was loaded before.
pub fn second_fault() -> Result<Round, Failure> {
    let pages = 512;
    let scratch = Scratch::new(SOLID, pages * PG, pages * PG)?;
    let mut segment = Segment::attach("snapshot", pages * PG).about("segment")?;
    scratch.read_all(&mut segment)?;
    for page in segment.bytes().chunks(PG) {
        core::hint::black_box(page[0]);
    }
    let mut pages = segment.bytes_mut().chunks_mut(PG);
    repeat(400, || {
        if let Some(page) = pages.next() {
            page[0] = 2;
        }
        Ok(())
    })
}

/// A file of the shared directory that is gone when dropped.
pub struct Scratch {
    pub path: &'static str,
    pub file: File,
}

impl Scratch {
    /// Of `size` zeros, and 1s in every page of its first `solid` bytes.
    pub fn new(path: &'static str, size: usize, solid: usize) -> Result<Scratch, Failure> {
        let flags = mode::ORDWR | mode::OTRUNC;
        let file = File::create(path, flags, 0o644).about(path)?;
        let scratch = Scratch { path, file };
        scratch.file.set_size(size as u64).about(path)?;
        // Not at a page's beginning: whole pages would stay in the frame cache for readers.
        let ones = alloc::vec![1; solid.min(1 << 20) + 1];
        for at in (0..solid).step_by(1 << 20) {
            let piece = &ones[1..][..(ones.len() - 1).min(solid - at)];
            scratch.file.write_all_at(piece, at as u64).about(path)?;
        }
        Ok(scratch)
    }

    pub fn read_all(&self, segment: &mut Segment) -> Result<(), Failure> {
        let want = segment.len();
        let got = self.file.read_at(segment.bytes_mut(), 0).about(self.path)?;
        match got == want {
            true => Ok(()),
            false => Err(Failure::new(format!(
                "{}: read {got} of {want} bytes",
                self.path
            ))),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing is lost if it stays.
        let _ = sys::remove(self.path);
    }
}

/// Does `body` in another process, whose status it gives, and waits for that.
pub fn in_another(body: impl FnOnce() -> u8) -> Result<(), Failure> {
    let pid = match process::fork().about("process")? {
        Fork::Child => process::exit_now(body(), ""),
        Fork::Parent(pid) => pid,
    };
    let ended = process::wait_for(pid).about("waiting")?;
    match ended.status() {
        0 => Ok(()),
        status => Err(Failure::new(format!("status {status}: {}", ended.text()))),
    }
}

/// Runs a program in another process, and waits for its end.
pub fn run(path: &str, argv: &[&str]) -> Result<(), Failure> {
    in_another(|| process::exit_now(1, process::exec(path, argv).text()))
}

pub const LARGE: &str = "/n/host/bench-large.tmp";
pub const SOLID: &str = "/n/host/bench-solid.tmp";

fn large_read(which: Stat64) -> Result<Round, Failure> {
    let scratch = Scratch::new(LARGE, GIB, 0)?;
    // Once to warm up, once into a fresh segment.
    scratch.read_all(&mut Segment::attach("snapshot", GIB).about("segment")?)?;
    let mut segment = Segment::attach("snapshot", GIB).about("segment")?;
    let ticks = count(which, || scratch.read_all(&mut segment))?;
    Ok(Round { times: 1, ticks })
}

/// All of 1 GiB read into a fresh segment.
pub fn read_large() -> Result<Round, Failure> {
    large_read(Stat64::Ticks)
}

/// The messages of that.
pub fn read_large_messages() -> Result<Round, Failure> {
    large_read(Stat64::Messages)
}

/// The data bytes of that.
pub fn read_large_bytes() -> Result<Round, Failure> {
    large_read(Stat64::BytesIn)
}

fn filled(which: Stat64) -> Result<Round, Failure> {
    let pages = 256;
    let scratch = Scratch::new(SOLID, pages * PG, pages * PG)?;
    let mut segment = Segment::attach_with("snapshot", pages * PG, 0, RANDOM).about("segment")?;
    scratch.read_all(&mut segment)?;
    let bytes = segment.bytes();
    // Pages in random order, as the segment's hint says.
    let touch = |turn: usize| core::hint::black_box(bytes[turn * 37 % pages * PG]);
    (0..32).for_each(|turn| {
        touch(turn);
    });
    let times = 200;
    let ticks = count(which, || {
        (32..32 + times).for_each(|turn| {
            touch(turn);
        });
        Ok(())
    })?;
    Ok(Round {
        times: times as u64,
        ticks,
    })
}

/// A sleeping page filled through snapfs and the device.
pub fn fill() -> Result<Round, Failure> {
    filled(Stat64::Ticks)
}

/// A sleeping page that another reader has.
pub fn fill_cached() -> Result<Round, Failure> {
    let pages = 512;
    let scratch = Scratch::new(SOLID, pages * PG, pages * PG)?;
    let attach = || Segment::attach("snapshot", pages * PG).about("segment");
    let (mut first, mut second) = (attach()?, attach()?);
    scratch.read_all(&mut first)?;
    scratch.read_all(&mut second)?;
    let touch = |segment: &Segment, pages: core::ops::Range<usize>| {
        let pages = segment.bytes()[pages.start * PG..pages.end * PG].chunks(PG);
        for page in pages {
            core::hint::black_box(page[0]);
        }
    };
    touch(&first, 0..pages);
    touch(&second, 0..12);
    let ticks = count(Stat64::Ticks, || {
        touch(&second, 12..pages);
        Ok(())
    })?;
    Ok(Round {
        times: pages as u64 - 12,
        ticks,
    })
}

/// All pages of 64 MiB are touched, in an order.
fn filled_all(order: impl Fn(usize) -> usize) -> Result<Round, Failure> {
    let scratch = Scratch::new(SOLID, ALL * PG, ALL * PG)?;
    let mut segment = Segment::attach("snapshot", ALL * PG).about("segment")?;
    scratch.read_all(&mut segment)?;
    let bytes = segment.bytes();
    let ticks = count(Stat64::Ticks, || {
        (0..ALL).for_each(|turn| {
            core::hint::black_box(bytes[order(turn) * PG]);
        });
        Ok(())
    })?;
    Ok(Round { times: 1, ticks })
}

pub const ALL: usize = (64 << 20) / PG;

/// In ascending order.
pub fn fill_sequential() -> Result<Round, Failure> {
    filled_all(|turn| turn)
}

/// In random order.
pub fn fill_random() -> Result<Round, Failure> {
    filled_all(|turn| shuffled(turn, ALL))
}

/// The numbers below `all`, a power of two, in random order: multiplications by odd
/// numbers and shifts come to each number once.
fn shuffled(turn: usize, all: usize) -> usize {
    let mix = |n: usize, by: usize| n.wrapping_mul(by) % all;
    let turn = mix(turn, 0x9e5);
    let turn = mix(turn ^ turn >> 7, 0x2c5d);
    turn ^ turn >> 7
}

/// The same bytes read with deferral off, and touched.
pub fn read_eagerly() -> Result<Round, Failure> {
    let scratch = Scratch::new(SOLID, ALL * PG, ALL * PG)?;
    let mut segment = Segment::attach_with("snapshot", ALL * PG, 0, EAGER).about("segment")?;
    let ticks = count(Stat64::Ticks, || {
        scratch.read_all(&mut segment)?;
        for page in segment.bytes().chunks(PG) {
            core::hint::black_box(page[0]);
        }
        Ok(())
    })?;
    Ok(Round { times: 1, ticks })
}

/// The messages of that.
pub fn fill_messages() -> Result<Round, Failure> {
    filled(Stat64::Messages)
}

/// The data bytes of that, from the server.
pub fn fill_bytes() -> Result<Round, Failure> {
    filled(Stat64::BytesIn)
}

/// The data bytes of that, from the device.
pub fn fill_device_bytes() -> Result<Round, Failure> {
    filled(Stat64::DeviceIn)
}

/// Four changed pages in three runs, in 1 MiB that is written back.
fn written(which: Stat64) -> Result<Round, Failure> {
    let pages = 256;
    let scratch = Scratch::new(SOLID, pages * PG, pages * PG)?;
    let mut segment = Segment::attach("snapshot", pages * PG).about("segment")?;
    scratch.read_all(&mut segment)?;
    for page in [3, 10, 11, 50] {
        segment.bytes_mut()[page * PG] += 1;
    }
    let ticks = count(which, || {
        scratch.file.write_all_at(segment.bytes(), 0).about(SOLID)
    })?;
    Ok(Round { times: 1, ticks })
}

/// The messages of that write.
pub fn write_messages() -> Result<Round, Failure> {
    written(Stat64::Messages)
}

/// The data bytes of that write, to the server.
pub fn write_bytes() -> Result<Round, Failure> {
    written(Stat64::BytesOut)
}

/// The data bytes of that write, to the device.
pub fn write_device_bytes() -> Result<Round, Failure> {
    written(Stat64::DeviceOut)
}

/// A sleeping segment of the large file, and one of `stride` pages of it loaded.
fn thinly_resident(size: usize, stride: usize) -> Result<(Scratch, Segment), Failure> {
    let scratch = Scratch::new(LARGE, size, 0)?;
    let mut segment = Segment::attach("snapshot", size).about("segment")?;
    scratch.read_all(&mut segment)?;
    for page in segment.bytes().chunks(PG).step_by(stride) {
        core::hint::black_box(page[0]);
    }
    Ok((scratch, segment))
}

/// 1 GiB written back with nothing changed, a thousand pages of it in memory.
pub fn write_clean_resident() -> Result<Round, Failure> {
    let (scratch, segment) = thinly_resident(GIB, 262)?;
    let write = || scratch.file.write_all_at(segment.bytes(), 0).about(LARGE);
    write()?;
    let ticks = count(Stat64::Ticks, write)?;
    Ok(Round { times: 1, ticks })
}

/// A changed page of 66 in 256 MiB, 655 pages of which are in memory, written back.
pub fn write_scattered() -> Result<Round, Failure> {
    let (scratch, mut segment) = thinly_resident(GIB / 4, 100)?;
    let store = |segment: &mut Segment, value: u8| {
        let pages = segment.bytes_mut().chunks_mut(PG).step_by(1000);
        pages.fold(0, |count, page| {
            page[0] = value;
            count + 1
        })
    };
    let write = |segment: &Segment| scratch.file.write_all_at(segment.bytes(), 0).about(LARGE);
    store(&mut segment, 1);
    write(&segment)?;
    let times = store(&mut segment, 2);
    let ticks = count(Stat64::Ticks, || write(&segment))?;
    Ok(Round { times, ticks })
}

/// 1 GiB written back with nothing changed.
pub fn write_clean() -> Result<Round, Failure> {
    let scratch = Scratch::new(LARGE, GIB, 0)?;
    let mut segment = Segment::attach("snapshot", GIB).about("segment")?;
    scratch.read_all(&mut segment)?;
    let write = || scratch.file.write_all_at(segment.bytes(), 0).about(LARGE);
    write()?;
    let ticks = count(Stat64::Ticks, write)?;
    Ok(Round { times: 1, ticks })
}

/// One changed page of 16, all of which are in memory, written back.
pub fn write_page() -> Result<Round, Failure> {
    let pages = 16;
    let scratch = Scratch::new(SOLID, pages * PG, pages * PG)?;
    let mut segment = Segment::attach("snapshot", pages * PG).about("segment")?;
    scratch.read_all(&mut segment)?;
    for page in segment.bytes().chunks(PG) {
        core::hint::black_box(page[0]);
    }
    let mut at = 0;
    repeat(100, || {
        at = (at + 7 * PG) % (pages * PG);
        segment.bytes_mut()[at] += 1;
        scratch.file.write_all_at(segment.bytes(), 0).about(SOLID)
    })
}

/// Memory of `pages` pages, every `stride`-th of them changed.
fn changed(pages: usize, stride: usize) -> Result<Segment, Failure> {
    let mut segment = Segment::attach("memory", pages * PG).about("segment")?;
    for (number, page) in segment.bytes_mut().chunks_mut(PG).enumerate() {
        if number % stride == 0 {
            // Pages of zeros would take no room.
            page[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
        }
    }
    Ok(segment)
}

/// Moves all of a segment's changed pages to swap.
fn page_out(segment: &Segment) -> Result<u64, Failure> {
    segment.page_out(0, segment.len()).about("page-out")
}

/// A page of those that leave for swap now.
fn pages_out(segment: &Segment) -> Result<Round, Failure> {
    let mut times = 0;
    let ticks = count(Stat64::Ticks, || {
        times = page_out(segment)?;
        Ok(())
    })?;
    Ok(Round { times, ticks })
}

/// A page of its own that leaves for swap; `pages` of them, each `stride`-th of a
/// segment.
fn swapped_out(pages: usize, stride: usize) -> Result<Round, Failure> {
    let segment = changed(pages * stride, stride)?;
    segment.page_out(0, PG).about("page-out")?;
    pages_out(&segment)
}

/// The same with neighbours.
pub fn swap_out() -> Result<Round, Failure> {
    swapped_out(SWAPPED, 1)
}

/// The same without neighbours that leave too.
pub fn swap_out_lone() -> Result<Round, Failure> {
    swapped_out(256, 33)
}

/// Pages in swap that come back in random order, `pages` of them, each `stride`-th of a
/// segment.
fn swapped_in(pages: usize, stride: usize) -> Result<Round, Failure> {
    let segment = changed(pages * stride, stride)?;
    page_out(&segment)?;
    let bytes = segment.bytes();
    let ticks = count(Stat64::Ticks, || {
        (0..pages).for_each(|turn| {
            core::hint::black_box(bytes[shuffled(turn, pages) * stride * PG]);
        });
        Ok(())
    })?;
    let times = pages as u64;
    Ok(Round { times, ticks })
}

const SWAPPED: usize = 4096;

/// All of a segment.
pub fn swap_in() -> Result<Round, Failure> {
    swapped_in(SWAPPED, 1)
}

/// Pages far apart.
pub fn swap_in_lone() -> Result<Round, Failure> {
    swapped_in(256, 33)
}

/// Pages that were brought back and not changed leave again.
pub fn swap_out_again() -> Result<Round, Failure> {
    let segment = changed(SWAPPED, 1)?;
    page_out(&segment)?;
    for page in segment.bytes().chunks(PG) {
        core::hint::black_box(page[0]);
    }
    pages_out(&segment)
}
