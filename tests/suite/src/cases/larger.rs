//! Programs that use more memory than there is: in guests with 64 MiB.

use super::Case;
use super::swap::{LEN, PAGES, dirty, in_another_account, out};
use crate::check::{PG, Verdict, Why, equal, other, patterned, same};
use alloc::format;
use alloc::vec;
use rt::abi::mode;
use rt::process::{self, Fork};
use rt::stats::Counters;
use rt::{File, Segment, Stat64};

pub const CASES: &[Case] = &[
    Case::asked("swap-small.alone", || alone(60 << 20 >> 12)),
    Case::asked("swap-large.alone", || alone(256 << 20 >> 12)),
    Case::asked("swap-small.several", || several(15 << 20 >> 12)),
    Case::asked("swap-large.several", || several(64 << 20 >> 12)),
    Case::asked("swap-small.fork", small_fork),
    Case::asked("swap-small.scattered", scattered),
    Case::asked("swap-small.out", out_of_swap),
    Case::asked("swap-small.storer", storer),
    Case::asked("swap-small.newcomer", newcomer),
    Case::asked("swap-small.window", || window(80 << 20 >> 12)),
    Case::asked("swap-large.window", || window(768 << 20 >> 12)),
];

/// One of the words of a page: all differ.
fn word(seed: u64, page: usize, at: usize) -> u64 {
    (seed << 40 | (page as u64) << 9 | at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

/// Words of a page that are looked at.
const WORDS: [usize; 4] = [0, 100, 300, 511];

/// Where a word is in the bytes of a segment.
fn place(page: usize, at: usize) -> core::ops::Range<usize> {
    page * PG + at * 8..page * PG + at * 8 + 8
}

/// Stores words of its own into each page.
pub(super) fn store_words(segment: &mut Segment, seed: u64, pages: impl Iterator<Item = usize>) {
    for page in pages {
        for at in WORDS {
            let bytes = word(seed, page, at).to_le_bytes();
            segment.bytes_mut()[place(page, at)].copy_from_slice(&bytes);
        }
    }
}

/// Checks the words of each page.
fn check_words(
    what: &str,
    segment: &Segment,
    seed: u64,
    pages: impl Iterator<Item = usize>,
) -> Verdict {
    for page in pages {
        for at in WORDS {
            let got = &segment.bytes()[place(page, at)];
            if got != word(seed, page, at).to_le_bytes() {
                return Err(Why(format!("{what}: word {at} of page {page}: {got:?}")));
            }
        }
    }
    Ok(())
}

/// One process with more pages than memory has.
fn alone(pages: usize) -> Verdict {
    let mut segment = Segment::attach("memory", pages * PG)?;
    store_words(&mut segment, 1, 0..pages);
    store_words(&mut segment, 2, (0..pages).step_by(10));
    let all = (0..pages).rev();
    check_words(
        "changed",
        &segment,
        2,
        all.clone().filter(|page| page % 10 == 0),
    )?;
    check_words("kept", &segment, 1, all.filter(|page| page % 10 != 0))
}

/// Runs `body` with its number in several processes at once.
fn at_once(count: u64, body: impl Fn(u64) -> Verdict) -> Verdict {
    let mut pids = vec![];
    for number in 0..count {
        match process::fork()? {
            Fork::Parent(pid) => pids.push(pid),
            Fork::Child => match body(number) {
                Ok(()) => process::exit(0, ""),
                Err(Why(text)) => process::exit(1, &text),
            },
        }
    }
    let mut result = Ok(());
    for _ in pids {
        let ended = process::wait()?;
        let (pid, status, text) = (ended.pid(), ended.status(), ended.text());
        if status != 0 && result.is_ok() {
            result = Err(Why(format!("process {pid}: status {status}: {text}")));
        }
    }
    result
}

/// Four processes that together have more pages than memory.
fn several(pages: usize) -> Verdict {
    at_once(4, |seed| {
        let mut segment = Segment::attach("memory", pages * PG)?;
        store_words(&mut segment, seed, 0..pages);
        check_words("each its own", &segment, seed, 0..pages)
    })
}

/// Processes that share pages in swap, and change some.
fn small_fork() -> Verdict {
    const PAGES: usize = 36 << 20 >> 12;
    let mut segment = Segment::attach("memory", PAGES * PG)?;
    store_words(&mut segment, 1, 0..PAGES);
    other(|| {
        store_words(&mut segment, 2, (0..PAGES).step_by(2));
        check_words("the child's", &segment, 2, (0..PAGES).step_by(2))?;
        check_words("not the child's", &segment, 1, (1..PAGES).step_by(2))
    })?;
    check_words("the parent's", &segment, 1, 0..PAGES)
}

/// A thousand pages of 16 TiB, and as many as the memory beside them.
fn scattered() -> Verdict {
    const SPAN: usize = 16 << 40;
    const COUNT: usize = 1000;
    const PRESS: usize = 56 << 20 >> 12;
    let mut far = Segment::attach("memory", SPAN)?;
    let pages = || (0..COUNT).map(|n| n * (SPAN / PG / COUNT));
    store_words(&mut far, 1, pages());
    let mut near = Segment::attach("memory", PRESS * PG)?;
    store_words(&mut near, 2, 0..PRESS);
    check_words("far", &far, 1, pages())?;
    check_words("near", &near, 2, 0..PRESS)?;
    check_words("far again", &far, 1, pages())
}

/// Pages of a program that idles: 80 of 128 MiB of swap, the most that it is sure to
/// get, because an account leaves a part of swap to others.
const IDLE: usize = 80 << 20 >> 12;

/// A program stores a page at a time, beside one that has more and idles, until memory
/// and swap are out: it is told so and ends, and the other has all its pages.
fn storer() -> Verdict {
    let (go, gone) = File::pipe()?;
    let idle = in_another_account(|ready| {
        let mut segment = Segment::attach("memory", IDLE * PG)?;
        store_words(&mut segment, 1, 0..IDLE);
        out(&segment)?;
        ready();
        go.read(&mut [0])?;
        check_words("of the one that idles", &segment, 1, 0..IDLE)
    })?;
    let storer = in_another_account(|ready| {
        ready();
        let pages = 512 << 20 >> 12;
        let mut segment = Segment::attach("memory", pages * PG)?;
        for page in 0..pages {
            store_words(&mut segment, 2, page..page + 1);
            rt::sys::sleep(0)?;
        }
        Ok(())
    })?;
    ended_for_memory(storer)?;
    gone.write_all(b"x")?;
    let ended = process::wait_for(idle)?;
    let (status, text) = (ended.status(), ended.text());
    ensure!(status == 0, "the one that idles: status {status}: {text}");
    Ok(())
}

/// It was ended because memory was out.
fn ended_for_memory(pid: u64) -> Verdict {
    let ended = process::wait_for(pid)?;
    let (status, text) = (u32::from(ended.status()), ended.text());
    ensure!(status == rt::abi::STATUS_KILLED, "status {status}: {text}");
    ensure!(text.contains("out of memory"), "{text}");
    Ok(())
}

/// Free frames of which a program knows that it may take hardly any of them.
const FEW: u64 = 250;

/// A program has taken the memory and the part of swap that it can have without being
/// refused any, and idles. A newcomer that stores a few pages does not end for that.
fn newcomer() -> Verdict {
    let hog = in_another_account(|ready| {
        let mut segment = Segment::attach("memory", 64 << 30)?;
        for page in 0.. {
            store_words(&mut segment, 1, page..page + 1);
            if Counters::now()?.get(Stat64::FramesFree) < FEW {
                break;
            }
        }
        ready();
        loop {
            let _ = rt::sys::sleep(u64::MAX / 4);
        }
    })?;
    let mut segment = Segment::attach("memory", 500 * PG)?;
    store_words(&mut segment, 2, 0..500);
    check_words("the newcomer's", &segment, 2, 0..500)?;
    // It may go on if more of its pages could leave.
    let _ = process::kill(hog, "enough");
    process::wait_for(hog)?;
    Ok(())
}

/// More than memory and swap have: whoever stores is told and ends; others carry on.
fn out_of_swap() -> Verdict {
    let mut small = dirty(3, PAGES)?;
    let pid = match process::fork()? {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            let much = || -> Verdict {
                let pages = 512 << 20 >> 12;
                let mut segment = Segment::attach("memory", pages * PG)?;
                store_words(&mut segment, 1, 0..pages);
                Ok(())
            };
            let _ = much();
            process::exit_now(0, "")
        }
    };
    ended_for_memory(pid)?;
    small.bytes_mut()[0] = 1;
    let mut expected = patterned(3, 0, LEN);
    expected[0] = 1;
    equal("the pages of others", small.bytes(), &expected)
}

/// The file of the host with real data at 2,000 of its pages, and zeros elsewhere; the
/// test on the host's side makes and checks it.
const FILE: &str = "/n/host/large";
const FILE_LEN: usize = 8 << 30;
const DATA: usize = 2000;
const MAKER: u64 = 99;

/// The pages of the file with data.
fn data() -> impl Iterator<Item = usize> {
    (0..DATA).map(|n| n * (FILE_LEN / PG / DATA) + n * n % 1000)
}

/// 8 GiB are read, of which all data is looked at; each page of a window in the middle
/// is stored to, and all is written back.
fn window(pages: usize) -> Verdict {
    let file = File::open(FILE, mode::ORDWR)?;
    let mut segment = Segment::attach("snapshot", FILE_LEN)?;
    let n = file.read_full_at(segment.bytes_mut(), 0)?;
    same("bytes read", n, FILE_LEN)?;
    check_words("data", &segment, MAKER, data())?;
    let first = FILE_LEN / PG / 2 - pages / 2;
    for page in first..first + pages {
        let bytes = word(3, page, 7).to_le_bytes();
        segment.bytes_mut()[place(page, 7)].copy_from_slice(&bytes);
    }
    check_words("beside the stores", &segment, MAKER, data())?;
    file.write_all_at(segment.bytes(), 0)?;
    for page in first..first + pages {
        let got = &segment.bytes()[place(page, 7)];
        same("a store", got, &word(3, page, 7).to_le_bytes()[..])?;
    }
    Ok(())
}
