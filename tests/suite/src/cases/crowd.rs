//! Requests that wait long for one file of the host's directory, as many as there can
//! be. They shut nobody out of the other files, and end when they are given up.

use super::Case;
use crate::check::{Verdict, Why, same, snapshot};
use alloc::vec::Vec;
use alloc::{format, vec};
use rt::abi::{PAGE, mode};
use rt::{File, process, sys, time};

pub const CASES: &[Case] = &[
    Case::asked("crowd.waiters", || one_file(40)),
    Case::asked("crowd.tags", || one_file(100)),
    Case::asked("crowd.cutters", cutters),
];

/// Bytes of a file whose saving takes hours.
const LONG: u64 = 1 << 40;
const SECOND: u64 = 1_000_000_000;
const OTHER: &str = "/n/host/other";

/// A file without known holes, of which all is asleep in a segment of the process.
fn begin(path: &str) -> Result<(File, rt::Segment), Why> {
    let new = File::create(path, mode::ORDWR, 0o644)?;
    new.set_size(LONG)?;
    new.write_all_at(&[1; PAGE as usize], 0)?;
    // What is known of its holes goes with the last that has it open.
    drop(new);
    let file = File::open(path, mode::ORDWR)?;
    let mut segment = snapshot((LONG / PAGE) as usize)?;
    file.read(segment.bytes_mut())?;
    Ok((file, segment))
}

/// Bytes that take messages of the longest kind.
const MANY: usize = 512 << 10;

/// Another file can be made, written, read at once and by and by, and looked at; none of it takes
/// long.
fn others_are_served() -> Verdict {
    let began = time::now_ns()?;
    let file = File::create(OTHER, mode::ORDWR, 0o644)?;
    let mut bytes = vec![7; MANY];
    file.write_all_at(&bytes, 0)?;
    same("bytes read", file.read_full_at(&mut bytes, 0)?, MANY)?;
    let mut segment = snapshot(1)?;
    same(
        "bytes",
        file.read_at(segment.bytes_mut(), 0)?,
        PAGE as usize,
    )?;
    same("a byte", segment.bytes()[9], 7)?;
    File::stat_path(OTHER)?;
    match time::now_ns()? - began {
        took if took > SECOND => Err(Why(format!("took {} ms", took / 1_000_000))),
        _ => Ok(()),
    }
}

fn end(pids: &[u64]) -> Verdict {
    // All before one is waited for: another that has ended may come first.
    for pid in pids {
        process::kill(*pid, "enough")?;
    }
    for pid in pids {
        process::wait_for(*pid)?;
    }
    Ok(())
}

/// A file is cut, and so many open it meanwhile.
fn one_file(count: usize) -> Verdict {
    let path = "/n/host/long";
    let (file, _segment) = begin(path)?;
    let cutter = process::spawn(|| u8::from(file.set_size(0).is_err()))?;
    sys::sleep(SECOND)?;
    let mut pids = Vec::new();
    for _ in 0..count {
        pids.push(process::spawn(|| {
            u8::from(File::open(path, mode::OREAD).is_err())
        })?);
    }
    sys::sleep(SECOND)?;
    if count < 60 {
        others_are_served()?;
    }
    // Their requests have all tags but those of Tflushes.
    end(&pids)?;
    others_are_served()?;
    let began = time::now_ns()?;
    end(&[cutter])?;
    // The file is free.
    drop(File::open(path, mode::OREAD)?);
    let took = time::now_ns()? - began;
    same("soon", took < 5 * SECOND, true)?;
    others_are_served()
}

/// As many files are cut as requests were once served together.
fn cutters() -> Verdict {
    let mut files = Vec::new();
    for n in 0..32 {
        let (file, segment) = begin(&format!("/n/host/long{n}"))?;
        // The file's snapshot is kept by the process that cuts it: the segments of this
        // one are few.
        files.push(process::spawn(|| {
            let _kept = &segment;
            u8::from(file.set_size(0).is_err())
        })?);
    }
    sys::sleep(SECOND)?;
    others_are_served()?;
    end(&files)?;
    others_are_served()
}
