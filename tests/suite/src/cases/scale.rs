//! Many processes, open files and file servers at a time: what each costs does not grow
//! with their number.

use super::Case;
use crate::check::{PG, Scratch, Verdict, Why, equal, patterned, same};
use crate::liar::{Liar, Next, close_all_but};
use crate::tiny::SEED;
use alloc::format;
use alloc::vec::Vec;
use rt::abi::mode;
use rt::process::{self, Fork};
use rt::stats::Counters;
use rt::{File, Stat64, sys};

pub const CASES: &[Case] = &[
    Case::asked("scale.processes", processes),
    Case::asked("scale.files", files),
    Case::asked("scale.servers", servers),
];

const PROCESSES: usize = 950;
const OPENERS: usize = 500;
const FILES_EACH: usize = 20;
const SERVERS: usize = 100;

/// Children that do something each, and live until this is dropped.
struct Children {
    /// Its end is that of the children.
    ours: Option<File>,
    theirs: File,
    count: usize,
}

impl Children {
    fn new() -> Result<Children, Why> {
        let (ours, theirs) = File::pipe()?;
        let (ours, count) = (Some(ours), 0);
        Ok(Children {
            ours,
            theirs,
            count,
        })
    }

    /// One more, which has done its work when this returns.
    fn add(&mut self, work: impl FnOnce() -> Verdict) -> Verdict {
        let Some(ours) = &self.ours else {
            return Err(Why("they have ended".into()));
        };
        match process::fork()? {
            Fork::Parent(_) => self.count += 1,
            Fork::Child => {
                let verdict = work();
                drop(self.ours.take());
                let told = self.theirs.write_all(b"x");
                // Until the parent has closed its end.
                let _ = self.theirs.read(&mut [0; 1]);
                match verdict.and(told.map_err(Why::from)) {
                    Ok(()) => process::exit_now(0, ""),
                    Err(Why(text)) => process::exit_now(1, &text),
                }
            }
        }
        same("bytes of a child", ours.read(&mut [0; 1])?, 1)
    }

    /// All of them end.
    fn end(&mut self) -> Verdict {
        self.ours = None;
        for _ in 0..core::mem::take(&mut self.count) {
            let ended = process::wait()?;
            ensure!(ended.status() == 0, "a child: {}", ended.text());
        }
        Ok(())
    }
}

/// The instructions of all that `work` has done, without idle time.
fn cost(work: impl FnOnce() -> Verdict) -> Result<u64, Why> {
    let before = Counters::now()?;
    work()?;
    let after = Counters::now()?;
    let spent = |counter| after.get(counter) - before.get(counter);
    Ok(spent(Stat64::Ticks) - spent(Stat64::IdleTicks))
}

/// `count` processes start, are listed, and end; the cost of each.
fn crowd(count: usize) -> Result<[u64; 3], Why> {
    let mut children = Children::new()?;
    let start = cost(|| (0..count).try_for_each(|_| children.add(|| Ok(()))))?;
    let list = cost(|| {
        let listed = process::list().count();
        ensure!(listed >= count, "only {listed} are listed");
        Ok(())
    })?;
    let end = cost(|| children.end())?;
    Ok([start, list, end].map(|all| all / count as u64))
}

fn processes() -> Verdict {
    crowd(10)?;
    let (few, many) = (crowd(PROCESSES / 10)?, crowd(PROCESSES)?);
    for (step, (few, many)) in ["start", "list", "end"].iter().zip(few.iter().zip(many)) {
        let beside = format!("{many} instructions beside {PROCESSES}, {few} beside a tenth");
        rt::println!("{step}: {beside}");
        ensure!(many <= few * 5 / 4, "to {step} one of them: {beside}");
    }
    Ok(())
}

/// Ten thousand open files: many processes have the same ones open.
fn files() -> Verdict {
    let make = |file| Scratch::patterned(&format!("open{file}"), file as u8, PG);
    let scratches = (0..FILES_EACH).map(make).collect::<Result<Vec<_>, _>>()?;
    let mut children = Children::new()?;
    for opener in 0..OPENERS {
        children.add(|| {
            for (seed, scratch) in scratches.iter().enumerate() {
                let file = File::open(&scratch.path, mode::ORDWR)?;
                let mut bytes = [0; 8];
                file.read_at(&mut bytes, opener as u64)?;
                equal("a file", &bytes, &patterned(seed as u8, opener as u64, 8))?;
                // It stays open.
                let _ = file.into_fd();
            }
            Ok(())
        })?;
    }
    children.end()
}

fn servers() -> Verdict {
    let mut places = Vec::new();
    for number in 0..SERVERS {
        let Scratch { path, .. } = &Scratch::empty("server")?;
        let place = format!("{path}{number}");
        File::create(&place, mode::OREAD, 0o644)?;
        let (ours, theirs) = File::pipe()?;
        process::spawn(|| {
            close_all_but(&[&theirs]);
            Liar::WITH_SNAPSHOTS.serve(&theirs, |_| Next::Honest)
        })?;
        drop(theirs);
        ours.mount(&place)?;
        places.push(place);
    }
    for place in &places {
        let file = File::open(place, mode::OREAD)?;
        let mut bytes = [0; PG];
        same("bytes read", file.read_at(&mut bytes, 0)?, PG)?;
        equal("them", &bytes, &patterned(SEED, 0, PG))?;
    }
    for place in &places {
        sys::unmount(place)?;
        sys::remove(place)?;
        same("a server's status", process::wait()?.status(), 0)?;
    }
    Ok(())
}
