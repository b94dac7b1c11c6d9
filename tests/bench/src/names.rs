//! The jobs about names.

use crate::Round;
use crate::jobs::{PG, SOLID, Scratch, count, repeat};
use crate::tools;
use alloc::format;
use alloc::vec::Vec;
use rt::{Failure, File, Named, Stat64, mode, sys};

/// Files opened in one round: fewer than a process may have open.
const FILES: usize = 40;

/// A file opened.
pub fn open() -> Result<Round, Failure> {
    let scratch = Scratch::new(SOLID, PG, PG)?;
    let mut files = Vec::with_capacity(FILES);
    let open = || File::open(scratch.path, mode::OREAD).about(SOLID);
    (0..4).try_for_each(|_| open().map(drop))?;
    let ticks = count(Stat64::Ticks, || {
        for _ in 0..FILES {
            files.push(open()?);
        }
        Ok(())
    })?;
    Ok(Round {
        times: FILES as u64,
        ticks,
    })
}

/// The attributes of a file, by its path.
pub fn stat() -> Result<Round, Failure> {
    let scratch = Scratch::new(SOLID, PG, PG)?;
    repeat(100, || {
        File::stat_path(scratch.path).about(scratch.path).map(drop)
    })
}

const FOLDER: &str = "/n/host/bench-list.tmp";
const LISTED: usize = 5000;

/// A folder of 5,000 files listed with their attributes.
pub fn list() -> Result<Round, Failure> {
    File::create(FOLDER, mode::OREAD, mode::DMDIR | 0o755).about(FOLDER)?;
    let paths = || (0..LISTED).map(|n| format!("{FOLDER}/{n:04}"));
    for path in paths() {
        File::create(&path, mode::OWRITE, 0o644).about(&path)?;
    }
    let listed = count(Stat64::Ticks, || tools::run(&["ls", "-l", FOLDER]));
    for path in paths() {
        sys::remove(&path).about(&path)?;
    }
    sys::remove(FOLDER).about(FOLDER)?;
    Ok(Round {
        times: 1,
        ticks: listed?,
    })
}
